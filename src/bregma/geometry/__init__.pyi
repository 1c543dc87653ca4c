from ._cka import CKA as CKA
from ._compare import compare as compare
from ._crossnobis import crossnobis_distance as crossnobis_distance
from ._decoding import Decoding as Decoding
from ._decoding import decode_over_time as decode_over_time
from ._distances import CorrelationDistance as CorrelationDistance
from ._distances import CosineDistance as CosineDistance
from ._distances import CrossnobisDistance as CrossnobisDistance
from ._distances import Distance as Distance
from ._distances import EuclideanDistance as EuclideanDistance
from ._distances import MahalanobisDistance as MahalanobisDistance
from ._distances import PoissonKLDistance as PoissonKLDistance
from ._distance_functions import correlation_distance as correlation_distance
from ._distance_functions import cosine_distance as cosine_distance
from ._distance_functions import euclidean_distance as euclidean_distance
from ._distance_functions import mahalanobis_distance as mahalanobis_distance
from ._distance_functions import poisson_kl_distance as poisson_kl_distance
from ._infer_rdms import infer_rdms as infer_rdms
from ._infer_rdms import score_rdms as score_rdms
from ._infer_responses import infer_responses as infer_responses
from ._movie import rdm_movie as rdm_movie
from ._noise import noise_covariance as noise_covariance
from ._noise import noise_precision as noise_precision
from ._noise import precision_matrix as precision_matrix
from ._noise import residual_covariance as residual_covariance
from ._procrustes import Procrustes as Procrustes
from ._procrustes import procrustes_distance as procrustes_distance
from ._rdm import rdm as rdm
from ._rdm_bootstrap import RDMBootstrap as RDMBootstrap
from ._rdm_bootstrap import Resamples as Resamples
from ._rdm_bootstrap import bootstrap_rdms as bootstrap_rdms
from ._rdm_comparison import RDMComparison as RDMComparison
from ._rdm_cosines import RDMCosine as RDMCosine
from ._rdm_cosines import RDMPearson as RDMPearson
from ._rdm_ranks import RDMRhoA as RDMRhoA
from ._rdm_ranks import RDMSpearman as RDMSpearman
from ._rdm_ranks import RDMTauA as RDMTauA
from ._rdm_cosines import RDMWhitenedCorrelation as RDMWhitenedCorrelation
from ._rdm_cosines import RDMWhitenedCosine as RDMWhitenedCosine
from ._response_comparison import ResponseComparison as ResponseComparison
from ._ridge import RidgePredictivity as RidgePredictivity
from ._searchlight import searchlight as searchlight
from ._svcca import SVCCA as SVCCA

__all__ = [
    "searchlight",
]
