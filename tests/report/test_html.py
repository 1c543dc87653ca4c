"""The file: whole, self-contained, the same for the same evidence, and with every number in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from importlib.metadata import PackageNotFoundError

import numpy as np
import pandas as pd
import pytest
from example_report import EIGHT, course, evidence, lesion, pictures, rdms, write_cases

from bregma.errors import InvalidArgument
from bregma.evidence import EvidenceSet
from bregma.recording import Dissimilarity, Stimuli
from bregma.report import Section, TimeCourse, html
from bregma.report._figures import unique_labels
from bregma.report._tables import count, p_value
from chromium import dom


def text_of(path) -> str:
    """The page without its scripts and styles."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"<(script|style).*?</\1>", "", text, flags=re.S)


def data_of(path) -> dict:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def test_every_section_is_there(eight, tmp_path):
    path = html(
        eight,
        path=tmp_path / "new" / "report.html",
        title="A & B",
        rdms=rdms(["human IT", *EIGHT]),
        stimuli=pictures(24),
        categories={f"s{i}": "animate" if i % 2 else "inanimate" for i in range(24)},
        timecourses=[course()],
        sections=[lesion()],
    )
    text = text_of(path)
    assert "<title>A &amp; B</title>" in text
    for anchor in ("scores", "pairs", "nulls", "time", "geometry", "part1", "numbers", "settings"):
        assert f'id="{anchor}"' in text
        assert f'href="#{anchor}"' in text
    for words in ("Of 8 models, monkey IT", "0.490", "kriegeskorte2008rsa", "seed", "torch",
                  "the stimulus labels of the brain", "What the lesion does", "mean of 3 RDMs",
                  "ordered by category", "1.2 × 10¹⁴²"):  # fmt: skip
        assert words.lower() in text.lower(), words
    data = data_of(path)
    assert len(data["thumbnails"]) == 24
    assert all(t.startswith("data:image/png;base64,") for t in data["thumbnails"])
    assert len(data["figures"]) == len(re.findall("data-figure", text)) == 2 + 18 + 1 + 1


