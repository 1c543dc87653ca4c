"""Sparse codes of signals in an overcomplete dictionary, by proximal gradient descent."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.vision._penalties import Penalty

Dictionary = Float[Tensor, "pixel atom"]
Signals = Float[Tensor, "signal pixel"]
Codes = Float[Tensor, "signal atom"]


def sparse_code(
    signals: Signals,
    dictionary: Dictionary,
    penalty: Penalty,
    *,
    start: Codes | None = None,
    steps: int = 200,
    tolerance: float = 1e-5,
) -> Codes:
    r"""Minimise 0.5 ||y - D a||^2 + lambda phi(a) for every signal.

    a <- prox(a + s D^T (y - D a)) with s = 0.99 / ||D||^2: every step lowers the objective, convex
    or not. Non-convex penalties end in a local minimum that depends on `start`.

    Parameters
    ----------
    signals : Tensor (signal, pixel)
        y, one per row.
    dictionary : Tensor (pixel, atom)
        D, one atom per column.
    penalty : Penalty
        `SoftPenalty`, `HardPenalty`, `HalfPenalty`, `CEL0Penalty` or one's own.
    start : Tensor (signal, atom), optional
        Where to begin; zeros by default, from which a hard threshold may never leave: start it
        from a soft code.
    steps : int
        How many steps at most.
    tolerance : float
        Stop when no coefficient moves by more.

    Returns
    -------
    Tensor (signal, atom)
        a.

    Raises
    ------
    InvalidArgument
        If shapes do not fit, something is not finite, or the dictionary is zero.

    References
    ----------
    Attouch, Bolte and Svaiter (2013), Convergence of descent methods for semi-algebraic and tame
    problems.

    Examples
    --------
    >>> from bregma.vision import SoftPenalty
    >>> sparse_code(torch.tensor([[3.0, -0.5]]), torch.eye(2), SoftPenalty(1.0))
    tensor([[2., -0.]])
    """
    check_signals(signals, dictionary)
    if steps < 1:
        raise InvalidArgument(f"steps must be 1 or more, not {steps}")
    step = step_length(dictionary)
    code = signals.new_zeros(len(signals), dictionary.shape[1]) if start is None else start
    if code.shape != (len(signals), dictionary.shape[1]):
        raise InvalidArgument(f"a start of the shape {tuple(code.shape)} does not fit")
    gram, seen = dictionary.T @ dictionary, signals @ dictionary
    for _ in range(steps):
        new = penalty.prox(code + step * (seen - code @ gram), step)
        moved = (new - code).abs().max()
        code = new
        if moved <= tolerance:
            break
    return code


def debias(signals: Signals, dictionary: Dictionary, code: Codes) -> Codes:
    """Least squares on the active coefficients: takes the shrinkage of a penalty back.

    Parameters
    ----------
    signals : Tensor (signal, pixel)
        y.
    dictionary : Tensor (pixel, atom)
        D.
    code : Tensor (signal, atom)
        Whose active coefficients to fit again.

    Returns
    -------
    Tensor (signal, atom)
        Zero where `code` is.

    Raises
    ------
    InvalidArgument
        If shapes do not fit or something is not finite.
    """
    check_signals(signals, dictionary)
    fitted = torch.zeros_like(code)
    for row, (signal, active) in enumerate(zip(signals, code != 0, strict=True)):
        if active.any():
            solution = torch.linalg.lstsq(
                dictionary[:, active], signal[:, None], driver=_driver(code)
            )
            fitted[row, active] = solution.solution[:, 0]
    return fitted


def step_length(dictionary: Dictionary) -> float:
    """Longest safe step of gradient descent on 0.5 ||y - D a||^2: 0.99 / ||D||^2.

    Parameters
    ----------
    dictionary : Tensor (pixel, atom)
        D.

    Returns
    -------
    float
        The step.
    """
    return 0.99 / float(torch.linalg.matrix_norm(dictionary, 2)) ** 2


def check_signals(signals: Signals, dictionary: Dictionary) -> None:
    """Refuse what cannot be coded.

    Parameters
    ----------
    signals : Tensor (signal, pixel)
        y.
    dictionary : Tensor (pixel, atom)
        D.

    Raises
    ------
    InvalidArgument
        If shapes do not fit, something is not finite, or the dictionary is zero.
    """
    if signals.ndim != 2 or dictionary.ndim != 2 or signals.shape[1] != dictionary.shape[0]:
        raise InvalidArgument(
            f"signals (signal, pixel) {tuple(signals.shape)} do not fit a dictionary (pixel, atom) "
            f"{tuple(dictionary.shape)}"
        )
    if not len(signals) or not (signals.isfinite().all() and dictionary.isfinite().all()):
        raise InvalidArgument("there are no signals, or values that are NaN or infinite")
    if not dictionary.any():
        raise InvalidArgument("the dictionary is zero everywhere")


def _driver(like: Tensor) -> str:
    return "gels" if like.is_cuda else "gelsd"  # the GPU has only the one for full rank
