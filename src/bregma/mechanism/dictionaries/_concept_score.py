"""How much more a feature is there where a concept is than where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._arrays import finite_array

LEAST = 0.01  # mean cosines below count as this much, so that the logarithm exists


def concept_score(features: Any, activating: Any, neutral: Any) -> Float[np.ndarray, " feature"]:
    r"""log of the mean cosine with samples of a concept over that with neutral samples.

    Of a text with several tokens the largest cosine counts. Means below 0.01 count as 0.01:
    scores are between -4.6 and 4.6, and 0 for a feature that tells nothing.

    Parameters
    ----------
    features : array or Tensor (feature, unit)
        Directions, such as ``SemiNMF.components_`` or the decoder of an autoencoder.
    activating : array or Tensor (sample, unit) or (text, token, unit)
        Activity with the concept.
    neutral : array or Tensor (sample, unit) or (text, token, unit)
        Activity without it.

    Returns
    -------
    array (feature,)
        Above 0 where a feature stands for the concept.

    Raises
    ------
    InvalidArgument
        If shapes do not fit, or something is empty or not finite.

    References
    ----------
    Shafran, Geiger and Geva (2025), Decomposing MLP activations into interpretable features via
    semi-nonnegative matrix factorization.

    Examples
    --------
    >>> concept_score(np.eye(2), [[1.0, 0.0]], [[0.6, 0.8]]).round(2).tolist()
    [0.51, -4.38]
    """
    directions = finite_array(features, "features")
    with_it, without = (
        _mean_cosine(directions, finite_array(x, name, (2, 3)))
        for x, name in ((activating, "activating"), (neutral, "neutral"))
    )
    return np.log(np.maximum(with_it, LEAST) / np.maximum(without, LEAST))


def _mean_cosine(
    directions: Float[np.ndarray, "feature unit"], x: Float[np.ndarray, "*sample length"]
) -> Float[np.ndarray, " feature"]:
    if x.shape[-1] != directions.shape[1]:
        raise InvalidArgument(
            f"samples of {x.shape[-1]} units do not fit features of {directions.shape[1]}"
        )
    cosine = _unit(x) @ _unit(directions).T
    return (cosine.max(1) if cosine.ndim == 3 else cosine).mean(0)


def _unit(x: Float[np.ndarray, "*row unit"]) -> Float[np.ndarray, "*row unit"]:
    return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-12)
