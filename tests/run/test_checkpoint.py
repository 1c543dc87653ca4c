"""Checkpoints are whole or absent, and run no code when they are loaded."""

import pickle

import numpy as np
import pytest
import torch

from bregma.errors import InvalidArgument
from bregma.run import Checkpoint


def test_round_trip(tmp_path):
    state = {"a": torch.arange(3), "b": [1, 2.5, None, "x", (True,)], "c": {"d": torch.zeros(2, 2)}}
    checkpoint = Checkpoint(tmp_path / "deep" / "run.pt")
    assert checkpoint.load() is None
    checkpoint.save(state)
    back = checkpoint.load()
    assert torch.equal(back["a"], state["a"])
    assert back["b"] == state["b"]
    assert torch.equal(back["c"]["d"], state["c"]["d"])
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["run.pt"]


def test_a_failed_save_leaves_the_state_before(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "run.pt")
    checkpoint.save({"step": 1})

    def half(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"step": 2})
    monkeypatch.undo()
    assert checkpoint.load() == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_only_plain_things_are_saved(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt")
    with pytest.raises(InvalidArgument, match=r"state\['a'\]\[1\] is a ndarray.*as_tensor"):
        checkpoint.save({"a": [0, np.zeros(2)]})
    assert not list(tmp_path.iterdir())


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a checkpoint was run')",))


@pytest.mark.parametrize("how", ["pickle", "torch", "empty", "text", "cut"])
def test_a_file_that_is_no_checkpoint(tmp_path, how):
    path = tmp_path / "run.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Evil(), protocol=2))
    elif how == "torch":
        torch.save({"a": Evil()}, path)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("hello")
    else:
        Checkpoint(path).save({"a": torch.zeros(100)})
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InvalidArgument, match="no checkpoint"):
        Checkpoint(path).load()


def test_another_kind_of_content(tmp_path):
    torch.save(torch.zeros(2), tmp_path / "run.pt")
    with pytest.raises(InvalidArgument, match="holds a Tensor"):
        Checkpoint(tmp_path / "run.pt").load()
