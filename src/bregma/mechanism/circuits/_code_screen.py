"""Which heads say something on some prompts that they never say on others, by discrete codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._attend import head_names
from bregma.mechanism.circuits._contrast import Pairs, batches
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.dictionaries._autoencoder import SparseAutoencoder
from bregma.mechanism.dictionaries._codes import ReLUCode
from bregma.mechanism.dictionaries._fit_dictionary import fit_dictionary
from bregma.run import derive

Codes = Int[np.ndarray, "example head"]


@dataclass(frozen=True)
class CodeScreen:
    """Codes of heads, and how many of them belong to one kind of prompts alone.

    Parameters
    ----------
    codes : DataArray (example, head)
        Number of the strongest feature of what each head writes; clean prompts come first.
    scores : DataArray (head)
        Codes that a head has on clean and never on corrupt prompts, as a share of all it has.
    pairs : DataArray (head, other)
        The same for codes that two heads have at the same time.
    """

    codes: xr.DataArray
    scores: xr.DataArray
    pairs: xr.DataArray


def screen_heads(
    model: Any,
    pairs: Pairs,
    *,
    at: str = "answer",
    n_features: int = 200,
    l1: float | int = 0.05,
    epochs: int = 500,
    batch_size: int = 32,
    seed: int,
) -> CodeScreen:
    """Look for heads of a circuit in what they write, without any intervention.

    One sparse autoencoder learns what all heads write for clean and corrupt prompts, the number of
    its strongest feature is a head's code for a prompt, and a head is suspected where it has codes
    for clean prompts that it never has for corrupt ones. That is correlation: confirm what is
    found by patching.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    pairs : PromptPairs or Contrast
        Clean prompts, which the model can answer, and corrupt ones, where there is nothing to
        answer. They must not differ in anything else: heads that see other words have other codes.
    at : {"answer", "mean"}
        What a head writes at the token where the answer is read, or on average over tokens.
    n_features, l1, epochs
        Of the autoencoder (features, weight of the cost) and of its training.
    batch_size : int
        Prompts at a time through the model.
    seed : int
        Of what is random in the autoencoder.

    Returns
    -------
    CodeScreen
        Codes and scores.

    Raises
    ------
    InvalidArgument
        No such place, or a number out of range.

    References
    ----------
    O'Neill and Bui (2024), Sparse autoencoders enable scalable and reliable circuit identification
    in language models.

    Examples
    --------
    >>> from bregma.datasets import indirect_object
    >>> from bregma.nn import CausalTransformer
    >>> pairs = indirect_object(4, seed=0)
    >>> net = CausalTransformer(len(pairs.words), 15, 16, heads=2, layers=2)
    >>> screen_heads(net, pairs, epochs=5, seed=0).scores.sizes
    Frozen({'head': 4})
    """
    both = torch.cat([torch.as_tensor(pairs.clean), torch.as_tensor(pairs.corrupt)])
    outputs = head_outputs(model, both, at=at, batch_size=batch_size)
    codes = head_codes(outputs.values, n_features=n_features, l1=l1, epochs=epochs, seed=seed)
    positive = np.arange(len(both)) < len(pairs)
    names = outputs["head"].values.tolist()
    return CodeScreen(
        outputs[..., 0].copy(data=codes),
        xr.DataArray(code_scores(codes, positive), dims=["head"], coords={"head": names}),
        xr.DataArray(
            code_pair_scores(codes, positive),
            dims=["head", "other"],
            coords={"head": names, "other": names},
        ),
    )


def head_outputs(
    model: Any, inputs: Tensor, *, at: str = "answer", batch_size: int = 32
) -> xr.DataArray:
    """What every head writes to the stream.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    inputs : Tensor (example, ...)
        Tokens or images.
    at : {"answer", "mean"}
        At the token where the answer is read, or on average over tokens.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    DataArray (example, head, feature)
        Vectors of the width of the stream.

    Raises
    ------
    InvalidArgument
        No such place, or a model that reads its answer at all tokens.
    """
    if at not in ("answer", "mean"):
        raise InvalidArgument(f"at is 'answer' or 'mean', not {at!r}")
    with as_stream(model, inputs) as stream:
        if at == "answer" and stream.place is None:
            raise InvalidArgument("the model reads its answer at all tokens: use at='mean'")
        found = list[Tensor]()
        for rows in batches(len(inputs), batch_size):
            x, written = stream.embed(inputs[rows]), list[Tensor]()
            for layer in stream.layers:
                z = layer.attention.read(x)
                seen = z if at == "mean" else z[:, :, [stream.place]]
                written.append(layer.attention.write_apart(seen).mean(2))
                x = layer.after_heads(x, layer.attention.write(z))
            found.append(torch.cat(written, 1).double().cpu())
        heads = head_names(stream)
    return xr.DataArray(
        torch.cat(found).numpy(), dims=["example", "head", "feature"], coords={"head": heads}
    )


def head_codes(
    outputs: Float[np.ndarray, "example head feature"],
    *,
    n_features: int = 200,
    l1: float | int = 0.05,
    epochs: int = 500,
    learn_from: Bool[np.ndarray, " example"] | None = None,
    seed: int,
) -> Codes:
    """A whole number for what each part writes: its strongest feature in a shared dictionary.

    What a part writes is taken relative to its mean and in units of its typical length, so that
    large parts do not take all features.

    Parameters
    ----------
    outputs : array (example, head, feature)
        Vectors of parts of any kind.
    n_features, l1, epochs
        Of the autoencoder and of its training, by Adam on all vectors at once.
    learn_from : bool array (example,), optional
        Examples that the autoencoder is trained on; all without.
    seed : int
        Draws its first features.

    Returns
    -------
    int array (example, head)
        Numbers from 0 to `n_features` - 1; -1 where no feature is on.

    Raises
    ------
    InvalidArgument
        Values that are not finite, fewer than 2 examples to learn from, a number out of range.
    """
    x = np.asarray(outputs, dtype=np.float64)
    seen = np.ones(len(x), bool) if learn_from is None else learn_from
    if x.ndim != 3 or 0 in x.shape or not np.isfinite(x).all() or seen.sum() < 2:
        raise InvalidArgument(
            "outputs must be finite numbers (example, head, feature) with 2 examples or more to "
            f"learn from, not of the shape {x.shape}"
        )
    x = x - x[seen].mean(0)
    lengths = np.sqrt(np.square(x[seen]).sum(2).mean(0))
    # What hardly varies is left as small as it is: noise of rounding has no code.
    x = x / np.maximum(lengths, 1e-6 * lengths.max() + 1e-300)[:, None]
    samples = x[seen].reshape(-1, x.shape[2]).astype(np.float32)
    dictionary = SparseAutoencoder(
        x.shape[2], n_features, ReLUCode(float(l1)), seed=derive(seed, "head codes")
    )
    if epochs:
        fit_dictionary(
            dictionary, samples, epochs=epochs, batch_size=len(samples), dead_after=None, seed=seed
        )
    with torch.no_grad():
        features = dictionary.encode(torch.from_numpy(x.astype(np.float32)))
    strongest, which = features.max(-1)
    return torch.where(strongest > 0, which, -1).numpy()


def code_scores(codes: Codes, positive: Bool[np.ndarray, " example"]) -> Float[np.ndarray, " head"]:
    """Codes that each head has on positive examples and on no other, as a share of all it has.

    Parameters
    ----------
    codes : int array (example, head)
        Code of each head for each example.
    positive : bool array (example,)
        Which examples are positive.

    Returns
    -------
    array (head,)
        From 0 to 1.

    Raises
    ------
    InvalidArgument
        Examples of one kind only, or other numbers of them.
    """
    _check(codes, positive)
    return np.array([_share(own[positive], own[~positive]) for own in codes.T])


def code_pair_scores(
    codes: Codes, positive: Bool[np.ndarray, " example"]
) -> Float[np.ndarray, "head head"]:
    """The same for codes that two heads have in the same example: a first guess at edges.

    Parameters
    ----------
    codes : int array (example, head)
        Code of each head for each example.
    positive : bool array (example,)
        Which examples are positive.

    Returns
    -------
    array (head, head)
        Symmetric, from 0 to 1; 0 on the diagonal.

    Raises
    ------
    InvalidArgument
        Examples of one kind only, or other numbers of them.
    """
    _check(codes, positive)
    n, most = codes.shape[1], int(codes.max()) + 2
    scores = np.zeros((n, n))
    for i in range(n):
        for j in range(i):
            both = (codes[:, i] + 1) * most + codes[:, j] + 1
            scores[i, j] = scores[j, i] = _share(both[positive], both[~positive])
    return scores


def _share(positive: Int[np.ndarray, " n"], negative: Int[np.ndarray, " m"]) -> float:
    ours, theirs = set(positive.tolist()), set(negative.tolist())
    return len(ours - theirs) / len(ours | theirs)


def _check(codes: Codes, positive: Bool[np.ndarray, " example"]) -> None:
    if len(codes) != len(positive) or not positive.any() or positive.all():
        raise InvalidArgument(
            f"{len(codes)} examples need one mark each that says which are positive, some and not "
            f"all of them; {int(np.sum(positive))} of {len(positive)} are marked"
        )
