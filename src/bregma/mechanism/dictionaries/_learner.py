"""Learners: dictionaries in training, with what they read and the state of their optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bregma.errors import BregmaError, InvalidArgument, UnknownName
from bregma.mechanism.dictionaries._activity import X, Y
from bregma.mechanism.dictionaries._autoencoder import DictionaryLoss
from bregma.mechanism.dictionaries._topk_step import TopKStep, has_bfloat16, why_not
from bregma.run import spawn_torch


class Dictionary(Protocol):
    """What `fit_dictionary` can train: an nn.Module with these, such as `SparseAutoencoder`."""

    @property
    def n_features(self) -> int:
        """Number of features."""

    def loss(self, x: Tensor, y: Tensor | None = None) -> DictionaryLoss:
        """The loss and the code.

        Parameters
        ----------
        x, y : Tensor (sample, number)
            Activity, and what to predict from it.

        Returns
        -------
        DictionaryLoss
            Both.
        """

    def normalise_(self) -> None:
        """What has to hold after each step of an optimizer, such as a length of 1."""

    def revive_(self, dead: Tensor, x: Tensor, y: Tensor | None, rng: torch.Generator) -> Tensor:
        """Give features that are never on a new start.

        Parameters
        ----------
        dead : Tensor (feature,)
            True where a feature is dead.
        x, y : Tensor (sample, number)
            Activity, and what to predict from it.
        rng : torch.Generator
            Draws samples.

        Returns
        -------
        Tensor (feature,)
            True where it got a new start.
        """


@dataclass(frozen=True, eq=False)
class Learner:
    """A dictionary, what it reads from a stream, and how fast it learns.

    Parameters
    ----------
    dictionary : SparseAutoencoder or Codebook
        What to train, in place.
    inputs : str or sequence of str, optional
        Activity that it reads: a name in the stream, or several that are put side by side (for a
        `Crosscoder`). Not needed where there is only one.
    targets : str or sequence of str, optional
        Activity that it predicts (for a transcoder).
    rate : float or callable
        Learning rate of Adam; ``rate(step)`` for one that changes.
    """

    dictionary: Any
    inputs: str | Sequence[str] | None = None
    targets: str | Sequence[str] | None = None
    rate: float | Callable[[int], float] = 1e-3


class Training:
    """A learner at work.

    Parameters
    ----------
    learner : Learner
        What to train.
    precision : str
        ``"float32"`` or ``"bfloat16"``.
    """

    def __init__(self, learner: Learner, precision: str) -> None:
        given = learner.dictionary
        if not isinstance(given, torch.nn.Module) or not hasattr(given, "loss"):
            raise InvalidArgument(
                f"{type(given).__name__} is no dictionary: it must be a torch.nn.Module with "
                "loss(x, y), normalise_() and n_features, such as SparseAutoencoder"
            )
        self.learner = learner
        self.dictionary = cast(Any, given)
        parameters = [p for p in self.dictionary.parameters() if p.requires_grad]
        self.device, self.dtype = parameters[0].device, parameters[0].dtype
        self.optimizer = torch.optim.Adam(parameters, lr=self._rate(0))
        self.silent = torch.zeros(self.dictionary.n_features, dtype=torch.int64)
        self.losses: list[float] = []
        self.n_revived = 0
        self.precision = precision
        if precision == "bfloat16" and self.device.type == "cpu" and not has_bfloat16():
            raise InvalidArgument(
                "this CPU has no instructions for bfloat16 (AVX512-BF16 or AMX), so that it would "
                "be slower than float32; use precision='float32'"
            )
        fast = why_not(self.dictionary, self.optimizer) is None
        self._fast = TopKStep(self.dictionary, self.optimizer, precision) if fast else None

    def pair(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """What this dictionary reads and predicts.

        Parameters
        ----------
        batch : dict of Tensor (sample, number)
            All activities.

        Returns
        -------
        (Tensor, Tensor or None)
            On the device and in the type of the dictionary.
        """
        inputs, targets = self.learner.inputs, self.learner.targets
        if inputs is None:
            if set(batch) not in ({X}, {X, Y}) and len(batch) > 1:
                raise InvalidArgument(
                    f"the stream holds the activities {list(batch)}: say which one is for which "
                    "dictionary, Learner(dictionary, inputs=..., targets=...)"
                )
            inputs = next(iter(batch))
            targets = Y if targets is None and Y in batch else targets
        x = self._side_by_side(batch, inputs)
        return x, None if targets is None else self._side_by_side(batch, targets)

    def step(self, batch: dict[str, Tensor]) -> None:
        """Make one step.

        Parameters
        ----------
        batch : dict of Tensor (sample, number)
            All activities.
        """
        x, y = self.pair(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(len(self.losses))
        if self._fast is not None:
            value, fired = self._fast(x, y), self._fast.fired
        else:
            value, fired = self._with_autograd(x, y)
        if not math.isfinite(value):
            raise BregmaError(
                f"the loss became {value} at step {len(self.losses)}: lower the learning rate, or "
                "bring the activity to a size of about 1"
            )
        self.losses.append(value)
        self.silent = torch.where(fired, 0, self.silent + len(x))

    def revive(self, batch: dict[str, Tensor], after: int, seed: int) -> None:
        """Start those features anew that were silent for long.

        Parameters
        ----------
        batch : dict of Tensor (sample, number)
            All activities.
        after : int
            For how many samples.
        seed : int
            Draws samples.
        """
        dead = self.silent >= after
        if not bool(dead.any()):
            return
        x, y = self.pair(batch)
        new = self.dictionary.revive_(dead.to(self.device), x, y, spawn_torch(seed, "revive"))
        for state in self.optimizer.state.values():
            for moment in (state["exp_avg"], state["exp_avg_sq"]):
                if len(moment) == len(new):
                    moment[new] = 0
        self.silent[new.cpu()] = 0
        self.n_revived += int(new.sum())

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, for a checkpoint.

        Returns
        -------
        dict
            Tensors, numbers and lists.
        """
        return {
            "dictionary": dict(self.dictionary.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "silent": self.silent,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "n_revived": self.n_revived,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Parameters
        ----------
        state : dict
            From `state`.
        """
        self.dictionary.load_state_dict(state["dictionary"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.silent, self.n_revived = state["silent"], state["n_revived"]
        self.losses = state["losses"].tolist()

    def _with_autograd(self, x: Tensor, y: Tensor | None) -> tuple[float, Bool[Tensor, " feature"]]:
        half = self.precision == "bfloat16"
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, half):
            total, code = self.dictionary.loss(x, y)
        total.backward()
        self.optimizer.step()
        self.dictionary.normalise_()
        return total.item(), (code.detach() > 0).any(0).cpu()

    def _rate(self, step: int) -> float:
        rate = self.learner.rate
        return float(rate(step) if callable(rate) else rate)

    def _side_by_side(
        self, batch: dict[str, Tensor], names: str | Sequence[str]
    ) -> Float[Tensor, "sample number"]:
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in batch:
                raise UnknownName.of("activity", name, batch)
        parts = [batch[name].to(self.device, self.dtype) for name in names]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
