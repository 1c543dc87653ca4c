"""Running claims: resumed, isolated, spread over processes, and never silently wrong."""

from __future__ import annotations

import ast
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bregma import _files
from bregma.claims import Result, find, kept, result_path, slugs, verdict, verify
from bregma.claims._claim import _bare
from bregma.errors import BregmaError, InvalidArgument, UnknownName

BREGMA = Path(sys.executable).with_name("bregma")


def test_every_seed_is_run_apart_and_kept(write_claim, tmp_path):
    path = write_claim()
    (result,) = verify([path], results=tmp_path / "out", jobs=2).values()

    assert list(result.runs) == [1, 2, 3]
    assert result.runs[2].measures == {"a": 1.02, "control": 0.02, "error": 0.01}
    assert result.runs[2].curves["a by step"].y == (0.0, 1.02)
    assert all(run.wall_s < 5 and 10 < run.peak_mib < 4000 for run in result.runs.values())
    assert {"bregma", "torch", "python"} <= set(result.runs[1].versions)
    assert verdict(find(path), result) == "holds"
    assert Result.load(tmp_path / "out" / "check" / "byron_1843_means.json") == result


def test_seeds_that_have_run_are_not_run_again(write_claim, tmp_path):
    path = write_claim(
        body="""
    import pathlib
    with open(pathlib.Path(__file__).with_suffix(".log"), "a") as log:
        log.write(f"{seed}\\n")
    return {"a": 1.0 + bonus, "control": 0.0, "error": 0.0}
"""
    )
    log = Path(path).with_suffix(".log")
    verify([path], results=tmp_path, seeds=[1], jobs=1)
    verify([path], results=tmp_path, jobs=1)
    assert sorted(log.read_text().split()) == ["1", "2", "3"]

    verify([path], results=tmp_path, jobs=1)
    assert len(log.read_text().split()) == 3


def test_a_result_of_other_code_does_not_count(write_claim, tmp_path):
    verify([write_claim()], results=tmp_path, seeds=[1], jobs=1)
    other = write_claim(name="other")  # the same code has the same digest ...
    changed = write_claim(name="changed", bonus=1.0)  # ... other settings and code have not
    recoded = write_claim(name="recoded", body="    return {'a': 1.0}")
    digests = [find(path).digest("check") for path in (other, changed, recoded)]
    assert len(set(digests)) == 3

    result_path(tmp_path, "byron_1843_means", "check").rename(
        result_path(tmp_path, "changed", "check")
    )
    assert not kept(find(changed), "check", tmp_path).runs


def test_comments_and_thresholds_do_not_change_the_digest(write_claim):
    one = write_claim(name="one")
    two = write_claim(name="two")
    text = Path(two).read_text().replace("by=0.5", "by=0.7")
    Path(two).write_text(text.replace("    a = 1.0", '    "Why."\n    # how\n    a = 1.0'))
    assert find(one).digest("check") == find(two).digest("check")


def test_a_crash_is_an_outcome_with_its_traceback(write_claim, tmp_path):
    path = write_claim(body="    raise RuntimeError('no spikes')\n")
    (result,) = verify([path], results=tmp_path, seeds=[1], jobs=1).values()
    assert "RuntimeError: no spikes" in result.runs[1].error
    assert verdict(find(path), result) == "crashed"


def test_a_killed_process_is_an_outcome_and_the_others_go_on(write_claim, tmp_path):
    body = """
    import os, signal
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"a": 1.0 + bonus, "control": 0.0, "error": 0.0}
"""
    path = write_claim(body=body)
    (result,) = verify([path], results=tmp_path, jobs=2).values()
    assert "SIGKILL" in result.runs[2].error
    assert not result.runs[1].error
    assert not result.runs[3].error


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    return {'a': float('nan'), 'control': 0.0, 'error': 0.0}", "'a' is nan"),
        ("    return {'a': 1.0, 'error': 0.0}", "did not measure ['control']"),
    ],
)
def test_measures_are_finite_and_complete(write_claim, tmp_path, body, said):
    (result,) = verify([write_claim(body=body)], results=tmp_path, seeds=[1], jobs=1).values()
    assert said in result.runs[1].error


