"""Every claim of the house: complete, runnable at once, and its use is true."""

from __future__ import annotations

import json

import pytest
from latex2mathml.converter import convert

from bregma.claims import Result, find, result_path, shipped, slugs, verdict
from bregma.claims._apart import run_apart


@pytest.fixture(params=slugs())
def one(request):
    return find(request.param)


def test_it_is_complete(one):
    author, year, word = one.slug.split("_", 2)
    assert author
    assert word
    assert int(year) == one.paper.year
    assert len(one.sentence) > 30
    assert one.equations
    assert all(convert(equation) for equation in one.equations)
    assert {"smoke", "check", "full"} == set(one.budgets)


def test_it_runs_at_smoke(one):
    run = run_apart(one.slug, "smoke", 0)
    assert not run.error, run.error


def test_its_use_runs(one):
    exec(compile(one.use, one.slug, "exec"), {})


def test_results_that_are_shipped_are_of_the_present_code():
    """Made anew by: bregma verify --all --results src/bregma/claims/results."""
    stale = []
    for path in sorted(shipped().glob("*/*.json")):
        result = Result.load(path)
        assert result is not None
        assert path == result_path(shipped(), result.slug, result.budget)
        if verdict(find(result.slug), result) == "open":
            stale.append(path.name)
    assert not stale


def test_every_claim_has_a_verdict():
    missing = [s for s in slugs() if not result_path(shipped(), s, "check").exists()]
    assert not missing, f"run: bregma verify {' '.join(missing)} --results {shipped()}"


def test_no_machine_is_named_by_shipped_results():
    for path in shipped().glob("*/*.json"):
        for run in json.loads(path.read_text())["runs"]:
            assert set(run["machine"]) <= {"system", "processor", "cores", "threads", "gpu"}
