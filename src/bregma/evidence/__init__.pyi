from ._assemble import Inferred as Inferred
from ._assemble import assemble as assemble
from ._bootstrap import bootstrap_interval as bootstrap_interval
from ._cite import bibtex as bibtex
from ._cite import source_keys as source_keys
from ._evidence import Ceiling as Ceiling
from ._evidence import Evidence as Evidence
from ._evidence import Interval as Interval
from ._evidence import Null as Null
from ._evidence import permutation_p as permutation_p
from ._multiple import benjamini_hochberg as benjamini_hochberg
from ._multiple import holm as holm
from ._permutation import Arrangements as Arrangements
from ._permutation import arrangements as arrangements
from ._permutation import phase_scrambled as phase_scrambled
from ._permutation import shuffled_labels as shuffled_labels
from ._plot import PALETTE as PALETTE
from ._plot import figure_label as figure_label
from ._plot import styled_figure as styled_figure
from ._reliability import spearman_brown as spearman_brown
from ._reliability import split_half_reliability as split_half_reliability
from ._set import EvidenceSet as EvidenceSet
from ._two_factor import SamplingVariance as SamplingVariance
from ._two_factor import jackknife_variance as jackknife_variance

__all__ = [
    "PALETTE",
    "Arrangements",
    "Ceiling",
    "Evidence",
    "EvidenceSet",
    "Inferred",
    "Interval",
    "Null",
    "SamplingVariance",
    "arrangements",
    "assemble",
    "benjamini_hochberg",
    "bibtex",
    "bootstrap_interval",
    "figure_label",
    "holm",
    "jackknife_variance",
    "permutation_p",
    "phase_scrambled",
    "shuffled_labels",
    "source_keys",
    "spearman_brown",
    "split_half_reliability",
    "styled_figure",
]
