"""The atlas: made from code and results alone, whole or not at all, inert for hostile text."""

from __future__ import annotations

import base64
import json
import re
from html import unescape

import numpy as np
import pytest

from bregma.claims import verify
from bregma.errors import InvalidArgument
from bregma.report import _atlas, atlas
from chromium import dom


@pytest.fixture(scope="module")
def site(write_claim, tmp_path_factory):
    """A site of one claim that holds, one that crashed and one that has not run."""
    paths = [
        write_claim(name="one"),
        write_claim(name="two", body="    raise ValueError('<script>alert(1)</script>')"),
        write_claim(name="three"),
    ]
    folder = tmp_path_factory.mktemp("atlas")
    verify(paths[:2], results=folder / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_atlas, "slugs", lambda: paths)
        yield atlas(folder / "site", results=folder / "results").parent


def test_there_is_a_page_for_each_claim_and_one_copy_of_the_scripts(site):
    pages = {path.name for path in (site / "claims").iterdir()}
    assert pages == {"one.html", "two.html", "three.html"}
    assert {p.name for p in (site / "assets").iterdir()} == {
        *("report.css", "report.js", "atlas.css", "atlas.js", "plotly.js"),
    }
    assert all(path.stat().st_size < 60_000 for path in (site / "claims").iterdir())


def test_verdicts_are_those_of_the_results(site):
    index = (site / "index.html").read_text()
    assert re.findall(r'data-verdict="(\w+)"', index) == ["holds", "crashed", "open"]
    page = (site / "claims" / "one.html").read_text()
    assert "Measured 1.02, held against 0.02" in page
    assert "<math" in page
    assert "bregma verify three" in (site / "claims" / "three.html").read_text()


def test_links_lead_somewhere(site):
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#:]+)"', page.read_text()):
            assert (page.parent / link).exists(), link


def test_text_of_claims_and_crashes_stays_text(site):
    crashed = (site / "claims" / "two.html").read_text()
    assert "&lt;script&gt;alert(1)" in crashed
    assert "<b>means</b>" not in crashed
    assert "script-src 'self'" in unescape(crashed)


def test_an_earlier_atlas_is_replaced_and_nothing_else(site, tmp_path):
    (site / "claims" / "old.html").touch()
    atlas(site, results=site.parent / "results")
    assert not (site / "claims" / "old.html").exists()

    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").touch()
    with pytest.raises(InvalidArgument, match="other things"):
        atlas(tmp_path / "home", results=site.parent / "results")
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_figures_are_drawn_in_a_browser(site, tmp_path):
    page, _ = dom(site / "claims" / "one.html", tmp_path / "profile")
    assert page.count("main-svg") >= 3  # two expectations and a panel of curves
    data = json.loads(re.search(r'id="data"[^>]*>(.*?)</script>', page, re.S)[1])
    points = base64.b64decode(data["figures"][0]["data"][0]["x"]["bdata"])
    assert list(np.frombuffer(points)) == [1.01, 1.02, 1.03]
    index, said = dom(site / "index.html", tmp_path / "profile")
    assert "3 claims" in index
    assert "Content Security Policy" not in said
