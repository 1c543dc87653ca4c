"""`bregma compare` hands on what it was told, and says what came out."""

import numpy as np
import pytest

import bregma
from bregma.errors import InvalidArgument


@pytest.fixture
def brain(tmp_path):
    """A file of responses of 24 units in two areas to 12 stimuli."""
    file = tmp_path / "brain.npz"
    np.savez(
        file,
        rates=np.random.default_rng(0).normal(size=(12, 24)),
        image=[f"image {i}" for i in range(12)],
        area=["V1"] * 12 + ["IT"] * 12,
        depth=np.arange(24) % 3,
    )
    return f"{file}::rates"


@pytest.fixture
def asked(monkeypatch):
    """What `bregma.compare` is called with; it is not run."""
    calls = []

    def stub(*args, **more):
        calls.append((args, more))
        raise InvalidArgument("far enough")

    monkeypatch.setitem(bregma.__dict__, "compare", stub)
    return calls


def test_everything_is_handed_on(cli, brain, asked, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((12, 8, 8), np.uint8))
    ran = cli(
        "compare", brain, "pixels", "v1", "--images", tmp_path / "images.npy", "--by", "cka",
        "--distance", "euclidean", "--comparison", "spearman", "--each", "area", "--twins", 3,
        "--replicates", "depth", "--over", "stimulus",
        "--bootstrap", 50, "--permutations", 60, "--level", 0.9, "--seed", 7,
    )  # fmt: skip
    assert ran.err == "error: far enough\n"
    ((data, models), options) = asked[0]
    assert data.n_units == 24
    assert models == ["pixels", "v1"]
    assert len(options.pop("stimuli")) == 12
    assert options == {
        "by": "cka", "distance": "euclidean", "comparison": "spearman", "each": "area", "twins": 3,
        "replicates": "depth", "over": ["stimulus"],
        "n_bootstrap": 50, "n_permutations": 60, "level": 0.9, "seed": 7, "progress": True,
    }  # fmt: skip


def test_what_is_not_said_is_left_to_compare(cli, brain, asked):
    cli("compare", brain)
    ((_, models), options) = asked[0]
    assert models == []
    assert options == {
        "by": "rsa", "stimuli": None, "distance": None, "comparison": None, "each": None,
        "replicates": None, "over": ["subject", "stimulus"],
        "twins": 0, "n_bootstrap": 1000, "n_permutations": 1000, "level": 0.95, "seed": 0,
        "progress": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("select", "n"),
    [(["area=V1"], 12), (["area=V1,IT"], 24), (["area=V1", "depth=0,2"], 8), (["depth=1"], 8)],
)
def test_a_part_of_the_brain(cli, brain, asked, select, n):
    cli("compare", brain, *(part for text in select for part in ("--select", text)))
    assert asked[0][0][0].n_units == n


@pytest.mark.parametrize(
    ("select", "say"),
    [
        ("area", "NAME=LABEL"),
        ("area=", "NAME=LABEL"),
        ("aera=V1", "'area'"),
        ("area=V2", "'IT'"),
        ("depth=deep", "are numbers"),
    ],
)
def test_a_part_that_is_not_there(cli, brain, asked, select, say):
    ran = cli("compare", brain, "--select", select)
    assert ran.code == 2
    assert say in ran.err
    assert not asked


def test_a_part_of_some_rdms(cli, asked, tmp_path):
    rdms = bregma.Dissimilarity(
        np.random.default_rng(0).random((4, 10)),
        stimuli=list("abcde"),
        rdms={"subject": ["s1", "s1", "s2", "s2"]},
        measure="correlation",
    )
    path = rdms.save(tmp_path / "rdms.nc")
    cli("compare", path, "--select", "subject=s2")
    assert asked[0][0][0].n_rdms == 2


def test_the_whole_way(cli, brain, tmp_path):
    file = np.load(brain.partition("::")[0])
    noise = np.random.default_rng(1).normal(size=(12, 24))
    images, rates = file["image"], file["rates"]
    np.savez(tmp_path / "models.npz", near=rates + noise, far=noise[::-1], image=images)
    models = [f"{tmp_path / 'models.npz'}::{name}" for name in ("near", "far")]
    report, evidence = tmp_path / "out" / "report.html", tmp_path / "evidence.json"
    ran = cli("compare", brain, *models, "--bootstrap", 50, "--permutations", 100,
              "--report", report, "--json", evidence)  # fmt: skip
    assert ran.code == 0, ran.err
    found = bregma.EvidenceSet.from_json(evidence.read_text())
    assert found.models == ["near", "far"]
    assert found["near"].score > found["far"].score
    assert f"{found['near'].score:.3f}" in ran.out
    assert "Of 2 models, near comes closest" in ran.out
    assert ran.out.endswith(f"report: {report}\nevidence: {evidence}\n")
    assert "near" in report.read_text()


def test_nothing_is_written_when_it_fails(cli, brain, asked, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("the one before")
    ran = cli("compare", brain, "v1", "--report", report, "--json", tmp_path / "new.json")
    assert ran.code == 2
    assert report.read_text() == "the one before"
    assert not (tmp_path / "new.json").exists()


def test_a_file_of_python_needs_a_function(cli, brain, asked):
    ran = cli("compare", brain, "net.py")
    assert ran.err.endswith("Write net.py:FACTORY\n")
    assert not asked


def test_twins_of_what_has_not_learned(cli, brain, tmp_path):
    np.savez(
        tmp_path / "model.npz",
        rates=np.random.default_rng(1).normal(size=(12, 24)),
        image=[f"image {i}" for i in range(12)],
    )
    ran = cli("compare", brain, tmp_path / "model.npz", "--twins", 2, "--permutations", 50,
              "--bootstrap", 50)  # fmt: skip
    assert ran.code == 0, ran.err
    assert "No twins: nothing in these models is learned" in ran.out


def test_untrained_networks(cli, brain, asked, tmp_path):
    np.save(tmp_path / "other.npy", np.zeros((12, 3)))
    cli("compare", brain, "cnn", tmp_path / "other.npy", "--untrained", "--seed", 4)
    network, file = asked[0][0][1]
    assert network.name == "cnn (untrained, seed 4)"
    assert file == str(tmp_path / "other.npy")


def test_what_the_reader_is_asked_for(cli, monkeypatch):
    calls = []

    def stub(path, **options):
        calls.append((path, options))
        raise InvalidArgument("far enough")

    monkeypatch.setitem(bregma.__dict__, "read", stub)
    cli("compare", "x.set", "--events", "rt", "--events", "square", "--window=-0.2:0.8")
    cli("compare", "x.set", "--window", "10:20")
    cli("compare", "x.npz", "--missing", "drop_units")
    cli("read", "x.npz", "--missing", "drop_presentations")
    assert calls == [
        ("x.set", {"events": ["rt", "square"], "window": (-0.2, 0.8)}),
        ("x.set", {"window": (10, 20)}),
        ("x.npz", {"missing": "drop_units"}),
        ("x.npz", {"missing": "drop_presentations"}),
    ]


def test_spike_trains_have_no_part_to_select(cli, monkeypatch):
    spikes = bregma.SpikeTrains.from_dict({"a": [0.1, 0.2], "b": [0.3]})
    monkeypatch.setitem(bregma.__dict__, "read", lambda path: spikes)
    ran = cli("compare", "x.nwb", "--select", "area=V1")
    assert ran.code == 2
    assert "not on spike trains" in ran.err