def test_killed_at_any_moment_it_goes_on_where_it_was(write_claim, tmp_path):
    path = write_claim(
        body="""
    import os, pathlib, time
    here = pathlib.Path(__file__)
    here.with_suffix(f".pid{seed}").write_text(str(os.getpid()))
    if seed == 3 and not here.with_suffix(".go").exists():
        time.sleep(300)
    return {"a": 1.0 + bonus, "control": 0.0, "error": 0.0}
"""
    )
    command = [BREGMA, "verify", path, "-j", "1", "--results", "out"]
    process = subprocess.Popen(command, cwd=tmp_path)
    saved = tmp_path / "out" / "check" / "byron_1843_means.json"
    third = Path(path).with_suffix(".pid3")
    _wait_for(lambda: third.exists() and third.read_text())
    process.kill()
    process.wait()

    assert list(Result.load(saved).runs) == [1, 2]
    pid = int(third.read_text())
    _wait_for(lambda: not _alive(pid))  # nothing goes on running behind one's back

    Path(path).with_suffix(".go").touch()
    Path(path).with_suffix(".pid1").unlink()
    subprocess.run(command, cwd=tmp_path, check=True)
    assert list(Result.load(saved).runs) == [1, 2, 3]
    assert not Path(path).with_suffix(".pid1").exists()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]


def _wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_ends_all_and_keeps_what_is_done(write_claim, tmp_path):
    path = write_claim(
        body="""
    import pathlib, time
    if seed == 2:
        pathlib.Path(__file__).with_suffix(".two").touch()
        time.sleep(300)
    return {"a": 1.0 + bonus, "control": 0.0, "error": 0.0}
"""
    )
    command = [BREGMA, "verify", path, "-j", "1", "--results", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    _wait_for(Path(path).with_suffix(".two").exists)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in said
    assert list(Result.load(tmp_path / "out/check/byron_1843_means.json").runs) == [1]


@pytest.mark.parametrize("damage", ["", "{}", '{"sha256": "0"}', "[1]", "edited"])
def test_a_damaged_result_is_told_and_not_overwritten(write_claim, tmp_path, damage):
    path = write_claim()
    verify([path], results=tmp_path, seeds=[1], jobs=1)
    file = result_path(tmp_path, "byron_1843_means", "check")
    text = file.read_text().replace("1.01", "9.01") if damage == "edited" else damage
    file.write_text(text)
    with pytest.raises(InvalidArgument, match="is no result of"):
        verify([path], results=tmp_path)
    assert file.read_text() == text


def test_a_full_disk_is_told_and_loses_nothing(write_claim, tmp_path, monkeypatch):
    path = write_claim()
    verify([path], results=tmp_path, seeds=[1], jobs=1)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.os, "replace", full)
    with pytest.raises(BregmaError, match=r"No space left on device; the seeds saved before"):
        verify([path], results=tmp_path, seeds=[2], jobs=1)
    monkeypatch.undo()
    assert list(kept(find(path), "check", tmp_path).runs) == [1]


def test_what_cannot_be_asked_is_refused_before_any_work(write_claim, tmp_path):
    with pytest.raises(UnknownName, match="nearest"):
        verify(["moschella_2023_relatives"], results=tmp_path)
    with pytest.raises(UnknownName, match="budget"):
        verify([write_claim()], budget="huge", results=tmp_path)
    with pytest.raises(InvalidArgument, match="jobs"):
        verify([write_claim()], jobs=0, results=tmp_path)
    with pytest.raises(InvalidArgument, match="no file"):
        verify([str(tmp_path / "nothing.py")], results=tmp_path)
    assert not (tmp_path / "check").exists()


def test_the_same_on_a_cluster_of_two_workers(write_claim, tmp_path):
    distributed = pytest.importorskip("distributed")
    path = write_claim()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        (far,) = verify([path], results=tmp_path / "far", cluster=address).values()
    (near,) = verify([path], results=tmp_path / "near").values()
    assert {s: run.measures for s, run in far.runs.items()} == {
        s: run.measures for s, run in near.runs.items()
    }


def test_no_cluster_no_run(write_claim, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(BregmaError, match="no Dask scheduler answers"):
        verify([write_claim()], results=tmp_path, cluster="tcp://127.0.0.1:1")


def test_slugs_are_found_without_importing_claims():
    code = "import bregma.claims, sys; bregma.claims.slugs(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
    assert list(slugs()) == sorted(slugs())


def test_results_are_plain_json(write_claim, tmp_path):
    verify([write_claim()], results=tmp_path, seeds=[1], jobs=1)
    text = result_path(tmp_path, "byron_1843_means", "check").read_text()
    assert json.loads(text)["runs"][0]["measures"]["a"] == 1.01


def test_fields_that_other_versions_of_python_add_do_not_change_the_digest():
    one, later = (
        ast.parse("def f(x):\n    return f'{x} = {x:.2f}'"),
        ast.parse("def f(x):\n    'Why.'\n    return f'{x} = {x:.2f}'"),
    )
    later.body[0].__class__ = type(
        "FunctionDef", (ast.FunctionDef,), {"_fields": (*ast.FunctionDef._fields, "new")}
    )
    later.body[0].new = []
    assert _bare(one) == _bare(later)
