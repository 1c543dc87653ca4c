"""The page on claims: its own claim is one, and holds."""

from __future__ import annotations

import re

from bregma.claims import find
from pages import DOCS, python_blocks


def test_the_page_says_what_the_results_say(cli):
    """Made anew by: bregma papers --markdown."""
    text = (DOCS / "claims.md").read_text(encoding="utf-8")
    said = re.search(r"<!-- results -->\n(.*)<!-- end of results -->", text, re.DOTALL)
    assert said[1].strip() == cli("papers", "--markdown").out.strip()


def test_the_page_runs(tmp_path):
    own, use = python_blocks("claims.md")
    file = tmp_path / "my_2026_means.py"
    file.write_text(own)
    names: dict[str, object] = {"means": find(str(file))}
    exec(use, names)
    assert names["found"].verdict == "holds"