def test_nothing_comes_from_outside(eight, tmp_path):
    text = html(eight, path=tmp_path / "r.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in unescape(text)
    assert text.count("* plotly.js v") == 1  # once, whole
    assert not re.findall(
        r'(?:src|href)="(?!#|data:,)', re.sub(r"<script.*?</script>", "", text, flags=re.S)
    )
    assert len(text) < 6_000_000


def test_the_same_evidence_gives_the_same_file(eight, tmp_path):
    parts = {"rdms": rdms(["a", "b"]), "stimuli": pictures(24)}
    a = html(eight, path=tmp_path / "a.html", **parts).read_bytes()
    assert a == html(eight, path=tmp_path / "b.html", **parts).read_bytes()


def test_a_failure_leaves_the_old_file(eight, tmp_path):
    path = tmp_path / "r.html"
    path.write_text("old")
    with pytest.raises(InvalidArgument, match="needs a name"):
        html(eight, path=path, rdms=[rdms(["a"])[0].named(None)])
    with pytest.raises(InvalidArgument, match="no evidence"):
        html(EvidenceSet([]), path=path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_evidence_writes_its_own_report(eight, tmp_path):
    shown = eight.showing(rdms=rdms(["human IT", "x"]), title="mine")
    assert shown == eight
    path = shown.report(tmp_path / "r.html")
    assert "<title>mine</title>" in text_of(path)
    assert 'id="geometry"' in text_of(path)
    other = shown.report(tmp_path / "s.html", rdms=(), title="other")
    assert "<title>other</title>" in text_of(other)
    assert 'id="geometry"' not in text_of(other)


def test_one_model_has_no_pairs(tmp_path):
    path = html(evidence(["V1"], [0.3], ceiling=False), path=tmp_path / "r.html")
    text = text_of(path)
    assert "V1 compared with human IT" in text
    assert "Pairs of models" not in text
    assert "against the lower ceiling" not in text
    assert "Grey band" not in text


def test_two_models_over_brain_parts_are_listed_and_three_are_matrices(tmp_path):
    def over(models, scores):
        return EvidenceSet.join(evidence(models, scores, brain=b) for b in ("V1", "V2"))

    two = text_of(html(over(["a", "b"], [0.1, 0.3]), path=tmp_path / "two.html"))
    assert "a − b" in two
    assert "matrix" not in two
    three = text_of(html(over(["a", "b", "c"], [0.1, 0.3, 0.4]), path=tmp_path / "three.html"))
    assert three.count('class="matrix"') == 2
    assert three.count("<h3>V") == 2


def test_settings_that_differ_are_told_apart(tmp_path):
    both = EvidenceSet.join(
        [evidence(["a"], [0.2], brain="V1"), evidence(["a"], [0.2], brain="V2", seed=5)]
    )
    text = text_of(html(both, path=tmp_path / "r.html"))
    assert "<summary>V1 ~ a</summary>" in text
    assert "<summary>V2 ~ a</summary>" in text


def test_intervals_of_different_kinds_are_told_apart_within_one_table(tmp_path):
    both = evidence(["a", "b"], [0.2, 0.3])
    other = replace(both[1].interval, kind="score ± t × standard error, 7.5 degrees of freedom")
    mixed = EvidenceSet([both[0], replace(both[1], interval=other)])
    text = text_of(html(mixed, path=tmp_path / "r.html"))
    assert "a: score ± t × standard error, 30 degrees of freedom; b: score" in text
    assert "<summary>human IT" not in text


def test_many_stimuli_are_thinned_and_told(tmp_path, eight):
    many = rdms(["human IT"], n=230)
    path = html(eight, path=tmp_path / "r.html", rdms=many)
    assert "200 of 230 stimuli are shown" in text_of(path)


def test_stimuli_that_are_no_pictures_or_lack_some_are_points(tmp_path, eight):
    for stimuli in (Stimuli(np.zeros((24, 3))), pictures(23)):
        path = html(eight, path=tmp_path / "r.html", rdms=rdms(["a"]), stimuli=stimuli)
        assert data_of(path)["thumbnails"] == []


def test_equal_rdms_and_flat_rdms_are_drawn(tmp_path, eight):
    flat = Dissimilarity(np.zeros(3), name="flat")
    two = Dissimilarity(np.ones(1), name="two stimuli")
    for rdm in (flat, two):
        figures = data_of(html(eight, path=tmp_path / "r.html", rdms=[rdm]))["figures"]
        assert len(figures) == 4  # scores, nulls, the map and the points
        assert "NaN" not in json.dumps(figures)


def test_unnamed_stimuli_and_other_objects_have_labels():
    assert unique_labels(["a", "a", 3]) == ["a (0)", "a (1)", "3"]


def test_counts_are_readable():
    assert [count(c) for c in (24.0, 362880.0, 1e12, float("inf"))] == [
        "24", "362,880", "1.0 × 10¹²", "countless"]  # fmt: skip
    assert p_value(pd.NA) == "–"


def test_a_library_without_metadata_is_no_obstacle(tmp_path, eight, monkeypatch):
    def missing(_name):
        raise PackageNotFoundError

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert "unknown version" in text_of(html(eight, path=tmp_path / "r.html"))


def test_no_subjects_no_table_of_subjects(tmp_path, eight):
    alone = EvidenceSet([replace(eight[0], per_subject=())])
    assert "The score in each subject" not in text_of(html(alone, path=tmp_path / "r.html"))


def test_many_categories_are_not_crammed_in(tmp_path, eight):
    for n_kinds, named in ((2, True), (20, False)):
        categories = {f"s{i}": f"kind {i % n_kinds}" for i in range(24)}
        path = html(eight, path=tmp_path / "r.html", rdms=rdms(["a"]), categories=categories)
        assert "ordered by category" in text_of(path)
        (drawn,) = [f for f in data_of(path)["figures"] if f["data"][0]["type"] == "heatmap"]
        assert ("ticktext" in drawn["layout"]["yaxis"]) == named


@pytest.mark.parametrize(
    "change",
    [
        {"times": np.array([0.0, np.nan])},
        {"scores": {}},
        {"scores": {"a": np.zeros(3)}},
        {"scores": {"a": np.array([0.0, np.inf])}},
        {"band": np.zeros((2, 3)), "band_says": "x"},
        {"band": np.zeros((2, 2))},
        {"above": np.ones(3, bool)},
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_a_time_course_is_complete(change):
    parts = {"title": "t", "times": np.arange(2.0), "scores": {"a": np.zeros(2)}, "measure": "m"}
    TimeCourse(**parts)
    with pytest.raises(InvalidArgument):
        TimeCourse(**{**parts, **change})


def test_a_time_course_may_be_plain(tmp_path, eight):
    plain = TimeCourse(
        title="t",
        times=np.arange(3.0),
        scores={"a": np.zeros(3), "b": np.ones(3)},
        measure="accuracy",
        above=np.array([True, False, True]),
    )
    path = html(eight, path=tmp_path / "r.html", timecourses=[plain])
    assert "time (s)" in json.dumps(data_of(path))


def test_the_tables_are_in_the_order_of_the_figures(tmp_path, eight):
    text = text_of(html(eight, path=tmp_path / "r.html"))
    rows = re.findall(r'class="text">[^<]+</td><td>(\d\.\d{3})', text[text.index('id="numbers"') :])
    assert rows[:8] == sorted(rows[:8], reverse=True)
    assert rows[0] == "0.490"


def test_bars_say_what_they_measure(tmp_path, eight):
    assert lesion().axis in text_of(html(eight, path=tmp_path / "r.html", sections=[lesion()]))


def test_bars_are_complete():
    table = pd.DataFrame({"name": ["a"], "value": [1.0], "low": [0.5], "high": [1.5]})
    Section(title="t", bars=table, axis="score")
    for bad in ({"bars": table.drop(columns="low"), "axis": "x"}, {"bars": table},
                {"bars": table.assign(low=np.nan), "axis": "x"}):  # fmt: skip
        with pytest.raises(InvalidArgument):
            Section(title="t", **bad)


MEASURE = """
<title>waiting</title>
<script>
  addEventListener("load", () => setTimeout(() => {
    document.title = JSON.stringify([...document.querySelectorAll("iframe")].map((frame) => {
      const page = frame.contentDocument;
      const wide = [...page.querySelectorAll("main *, header *")].filter((e) =>
        e.getBoundingClientRect().right > 400 && !e.closest(".wide, pre"));
      return [page.querySelectorAll("[data-figure]").length,
              page.querySelectorAll(".js-plotly-plot .main-svg").length,
              page.documentElement.scrollWidth, wide.length];
    }));
  }, 3000));
</script>
"""


def test_all_figures_are_drawn_and_no_page_scrolls_sideways_on_a_phone(tmp_path):
    cases = write_cases(tmp_path)
    frames = [
        f'<iframe src="{path.name}" style="border: 0; width: 400px; height: 4000px"></iframe>'
        for path in cases.values()
    ]
    (tmp_path / "frames.html").write_text(MEASURE + "".join(frames))
    text, log = dom(
        tmp_path / "frames.html", tmp_path / "profile", "--allow-file-access-from-files"
    )
    measured = json.loads(re.search(r"<title>(.*?)</title>", text)[1])
    assert len(measured) == 4
    for name, (figures, drawn, width, wide) in zip(cases, measured, strict=True):
        assert figures > 0
        assert drawn >= figures, name
        assert width <= 400, name  # less where a scroll bar takes its share
        assert wide == 0, name
    assert "Uncaught" not in log
