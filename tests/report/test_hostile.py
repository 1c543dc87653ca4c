"""Names from files stay names: nothing in them runs, in a real browser."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from example_report import course, evidence, pictures, rdms

from bregma.recording import Stimuli
from bregma.report import Section, html
from chromium import dom

OWNED = "document.title='OWNED'"
PAYLOADS = [
    f"<script>{OWNED}</script>",
    f'"><img src=x onerror="{OWNED}">',
    f"</script><script>{OWNED}</script>",
    f"<!--<script>{OWNED}</script>",
    f'<a href="javascript:{OWNED}">click</a>',
    f"'><svg onload={OWNED}>",
    "{{ 7 * 7 }} {% raw %}",
    f"</title></style></textarea><script>{OWNED}</script>",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    names = [f"{i}{payload}" for i, payload in enumerate(PAYLOADS)]
    brain = f"brain {PAYLOADS[0]}"
    stimuli = [f"{payload} {i}" for i, payload in enumerate(PAYLOADS * 3)]
    images = pictures(len(stimuli))
    hostile = evidence(
        names,
        [0.1 * (i + 1) for i in range(len(names))],
        brain=brain,
        ceiling=False,
        twins=names[:2],
        method=PAYLOADS[2],
        settings={PAYLOADS[1]: PAYLOADS[2], "nested": {PAYLOADS[0]: [PAYLOADS[3]]}},
    )
    bars = pd.DataFrame({"name": PAYLOADS, "value": 0.5, "low": 0.4, "high": 0.6})
    base = course()
    html(
        hostile,
        path=path,
        title=PAYLOADS[7],
        rdms=rdms([brain, *names], n=len(stimuli), labels=stimuli),
        stimuli=Stimuli(images.array(), stimulus=stimuli),
        categories={s: PAYLOADS[i % 4] for i, s in enumerate(stimuli)},
        timecourses=[
            replace(
                base,
                title=PAYLOADS[1],
                scores={PAYLOADS[0]: base.scores["accuracy"]},
                measure=PAYLOADS[2],
                band_says=PAYLOADS[3],
                text=PAYLOADS[4],
            )
        ],
        sections=[
            Section(
                title=PAYLOADS[5],
                text=tuple(PAYLOADS),
                bars=bars,
                axis=PAYLOADS[0],
                table=pd.DataFrame({PAYLOADS[1]: PAYLOADS}),
            )
        ],
    )
    return path


class Elements(HTMLParser):
    """All tags and attributes of a page, as a browser's parser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def test_the_file_has_only_its_own_elements(page):
    found = Elements()
    found.feed(page.read_text(encoding="utf-8"))
    assert found.tags.count("script") == 3  # data, plotly.js, the drawing
    assert not {"img", "iframe", "object", "svg", "base"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    links = [value for name, value in found.attributes if name in ("href", "src")]
    assert all(link.startswith("#") or link == "data:," for link in links)


def test_the_data_hold_no_markup(page):
    text = page.read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1]
    assert not set("<>&") & set(data)
    figures = json.loads(data)["figures"]

    def strings(node):
        if isinstance(node, str):
            yield node
        for item in (
            node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        ):
            yield from strings(item)

    tags = {tag for s in strings(figures) for tag in re.findall(r"</?(\w+)", s)}
    assert tags <= {"br", "extra"}  # plotly's own markup, written by us


def test_nothing_runs_and_nothing_is_asked_of_the_network(page, tmp_path):
    text, log = dom(page, tmp_path / "profile", f"--log-net-log={tmp_path / 'net.json'}")
    assert re.search(r"<title>(.*?)</title>", text, re.S)[1] != "OWNED"
    assert text.count("main-svg") > 10  # the figures were drawn
    drawn = Elements()
    drawn.feed(re.sub(r"<script.*?</script>", "", text, flags=re.S))
    assert not [name for name, _ in drawn.attributes if name.startswith("on")]
    assert not [v for _, v in drawn.attributes if v.strip().lower().startswith("javascript:")]
    sources = [v for n, v in drawn.attributes if n in ("src", "href", "xlink:href")]
    assert all(s.startswith(("#", "data:")) for s in sources)
    assert "Content Security Policy" not in log, log  # nothing even tried
    assert "Uncaught" not in log
    net = (tmp_path / "net.json").read_text(errors="replace")
    asked = set(re.findall(r'"url":"((?:https?|file|wss?)://[^"]*)"', net))
    own = re.compile(r"https?://[\w.]*(google|googleapis|gvt1)\.com/")  # the browser's updates
    assert {url for url in asked if not own.match(url)} <= {page.as_uri()}


def test_the_policy_stops_what_escaping_would_have_missed(page, tmp_path):
    planted = page.read_text(encoding="utf-8").replace(
        "<main>", "<main><img src=x onerror=\"document.title='OWNED'\">"
        "<script>document.title='OWNED'</script>"
    )  # fmt: skip
    other = tmp_path / "planted.html"
    other.write_text(
        re.sub(r"<title>.*?</title>", "<title>calm</title>", planted, count=1, flags=re.S)
    )
    text, log = dom(other, tmp_path / "profile")
    assert "<title>calm</title>" in text
    assert "Content Security Policy" in log
