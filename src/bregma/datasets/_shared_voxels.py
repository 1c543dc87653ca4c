"""Subjects whose voxels weigh image embeddings in ways that all of them share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bregma.datasets._digits import read_digits
from bregma.errors import InvalidArgument
from bregma.run import spawn


@dataclass(frozen=True)
class VoxelSubject:
    """One subject: noisy responses to the training images, and the truth.

    Parameters
    ----------
    responses : Float[np.ndarray, "train voxel"]
        To one presentation of each training image.
    signal : Float[np.ndarray, "test voxel"]
        To the test images, without noise.
    weights : Float[np.ndarray, "voxel feature"]
        How every voxel weighs the features of an embedding.
    reliability : Float[np.ndarray, "voxel"]
        Expected fraction of the variance of its responses that is signal.
    """

    responses: Float[np.ndarray, "train voxel"]
    signal: Float[np.ndarray, "test voxel"]
    weights: Float[np.ndarray, "voxel feature"]
    reliability: Float[np.ndarray, " voxel"]


@dataclass(frozen=True)
class SharedVoxels:
    """Subjects that share a basis of weights, and the best inference on a new one.

    Parameters
    ----------
    train, test : Float[np.ndarray, "image feature"]
        Embeddings of the images; over the training images, features are white.
    basis : Float[np.ndarray, "feature rank"]
        What all voxels share: weights are ``basis @ a`` with standard normal a.
    noise : float
        Standard deviation of the noise of a response.
    subjects : tuple of VoxelSubject
        The subjects.
    """

    train: Float[np.ndarray, "train feature"]
    test: Float[np.ndarray, "test feature"]
    basis: Float[np.ndarray, "feature rank"]
    noise: float
    subjects: tuple[VoxelSubject, ...]

    def posterior_mean(
        self, x: Float[np.ndarray, "context feature"], y: Float[np.ndarray, "context voxel"]
    ) -> Float[np.ndarray, "voxel feature"]:
        """Bayes: expected weights of new voxels, given responses, knowing basis and noise.

        No other estimate of the weights, and no other prediction that is linear in the embedding,
        has a smaller expected squared error. With Z = x basis it is
        basis (Z' Z + noise^2 I)^-1 Z' y.

        Parameters
        ----------
        x : array of shape (context, feature)
            Embeddings of images that the new subject saw.
        y : array of shape (context, voxel)
            The responses to them.

        Returns
        -------
        array of shape (voxel, feature)
            Weights.

        Raises
        ------
        InvalidArgument
            If there are not as many responses as embeddings.
        """
        if len(x) != len(y):
            raise InvalidArgument(f"{len(x)} embeddings do not fit {len(y)} responses")
        z = x @ self.basis
        precision = z.T @ z + self.noise**2 * np.eye(z.shape[1])
        return (self.basis @ np.linalg.solve(precision, z.T @ y)).T


def shared_voxels(
    n_subjects: int,
    n_voxels: int,
    *,
    features: int = 16,
    rank: int = 4,
    ceiling: float = 0.7,
    n_test: int = 597,
    seed: int,
) -> SharedVoxels:
    """Simulated subjects looking at handwritten digits.

    Embeddings are whitened principal components of the digits. The response of a voxel is linear
    in the embedding, with noise; its weights lie in a subspace of few dimensions, which is the same
    for all subjects, and are otherwise independent. So a new subject's voxels can be known from
    fewer images than there are features, by whoever knows the subspace.

    Parameters
    ----------
    n_subjects : int
        Number of subjects.
    n_voxels : int
        Voxels of each subject.
    features : int
        Length of an embedding, up to 61.
    rank : int
        Dimensions of the shared subspace.
    ceiling : float
        Highest correlation with a single noisy response, for a voxel of average strength.
    n_test : int
        How many of the 1,797 digits are test images.
    seed : int
        Makes the subspace, the split, the weights and the noise.

    Returns
    -------
    SharedVoxels
        Subjects with their truth. The level of chance is a correlation of 0, the best level is
        that of the posterior mean.

    Raises
    ------
    InvalidArgument
        Numbers out of range.

    References
    ----------
    Yu et al. (2025), Meta-learning an in-context transformer model of human higher visual cortex
    (what the subjects are a model of).

    Examples
    --------
    >>> world = shared_voxels(2, 5, seed=0)
    >>> world.train.shape, world.subjects[0].responses.shape
    ((1200, 16), (1200, 5))
    """
    from sklearn.decomposition import PCA

    images, _ = read_digits()
    if min(n_subjects, n_voxels) < 1 or not 1 <= rank <= features <= 61 or not 0 < ceiling < 1:
        raise InvalidArgument(
            f"subjects and voxels must be 1 or more, 1 <= rank <= features <= 61 and ceiling "
            f"between 0 and 1, not {n_subjects}, {n_voxels}, {rank}, {features} and {ceiling}"
        )
    if not 1 <= n_test <= len(images) - features - 1:
        raise InvalidArgument(
            f"n_test must be from 1 to {len(images) - features - 1} of the {len(images)} digits, "
            f"not {n_test}"
        )
    images = images[spawn(seed, "split").permutation(len(images))]
    pca = PCA(features, whiten=True, svd_solver="full").fit(images[n_test:])
    train, test = pca.transform(images[n_test:]), pca.transform(images[:n_test])
    basis, _ = np.linalg.qr(spawn(seed, "basis").standard_normal((features, rank)))
    noise = np.sqrt(rank * (1 / ceiling**2 - 1))  # the variance of an average signal is the rank

    def subject(s: int) -> VoxelSubject:
        weights = spawn(seed, "weights", s).standard_normal((n_voxels, rank)) @ basis.T
        noises = spawn(seed, "noise", s).standard_normal((len(train), n_voxels))
        power = (weights**2).sum(axis=1)
        return VoxelSubject(
            responses=train @ weights.T + noise * noises,
            signal=test @ weights.T,
            weights=weights,
            reliability=power / (power + noise**2),
        )

    subjects = tuple(subject(s) for s in range(n_subjects))
    return SharedVoxels(train, test, basis, float(noise), subjects)
