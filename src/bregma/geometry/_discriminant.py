"""Linear discriminants of many arrangements of labels at once, with a shrunk covariance.

What does not depend on the labels is computed once for each fold: the total covariance S_T of the
training epochs and its eigenvectors, in whose coordinates S_T is diagonal. For any labels the
covariance within classes is S_w = S_T - M D M', with the class means M and the shares of the
classes on the diagonal of D; its trace and norm give the amount of Ledoit-Wolf shrinkage, and the
Woodbury identity its inverse. So a permutation costs a few small products and no inverse, and is
exactly the analysis that its labels would have given, shrinkage included.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from bregma.errors import InvalidArgument

DecodingMethod = Literal["lda", "crossnobis"]


def arrangement_scores(
    x: Float[np.ndarray, "epoch unit"],
    labels: Int[np.ndarray, "draw epoch"],
    fold: Int[np.ndarray, " epoch"],
    n_classes: int,
    method: DecodingMethod,
) -> Float[np.ndarray, " draw"]:
    """Score of each arrangement of the labels, the first one observed, cross-validated over folds.

    "lda" gives the balanced accuracy, "crossnobis" the mean distance of two classes.
    """
    folds, units = int(fold.max()) + 1, x.shape[1]
    scores = np.zeros(len(labels))
    # (epoch, draw, class): the axis that products sum over comes first or last, never between
    hot = (labels.T[..., None] == np.arange(n_classes)).astype(float)
    share = hot @ (1 / np.bincount(labels[0]) / n_classes)  # what a hit counts: balanced accuracy
    for f in range(folds):
        train, test = fold != f, fold == f
        a, b, spectrum = _principal(x[train], x[test])
        means, weights = _discriminants(a, spectrum, hot[train])
        if method == "lda":
            g = _times(b, weights) - np.einsum("udc,udc->dc", means, weights) / 2
            hit = g.argmax(axis=-1) == labels.T[test]
            scores += np.einsum("ed,ed->d", hit, share[test])
        else:
            shown = hot[test]
            held = _times(b.T, shown) / shown[:, 0].sum(axis=0)
            gram = np.einsum("uda,udb->dab", held, weights)
            # sum over ordered pairs of classes of (m_a - m_b)' W (m_a - m_b)
            pairs = 2 * (n_classes * np.trace(gram, axis1=1, axis2=2) - gram.sum(axis=(1, 2)))
            scores += pairs / (n_classes * (n_classes - 1)) / units / folds
    return scores


def _times(matrix: Any, stack: Any) -> Any:
    """(i, j) times (j, draw, class) as one matrix product."""
    return (matrix @ stack.reshape(len(stack), -1)).reshape(len(matrix), *stack.shape[1:])


def _principal(train: Any, test: Any) -> tuple[Any, Any, Any]:
    """Both parts, centred, in the principal axes of the first, and the variances along them."""
    centre = train.mean(axis=0)
    train, test = train - centre, test - centre
    spectrum, axes = np.linalg.eigh(train.T @ train / len(train))
    if spectrum[-1] <= 0:
        raise InvalidArgument("no unit varies over epochs at some time; leave that time out")
    return train @ axes, test @ axes, np.maximum(spectrum, 0)


def _discriminants(
    a: Float[np.ndarray, "epoch unit"],
    spectrum: Float[np.ndarray, " unit"],
    hot: Float[np.ndarray, "epoch draw class"],
) -> tuple[Float[np.ndarray, "unit draw class"], Float[np.ndarray, "unit draw class"]]:
    """Class means M, and the inverse Ledoit-Wolf covariance within classes times M."""
    counts = hot[:, 0].sum(axis=0)
    n, units = a.shape
    dof, shares = n - len(counts), counts / n
    means = _times(a.T, hot) / counts
    products = np.einsum("uda,udb->dab", means, means)
    lengths = np.diagonal(products, axis1=1, axis2=2)

    # The mean variance, |S_w|^2 and the mean |residual|^4, as in _noise.residual_covariance
    scale = (spectrum.sum() - lengths @ shares) / units
    along = np.einsum("udc,udc->dc", means * spectrum[:, None, None], means)
    squared = spectrum @ spectrum - 2 * along @ shares + (products**2 @ shares) @ shares
    residual = np.einsum("eu,eu->e", a, a)[:, None] + np.einsum(
        "edc,edc->ed", hot, lengths - 2 * _times(a, means)
    )
    spread = squared - units * scale**2
    noise = (np.einsum("ed,ed->d", residual, residual) / n - squared) / (dof + 1)
    # Never quite the sample covariance, which has no inverse for few epochs of many units.
    shrink = np.clip(noise / np.maximum(spread, 1e-300), 1e-9, 1)

    solved = means / (np.outer(spectrum, 1 - shrink) + shrink * scale)[..., None]
    overlap = np.einsum("uda,udb->dab", means, solved)
    inner = np.eye(len(counts)) - (1 - shrink)[:, None, None] * shares[:, None] * overlap
    weights = np.einsum("uda,dab->udb", solved, np.linalg.inv(inner))
    return means, weights * (dof / n)
