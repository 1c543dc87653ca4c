"""JSON goes out and comes back exactly; hostile text gives one clear error."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from example_evidence import evidence_set
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.errors import InvalidArgument
from bregma.evidence import Evidence, EvidenceSet, Null


def test_round_trip_is_exact(evidences):
    assert EvidenceSet.from_json(evidences.to_json()) == evidences
    for e in evidences:
        assert Evidence.from_json(e.to_json()) == e


def test_round_trip_without_ceiling_and_with_endless_arrangements():
    evidences = evidence_set(
        ceiling=None,
        ceiling_reason="one RDM",
        covariance=np.eye(3) / 300,
        n_arrangements=math.inf,
        seed=None,
        brain='</script><b>"\u2028 \x00',
    )
    again = EvidenceSet.from_json(evidences.to_json())
    assert again == evidences
    assert again[0].null.n_arrangements == math.inf


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_every_float_survives(values):
    e = evidence_set()[0]
    null = Null(np.array(values), "a with b", 3.0, 0.5)
    assert Evidence.from_json(replace(e, null=null).to_json()).null == null


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '"x"',
        "null",
        "{}",
        '{"bregma": "evidence"}',
        '{"bregma": "evidence", "version": 99}',
        '{"bregma": "evidence", "version": 1}',
        '{"bregma": "evidence", "version": 1, "evidence": []}',
        '{"bregma": "evidence", "version": 1, "evidence": {}}',
        "[" * 100_000,
        '{"a": NaN}',
        '{"a": ' + "9" * 10_000 + "}",
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(InvalidArgument):
        Evidence.from_json(text)
    with pytest.raises(InvalidArgument):
        EvidenceSet.from_json(text)


WRONG = [None, True, -1, 0, 2, 10**400, 1e999, "x", [], {}, [None], ["a", 1], [[1]], {"a": "b"}]


def places(node, path=()):
    """Paths of all entries of a JSON tree."""
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    for key, value in items:
        yield (*path, key)
        if not (isinstance(value, list) and len(value) > 50):
            yield from places(value, (*path, key))


TREE = json.loads(evidence_set().to_json())
PLACES = list(places(TREE))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from([*WRONG, "delete"]))
def test_a_damaged_entry_is_an_error_or_still_evidence(path, value):
    tree = json.loads(json.dumps(TREE))
    node = tree
    for key in path[:-1]:
        node = node[key]
    if value == "delete":
        del node[path[-1]]
    else:
        node[path[-1]] = value
    text = json.dumps(tree).replace("Infinity", "1e999")
    try:
        found = EvidenceSet.from_json(text)
    except InvalidArgument:
        return
    assert np.isfinite([e.score for e in found]).all()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 5000))
def test_truncated_text_is_refused(cut):
    text = evidence_set().to_json()
    with pytest.raises(InvalidArgument):
        EvidenceSet.from_json(text[: cut % len(text)])


@pytest.mark.parametrize("depth", [300, 480, 600, 900, 5000])
def test_deeply_nested_settings_are_no_crash(evidences, depth):
    deep = '{"a": ' * depth + "1" + "}" * depth
    text = re.sub(r'"settings": \{.*?\}', f'"settings": {deep}', evidences[0].to_json(), flags=re.S)
    try:
        Evidence.from_json(text)
    except InvalidArgument as error:
        assert "nested" in str(error) or "no JSON" in str(error)  # noqa: PT017


def test_an_unknown_source_is_named(evidences):
    text = evidences[0].to_json().replace("holm1979", "holm1978")
    with pytest.raises(InvalidArgument, match="holm1979"):
        Evidence.from_json(text)
