"""Regression problems written out as prompts: examples of a line, and a place on it to guess."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


@dataclass(frozen=True)
class LinearPrompts:
    """Prompts, each with a line of its own.

    Parameters
    ----------
    inputs : Tensor (prompt, token, entry)
        Examples (x, y), and at last the question (x, 0).
    targets : Tensor (prompt,)
        What the line gives there, without noise.
    noise : float
        Variance of the noise on the y of examples.
    best : Tensor (prompt,)
        What the best possible guess (Bayes) is: ridge regression with the right penalty.
    best_error : float
        Its expected squared error, the mean over these questions.
    chance : float
        Expected squared error of the best constant guess, 0.
    """

    inputs: Float[Tensor, "prompt token entry"]
    targets: Float[Tensor, " prompt"]
    noise: float
    best: Float[Tensor, " prompt"]
    best_error: float
    chance: float = 1.0

    def __len__(self) -> int:
        return len(self.inputs)

    def error(self, guesses: Float[Tensor, " prompt"]) -> float:
        """Mean squared error of guesses.

        Parameters
        ----------
        guesses : Tensor (prompt,)
            One for each question.

        Returns
        -------
        float
            0 or more.

        Raises
        ------
        InvalidArgument
            Not one guess for each question.
        """
        if guesses.shape != self.targets.shape:
            raise InvalidArgument(
                f"guesses of the shape {tuple(guesses.shape)} do not answer {len(self)} questions"
            )
        return float((guesses - self.targets).square().mean())


def linear_prompts(
    n: int = 256,
    *,
    n_features: int = 5,
    length: int = 40,
    noise: float = 0.1,
    seed: int,
) -> LinearPrompts:
    r"""Examples :math:`y = \beta^\top x + \epsilon` of a line that is drawn for each prompt.

    :math:`x \sim N(0, I)`, :math:`\beta \sim N(0, I / d)`, :math:`\epsilon \sim N(0, \sigma^2)`.

    Parameters
    ----------
    n : int
        How many prompts.
    n_features : int
        Entries of x.
    length : int
        Examples in a prompt.
    noise : float
        Variance of the noise, above 0.
    seed : int
        Draws them.

    Returns
    -------
    LinearPrompts
        With the guesses and the error of Bayes.

    Raises
    ------
    InvalidArgument
        A number out of range.

    References
    ----------
    Garg, Tsipras, Liang and Valiant (2022), What can transformers learn in-context? A case study of
    simple function classes. arXiv:2208.01066.

    Examples
    --------
    >>> prompts = linear_prompts(1000, seed=0)
    >>> prompts.inputs.shape
    torch.Size([1000, 41, 6])
    >>> round(prompts.best_error, 3), round(prompts.error(prompts.best), 3)
    (0.014, 0.016)
    """
    if min(n, n_features, length) < 1 or not 0 < noise < float("inf"):
        raise InvalidArgument(
            f"n, n_features and length must be 1 or more and noise above 0, not {n}, {n_features}, "
            f"{length} and {noise}"
        )
    draw = spawn_torch(seed, "linear_prompts")
    x = torch.randn(n, length + 1, n_features, generator=draw)
    beta = torch.randn(n, n_features, 1, generator=draw) / n_features**0.5
    exact = (x @ beta)[..., 0]
    y = exact + noise**0.5 * torch.randn(n, length + 1, generator=draw)
    y[:, -1] = 0
    seen, asked = x[:, :-1], x[:, -1:]
    precision = seen.mT @ seen / noise + n_features * torch.eye(n_features)
    # Both what the line is likely to be and how uncertain it is need the same inverse.
    weighed = torch.linalg.solve(precision, asked.mT)
    best = (y[:, None, :-1] @ seen / noise @ weighed).flatten()
    return LinearPrompts(
        inputs=torch.cat([x, y[..., None]], -1),
        targets=exact[:, -1],
        noise=noise,
        best=best,
        best_error=float((asked @ weighed).mean()),
    )
