"""`bregma papers`, `verify` and `atlas` as a user types them."""

from __future__ import annotations

import json

import pytest

from bregma.claims import slugs


@pytest.mark.parametrize(
    ("body", "word", "code"),
    [
        ("    return {'a': 1.0 + seed / 100, 'control': 0.0, 'error': 0.0}", "holds", 0),
        ("    return {'a': 0.4 + seed / 100, 'control': 0.0, 'error': 0.0}", "partly", 3),
        ("    return {'a': 0.0, 'control': 0.0, 'error': 0.0}", "fails", 3),
        ("    raise ValueError('no data')", "crashed", 1),
    ],
)
def test_verify_says_what_came_out(cli, write_claim, tmp_path, body, word, code):
    ran = cli("verify", write_claim(body=body), "--results", tmp_path / "out")
    assert ran.code == code
    assert f"byron_1843_means.py: {word}" in ran.out.replace("\n", "")
    assert ("ValueError: no data" in ran.out) == (word == "crashed")
    assert str(tmp_path / "out" / "check") in ran.out


def test_smoke_runs_the_pilot_and_judges_nothing(cli, write_claim, tmp_path):
    body = "    return {'a': 0.0, 'control': 0.0, 'error': 0.0}"
    ran = cli("verify", write_claim(body=body), "--budget", "smoke", "--results", tmp_path / "out")
    assert ran.code == 0
    assert "ran" in ran.out
    assert "seed 0: a 0, control 0, error 0" in ran.out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["verify"], "say which claims"),
        (["verify", "nobody_1900_nothing"], "nearest"),
        (["verify", "--all", "--room", "geometry"], "say which claims"),
        (["verify", "--all", "--seeds", "one"], "whole numbers"),
        (["verify", "--all", "--budget", "huge"], "there is no budget 'huge'"),
        (["verify", "--room", "kitchen"], "room with claims"),
        (["papers", "--room", "kitchen"], "room with claims"),
        (["papers", "--status", "great"], "status"),
        (["papers", "show"], "show SLUG"),
        (["papers", "show", "nobody_1900_nothing"], "nearest"),
    ],
)
def test_mistakes_are_told_in_one_line(cli, tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    ran = cli(*args)
    assert ran.code == 2
    assert said in ran.err.replace("\n", " ")
    assert not any(tmp_path.iterdir())


def test_papers_lists_all_and_finds_some(cli):
    everything = json.loads(cli("papers", "--json").out)
    assert [row["slug"] for row in everything] == list(slugs())
    one = everything[0]
    assert {one["slug"]} <= {row["slug"] for row in everything if row["room"] == one["room"]}
    word = one["title"].split()[0]
    found = json.loads(cli("papers", word, "--room", one["room"], "--json").out)
    assert one["slug"] in [row["slug"] for row in found]
    assert not json.loads(cli("papers", "zzzz", "--json").out)


def test_papers_show_tells_how_to_use_it(cli):
    from bregma.claims import find

    claim = find(slugs()[0])
    out = " ".join(cli("papers", "show", claim.slug).out.split())
    assert " ".join(claim.sentence.split()) in out
    assert claim.paper.url in out
    assert claim.use.strip().splitlines()[-1].strip()[:60] in out
