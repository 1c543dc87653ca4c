"""The usual causal Transformer, small and plain, to compare sequence models with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.nn._token_embedding import TokenEmbedding
from bregma.run import derive, private_randomness


class CausalTransformer(nn.Module):
    """Predict a sequence with blocks of attention to the past and a perceptron each.

    Norms come first, positions are learned, perceptrons are four times as wide with GELU.

    Parameters
    ----------
    n_tokens : int
        How many different tokens.
    n_places : int
        Length of the longest sequence.
    width : int
        Length of the vectors.
    heads, layers : int
        Heads share the width; layers are blocks with weights of their own.
    head_width : int, optional
        Features of a head, where heads do not share the width.
    neurons : int, optional
        Hidden units of a perceptron, where they are not four times the width.
    norm : callable
        Gives the module that norms vectors of a width; ``torch.nn.Identity`` norms nothing.
    seed : int
        Of the first weights.

    Raises
    ------
    InvalidArgument
        A number below 1, or heads that do not divide the width.

    Notes
    -----
    These parts of block ``b`` hand on what they get, to be recorded and perturbed:
    ``blocks.b.query``, ``.key``, ``.value`` and ``.head``, what a head gathers, all of the shape
    (batch, head, time, feature). ``blocks.b.hidden`` gives the hidden units of the perceptron.

    References
    ----------
    Radford et al. (2019), Language models are unsupervised multitask learners.

    Examples
    --------
    >>> net = CausalTransformer(20, 64, 32, heads=4, layers=2)
    >>> net(torch.arange(12).view(2, 6)).shape
    torch.Size([2, 6, 20])
    """

    def __init__(
        self,
        n_tokens: int,
        n_places: int,
        width: int,
        *,
        heads: int,
        layers: int,
        head_width: int | None = None,
        neurons: int | None = None,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(width, heads, layers) < 1 or (head_width is None and width % heads):
            raise InvalidArgument(
                f"width, heads and layers must be 1 or more and heads divide the width, "
                f"not {width}, {heads}, {layers}"
            )
        each = width // heads if head_width is None else head_width
        hidden = 4 * width if neurons is None else neurons
        if min(each, hidden) < 1:
            raise InvalidArgument(
                f"head_width and neurons must be 1 or more, not {each} and {hidden}"
            )
        self.embed = TokenEmbedding(n_tokens, n_places, width, seed=seed)
        for parameter in self.embed.parameters():
            parameter.data *= 0.02  # as GPT-2 begins
        with private_randomness(derive(seed, "CausalTransformer")):
            self.blocks = nn.ModuleList(
                _Block(width, heads, each, hidden, norm) for _ in range(layers)
            )
            self.norm, self.unembed = norm(width), nn.Linear(width, n_tokens, bias=False)

    def forward(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time token"]:
        """Scores of what comes next.

        Parameters
        ----------
        tokens : Int[Tensor, "batch time"]
            Whole numbers below `n_tokens`, at most `n_places` in a row.

        Returns
        -------
        Float[Tensor, "batch time token"]
            Scores before the softmax, after every token.
        """
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.unembed(self.norm(x))

    @torch.no_grad()
    def neurons(
        self, tokens: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "layer batch time neuron"]:
        """Activity of the perceptrons' hidden units.

        Parameters
        ----------
        tokens : Int[Tensor, "batch time"]
            As in `forward`.

        Returns
        -------
        Float[Tensor, "layer batch time neuron"]
            After the GELU.
        """
        x, found = self.embed(tokens), []
        for block in self.blocks:
            x, hidden = block.both(x)  # type: ignore[operator]
            found.append(hidden)
        return torch.stack(found)


class _Block(nn.Module):
    def __init__(
        self, width: int, heads: int, each: int, neurons: int, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = norm(width), norm(width)
        self.query_key_value = nn.Linear(width, 3 * heads * each)
        self.query, self.key, self.value = nn.Identity(), nn.Identity(), nn.Identity()
        self.head = nn.Identity()
        self.project = nn.Linear(heads * each, width)
        self.widen, self.narrow = nn.Linear(width, neurons), nn.Linear(neurons, width)
        self.hidden = nn.GELU()

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x after the block, and the hidden units of its perceptron."""
        parts = self.query_key_value(self.first(x)).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (batch, head, time, part)
        q, k, v = self.query(q), self.key(k), self.value(v)
        a = self.head(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        x = x + self.project(a.transpose(1, 2).flatten(2))
        hidden = self.hidden(self.widen(self.second(x)))
        return x + self.narrow(hidden), hidden

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[0]
