"""Expectation-maximisation of a switching GLM, in slices of time that fit into memory."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bregma.population._counts import LaggedCounts
from bregma.population._coupling import FlatPrior
from bregma.population._hidden_markov import StatePosterior, forward_backward
from bregma.population._switching_glm import SwitchingGLM
from bregma.run._evaluating import evaluating

SLICE = 2**24  # numbers of (bin, unit, lag) that are held at once


class EM:
    """Expectation-maximisation of one module on one set of counts."""

    generator: torch.Generator | None = None

    def __init__(
        self, counts: np.ndarray, n_lags: int, device: torch.device, steps: int, rate: float
    ) -> None:
        self.shape, self.device, self.steps, self.rate = counts.shape, device, steps, rate
        self.data = LaggedCounts(counts, n_lags, device)
        width = max(1, SLICE // (n_lags * counts.shape[2]))
        starts = range(0, len(self.data), width)
        self.parts = [slice(start, start + width) for start in starts]

    def begin(self, module: SwitchingGLM) -> None:
        self.module = module.train()
        self.optimizer = torch.optim.Adam(module.parameters(), lr=self.rate)

    def emissions(self) -> Float[np.ndarray, "presentation bin state"]:
        with torch.no_grad(), evaluating(self.module):
            weight = self.module.weight()
            found = [self.module.log_likelihood(*self.data[part], weight) for part in self.parts]
        return torch.cat(found).cpu().double().numpy().reshape(*self.shape[:2], -1)

    def posterior(self) -> StatePosterior:
        return forward_backward(self.emissions(), self.initial, self.transition)

    def iterate(self, n: int) -> list[float]:
        """E-steps and M-steps; the log-likelihood before each of them."""
        trace = []
        for _ in range(n):
            found = self.posterior()
            trace.append(found.log_likelihood)
            first = found.states[:, 0].sum(0) + 1  # one imagined observation of everything: no
            self.initial = first / first.sum()  # state and no transition becomes impossible
            moves = found.transitions + 1
            self.transition = moves / moves.sum(1, keepdims=True)
            self.learn(found.states, self.steps)
        return trace

    def learn(self, states: Float[np.ndarray, "presentation bin state"], n_steps: int) -> None:
        """Fit the GLM to counts whose states are known, more or less."""
        known = torch.as_tensor(states, dtype=torch.float32, device=self.device).flatten(0, 1)
        for _ in range(n_steps):
            self.step(known)

    def step(self, states: Tensor) -> None:
        """One step up the expected log-likelihood plus the prior, slice by slice."""
        self.optimizer.zero_grad()
        weight = self.module.weight(self.generator)
        leaf = weight.detach().requires_grad_()
        for part in self.parts:
            (-(states[part] * self.module.log_likelihood(*self.data[part], leaf)).sum()).backward()
        assert leaf.grad is not None
        ((weight * leaf.grad).sum() - self.module.coupling.log_prior()).backward()  # chain rule
        self.optimizer.step()

    def single_state(self, n_steps: int) -> SwitchingGLM:
        """The GLM without states."""
        mean = (self.data.flat[self.data.rows].mean(0, keepdim=True)).clamp_min(1e-3)
        n = mean.shape[1]
        coupling = FlatPrior().coupling(torch.zeros(1, n, n, device=self.device))
        module = SwitchingGLM(coupling, mean.expm1().log(), self.data.n_lags).to(self.device)
        self.begin(module)
        self.learn(np.ones((*self.shape[:2], 1)), n_steps)
        return module
