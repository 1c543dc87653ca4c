"""Given connections come back exactly; tables that cannot be are refused with the reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from bregma.dynamics.connect._connect_given import FromMatrix, FromTable
from bregma.dynamics.connect._dale import check_dale, dale
from bregma.errors import InvalidArgument, UnknownName

WEIGHTS = np.array([[0, 1.5, 0, -2], [0, 0, 0, 0], [3, 0, 0.5, 0]])


def matrix_of(rule, n_pre, n_post, name="weight"):
    rows, values = rule.rows(n_pre, n_post, 0, 0, n_pre), rule.values(0, n_pre)
    return scipy.sparse.csr_array((values[name], rows.targets, rows.indptr), (n_pre, n_post))


# Matrices


@pytest.mark.parametrize("kind", [np.array, scipy.sparse.csr_array, scipy.sparse.coo_matrix])
def test_matrix_comes_back(kind):
    rule = FromMatrix(kind(WEIGHTS))
    np.testing.assert_array_equal(matrix_of(rule, 3, 4).toarray(), WEIGHTS)
    np.testing.assert_array_equal(rule.values(1, 3)["weight"], [3, 0.5])
    assert rule.rows(3, 4, 0, 1, 3).indptr.tolist() == [0, 0, 2]
    assert rule.rows(3, 4, 0, 2, 2).indptr.tolist() == [0]


def test_stored_zeros_are_synapses_and_what_is_stored_twice_is_added():
    entries = ([0.0, 2.0, 3.0], ([0, 1, 1], [1, 0, 0]))
    rule = FromMatrix(scipy.sparse.coo_array(entries, shape=(2, 2)))
    rows = rule.rows(2, 2, 0, 0, 2)
    assert rows.targets.tolist() == [1, 0]
    assert rule.values(0, 2)["weight"].tolist() == [0, 5]


def test_unsorted_matrix_is_sorted_and_the_callers_is_left_alone():
    mine = scipy.sparse.csr_array(([1.0, 2.0], [3, 1], [0, 2]), shape=(1, 4))
    rule = FromMatrix(mine)
    assert rule.rows(1, 4, 0, 0, 1).targets.tolist() == [1, 3]
    assert rule.values(0, 1)["weight"].tolist() == [2, 1]
    assert mine.indices.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(3), "matrix"),
        (np.zeros((2, 2), complex), "real"),
        (np.array([["a"]]), "real"),
        (np.array([[np.nan, 1.0]]), "1 weights"),
    ],
)
def test_what_is_no_matrix_of_weights_is_refused(weights, message):
    with pytest.raises(InvalidArgument, match=message):
        FromMatrix(weights)


def test_sizes_must_agree():
    with pytest.raises(InvalidArgument, match="not of 4 and 4"):
        FromMatrix(WEIGHTS).rows(4, 4, 0, 0, 4)
    with pytest.raises(InvalidArgument, match="slice"):
        FromMatrix(WEIGHTS).values(0, 4)


# Tables


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "pre": ["c", "a", "a"],
            "post": [20, 40, 10],
            "weight": [1.0, -2.0, 3.0],
            "delay": [1e-3, 2e-3, 0.0],
            "region": ["x", "y", "z"],
        }
    )


def test_table_becomes_its_matrix(table):
    rule = FromTable(table, ["a", "b", "c"], [10, 20, 30, 40])
    expected = [[3, 0, 0, -2], [0, 0, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_array_equal(matrix_of(rule, 3, 4).toarray(), expected)
    assert rule.values(0, 1)["delay"].tolist() == [0, 2e-3]
    assert rule.values(1, 3)["weight"].tolist() == [1]


def test_numbers_may_be_absent_and_ids_categorical(table):
    only = table[["pre", "post"]].astype({"pre": "category"})
    rule = FromTable(only, pd.Index(["c", "a"]), np.array([40, 20, 10]))
    assert rule.values(0, 2) == {}
    assert rule.rows(2, 3, 0, 0, 2).targets.tolist() == [1, 0, 2]
    nothing = FromTable(table.iloc[:0], ["a"], [10])
    assert nothing.rows(1, 1, 0, 0, 1).indptr.tolist() == [0, 0]


def test_unknown_units_are_named(table):
    with pytest.raises(UnknownName, match=r"'post'.*population of 2: 20, 10;"):
        FromTable(table, ["a", "c"], [40, 30])
    many = pd.DataFrame({"pre": range(9), "post": 0})
    with pytest.raises(UnknownName, match="2, 3, 4, 5, 6 and 2 more"):
        FromTable(many, [0, 1], [0])


def test_a_column_that_is_not_there_is_named(table):
    with pytest.raises(UnknownName, match="column 'pre'"):
        FromTable(table.drop(columns="pre"), ["a"], [10])


def test_pairs_that_occur_twice_are_refused_with_the_way_out(table):
    twice = pd.concat([table, table.iloc[1:2]])
    with pytest.raises(InvalidArgument, match=r"1 synapses .* first a -> 40; .*groupby"):
        FromTable(twice, ["a", "c"], [10, 20, 40])
    once = twice.groupby(["pre", "post"], as_index=False).agg({"weight": "sum", "delay": "min"})
    assert matrix_of(FromTable(once, ["a", "c"], [10, 20, 40]), 2, 3)[0, 2] == -4


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("weight", np.nan, "'weight' is NaN or infinite, first in row 1"),
        ("weight", "much", "must hold numbers"),
        ("delay", -1e-3, "'delay' is negative, first in row 1"),
    ],
)
def test_impossible_numbers_are_refused(table, column, value, message):
    table[column] = table[column].astype(object)
    table.loc[1, column] = value
    with pytest.raises(InvalidArgument, match=message):
        FromTable(table, ["a", "c"], [10, 20, 40])


def test_ids_must_be_unique(table):
    with pytest.raises(InvalidArgument, match="pre names 'a' more than once"):
        FromTable(table, ["a", "c", "a"], [10, 20, 40])


# Dale's principle


def test_dale_gives_signs_and_keeps_sizes():
    rng = np.random.default_rng(0)
    weights, excitatory = rng.normal(size=(30, 20)), rng.random(30) < 0.8
    out = dale(weights, excitatory)
    np.testing.assert_array_equal(np.abs(out), np.abs(weights))
    assert (out[excitatory] >= 0).all()
    assert (out[~excitatory] <= 0).all()
    check_dale(out, excitatory)
    np.testing.assert_array_equal(dale(out, excitatory), out)
    flat = dale(weights.ravel(), np.repeat(excitatory, 20))
    np.testing.assert_array_equal(flat, out.ravel())


def test_a_wrong_sign_is_found():
    weights = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 2.0]])
    check_dale(weights[:2], np.array([True, False]))
    with pytest.raises(InvalidArgument, match="1 weights .* row 2, which inhibits"):
        check_dale(weights, np.array([True, True, False]))
    with pytest.raises(InvalidArgument, match="row 2, which excites"):
        check_dale(weights, np.array([True, False, True]))
