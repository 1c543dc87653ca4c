"""A population that switches between hidden states, each with couplings of its own."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from bregma.errors import InvalidArgument
from bregma.population._counts import checked_counts
from bregma.population._coupling import CouplingPrior, FlatPrior
from bregma.population._expectation_maximisation import EM
from bregma.population._hidden_markov import viterbi
from bregma.population._state_start import guess_states
from bregma.population._switching_glm import SwitchingGLM
from bregma.run import derive, spawn_torch
from bregma.run import device as device_of

WIDTHS = (10, 20, 40, 80)  # bins over which the restarts look for states, in turn
STAY = 0.97  # probability that a state stays, where EM begins


class HMMGLM(BaseEstimator):
    """Poisson GLM whose couplings switch between hidden states, fitted by EM.

    The E-step is exact (forward-backward). The M-step is exact for the chain and takes some steps
    of Adam for the GLM. Restarts begin with stretches of time in which the GLM of a single state
    errs alike, looked for at several time scales, and have a flat prior; the best of them goes on
    with the prior that was asked for.

    Parameters
    ----------
    n_states : int
        Number of hidden states.
    n_lags : int
        How many bins back a spike has an influence.
    prior : FlatPrior, GaussianPrior or OneHotPrior
        What the couplings of the states share.
    n_restarts : int
        Number of starts, since EM ends in local optima; from 4 on all time scales are tried.
    n_iter : int
        EM iterations of the final fit, and a third more to settle; each restart has a third.
    steps : int
        Steps of Adam in an iteration.
    learning_rate : float
        Of Adam.
    seed : int
        Of the restarts and the samples of the prior.
    device : str, optional
        Where to compute; the fastest that is there by default.

    Attributes
    ----------
    weights_ : Float[np.ndarray, "state unit unit"]
        From the column to the row.
    initial_, transition_ : np.ndarray
        Probabilities of the first state, and from the row to the column.
    glm_ : SwitchingGLM
        The fitted module with everything else.
    log_likelihoods_ : Float[np.ndarray, "iteration"]
        Of the final fit, before each iteration, in nats.

    References
    ----------
    Li, Kim, Rodgers, Choi and Wu (2024), One-hot generalized linear model for switching brain state
    discovery. arXiv:2310.15263.

    Examples
    --------
    >>> counts = np.random.default_rng(0).poisson(0.5, (200, 4))
    >>> model = HMMGLM(2, n_restarts=1, n_iter=5).fit(counts)
    >>> model.weights_.shape, model.predict(counts).shape
    ((2, 4, 4), (1, 200))
    """

    def __init__(
        self,
        n_states: int = 3,
        *,
        n_lags: int = 5,
        prior: CouplingPrior = FlatPrior(),  # noqa: B008 (frozen)
        n_restarts: int = 5,
        n_iter: int = 30,
        steps: int = 8,
        learning_rate: float = 0.03,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        self.n_states = n_states
        self.n_lags = n_lags
        self.prior = prior
        self.n_restarts = n_restarts
        self.n_iter = n_iter
        self.steps = steps
        self.learning_rate = learning_rate
        self.seed = seed
        self.device = device

    def fit(self, X: Any, y: None = None, *, start: HMMGLM | None = None) -> HMMGLM:
        """Learn states and couplings.

        Parameters
        ----------
        X : Recording or array
            Counts (presentation, bin, unit), or (bin, unit).
        y : None
            Not used.
        start : HMMGLM, optional
            A fitted model of as many states, units and lags to begin from, in place of restarts:
            models that differ in the prior alone then differ in nothing else.

        Returns
        -------
        HMMGLM
            This one.

        Raises
        ------
        InvalidArgument
            If X does not hold counts, a parameter is out of range, or the start does not fit.
        """
        least = min(self.n_states, self.n_lags, self.n_restarts, self.n_iter, self.steps)
        if least < 1 or not self.learning_rate > 0:
            raise InvalidArgument(
                "n_states, n_lags, n_restarts, n_iter and steps must be 1 or more, and "
                f"learning_rate above 0, not {self.get_params()}"
            )
        counts = checked_counts(X)
        self.n_features_in_ = counts.shape[2]
        em = EM(counts, self.n_lags, device_of(self.device), self.steps, self.learning_rate)
        em.generator = spawn_torch(self.seed, "samples", device=em.device)
        if start is None:
            self._restart(em)
        else:
            self._take(start, em)
        states = em.posterior().states
        module = em.module
        module.coupling = self.prior.coupling(module.coupling.weight().detach()).to(em.device)
        em.begin(module)
        em.learn(states, self.n_iter * self.steps)  # a new coupling first learns the known states
        trace = em.iterate(self.n_iter)
        module.eval()  # from here on choices are final, and what depends on them settles
        trace += em.iterate(-(-self.n_iter // 3))
        self.glm_ = module
        self.initial_, self.transition_ = em.initial, em.transition
        self.weights_ = module.weight().detach().cpu().numpy()
        self.log_likelihoods_ = np.asarray(trace)
        return self

    def _restart(self, em: EM) -> None:
        """The most likely of several short fits with a flat prior."""
        single, tries = em.single_state(2 * self.n_iter * self.steps), []
        for number in range(self.n_restarts if self.n_states > 1 else 1):
            guess = guess_states(
                single,
                em.data,
                em.parts,
                em.shape[0],
                self.n_states,
                width=WIDTHS[number % len(WIDTHS)],
                seed=derive(self.seed, "restart", number),
            )
            em.begin(_copies(single, self.n_states))
            em.learn(np.eye(self.n_states)[guess], self.n_iter * self.steps // 3)
            em.initial, em.transition = _sticky(self.n_states)
            em.iterate(-(-self.n_iter // 3))
            tries.append((em.posterior().log_likelihood, em.module, em.initial, em.transition))
        _, em.module, em.initial, em.transition = max(tries, key=lambda found: found[0])

    def _take(self, start: HMMGLM, em: EM) -> None:
        check_is_fitted(start)
        found = tuple(start.glm_.own.shape)
        asked = (self.n_states, self.n_features_in_, self.n_lags)
        if found != asked:
            raise InvalidArgument(
                f"start has {found} states, units and lags, which must be {asked} here"
            )
        em.module = copy.deepcopy(start.glm_).to(em.device)
        em.initial, em.transition = start.initial_, start.transition_

    def predict(self, X: Any) -> Int[np.ndarray, "presentation bin"]:
        """The most probable path of states (Viterbi).

        Parameters
        ----------
        X : Recording or array
            Counts as for `fit`.

        Returns
        -------
        Int[np.ndarray, "presentation bin"]
            The state of each bin.
        """
        em = self._em(X)
        return viterbi(em.emissions(), self.initial_, self.transition_)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "presentation bin state"]:
        """Probability of each state, given all counts of a presentation.

        Parameters
        ----------
        X : Recording or array
            Counts as for `fit`.

        Returns
        -------
        Float[np.ndarray, "presentation bin state"]
            Sums to 1 over states.
        """
        return self._em(X).posterior().states

    def score(self, X: Any, y: None = None) -> float:
        """Log-likelihood per spike: log p(all counts) / number of spikes, in nats.

        Parameters
        ----------
        X : Recording or array
            Counts as for `fit`.
        y : None
            Not used.

        Returns
        -------
        float
            Below 0; higher is better.

        Raises
        ------
        InvalidArgument
            If there are no spikes.
        """
        em = self._em(X)
        spikes = float(em.data.flat.sum())
        if not spikes:
            raise InvalidArgument("there are no spikes to score in X")
        return em.posterior().log_likelihood / spikes

    def _em(self, X: Any) -> EM:
        check_is_fitted(self)
        counts = checked_counts(X)
        if counts.shape[2] != self.n_features_in_:
            raise InvalidArgument(
                f"X has {counts.shape[2]} units, the model was fitted to {self.n_features_in_}"
            )
        em = EM(counts, self.n_lags, self.glm_.bias.device, self.steps, self.learning_rate)
        em.module, em.initial, em.transition = self.glm_, self.initial_, self.transition_
        return em


def _sticky(n_states: int) -> tuple[np.ndarray, np.ndarray]:
    """A chain that tends to stay where it is."""
    anywhere = np.full(n_states, 1 / n_states)
    return anywhere, (1 - STAY) * anywhere + STAY * np.eye(n_states)


def _copies(single: SwitchingGLM, n_states: int) -> SwitchingGLM:
    """The same parameters in several states."""
    with torch.no_grad():
        weight = single.weight().repeat(n_states, 1, 1)
        bias = single.bias.repeat(n_states, 1)
        module = SwitchingGLM(FlatPrior().coupling(weight), bias, single.own.shape[2])
        module.own.copy_(single.own)
        module.raw_kernel.copy_(single.raw_kernel)
    return module.to(weight.device)
