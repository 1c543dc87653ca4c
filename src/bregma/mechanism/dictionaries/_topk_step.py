"""A training step of a TopK dictionary on the CPU that touches only the features that are on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.dictionaries import _topk_kernels as kernels
from bregma.mechanism.dictionaries._autoencoder import SparseAutoencoder
from bregma.mechanism.dictionaries._codes import TopKCode, enough
from bregma.run._threads import in_threads

ROWS = 128  # samples or features of one piece of work
SLICE = 1024  # samples that are multiplied with all features at once


@dataclass
class TopKStep:
    """Steps of Adam on a `SparseAutoencoder` with a `TopKCode`, many times faster than autograd.

    What is computed is the same as ``loss.backward(); optimizer.step(); dictionary.normalise_()``.
    But only k of the features of a sample have derivatives: after the product with W, everything
    else is done for those alone, and the gradient of each feature is used up by its step at once
    in place of being stored. Moments of features without derivatives decay as they do in Adam.

    Parameters
    ----------
    dictionary : SparseAutoencoder
        On the CPU, in float32, with a `TopKCode`.
    optimizer : torch.optim.Adam
        Over its parameters, without weight decay or other options; its state is kept up to date,
        so that it can be saved, loaded and used elsewhere.
    precision : str
        ``"float32"``; or ``"bfloat16"``, in which the k features are *chosen* by a product in half
        precision, several times faster on CPUs that have it; their values are float32 anyway.

    Raises
    ------
    InvalidArgument
        If dictionary or optimizer are of another kind, or the CPU has no bfloat16.

    Examples
    --------
    >>> from bregma.mechanism import SparseAutoencoder, TopKCode, TopKStep
    >>> sae = SparseAutoencoder(16, 64, TopKCode(4), seed=0)
    >>> step = TopKStep(sae, torch.optim.Adam(sae.parameters(), lr=1e-3))
    >>> x = torch.randn(100, 16)
    >>> bool(step(x) > step(x))
    True
    """

    dictionary: SparseAutoencoder
    optimizer: torch.optim.Adam
    precision: str = "float32"
    fired: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if reason := why_not(self.dictionary, self.optimizer):
            raise InvalidArgument(f"this step is not for {reason}; train it with autograd")
        if self.precision not in ("float32", "bfloat16"):
            raise UnknownName.of("precision", self.precision, ("float32", "bfloat16"))
        if self.precision == "bfloat16" and not has_bfloat16():
            raise InvalidArgument(
                "this CPU has no instructions for bfloat16 (AVX512-BF16 or AMX), so that it would "
                "be slower than float32; use precision='float32'"
            )
        self.fired = torch.zeros(self.dictionary.n_features, dtype=torch.bool)
        self._pre = self._out = np.empty((0, 0), np.float32)

    def __call__(
        self,
        x: Float[Tensor, "sample input"],
        y: Float[Tensor, "sample output"] | None = None,
    ) -> float:
        """Make one step.

        Parameters
        ----------
        x : Tensor (sample, input)
            Activity.
        y : Tensor (sample, output), optional
            What to predict; x itself where it is not given.

        Returns
        -------
        float
            The loss before the step; ``fired`` says which features were on.

        Raises
        ------
        InvalidArgument
            If shapes do not fit.
        """
        sae = self.dictionary
        y = x if y is None and not sae.transcodes else y
        if y is None or x.shape != (len(y), sae.n_inputs) or y.shape[1:] != (sae.n_outputs,):
            raise InvalidArgument(
                f"activity of shapes {tuple(x.shape)} and {y if y is None else tuple(y.shape)} "
                f"does not fit a dictionary from {sae.n_inputs} to {sae.n_outputs}"
            )
        with torch.no_grad():
            centred = (x - sae.bias if sae.centred else x).contiguous()
            y = y.contiguous()
            index, value = self._select(centred)
            out, slope, squares = self._residuals(y, index, value)
            starts, samples, values, slopes, sums = kernels.by_feature(
                index, value, slope, sae.n_features
            )
            self.fired = torch.from_numpy(np.diff(starts) > 0)
            assert sae.encoder is not None
            by_bias = torch.from_numpy(out).sum(0)
            if sae.centred:  # x - b: the bias also acts through what is encoded
                by_bias -= torch.from_numpy(sums) @ sae.encoder.weight
            self._adam_rows(starts, samples, values, out, sae.decoder, unit_length=True)
            self._adam_rows(starts, samples, slopes, centred.numpy(), sae.encoder.weight)
            self._adam_dense(sae.encoder.bias, torch.from_numpy(sums))
            self._adam_dense(sae.bias, by_bias)
        return float(squares.sum(dtype=np.float64) / len(x))

    def _select(
        self, x: Float[Tensor, "sample input"]
    ) -> tuple[Int[np.ndarray, "sample k"], Float[np.ndarray, "sample k"]]:
        """The features that are on, and their values."""
        sae = self.dictionary
        assert isinstance(sae.code, TopKCode)
        assert sae.encoder is not None
        weight, bias = sae.encoder.weight.detach(), sae.encoder.bias.detach()
        index = np.empty((len(x), enough(weight.T, sae.code.k)), np.int32)
        value = np.empty(index.shape, np.float32)
        if self._pre.shape != (SLICE, sae.n_features):
            self._pre = np.empty((SLICE, sae.n_features), np.float32)
        half = self.precision == "bfloat16"
        by = weight.bfloat16().T if half else weight.T
        for first in range(0, len(x), SLICE):
            part = x[first : first + SLICE]
            pre, at, to = self._pre[: len(part)], index[first:], value[first:]
            if half:
                torch.from_numpy(pre).copy_(part.bfloat16() @ by).add_(bias)
            else:
                torch.addmm(bias, part, by, out=torch.from_numpy(pre))
            _each(partial(kernels.select, pre, at, to), len(part))
            if half:
                given = part.numpy(), weight.numpy(), bias.numpy()
                _each(partial(kernels.drive, *given, at, to), len(part))
        return index, value

    def _residuals(
        self,
        y: Float[Tensor, "sample output"],
        index: Int[np.ndarray, "sample k"],
        value: Float[np.ndarray, "sample k"],
    ) -> tuple[
        Float[np.ndarray, "sample output"],
        Float[np.ndarray, "sample k"],
        Float[np.ndarray, " sample"],
    ]:
        """Derivatives of the loss by outputs and by values, and the squared errors."""
        sae = self.dictionary
        if self._out.shape != y.shape:
            self._out = np.empty(y.shape, np.float32)
        slope, squares = np.empty(value.shape, np.float32), np.empty(len(y), np.float32)
        given = sae.decoder.detach().numpy(), sae.bias.detach().numpy(), y.numpy(), index, value
        scale = np.float32(2 / len(y))
        _each(partial(kernels.residuals, *given, scale, self._out, slope, squares), len(y))
        return self._out, slope, squares

    def _adam_rows(
        self,
        starts: Int[np.ndarray, " place"],
        samples: Int[np.ndarray, " hit"],
        factors: Float[np.ndarray, " hit"],
        vectors: Float[np.ndarray, "sample number"],
        weight: Tensor,
        unit_length: bool = False,
    ) -> None:
        mean, square, settings = self._moments(weight)
        given = starts, samples, factors, vectors, weight.detach().numpy()
        state = mean.numpy(), square.numpy(), settings, unit_length
        _each(partial(kernels.adam_rows, *given, *state), len(weight))

    def _adam_dense(self, parameter: Tensor, grad: Tensor) -> None:
        mean, square, (beta1, beta2, rate, root, epsilon) = self._moments(parameter)
        mean.lerp_(grad, 1 - float(beta1))
        square.mul_(float(beta2)).addcmul_(grad, grad, value=1 - float(beta2))
        denominator = square.sqrt().mul_(float(root)).add_(float(epsilon))
        parameter.addcdiv_(mean, denominator, value=-float(rate))

    def _moments(self, parameter: Tensor) -> tuple[Tensor, Tensor, tuple[np.float32, ...]]:
        """Both moments, and beta1, beta2, rate / (1 - beta1^t), 1 / sqrt(1 - beta2^t), epsilon."""
        state = self.optimizer.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["step"] += 1
        t = float(state["step"])
        (group,) = (
            g for g in self.optimizer.param_groups if any(p is parameter for p in g["params"])
        )
        beta1, beta2 = group["betas"]
        rate = float(group["lr"]) / (1 - beta1**t)
        root = (1 - beta2**t) ** -0.5
        settings = tuple(np.float32(v) for v in (beta1, beta2, rate, root, group["eps"]))
        return state["exp_avg"], state["exp_avg_sq"], settings


def why_not(dictionary: torch.nn.Module, optimizer: torch.optim.Optimizer) -> str | None:
    """Why `TopKStep` cannot train something; None where it can.

    Parameters
    ----------
    dictionary : torch.nn.Module
        What to train.
    optimizer : torch.optim.Optimizer
        With what.

    Returns
    -------
    str or None
        What it is not made for.
    """
    if not isinstance(dictionary, SparseAutoencoder) or type(dictionary.code) is not TopKCode:
        return "dictionaries without a TopKCode"
    if type(dictionary).loss is not SparseAutoencoder.loss:
        return "dictionaries with a loss of their own"
    parts = list(dictionary.parameters())
    if any(p.device.type != "cpu" or p.dtype != torch.float32 for p in parts):
        return "other devices than the CPU and other types than float32"
    if any(not p.is_contiguous() or not p.requires_grad for p in parts):
        return "parameters that are frozen or not contiguous"
    options = ("weight_decay", "amsgrad", "maximize", "decoupled_weight_decay")
    if type(optimizer) is not torch.optim.Adam or any(
        group.get(name) for group in optimizer.param_groups for name in options
    ):
        return "other optimizers than Adam, or Adam with more options than rate, betas and eps"
    return None


def has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16.

    Returns
    -------
    bool
        False also where PyTorch cannot tell.
    """
    asks: Sequence[str] = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, ask, bool)() for ask in asks)


def _each(work: Callable[[int, int], None], n: int) -> None:
    in_threads(work, [(first, min(first + ROWS, n)) for first in range(0, n, ROWS)])
