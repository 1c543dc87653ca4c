"""Synthetic evidence for reports."""

from __future__ import annotations

import pytest
from example_report import EIGHT, evidence

from bregma.evidence import EvidenceSet


@pytest.fixture
def eight() -> EvidenceSet:
    scores = [0.08, 0.15, 0.22, 0.31, 0.36, 0.19, 0.44, 0.49]
    return evidence(EIGHT, scores, twins=["cnn conv3"])
