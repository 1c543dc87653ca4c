"""A stack of Transformer encoder blocks that is iterated on its own output."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class PostNormTransformer(nn.Module):
    """Encoder blocks of attention and SwiGLU, each followed by RMS normalisation, without biases.

    The input is added to the state, and the blocks see the sum. All tokens see each other. Since
    every block ends with a normalisation, the size of the state stays the same however often the
    stack is applied to its own output.

    Parameters
    ----------
    width : int
        Number of features of a token; a multiple of `heads`.
    heads : int
        Number of attention heads.
    blocks : int
        Number of blocks.
    expansion : float
        Hidden units of the SwiGLU as a multiple of two thirds of the width.
    seed : int
        Of the first weights: normal, with variance 1 / fan-in, cut at two deviations.

    Raises
    ------
    InvalidArgument
        If a number is below 1 or the width is no multiple of the heads.

    References
    ----------
    Wang et al. (2025), Hierarchical reasoning model.
    Shazeer (2020), GLU variants improve Transformer.

    Examples
    --------
    >>> stack = PostNormTransformer(8, heads=2, seed=0)
    >>> z = stack(torch.zeros(3, 5, 8), torch.ones(3, 5, 8))
    >>> z.shape, round(z.square().mean().item(), 3)
    (torch.Size([3, 5, 8]), 1.0)
    """

    def __init__(
        self, width: int, *, heads: int = 4, blocks: int = 1, expansion: float = 4.0, seed: int
    ) -> None:
        super().__init__()
        if min(width, heads, blocks) < 1 or width % heads or expansion <= 0:
            raise InvalidArgument(
                f"width {width} must be a multiple of {heads} heads, and all numbers positive "
                f"({blocks} blocks, expansion {expansion})"
            )
        self.width = width
        self.blocks = nn.ModuleList(_Block(width, heads, expansion) for _ in range(blocks))
        normal_(self, spawn_torch(seed, "post-norm transformer"))

    def forward(
        self, z: Float[Tensor, "batch token width"], injection: Float[Tensor, "batch token width"]
    ) -> Float[Tensor, "batch token width"]:
        """One application.

        Parameters
        ----------
        z : Float[Tensor, "batch token width"]
            The state.
        injection : Float[Tensor, "batch token width"]
            What is added to it.

        Returns
        -------
        Float[Tensor, "batch token width"]
            The next state.
        """
        z = z + injection
        for block in self.blocks:
            z = block(z)
        return z


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        self.heads, hidden = heads, max(1, round(expansion * width * 2 / 3))
        # Not initialised here: that would draw from the global generator.
        self.qkv = skip_init(nn.Linear, width, 3 * width, bias=False)
        self.mixed = skip_init(nn.Linear, width, width, bias=False)
        self.gate_up = skip_init(nn.Linear, width, 2 * hidden, bias=False)
        self.down = skip_init(nn.Linear, hidden, width, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        z = _normalised(z + self._attention(z))
        gate, up = self.gate_up(z).chunk(2, dim=-1)
        return _normalised(z + self.down(F.silu(gate) * up))

    def _attention(self, z: Tensor) -> Tensor:
        batch, token, width = z.shape
        qkv = self.qkv(z).view(batch, token, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch, head, token, feature)
        seen = F.scaled_dot_product_attention(q, k, v)
        return self.mixed(seen.transpose(1, 2).reshape(batch, token, width))


def _normalised(z: Tensor) -> Tensor:
    return F.rms_norm(z, z.shape[-1:], eps=1e-5)


def normal_(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of linear maps and embeddings: variance 1 / (number of inputs)."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            deviation = part.weight.shape[1] ** -0.5
            nn.init.trunc_normal_(
                part.weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator
            )
