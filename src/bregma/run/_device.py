"""Where to compute and in which precision: asked for by name, obeyed or refused."""

from __future__ import annotations

import torch

from bregma.errors import InvalidArgument, UnknownName

_DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def _present(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    if kind == "mps":
        return torch.backends.mps.is_available()
    return kind == "cpu"


def device(name: str | torch.device | None = None) -> torch.device:
    """The device of that name, or the fastest one that is there.

    Parameters
    ----------
    name : str or torch.device, optional
        Such as ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``. None takes CUDA where there is
        one, else Apple's MPS, else the CPU.

    Returns
    -------
    torch.device
        A device that is there.

    Raises
    ------
    InvalidArgument
        If that device is not on this machine: nothing is silently computed elsewhere.

    Examples
    --------
    >>> device("cpu")
    device(type='cpu')
    """
    if name is None:
        return torch.device(next(k for k in ("cuda", "mps", "cpu") if _present(k)))
    try:
        asked = torch.device(name)
    except RuntimeError:
        raise UnknownName.of("device", name, ("cpu", "cuda", "mps")) from None
    count = torch.cuda.device_count() if asked.type == "cuda" else 1
    if not _present(asked.type) or (asked.index or 0) >= count:
        there = [kind for kind in ("cpu", "cuda", "mps") if _present(kind)]
        raise InvalidArgument(f"device {str(asked)!r} is not on this machine; there is: {there}")
    return asked


def on_gpu(tensor: torch.Tensor) -> bool:
    """Whether a tensor lies where Triton's kernels run.

    Parameters
    ----------
    tensor : torch.Tensor
        Any tensor.

    Returns
    -------
    bool
        True on CUDA, and on ROCm, which PyTorch calls so too.
    """
    return tensor.device.type == "cuda"


def dtype(name: str | torch.dtype, on: torch.device | None = None) -> torch.dtype:
    """The floating-point precision of that name.

    Parameters
    ----------
    name : str or torch.dtype
        ``"float64"``, ``"float32"``, ``"float16"`` or ``"bfloat16"``.
    on : torch.device, optional
        Where it will be used.

    Returns
    -------
    torch.dtype
        The precision.

    Raises
    ------
    UnknownName
        If there is no such precision.
    InvalidArgument
        If the device cannot compute in it (MPS has no float64).

    Examples
    --------
    >>> dtype("float32")
    torch.float32
    """
    key = str(name).removeprefix("torch.")
    if key not in _DTYPES:
        raise UnknownName.of("precision", key, _DTYPES)
    if key == "float64" and on is not None and on.type == "mps":
        raise InvalidArgument("device 'mps' has no float64; ask for float32 or compute on the CPU")
    return _DTYPES[key]
