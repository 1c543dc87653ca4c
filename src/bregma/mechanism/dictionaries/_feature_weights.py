"""How features of transcoders are connected by the weights alone, whatever the input."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._read import stream_of
from bregma.mechanism.circuits._stream import Attention, Stream
from bregma.mechanism.dictionaries._autoencoder import SparseAutoencoder
from bregma.mechanism.dictionaries._linear_norm import linear_norm


@torch.no_grad()
def feature_weights(
    model: Any,
    sender: SparseAutoencoder,
    receiver: SparseAutoencoder,
    layer: int,
    *,
    head: tuple[int, int] | None = None,
) -> Float[Tensor, "sender receiver"]:
    r"""How much each feature of a perceptron drives each feature of a later one, by weights alone.

    w_ij = d_i . e_j, where d_i is what feature i writes and e_j what feature j reads (the row of
    its encoder, behind the gain and centring of the norm); through a head, d_i . W_V W_O e_j. What
    i adds to the drive of j in an input is z_i w_ij, divided by the scale of the norm of the token
    (and times the attention; see `FeatureTrace`).

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer of a known family.
    sender, receiver : SparseAutoencoder
        Transcoders.
    layer : int
        Whose perceptron `receiver` stands in for.
    head : (int, int), optional
        Layer and number of a head on the way.

    Returns
    -------
    Tensor (sender, receiver)
        Rows are features of `sender`.

    Raises
    ------
    InvalidArgument
        If it is no transcoder of this width, or there is no such layer or head before it.

    References
    ----------
    Dunefsky, Chlenski and Nanda (2024), Transcoders find interpretable LLM feature circuits.
    """
    reads = _reads(stream_of(model), receiver, layer, head)
    as_transcoder(sender, reads.shape[1])
    return sender.decoder @ reads.T


@torch.no_grad()
def de_embedding(
    model: Any,
    receiver: SparseAutoencoder,
    layer: int,
    tokens: Int[Tensor, " token"],
    *,
    head: tuple[int, int] | None = None,
) -> Float[Tensor, "token feature"]:
    """How much the embedding of each token drives each feature, by weights alone.

    The mean over the tokens is taken away, and with it whatever all of them share, such as a
    position.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A language model of a known family.
    receiver : SparseAutoencoder
        A transcoder.
    layer : int
        Whose perceptron it stands in for.
    tokens : Tensor (token,)
        Which tokens to compare, such as the whole vocabulary.
    head : (int, int), optional
        Layer and number of a head on the way.

    Returns
    -------
    Tensor (token, feature)
        Largest for the tokens that drive the feature most.

    Raises
    ------
    InvalidArgument
        If it is no transcoder of this width, or there is no such layer or head before it.

    References
    ----------
    Dunefsky, Chlenski and Nanda (2024), Transcoders find interpretable LLM feature circuits.
    """
    stream = stream_of(model)
    reads = _reads(stream, receiver, layer, head)
    if tokens.ndim != 1 or not len(tokens) or tokens.is_floating_point():
        raise InvalidArgument(f"tokens must be a list of whole numbers, not {tuple(tokens.shape)}")
    embedded = stream.embed(tokens[:, None])[:, 0]
    return (embedded - embedded.mean(0)) @ reads.T


def as_transcoder(dictionary: Any, width: int) -> SparseAutoencoder:
    """Refuse dictionaries that are not a perceptron from the stream to the stream.

    Parameters
    ----------
    dictionary : SparseAutoencoder
        The dictionary.
    width : int
        Of the stream.

    Returns
    -------
    SparseAutoencoder
        The same.

    Raises
    ------
    InvalidArgument
        If it is no transcoder of this width.
    """
    if not isinstance(dictionary, SparseAutoencoder) or not dictionary.transcodes:
        raise InvalidArgument(
            f"{type(dictionary).__name__} is no transcoder: features are connected by weights "
            "only if they read what the perceptron reads; make it with n_outputs="
        )
    if (dictionary.n_inputs, dictionary.n_outputs) != (width, width):
        raise InvalidArgument(
            f"a transcoder from {dictionary.n_inputs} to {dictionary.n_outputs} numbers does not "
            f"fit a stream of {width}"
        )
    return dictionary


def values_to_stream(
    attention: Attention, head: int, v: Float[Tensor, "*row width"]
) -> Float[Tensor, "*row width"]:
    """W_V W_O v: what a head would have to see, behind its norm, to write along v.

    Parameters
    ----------
    attention : Attention
        The heads of a layer.
    head : int
        Which one.
    v : Tensor (..., width)
        Directions of the stream.

    Returns
    -------
    Tensor (..., width)
        Directions of what the head reads.
    """
    weight = attention.value.weight
    group = head * weight.shape[1] // attention.n_heads
    return v @ attention.out[head].T @ weight[:, group].T


def _reads(
    stream: Stream, receiver: SparseAutoencoder, layer: int, head: tuple[int, int] | None
) -> Float[Tensor, "feature width"]:
    """What features read from the stream, or a head from it for them."""
    if not 0 <= layer < len(stream.layers):
        raise InvalidArgument(f"there is no layer {layer}: they are 0 to {len(stream.layers) - 1}")
    there = stream.layers[layer]
    weight = as_transcoder(receiver, there.attention.out.shape[-1]).encoder.weight  # type: ignore[union-attr]
    reads = linear_norm(there.norm, weight).pull(weight)
    if head is None:
        return reads
    on_the_way, number = head
    last = layer - there.parallel
    if not 0 <= on_the_way <= last or not 0 <= number < stream.layers[on_the_way].attention.n_heads:
        raise InvalidArgument(
            f"head={head} must be (layer, number) of a head that writes before the perceptron of "
            f"layer {layer} reads"
        )
    attention = stream.layers[on_the_way].attention
    return linear_norm(attention.norm, weight).pull(values_to_stream(attention, number, reads))
