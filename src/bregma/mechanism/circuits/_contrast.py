"""Two versions of each input that differ in what an answer depends on, and the two answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

# Python 3.11's own isinstance() with a protocol evaluates properties.
from typing_extensions import Protocol, runtime_checkable

from bregma.errors import InvalidArgument
from bregma.run import spawn


@runtime_checkable
class Pairs(Protocol):
    """Anything like `Contrast`, such as `bregma.datasets.PromptPairs`."""

    # Properties, so that frozen dataclasses are ones for type checkers, too.
    @property
    def clean(self) -> Any: ...
    @property
    def corrupt(self) -> Any: ...
    @property
    def right(self) -> Any: ...
    @property
    def wrong(self) -> Any: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> Any: ...


# Answers (pair, answer) and their pairs to one number each, larger where more of what is asked
# for is done.
Metric = Callable[[Tensor, Any], Float[Tensor, " pair"]]


@dataclass(frozen=True)
class Contrast:
    """Clean and corrupt inputs, and the answers that belong to them.

    Parameters
    ----------
    clean, corrupt : array or Tensor (pair, ...)
        Inputs of one shape: images, sounds, input currents, tokens.
    right, wrong : array or Tensor (pair,)
        Numbers of the answers: of the clean and of the corrupt input.

    Raises
    ------
    InvalidArgument
        Nothing at all, or lengths or shapes that differ.
    """

    clean: Any
    corrupt: Any
    right: Any
    wrong: Any

    def __post_init__(self) -> None:
        for name in ("clean", "corrupt", "right", "wrong"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)))
        if self.clean.shape != self.corrupt.shape or not len(self.clean):
            raise InvalidArgument(
                "clean and corrupt must have one shape and not be empty, not "
                f"{tuple(self.clean.shape)} and {tuple(self.corrupt.shape)}"
            )
        for name in ("right", "wrong"):
            answers = getattr(self, name)
            if answers.shape != self.clean.shape[:1] or answers.is_floating_point():
                raise InvalidArgument(
                    f"{name} must be the number of an answer for each of {len(self.clean)} "
                    f"pairs, not {answers.dtype} of the shape {tuple(answers.shape)}"
                )

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, rows: Any) -> Contrast:
        where = rows if isinstance(rows, slice) else torch.as_tensor(rows)
        names = ("clean", "corrupt", "right", "wrong")
        return replace(self, **{name: getattr(self, name)[where] for name in names})

    def split(self, share: float = 0.5, *, seed: int) -> tuple[Contrast, Contrast]:
        """Two parts, at random.

        Parameters
        ----------
        share : float
            Of the pairs that go to the first part.
        seed : int
            Draws them.

        Returns
        -------
        first, second : Contrast
            No pair is in both.

        Raises
        ------
        InvalidArgument
            One part would be empty.
        """
        n = round(share * len(self))
        if not 0 < n < len(self):
            raise InvalidArgument(f"a share of {share} of {len(self)} pairs leaves nothing")
        order = spawn(seed, "Contrast", "split").permutation(len(self))
        return self[np.sort(order[:n])], self[np.sort(order[n:])]


def logit_difference(answers: Float[Tensor, "pair answer"], pairs: Pairs) -> Float[Tensor, " pair"]:
    """How much more the right answer is given than the wrong one.

    Parameters
    ----------
    answers : Tensor (pair, answer)
        Scores before the softmax, firing rates, ...
    pairs : Contrast or PromptPairs
        Says which answers are right and wrong.

    Returns
    -------
    Tensor (pair,)
        Right minus wrong.
    """
    right, wrong = (
        torch.as_tensor(a, device=answers.device)[:, None] for a in (pairs.right, pairs.wrong)
    )
    return (answers.gather(1, right) - answers.gather(1, wrong))[:, 0]


def ends(pairs: Pairs, direction: str) -> tuple[Any, Any, str]:
    """Inputs that are run, inputs whose activity is put in, and what that is called."""
    if direction == "denoise":
        return pairs.corrupt, pairs.clean, "clean into corrupt"
    if direction == "noise":
        return pairs.clean, pairs.corrupt, "corrupt into clean"
    raise InvalidArgument(f"direction={direction!r} is neither 'denoise' nor 'noise'")


BASELINES = ("mean", "zero", "resample")  # what comes instead of what is taken out


def check_baseline(baseline: str) -> None:
    if baseline not in BASELINES:
        raise InvalidArgument(f"baseline={baseline!r} is none of {', '.join(BASELINES)}")


def others(baseline: str, n: int, seed: int) -> Int[np.ndarray, " row"]:
    """Rows whose activity comes instead of each of n: random ones, or those themselves."""
    check_baseline(baseline)
    if baseline == "zero":
        return np.arange(n)
    order = another(n, seed)  # a mean, too, is one of others
    return order if baseline == "resample" else np.arange(n)


def another(n: int, seed: int) -> Int[np.ndarray, " row"]:
    """For each of n rows another one: a random cycle through all."""
    if n < 2:
        raise InvalidArgument("one pair has no other to be replaced by; give at least 2")
    cycle = spawn(seed, "resample").permutation(n)
    other = np.empty(n, dtype=int)
    other[cycle] = np.roll(cycle, 1)
    return other


def batches(n: int, size: int) -> list[slice]:
    """Slices that cover n rows."""
    if size < 1:
        raise InvalidArgument(f"batch_size must be 1 or more, not {size}")
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
