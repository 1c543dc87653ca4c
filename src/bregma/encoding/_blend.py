"""One prediction from several: weights for each unit from how well each model did before."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from bregma.errors import InvalidArgument


def blend(
    predictions: Float[np.ndarray, "model stimulus unit"],
    scores: Float[np.ndarray, "model unit"],
    *,
    sharpness: float = 40.0,
) -> Float[np.ndarray, "stimulus unit"]:
    """Average predictions of several models with the weights softmax(sharpness * scores).

    Models may read different layers of a backbone: units of early areas then follow early layers.

    Parameters
    ----------
    predictions : Float[np.ndarray, "model stimulus unit"]
        What each model predicts.
    scores : Float[np.ndarray, "model unit"]
        How well each model predicted each unit on stimuli that are not predicted here and that
        the model was not fitted to, such as `TokenRegressor.validation_scores_`.
    sharpness : float
        0 for the plain mean; large values take the best model alone.

    Returns
    -------
    Float[np.ndarray, "stimulus unit"]
        The weighted average.

    Raises
    ------
    InvalidArgument
        If shapes do not fit, numbers are not finite, or the sharpness is negative.

    References
    ----------
    Adeli, Sun and Kriegeskorte (2025), Transformer brain encoders explain human high-level visual
    responses. arXiv:2505.17329.

    Examples
    --------
    >>> blend(np.array([[[0.0]], [[1.0]]]), np.array([[0.5], [0.5]]))
    array([[0.5]])
    """
    if predictions.ndim != 3 or scores.shape != (len(predictions), predictions.shape[2]):
        raise InvalidArgument(
            f"predictions (model, stimulus, unit) {predictions.shape} do not fit scores "
            f"(model, unit) {scores.shape}"
        )
    if not (np.isfinite(predictions).all() and np.isfinite(scores).all()) or sharpness < 0:
        raise InvalidArgument("predictions and scores must be finite, and sharpness 0 or more")
    return np.einsum("mu,msu->su", softmax(sharpness * scores, axis=0), predictions)
