"""Attention without a softmax: a matrix of fast weights, written by the past and read by now."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument


def linear_attention(
    queries: Float[Tensor, "*#batch time unit"],
    keys: Float[Tensor, "*#batch time unit"],
    values: Float[Tensor, "*#batch time value"],
    weights: Float[Tensor, "*#batch unit value"] | None = None,
    *,
    chunk: int = 64,
) -> tuple[Float[Tensor, "*batch time value"], Float[Tensor, "*batch unit value"]]:
    """What each moment reads from the moments before it, and the fast weights that they leave.

    a_t = sum over s < t of (q_t . k_s) v_s, without any scaling, which is q_t W_{t-1} with
    W_t = W_{t-1} + k_t^T v_t: Hebbian learning of fast weights. Inside a chunk the first form is
    computed, between chunks the second one.

    Parameters
    ----------
    queries, keys : Float[Tensor, "*#batch time unit"]
        What asks, and what is asked. Dimensions in front are broadcast.
    values : Float[Tensor, "*#batch time value"]
        What is answered.
    weights : Float[Tensor, "*#batch unit value"], optional
        Fast weights to begin with; zeros if there are none.
    chunk : int
        Moments that are taken at once: 1 is the recurrent form, and as many as there are the
        parallel one. Memory grows with time x chunk, work with time x (chunk + unit).

    Returns
    -------
    (Float[Tensor, "*batch time value"], Float[Tensor, "*batch unit value"])
        What is read at every moment, and the fast weights after the last one.

    Raises
    ------
    InvalidArgument
        Shapes that do not fit, no moment at all, or chunks of less than one.

    References
    ----------
    Katharopoulos et al. (2020), Transformers are RNNs. arXiv:2006.16236.
    Schlag, Irie and Schmidhuber (2021), Linear transformers are secretly fast weight programmers.
    arXiv:2102.11174.

    Examples
    --------
    >>> x, v = torch.eye(2)[[0, 1, 0]], torch.tensor([[5.0], [7.0], [9.0]])
    >>> read, weights = linear_attention(x, x, v)
    >>> read[:, 0], weights[:, 0]
    (tensor([0., 0., 5.]), tensor([14.,  7.]))
    """
    if chunk < 1 or not queries.shape[-2] == keys.shape[-2] == values.shape[-2] > 0:
        raise InvalidArgument(
            f"queries, keys and values need one common time of 1 or more and chunk 1 or more, not "
            f"{tuple(queries.shape)}, {tuple(keys.shape)}, {tuple(values.shape)} and {chunk}"
        )
    if queries.shape[-1] != keys.shape[-1]:
        raise InvalidArgument(
            f"queries of {queries.shape[-1]} units do not fit keys of {keys.shape[-1]}"
        )
    read = []
    for q, k, v in zip(*(x.split(chunk, -2) for x in (queries, keys, values)), strict=True):
        here = (q @ k.mT).tril(-1) @ v  # strictly before: nothing reads itself
        read.append(here if weights is None else here + q @ weights)
        written = k.mT @ v
        weights = written if weights is None else weights + written
    return torch.cat(read, -2), weights  # type: ignore[return-value]
