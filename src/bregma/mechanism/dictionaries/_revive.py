"""New starts for features that are never on."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def replacements(
    dead: Bool[Tensor, " feature"], error: Float[Tensor, " sample"], rng: torch.Generator
) -> tuple[Int[Tensor, " new"], Int[Tensor, " new"]]:
    """Which features start anew, and from which samples: drawn by their squared error.

    Parameters
    ----------
    dead : Tensor (feature,)
        True where a feature is dead.
    error : Tensor (sample,)
        Squared errors.
    rng : torch.Generator
        Draws samples.

    Returns
    -------
    features, rows : Tensor (new,)
        Numbers of features and of samples; no more of them than samples with an error.
    """
    wanted = min(int(dead.sum()), int((error > 0).sum()))
    features = dead.nonzero()[:wanted, 0]
    if not wanted:
        return features, features
    rows = torch.multinomial(error.double().cpu(), wanted, generator=rng)
    return features, rows.to(error.device)


@torch.no_grad()
def revive(
    dictionary: Any,
    dead: Bool[Tensor, " feature"],
    x: Float[Tensor, "sample input"],
    y: Float[Tensor, "sample output"],
    rng: torch.Generator,
) -> Bool[Tensor, " feature"]:
    """Point dead features of a `SparseAutoencoder` at what is missing, in place.

    Samples are drawn by their squared error. The feature becomes the direction of what is left of
    the sample, and its row of the encoder the same (a transcoder's: the direction of the sample
    from the mean), as long as those of living features are on average. Thresholds and gains become
    the average ones.

    Parameters
    ----------
    dictionary : SparseAutoencoder
        Whose features.
    dead : Tensor (feature,)
        True where a feature is dead.
    x, y : Tensor (sample, number)
        Activity, and what to reconstruct or predict.
    rng : torch.Generator
        Draws samples.

    Returns
    -------
    Tensor (feature,)
        True where a feature got a new start: no more of them than samples with an error.
    """
    left = y - dictionary(x)
    error = left.square().sum(1)
    features, rows = replacements(dead, error, rng)
    new = torch.zeros_like(dead)
    new[features] = True
    if not len(features):
        return new
    alive = ~dead if bool((~dead).any()) else torch.ones_like(dead)
    dictionary.decoder[features] = left[rows] / error[rows, None].sqrt()
    if dictionary.encoder is not None:
        weight, bias = dictionary.encoder.weight, dictionary.encoder.bias
        mean = x.mean(0)
        along = x[rows] - mean if dictionary.transcodes else left[rows]
        length = weight[alive].norm(dim=1).mean()
        weight[features] = length * along / along.norm(dim=1, keepdim=True).clamp_min(1e-12)
        bias[features] = -(weight[features] @ mean) if dictionary.transcodes else 0.0
    for parameter in dictionary.code.parameters():
        parameter[features] = parameter[alive].mean()
    return new
