from ._crossnobis import crossnobis_distance as crossnobis_distance
from ._distances import CorrelationDistance as CorrelationDistance
from ._distances import CosineDistance as CosineDistance
from ._distances import CrossnobisDistance as CrossnobisDistance
from ._distances import Distance as Distance
from ._distances import EuclideanDistance as EuclideanDistance
from ._distances import MahalanobisDistance as MahalanobisDistance
from ._distances import PoissonKLDistance as PoissonKLDistance
from ._distances import correlation_distance as correlation_distance
from ._distances import cosine_distance as cosine_distance
from ._distances import euclidean_distance as euclidean_distance
from ._distances import mahalanobis_distance as mahalanobis_distance
from ._distances import poisson_kl_distance as poisson_kl_distance
from ._movie import rdm_movie as rdm_movie
from ._noise import noise_covariance as noise_covariance
from ._noise import noise_precision as noise_precision
from ._noise import precision_matrix as precision_matrix
from ._noise import residual_covariance as residual_covariance
from ._rdm import rdm as rdm

__all__ = [
    "CorrelationDistance",
    "CosineDistance",
    "CrossnobisDistance",
    "Distance",
    "EuclideanDistance",
    "MahalanobisDistance",
    "PoissonKLDistance",
    "correlation_distance",
    "cosine_distance",
    "crossnobis_distance",
    "euclidean_distance",
    "mahalanobis_distance",
    "noise_covariance",
    "noise_precision",
    "poisson_kl_distance",
    "precision_matrix",
    "rdm",
    "rdm_movie",
    "residual_covariance",
]
