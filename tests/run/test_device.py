"""A device that was asked for is used or refused."""

import pytest
import torch

from bregma.errors import InvalidArgument, UnknownName
from bregma.run import device, dtype


def test_cpu_is_always_there():
    assert device("cpu") == torch.device("cpu") == device(torch.device("cpu"))


def test_the_fastest_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device().type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device().type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device().type == "cuda"


def test_refused_not_replaced(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InvalidArgument, match=r"'cuda:1' is not on this machine.*cpu"):
        device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device("cuda:0").index == 0
    with pytest.raises(InvalidArgument, match="not on this machine"):
        device("cuda:1")


def test_unknown_names():
    with pytest.raises(UnknownName, match="cuda"):
        device("cudda")
    with pytest.raises(UnknownName, match="float32"):
        dtype("float31")


def test_precision():
    assert dtype("float64") is dtype(torch.float64) is torch.float64
    assert dtype("bfloat16", torch.device("mps")) is torch.bfloat16
    with pytest.raises(InvalidArgument, match="no float64"):
        dtype("float64", torch.device("mps"))
