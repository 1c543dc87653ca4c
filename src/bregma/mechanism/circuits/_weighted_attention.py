"""Where heads look, weighted by how much they get from there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._attend import head_names, values_of
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._read import as_stream


def weighted_attention(model: Any, inputs: Tensor, *, batch_size: int = 8) -> xr.DataArray:
    r"""How much each head gathers from each token for the answer.

    .. math:: w_s = a_{ts} \, \lVert v_s W_O \rVert

    for the token t where the answer is read. Heads that have nothing to do look at the first
    token, whose values are short: with attention alone they seem to be the busiest.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    inputs : Tensor (input, ...)
        Tokens or images.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    DataArray (input, head, key)
        The length of what each head (``"7.h3"``) writes from each token, by itself.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer, or reads its answer at all tokens.

    References
    ----------
    Kobayashi, Kuribayashi, Yokoi and Inui (2020), Attention is not only a weight: analyzing
    transformers with vector norms.

    Examples
    --------
    >>> from bregma.nn import CausalTransformer
    >>> net = CausalTransformer(5, 4, 8, heads=2, layers=1)
    >>> dict(weighted_attention(net, torch.tensor([[0, 1, 2, 3]])).sizes)
    {'input': 1, 'head': 2, 'key': 4}
    """
    found = []
    with as_stream(model, inputs) as stream:
        if stream.place is None:
            raise InvalidArgument("the model reads its answer at all tokens: there is no one row")
        heads = head_names(stream)
        for rows in batches(len(inputs), batch_size):
            x, seen = stream.embed(inputs[rows]), []
            for layer in stream.layers:
                attention = layer.attention
                written = attention.write_apart(values_of(layer, x)).norm(dim=-1)
                seen.append(attention.pattern(x)[:, :, stream.place] * written)
                x = layer.advance(x)
            found.append(torch.cat(seen, 1).double().cpu())
    values = torch.cat(found).numpy()
    return xr.DataArray(
        values,
        dims=["input", "head", "key"],
        coords={"input": np.arange(len(values)), "head": heads, "key": np.arange(values.shape[2])},
    )
