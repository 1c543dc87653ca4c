"""A training step of a TopK dictionary that touches only the features that are on."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.dictionaries._autoencoder import SparseAutoencoder
from bregma.mechanism.dictionaries._codes import TopKCode, enough
from bregma.mechanism.dictionaries._topk_work import Adam, Work
from bregma.run._device import on_gpu


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
        On the CPU or, with Triton, a GPU; in float32, with a `TopKCode`.
    optimizer : torch.optim.Adam
        Over its parameters, without weight decay or other options; its state is kept up to date,
        so that it can be saved, loaded and used elsewhere.
    precision : str
        ``"float32"``; or ``"bfloat16"``, in which the k features are *chosen* by a product in half
        precision, several times faster on machines that have it; their values are float32 anyway.

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
        on_cpu = self.dictionary.decoder.device.type == "cpu"
        if self.precision == "bfloat16" and on_cpu and not has_bfloat16():
            raise InvalidArgument(
                "this CPU has no instructions for bfloat16 (AVX512-BF16 or AMX), so that it would "
                "be slower than float32; use precision='float32'"
            )
        self.fired = torch.zeros(self.dictionary.n_features, dtype=torch.bool)
        self._work = _work_on(self.dictionary.decoder)

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
        encoder, code, work = sae.encoder, sae.code, self._work
        assert encoder is not None
        assert isinstance(code, TopKCode)
        with torch.no_grad():
            centred = (x - sae.bias if sae.centred else x).contiguous()
            half, k = self.precision == "bfloat16", enough(encoder.weight.T, code.k)
            index, value = work.select(centred, encoder.weight, encoder.bias, k, half)
            out, slope, squares = work.residuals(
                sae.decoder, sae.bias, y.contiguous(), index, value
            )
            hits = work.by_feature(index, value, slope, sae.n_features)
            self.fired = (hits.starts.diff() > 0).cpu()
            by_bias = out.sum(0)
            if sae.centred:  # x - b: the bias also acts through what is encoded
                by_bias -= hits.sums @ encoder.weight
            work.adam_rows(hits, hits.values, out, sae.decoder, self._adam(sae.decoder), True)
            state = self._adam(encoder.weight)
            work.adam_rows(hits, hits.slopes, centred, encoder.weight, state, False)
            self._adam_dense(encoder.bias, hits.sums)
            self._adam_dense(sae.bias, by_bias)
        return float(squares.sum(dtype=torch.float64) / len(x))

    def _adam_dense(self, parameter: Tensor, grad: Tensor) -> None:
        mean, square, (beta1, beta2, rate, root, epsilon) = self._adam(parameter)
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        denominator = square.sqrt().mul_(root).add_(epsilon)
        parameter.addcdiv_(mean, denominator, value=-rate)

    def _adam(self, parameter: Tensor) -> Adam:
        """Moments and settings for the next step of a parameter."""
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
        settings = torch.tensor([beta1, beta2, rate, root, group["eps"]]).tolist()  # as kernels do
        return Adam(state["exp_avg"], state["exp_avg_sq"], tuple(settings))


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
    if len({p.device for p in parts}) > 1 or parts[0].device.type not in ("cpu", "cuda"):
        return "several devices, and others than CPUs and GPUs with CUDA or ROCm"
    if any(p.dtype != torch.float32 for p in parts):
        return "other types than float32"
    if on_gpu(parts[0]) and importlib.util.find_spec("triton") is None:
        return "GPUs without Triton"
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


def _work_on(tensor: Tensor) -> Work:
    if on_gpu(tensor):
        from bregma.mechanism.dictionaries._topk_gpu import OnGPU

        return OnGPU()
    from bregma.mechanism.dictionaries._topk_cpu import OnCPU

    return OnCPU()
