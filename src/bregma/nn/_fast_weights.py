"""A sequence model of many sparse neurons, whose memory is the matrix of their synapses."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.nn._linear_attention import linear_attention
from bregma.nn._rotary import Rotary
from bregma.nn._token_embedding import check_tokens
from bregma.run import spawn_torch

STD = 0.02  # of all first weights


class FastWeights(NamedTuple):
    """What a `FastWeightNetwork` remembers.

    Parameters
    ----------
    strength : Tensor (layer, batch, head, neuron, width)
        Fast weights, in the frame that turns with time.
    time : int
        How many tokens they are made of.
    """

    strength: Tensor
    time: int


class Reading(NamedTuple):
    """What went on while a `FastWeightNetwork` read.

    Parameters
    ----------
    logits : Tensor (batch, time, token)
        Scores of what comes next.
    x : Tensor (layer, batch, head, time, neuron)
        Activity of the neurons that write and read the synapses.
    y : Tensor (layer, batch, head, time, neuron)
        Activity of the neurons that the synapses lead to.
    weights : FastWeights
        The memory after the last token.
    """

    logits: Tensor
    x: Tensor
    y: Tensor
    weights: FastWeights


class FastWeightNetwork(nn.Module):
    """Predict a sequence with sparse positive neurons and Hebbian fast weights.

    All layers share their weights. With R_t a rotation of neighbouring neurons and LN the layer
    norm without parameters, each one does, in every head::

        x = relu(v E_x)                         neurons, many more than v is wide
        a_t = sum_{s<t} (R_t x_t . R_s x_s) v_s     what the synapses recall: no softmax
        y = relu(LN(a) E_y) * x
        v = LN(v + LN(y D))

    The sum is kept as fast weights of the shape (neuron, width): the state of a sequence has
    always the same size, and reading may be cut into pieces anywhere.

    Parameters
    ----------
    n_tokens : int
        How many different tokens.
    width : int
        Length of v.
    neurons : int
        How many neurons, over all heads.
    heads, layers : int
        Heads share the neurons; layers share the weights.
    gate : callable
        ``gate(y, x)``: how the activity that is recalled meets the present one.
    dropout : float
        Share of y that is left out in training.
    chunk : int
        Tokens that are taken at once, see `linear_attention`; it changes nothing but the speed.
    seed : int
        Of the first weights.

    Attributes
    ----------
    encode, recall : Parameter (head, width, neuron)
        E_x and E_y.
    decode : Parameter (head, neuron, width)
        D.

    Raises
    ------
    InvalidArgument
        A number below 1, or heads that do not leave an even number of neurons each.

    References
    ----------
    Kosowski et al. (2025), The dragon hatchling: the missing link between the transformer and
    models of the brain. arXiv:2509.26507.

    Examples
    --------
    >>> net = FastWeightNetwork(20, width=16, neurons=64, heads=2, layers=2)
    >>> tokens = torch.arange(12).view(2, 6)
    >>> whole = net.read(tokens)
    >>> whole.logits.shape, whole.y.shape
    (torch.Size([2, 6, 20]), torch.Size([2, 2, 2, 6, 32]))
    >>> start = net.read(tokens[:, :4])
    >>> rest = net.read(tokens[:, 4:], start.weights)
    >>> torch.allclose(rest.logits, whole.logits[:, 4:], atol=1e-5)
    True
    """

    def __init__(
        self,
        n_tokens: int,
        *,
        width: int,
        neurons: int,
        heads: int,
        layers: int,
        gate: Callable[[Tensor, Tensor], Tensor] = torch.mul,
        dropout: float = 0.0,
        chunk: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(n_tokens, width, neurons, heads, layers) < 1:
            raise InvalidArgument(
                "n_tokens, width, neurons, heads and layers must be 1 or more, "
                f"not {n_tokens}, {width}, {neurons}, {heads}, {layers}"
            )
        if neurons % (2 * heads):
            raise InvalidArgument(
                f"{heads} heads need an even number of neurons each, not {neurons}/{heads}"
            )
        self.n_tokens, self.layers, self.gate, self.chunk = n_tokens, layers, gate, chunk
        rng = spawn_torch(seed, "FastWeightNetwork")

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(STD * torch.randn(shape, generator=rng))

        self.embed, self.unembed = drawn(n_tokens, width), drawn(width, n_tokens)
        self.encode, self.recall = (drawn(heads, width, neurons // heads) for _ in "xy")
        self.decode = drawn(heads, neurons // heads, width)
        self.rotation, self.dropout = Rotary(neurons // heads), nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time token"]:
        """Scores of what comes next.

        Parameters
        ----------
        tokens : Int[Tensor, "batch time"]
            Whole numbers below `n_tokens`.

        Returns
        -------
        Float[Tensor, "batch time token"]
            Scores before the softmax, after every token.
        """
        return self.read(tokens).logits

    def read(
        self, tokens: Int[Tensor, "batch time"], weights: FastWeights | None = None
    ) -> Reading:
        """Read on, and keep what went on.

        Parameters
        ----------
        tokens : Int[Tensor, "batch time"]
            Whole numbers below `n_tokens`.
        weights : FastWeights, optional
            What an earlier piece of the same sequences left; without it, they begin here.

        Returns
        -------
        Reading
            Scores, activity and the memory to go on from.

        Raises
        ------
        InvalidArgument
            Tokens that are none, no token at all, or a memory of other sequences.
        """
        self._check(tokens, weights)
        before = 0 if weights is None else weights.time
        times = before + torch.arange(tokens.shape[1], device=tokens.device)
        v = _norm(nn.functional.embedding(tokens, self.embed))[:, None]  # (batch, 1, time, width)
        xs, ys, written = [], [], []
        for layer in range(self.layers):
            x = (v @ self.encode).relu()
            turned = self.rotation(x, times)
            earlier = None if weights is None else weights.strength[layer]
            a, after = linear_attention(turned, turned, v, earlier, chunk=self.chunk)
            y = self.gate((_norm(a) @ self.recall).relu(), x)
            back = (self.dropout(y) @ self.decode).sum(1, keepdim=True)
            v = _norm(v + _norm(back))
            xs.append(x)
            ys.append(y)
            written.append(after)
        left = FastWeights(torch.stack(written), before + tokens.shape[1])
        return Reading(v[:, 0] @ self.unembed, torch.stack(xs), torch.stack(ys), left)

    def synapses(
        self, weights: FastWeights
    ) -> Float[Tensor, "layer batch head neuron_from neuron_to"]:
        """The memory as weights from every neuron x to every neuron y of its head.

        Parameters
        ----------
        weights : FastWeights
            What `read` returned.

        Returns
        -------
        Float[Tensor, "layer batch head neuron_from neuron_to"]
            How strongly a neuron that is active in the next moment drives each other one.
        """
        # The fast weights of neuron i turn with time: turn them back to where neuron i is next.
        turned = weights.strength.mT
        back = torch.full(turned.shape[-2:-1], -weights.time, device=turned.device)
        return self.rotation(turned, back).mT @ self.recall

    def _check(self, tokens: Tensor, weights: FastWeights | None) -> None:
        if tokens.ndim != 2 or 0 in tokens.shape:
            raise InvalidArgument(f"tokens must be (batch, time), not {tuple(tokens.shape)}")
        check_tokens(tokens, self.n_tokens)
        if weights is not None:
            heads, width, size = self.encode.shape
            wanted = (self.layers, len(tokens), heads, size, width)
            if weights.strength.shape != wanted:
                raise InvalidArgument(
                    f"the memory of these sequences has the shape {wanted}, "
                    f"not {tuple(weights.strength.shape)}"
                )


def _norm(x: Tensor) -> Tensor:
    return nn.functional.layer_norm(x, x.shape[-1:])
