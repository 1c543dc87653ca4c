"""Sites: how places in a network are named, found and reached."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bregma.errors import InvalidArgument, UnknownName
from bregma.system import Site
from bregma.system._site import find_sites, find_tensor, is_pattern, replace_tensor

NAMES = [
    "",
    "stem",
    "layer1",
    "layer1.0",
    "layer1.0.conv2",
    "layer1.1.conv2",
    "odd [1] name",
    "in.input",
]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("stem", ["stem"]),
        (".", ["."]),
        (".input", [".input"]),
        ("stem.input", ["stem.input"]),
        ("layer1.*.conv2", ["layer1.0.conv2", "layer1.1.conv2"]),
        ("layer1.?.conv2.input#1[0]", ["layer1.0.conv2.input#1[0]", "layer1.1.conv2.input#1[0]"]),
        ("stem[1][key]", ["stem[1][key]"]),
        ("odd [1] name", ["odd [1] name"]),
        ("in.input", ["in.input"]),
        ("in.input.input", ["in.input.input"]),
        (["stem", "s*"], ["stem"]),
    ],
)
def test_find_sites(pattern, found):
    assert [str(site) for site in find_sites(pattern, NAMES)] == found


def test_star_is_every_part_and_the_whole_where_there_are_no_parts():
    assert [str(site) for site in find_sites("*", NAMES)] == NAMES[1:]
    assert find_sites("*", [""]) == [Site("")]
    assert is_pattern("layer?")
    assert not is_pattern("layer1[0]")


@pytest.mark.parametrize("pattern", ["layer9.0.conv2", "steam", "[", "layer1.0.conv2.outputs", ""])
def test_unknown_sites_name_the_nearest(pattern):
    with pytest.raises(UnknownName, match="nearest"):
        find_sites(pattern, NAMES)


def test_no_sites_at_all():
    with pytest.raises(InvalidArgument, match="no sites"):
        find_sites([], NAMES)


@given(
    st.sampled_from(["", "a", "a.b", "block.input.x"]),
    st.sampled_from(["output", "input"]),
    st.none() | st.integers(0, 99),
    st.lists(st.integers(0, 9) | st.sampled_from(["key", "last hidden"]), max_size=3),
)
def test_text_says_all_about_a_site(module, kind, call, element):
    site = Site(module, kind, call, tuple(element))
    assert find_sites(str(site), [module]) == [site]
    assert str(site) in repr(site)


Pair = namedtuple("Pair", ["first", "second"])
X, Y = torch.zeros(2), torch.ones(2)


@pytest.mark.parametrize(
    ("value", "element", "path"),
    [
        (X, (), ()),
        ((X, Y), (), (0,)),
        ((X, Y), (1,), (1,)),
        ((None, [X, (Y,)]), (), (1, 0)),
        ((None, [X, (Y,)]), (1, 1), (1, 1, 0)),
        ({"a": 3, "b": Y}, (), ("b",)),
        (OrderedDict(a=X, b=Y), ("b",), ("b",)),
        ({0: X, 1: Y}, (1,), (1,)),
        (Pair(X, Y), (1,), (1,)),
        (torch.return_types.max((X, Y)), (1,), (1,)),
    ],
)
def test_tensors_are_found_and_replaced_in_structures(value, element, path):
    found, tensor = find_tensor(value, Site("m", element=element))
    assert found == path
    new = torch.full((2,), 7.0)
    changed = replace_tensor(value, found, new)
    assert type(changed) is type(value)
    assert find_tensor(changed, Site("m", element=element))[1] is new
    assert find_tensor(value, Site("m", element=element))[1] is tensor


@pytest.mark.parametrize(
    ("value", "element", "message"),
    [
        ((X, Y), (2,), r"no element \[2\]; there are 0, 1"),
        (X, (0,), "none: it is a Tensor"),
        ({"a": X}, ("b",), "there are 'a'"),
        (3, (), "holds no tensor but a int"),
        ((), (), "holds no tensor but a tuple"),
    ],
)
def test_missing_elements(value, element, message):
    with pytest.raises(InvalidArgument, match=message):
        find_tensor(value, Site("m", element=element))
