from ._assemble import Inferred as Inferred
from ._assemble import assemble as assemble
from ._cite import bibtex as bibtex
from ._cite import source_keys as source_keys
from ._evidence import Ceiling as Ceiling
from ._evidence import Evidence as Evidence
from ._evidence import Interval as Interval
from ._evidence import Null as Null
from ._evidence import permutation_p as permutation_p
from ._multiple import benjamini_hochberg as benjamini_hochberg
from ._multiple import holm as holm
from ._set import EvidenceSet as EvidenceSet

__all__ = [
    "Ceiling",
    "Evidence",
    "EvidenceSet",
    "Inferred",
    "Interval",
    "Null",
    "assemble",
    "benjamini_hochberg",
    "bibtex",
    "holm",
    "permutation_p",
    "source_keys",
]
