"""Layouts: names and positions of units, and selections of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bregma.errors import InvalidArgument, UnknownName
from bregma.system import Layout
from bregma.system._layout import layout_of, unit_columns

MAP = layout_of("conv", (2, 3, 4, 5))


@pytest.mark.parametrize(
    ("shape", "module", "heads", "kind", "axes"),
    [
        ((2,), None, None, "feature", ()),
        ((2, 5), nn.Linear(1, 1), None, "feature", ("channel",)),
        ((2, 5, 6), None, None, "token", ("token", "channel")),
        ((2, 5, 6), nn.Conv1d(1, 1, 1), None, "line", ("channel", "column")),
        ((2, 5, 6, 7), None, None, "map", ("channel", "row", "column")),
        ((2, 5, 6, 7), nn.LayerNorm(7), None, "map", ("row", "column", "channel")),
        ((2, 5, 6, 7), None, 5, "head", ("head", "token", "channel")),
        ((2, 5, 6, 7), None, 4, "map", ("channel", "row", "column")),
        ((2, 5, 6, 7, 8), None, None, "film", ("channel", "frame", "row", "column")),
    ],
)
def test_layout_of_shapes(shape, module, heads, kind, axes):
    layout = layout_of("m", shape, module, heads)
    assert (layout.kind, layout.axes, layout.shape) == (kind, axes, shape[1:])
    assert layout.n_units == np.prod(shape[1:], dtype=int)
    assert len(set(layout.ids)) == layout.n_units
    reduced = layout.reduced()
    assert set(reduced.axes) <= {"channel", "head"}
    flat = (
        torch.zeros(shape).sum(layout.position_axes) if layout.position_axes else torch.zeros(shape)
    )
    assert tuple(flat.shape[1:]) == reduced.shape


def test_too_many_axes():
    with pytest.raises(InvalidArgument, match="reduce="):
        layout_of("m", (2, 1, 1, 1, 1, 1))


def test_ids_follow_the_flattened_axes():
    values = np.arange(60).reshape(3, 4, 5)
    for i, unit in enumerate(MAP.ids):
        c, y, x = (int(part[1:]) for part in unit.split("/")[1:])
        assert values[c, y, x] == i
    assert MAP.ids[-1] == "conv/c2/y3/x4"


def test_heads_side_by_side():
    layout = layout_of("attn.proj.input", (2, 3, 8), nn.Linear(8, 8), 4)
    assert layout.n_heads == 4
    assert (layout.positions["head"].reshape(3, 8)[0] == [0, 0, 1, 1, 2, 2, 3, 3]).all()
    assert len(layout.find({"head": 1})) == 6
    assert layout_of("attn.proj", (2, 3, 8), None, 4).n_heads is None
    assert layout_of("attn.qkv.input", (2, 3, 8), None, 4).n_heads is None


@given(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4))
def test_selections_by_id_and_by_position_agree(c, y, x):
    one = MAP.find([f"conv/c{c}/y{y}/x{x}"])
    assert one == MAP.find({"channel": c, "row": y, "column": x})
    assert one[0] == np.ravel_multi_index((c, y, x), MAP.shape)
    channel = MAP.find([f"conv/c{c}"])
    assert (channel == MAP.find({"channel": [c]})).all()
    assert len(channel) == 20
    assert (MAP.find([f"conv/x{x}"]) == MAP.find({"column": slice(x, x)})).all()


def test_selections_keep_the_order_of_ids():
    assert MAP.find(["conv/c2/y0/x0", "conv/c0/y0/x1"]).tolist() == [40, 1]
    assert MAP.find({"row": slice(1, None), "column": slice(None, 0), "channel": 0}).tolist() == [
        5,
        10,
        15,
    ]
    assert (MAP.find(None) == np.arange(60)).all()
    assert MAP.find(["conv"]).tolist() == list(range(60))
    assert len(MAP.find(["other/c1"])) == 0
    assert not MAP.owns("conv2/c1")
    assert MAP.owns("conv/c99")


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"depth": 1}, "no position of units in 'conv' 'depth'"),
        ({"channel": 3}, "no channel 3 in 'conv'; they are 0 to 2"),
        ({"channel": [0, -1]}, "no channel -1"),
        (
            ["conv/c7"],
            "no unit 'conv/c7'; those of 'conv' go from 'conv/c0/y0/x0' to 'conv/c2/y3/x4'",
        ),
        (["conv/t0"], "no unit 'conv/t0'; those"),
        (["conv/c0/y0/x9"], "those of"),
    ],
)
def test_unknown_units(units, message):
    with pytest.raises(UnknownName, match=message):
        MAP.find(units)


def test_selections_that_select_nothing_or_twice():
    with pytest.raises(InvalidArgument, match="more than once"):
        MAP.find(["conv/c1", "conv/c1/y0/x0"])
    with pytest.raises(InvalidArgument, match="no unit of 'conv' lies at"):
        MAP.find({"row": slice(4, 9)})


def test_columns_over_layers():
    columns = unit_columns([MAP, layout_of("fc", (1, 2)), Layout("value", (), ())])
    assert columns["unit"][-3:].tolist() == ["fc/c0", "fc/c1", "value"]
    assert columns["layer"].tolist() == ["conv"] * 60 + ["fc"] * 2 + ["value"]
    assert columns["kind"].tolist() == ["map"] * 60 + ["feature"] * 3
    assert columns["channel"].dtype.kind == "i"
    assert np.isnan(columns["row"][-3:]).all()
    assert "token" not in columns
