"""Buffers are used again, and never by two tensors at a time."""

from __future__ import annotations

import torch

from bregma.dynamics.training._workspace import Workspace

SHAPE = (1 << 10, 1 << 9)  # two megabytes of float32


def test_a_buffer_comes_back_when_its_last_tensor_is_gone():
    w = Workspace()
    a = w.empty(SHAPE, torch.float32)
    where, view = a.data_ptr(), a[3:]
    b = w.empty(SHAPE, torch.float32)
    assert b.data_ptr() != where
    del a
    assert w.empty(SHAPE, torch.float32).data_ptr() not in (where, b.data_ptr())
    del view
    assert w.empty((SHAPE[1], SHAPE[0]), torch.float32).data_ptr() == where


def test_shape_and_type_are_as_asked_for():
    w = Workspace()
    for dtype in (torch.float64, torch.uint8, torch.float32):
        for shape in (SHAPE, (3, 2), (0, 5)):
            x = w.empty(shape, dtype)
            assert x.shape == shape
            assert x.dtype == dtype
            x.fill_(1)


def test_what_waits_takes_no_more_than_was_once_in_use():
    w = Workspace()
    for n in (1, 2, 3, 2, 5, 1, 4):
        held = [w.empty((n, *SHAPE), torch.float32) for _ in range(2)]
        assert w.in_use + w.waiting <= w.peak
        del held
        assert w.in_use == 0
        assert w.waiting <= w.peak == max(w.peak, w.waiting)
