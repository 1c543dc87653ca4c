"""What drives a feature of a transcoder in one input: earlier features, heads and the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Layer, Vectors
from bregma.mechanism.dictionaries._autoencoder import SparseAutoencoder
from bregma.mechanism.dictionaries._contributions import Contributions, Part, joined, made
from bregma.mechanism.dictionaries._feature_weights import as_transcoder, values_to_stream
from bregma.mechanism.dictionaries._linear_norm import LinearNorm, linear_norm
from bregma.run._evaluating import evaluating

FOLLOWED = ("feature", "head")  # kinds of parts that are driven by others


@dataclass(frozen=True)
class StreamReading:
    """A number that is read from the stream of a token: vector . stream + constant.

    Parameters
    ----------
    vector : Tensor (width,)
        What is read.
    constant : float
        What is added.
    token : int
        Whose stream.
    place : int
        How many sublayers have written: twice the layer, and 1 more if its heads have.
    """

    vector: Float[Tensor, " width"]
    constant: float
    token: int
    place: int


@dataclass(frozen=True)
class _Seen:
    """What one layer did."""

    layer: Layer
    attention_norm: LinearNorm
    attention_scale: Float[Tensor, " token"]
    pattern: Float[Tensor, "head query key"]
    sent: Float[Tensor, "head key width"]
    norm: LinearNorm
    scale: Float[Tensor, " token"]
    transcoder: SparseAutoencoder | None
    pre: Float[Tensor, "token feature"]
    code: Float[Tensor, "token feature"]
    rest: Float[Tensor, "token width"]


class FeatureTrace:
    r"""One input on its way through a transformer, in which transcoders stand for perceptrons.

    The drive of feature j of layer m at token t is e_j . norm(x_t) + c_j, and the stream x_t is the
    sum of what was written to it. With the scale s_t of the norm held at what it is, the drive is
    the sum of what each part adds, exactly:

    - feature i of an earlier layer: z_i (d_i . p), where p = gain * e_j / s_t, centred as the norm;
    - head h from token s: a_ts (W_V W_O p) . norm(x_s), with the attention a_ts held as well;
    - the embedding, biases, and the rest of each perceptron: what its transcoder misses, or all it
      writes where it has none.

    What drives a head or an earlier feature is found in the same way, by following the vector
    that reads it back; `feature_circuit` does so in search of the strongest paths.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer of a known family; see `TransformerGraph`.
    transcoders : mapping of int to SparseAutoencoder
        Transcoders by the layers whose perceptrons they stand in for.
    inputs : Tensor (token,) or (channel, row, column)
        One prompt or image.

    Raises
    ------
    InvalidArgument
        The model is of no known family, or a transcoder does not fit.

    References
    ----------
    Dunefsky, Chlenski and Nanda (2024), Transcoders find interpretable LLM feature circuits.
    """

    @torch.no_grad()
    def __init__(
        self, model: Any, transcoders: Mapping[int, SparseAutoencoder], inputs: Tensor
    ) -> None:
        self._seen: list[_Seen] = []
        with as_stream(model, inputs[None]) as stream:
            for number in transcoders:
                if not 0 <= number < len(stream.layers) or stream.layers[number].mlp is None:
                    raise InvalidArgument(f"layer {number} has no perceptron to be stood in for")
            x = stream.embed(inputs[None])
            self._embedded = x[0]
            for number, layer in enumerate(stream.layers):
                seen, x = _observe(layer, x, transcoders.get(number))
                self._seen.append(seen)

    @property
    def n_tokens(self) -> int:
        """How many tokens the input has."""
        return len(self._embedded)

    def active(self, layer: int) -> Float[Tensor, "token feature"]:
        """The code of a layer.

        Parameters
        ----------
        layer : int
            One with a transcoder.

        Returns
        -------
        Tensor (token, feature)
            0 or more.

        Raises
        ------
        UnknownName
            If the layer has no transcoder.
        """
        return self._of(layer).code

    @torch.no_grad()
    def reading(self, layer: int, token: int, feature: int) -> StreamReading:
        """The drive of a feature, before the code makes it sparse.

        Parameters
        ----------
        layer, token, feature : int
            Which one; tokens may be counted from the end.

        Returns
        -------
        StreamReading
            What its encoder reads from the stream.

        Raises
        ------
        UnknownName
            If the layer has no transcoder.
        InvalidArgument
            If there is no such token or feature.
        """
        seen, n = self._of(layer), self.n_tokens
        if not -n <= token < n or not 0 <= feature < seen.code.shape[1]:
            raise InvalidArgument(
                f"there is no token {token} or feature {feature}: layer {layer} has {n} tokens and "
                f"{seen.code.shape[1]} features"
            )
        token %= n
        encoder = seen.transcoder.encoder  # type: ignore[union-attr]
        row = encoder.weight[feature].detach()  # type: ignore[union-attr]
        return StreamReading(
            seen.norm.pull(row) / seen.scale[token],
            float(row @ seen.norm.bias + encoder.bias[feature]),  # type: ignore[union-attr]
            token,
            2 * layer + (not seen.layer.parallel),
        )

    @torch.no_grad()
    def contributions(self, reading: StreamReading) -> Contributions:
        """What each part that has written so far adds to a reading.

        Parameters
        ----------
        reading : StreamReading
            What is read.

        Returns
        -------
        Contributions
            Of each part; they sum to the reading.
        """
        p, t, n = reading.vector, reading.token, self.n_tokens
        constant = reading.constant
        found = [made("embed", -1, t, -1, self._embedded[t] @ p)]
        for number, seen in enumerate(self._seen[: (reading.place + 1) // 2]):
            each = seen.pattern[:, t] * (seen.sent @ p)  # (head, key)
            keys, heads = np.tile(np.arange(n), len(each)), np.repeat(np.arange(len(each)), n)
            found.append(made("head", number, keys, heads, each.flatten()))
            if seen.layer.attention.bias is not None:
                constant += float(seen.layer.attention.bias @ p)
            if 2 * number + 2 > reading.place or seen.layer.mlp is None:
                continue
            found.append(made("rest", number, t, -1, seen.rest[t] @ p))
            if seen.transcoder is not None:
                constant += float(seen.transcoder.bias @ p)
                on = seen.code[t].nonzero()[:, 0]
                each = seen.code[t, on] * (seen.transcoder.decoder[on] @ p)
                found.append(made("feature", number, t, on.cpu().numpy(), each))
        found.append(made("bias", -1, -1, -1, torch.tensor(constant)))
        return joined(found)

    @torch.no_grad()
    def behind(self, reading: StreamReading, part: Part) -> StreamReading:
        """What a feature or head adds to a reading, as a reading of the stream that drives it.

        Parameters
        ----------
        reading : StreamReading
            What it adds to.
        part : Part
            A feature that is on, or a head.

        Returns
        -------
        StreamReading
            Its contributions sum to the contribution of the part.

        Raises
        ------
        InvalidArgument
            If the part is driven by nothing that could be followed.
        """
        p, t = reading.vector, reading.token
        if part.kind not in FOLLOWED:
            raise InvalidArgument(f"nothing is behind {part}: only features and heads are followed")
        seen = self._seen[part.layer]
        if part.kind == "feature":
            drive = self.reading(part.layer, part.token, part.index)
            # Codes are the drive itself where a feature is on, or a multiple of it.
            code, pre = (float(x[part.token, part.index]) for x in (seen.code, seen.pre))
            if code == 0:
                raise InvalidArgument(f"{part} is not on")
            by = float(seen.transcoder.decoder[part.index] @ p) * code / pre  # type: ignore[union-attr]
            return StreamReading(by * drive.vector, by * drive.constant, drive.token, drive.place)
        attention, key, head = seen.layer.attention, part.token, part.index
        attended = seen.pattern[head, t, key]
        v = attended * values_to_stream(attention, head, p)
        constant = v @ seen.attention_norm.bias
        if attention.value.bias is not None:
            bias = attention.value.bias[head * len(attention.value.bias) // attention.n_heads]
            constant = constant + attended * (bias @ attention.out[head] @ p)
        vector = seen.attention_norm.pull(v) / seen.attention_scale[key]
        return StreamReading(vector, float(constant), key, 2 * part.layer)

    def _of(self, layer: int) -> _Seen:
        there = {i: seen for i, seen in enumerate(self._seen) if seen.transcoder is not None}
        if layer not in there:
            raise UnknownName.of("layer with a transcoder", layer, there)
        return there[layer]


def _observe(
    layer: Layer, x: Vectors, transcoder: SparseAutoencoder | None
) -> tuple[_Seen, Vectors]:
    """What a layer does, and the stream behind it."""
    attention = layer.attention
    values = attention.value(attention.norm(x))
    sent = values.repeat_interleave(attention.n_heads // values.shape[1], 1) @ attention.out
    mid = x + attention.write(attention.read(x))
    seen_by_mlp = x if layer.parallel else mid
    rest = pre = code = torch.zeros_like(x)
    if layer.mlp is not None:
        y = layer.norm(seen_by_mlp)
        rest = layer.mlp(y)
        x_after = mid + rest
        if transcoder is not None:
            with evaluating(as_transcoder(transcoder, x.shape[-1])):
                pre, code = transcoder.encoder(y), transcoder.encode(y)  # type: ignore[misc]
                rest = rest - transcoder.decode(code)
    else:
        x_after = mid
    norms = linear_norm(attention.norm, x), linear_norm(layer.norm, x)
    return (
        _Seen(
            layer,
            norms[0],
            norms[0].scale(x[0]),
            attention.pattern(x)[0],
            sent[0],
            norms[1],
            norms[1].scale(seen_by_mlp[0]),
            transcoder,
            pre[0],
            code[0],
            rest[0],
        ),
        x_after,
    )
