"""The tour ranks the models correctly, finds nothing where there is nothing, and is repeatable."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from bregma.cli import _tour_steps as steps
from bregma.cli._tour import walk

QUICK = steps.Size(draws=200)  # as the command does it, with fewer draws
EXTRAS = ("dask", "h5netcdf", "h5py", "mne", "mne_bids", "nibabel", "nilearn", "pyarrow",
          "gymnasium", "mujoco", "pynapple", "pynwb", "safetensors", "timm", "transformers", "zarr",
          "rsatoolbox")  # fmt: skip


def corrected(evidence):
    return dict(zip(evidence.models, evidence.to_frame()["p_fwe"], strict=True))


@pytest.fixture(scope="module", params=[0, 1, 2])
def toured(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("tour") / "report.html"
    return walk(path, seed=request.param, size=QUICK)


def test_the_right_model_comes_first_with_evidence(toured):
    evidence = toured.evidence
    best, *others = sorted(evidence, key=lambda e: e.score, reverse=True)
    assert best.model == "V1 bank"
    assert corrected(evidence)["V1 bank"] < 0.05
    assert {e.model for e in others} == {"pixels", "trained CNN", "untrained CNN"}
    for other in others:
        ahead = steps.difference(evidence, "V1 bank", other.model)
        assert ahead.low > 0
        assert ahead.p < 0.05


def test_the_right_model_is_near_the_ceiling_and_is_not_the_truth(toured):
    found = toured.evidence["V1 bank"]
    assert 0.7 < found.normalised < 1.3
    assert found.score < found.ceiling.upper


def test_nulls_are_at_chance(toured):
    for e in toured.evidence:
        assert abs(e.null.values.mean()) < 3 * e.null.values.std() / np.sqrt(QUICK.draws) + 0.01
    frame = toured.nothing.to_frame()
    assert len(frame) == 40
    assert frame["p_fwe"].min() > 0.05
    assert (frame["p"] < 0.05).sum() <= 7  # 2 are expected; models are not independent
    assert 0.3 < frame["p"].mean() < 0.7
    assert abs(frame["score"].mean()) < 0.02


def test_the_lesion_costs_more_than_as_many_units_at_random(toured):
    after = toured.after
    intact, lesion, control = (e.score for e in after)
    same = pytest.approx(toured.evidence["V1 bank"].score)
    assert after[0].score == same  # the network itself was not changed
    assert lesion < intact - 0.04
    assert abs(control - intact) < 0.06
    assert steps.difference(after, "as many at random", "no horizontal").p < 0.05


def test_lesion_and_control_take_out_as_many_units():
    models = steps.load_models()
    stimuli = steps.take_images(3, 0)
    intact, lesion, control = (
        system.record(stimuli).values for system in steps.cut(models, 0).values()
    )
    silent = [(part == 0).all(axis=0) & (intact != 0).any(axis=0) for part in (lesion, control)]
    assert silent[0].sum() == silent[1].sum() == 20 * 256
    for part, gone in zip((lesion, control), silent, strict=True):
        assert np.array_equal(part[:, ~gone], intact[:, ~gone])


def test_the_lesion_is_of_horizontal_stripes():
    """The channels that are cut answer horizontal gratings most."""
    rows = np.arange(64)[:, None] * np.ones(64)
    stripes = [np.rint(127.5 + 127.5 * np.cos(2 * np.pi * r / 8)) for r in (rows, rows.T)]
    recorded = steps.load("v1").record(np.stack(stripes).astype(np.uint8))
    orientation = recorded.coordinate("channel").astype(int) % 8
    best = [np.bincount(orientation, weights=row).argmax() for row in recorded.values]
    assert best == [4, 0]


def test_the_report_tells_all_of_it(toured):
    text = toured.report.read_text()
    assert "A lesion of the winner" in text
    assert "Brains with nothing to find" in text
    assert "V1 bank" in text


def test_only_the_seed_decides(tmp_path):
    tiny = steps.Size(images=24, cells=60, repeats=2, draws=50)
    found = []
    for state in (1, 2):
        np.random.seed(state)  # noqa: NPY002
        torch.manual_seed(state)
        found.append(walk(tmp_path / f"{state}.html", seed=5, size=tiny))
    for name in ("evidence", "nothing", "after"):
        assert getattr(found[0], name).to_json() == getattr(found[1], name).to_json()


def test_what_is_shown_is_what_is_run():
    assert steps.code_of(steps.take_images, images=96, seed=3) == (
        "stimuli = sample_images(96, seed=3, photographs=0.75)"
    )
    shown = steps.code_of(steps.ask, draws=50, seed=1)
    assert "n_bootstrap=50, n_permutations=50, seed=1" in shown
    assert "fmt" not in shown
    for step in (steps.take_images, steps.simulate_brain, steps.load_models, steps.ask,
                 steps.ask_nothing, steps.cut, steps.ask_lesions, steps.write):  # fmt: skip
        code = steps.code_of(step, images=96, cells=300, repeats=8, draws=1000, seed=0)
        compile(code, "step", "exec")
        assert max(map(len, code.splitlines())) <= 78  # fits into a terminal of 80 columns


def test_a_difference_has_a_direction(toured):
    there = steps.difference(toured.evidence, "V1 bank", "pixels")
    back = steps.difference(toured.evidence, "pixels", "V1 bank")
    assert back.value == -there.value
    assert (back.low, back.high) == (-there.high, -there.low)
    assert back.p == there.p
    assert there.low < there.value < there.high


def test_the_command_without_any_extra(tmp_path):
    """`bregma tour` on a machine that has the core dependencies only."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({EXTRAS!r}))\n"
        "from bregma.cli import main\n"
        "from bregma.cli._tour_steps import Size\n"
        "Size.__init__.__defaults__ = (32, 100, 4, 100)\n"  # images, cells, repeats, draws
        "main(['tour', '--seed', '1'])\n"
    )
    environment = {**os.environ, "COLUMNS": "100", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\nreport: bregma-tour.html\n$", done.stdout)
    assert (tmp_path / "bregma-tour.html").stat().st_size > 100_000
    assert "V1 bank comes closest" in done.stdout


def test_the_command(cli, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(steps.Size.__init__, "__defaults__", (16, 40, 2, 50))
    report = tmp_path / "tour.html"
    ran = cli("tour", "--seed", 2, "--report", report, "--open")
    assert ran.code == 0, ran.err
    assert ran.out.endswith(f"report: {report}\n")
    assert all(f"{number}. " in ran.out for number in range(1, 8))
    for answer in ("evidence =", "nothing =", "after ="):  # each question is shown
        assert f"  {answer} " in ran.out
    assert opened == [report.as_uri()]


def test_the_command_says_before_the_work_where_it_cannot_write(cli, tmp_path):
    ran = cli("tour", "--report", tmp_path)
    assert ran.code == 2
    assert "is a folder" in ran.err
    assert ran.out == ""
