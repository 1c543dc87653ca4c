"""Small evidence to test with."""

from __future__ import annotations

import pytest
from example_evidence import evidence_set

from bregma.evidence import EvidenceSet


@pytest.fixture
def evidences() -> EvidenceSet:
    return evidence_set()
