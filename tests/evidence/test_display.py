"""What a reader sees: text, tables, figures, sources."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
from example_evidence import evidence_set
from rich.console import Console

from bregma.errors import InvalidArgument, UnknownName
from bregma.evidence import EvidenceSet, bibtex, source_keys

HOSTILE = '<script>alert(1)</script><a href="javascript:x">[bold red]&amp;'


def printed(thing: object) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(thing)
    return console.export_text()


def test_one_line_says_it_all(evidences):
    text = repr(evidences["V1"])
    for part in ("IT ~ V1", "0.500", "95%", "p = 0.005", "ceiling 0.600 to 0.800", "83%"):
        assert part in text
    assert repr(evidences).count("\n") == 2


def test_terminal(evidences):
    text = printed(evidences)
    assert text.index("cnn") < text.index("V1") < text.index("pixels")  # best first
    assert re.search(r"V1 +0\.500 +\[0\.\d{3}, 0\.\d{3}\] +0\.\d{3} ", text)
    assert "brain" not in text
    assert "brain" in printed(EvidenceSet.join([evidences, evidence_set(brain="V4")]))
    panel = printed(evidences["cnn"])
    assert "exchanged" in panel
    assert "3 systems" in panel


def test_terminal_without_ceiling():
    evidences = evidence_set(
        ceiling=None,
        ceiling_reason="one RDM has no ceiling",
        covariance=np.eye(3) / 300,
        n_arrangements=math.inf,
        null=np.zeros((20_000, 3)),
    )
    assert "one RDM has no ceiling" in printed(evidences[0])
    assert "unlimited" in printed(evidences[0])
    assert "p < 0.0001" in str(evidences[0])
    assert "–" in printed(evidences)


def test_names_are_no_markup():
    evidences = evidence_set(brain=HOSTILE, models=["pixels", "V1", HOSTILE], system_nulls=None)
    assert "[bold red]" in printed(evidences)
    assert "[bold red]" in printed(evidences[2])
    for page in (evidences._repr_html_(), evidences[0]._repr_html_()):
        assert "<script" not in page
        assert "<a " not in page
        assert "&lt;script" in page


@pytest.mark.parametrize("kind", ["scores", "nulls"])
def test_figures_hold_no_markup_of_others(kind):
    evidences = evidence_set(brain=HOSTILE, models=["a", "b", HOSTILE], system_nulls=None)
    both = EvidenceSet.join([evidences, evidence_set(brain="V4", system_nulls=None)])
    for which in (evidences, both):
        text = which.plot(kind).to_json()
        tags = set(re.findall(r"(?:<|\\u003c)/?(\w+)", text))
        assert tags <= {"br", "extra"}
    assert "&lt;script" in evidences.plot(kind).to_json()


def test_figures_show_scores_intervals_ceilings_and_twins(evidences):
    figure = evidences.plot()
    bars = [t for t in figure.data if t.type == "bar"]
    assert [b.x[0] for b in bars] == [e.score for e in evidences]
    assert bars[0].error_x.array[0] == pytest.approx(evidences[0].interval.high - 0.2)
    names = [t.name for t in figure.data]
    assert "noise ceiling" in names
    assert "null systems" in names
    assert list(figure.layout.yaxis.ticktext) == ["pixels", "V1", "cnn"]
    assert len([n for n in names if n == "noise ceiling"]) == 3
    nulls = evidences["cnn"].plot()
    assert {"null of the data", "observed score"} <= {t.name for t in nulls.data}


def test_a_figure_without_ceiling(evidences):
    e = dataclasses.replace(
        evidences["pixels"],
        ceiling=None,
        normalised=None,
        normalised_interval=None,
        ceiling_reason="none",
        model="x" * 80,
    )
    figure = EvidenceSet([e]).plot()
    assert "noise ceiling" not in [t.name for t in figure.data]
    assert figure.layout.yaxis.ticktext[0] == "x" * 25 + "…"


def test_nothing_to_plot(evidences):
    with pytest.raises(InvalidArgument):
        EvidenceSet([]).plot()


def test_sources(evidences):
    text = evidences.cite()
    assert text.count("@") >= 4
    assert text.startswith("@article{kriegeskorte2008rsa,")
    assert evidences[0].cite() == text
    assert "holm1979" in source_keys()
    with pytest.raises(UnknownName, match="holm1979"):
        bibtex(["holm1978"])


@pytest.mark.parametrize("key", source_keys())
def test_every_source_is_whole_bibtex(key):
    entry = bibtex([key])
    assert re.match(r"@(article|inproceedings|book)\{" + key + r",\n", entry)
    for field in ("title", "author", "year"):
        assert re.search(rf"^  {field} = \{{.+\}},?$", entry, re.M), field
    assert entry.count("{") == entry.count("}")
    assert entry.endswith("\n}")
    assert re.search(r"journal|booktitle|publisher", entry)
