"""Sudoku against brute force over all 288 grids, and against published counts."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.datasets import read_sudoku, solve_sudoku, sudoku
from bregma.datasets._sudoku_symmetry import orbits, symmetric_copy
from bregma.errors import InvalidArgument


def every_grid():
    """All 4 x 4 grids, without search: four rows that fit."""
    rows = list(permutations((1, 2, 3, 4)))
    grids = []
    for first, second, third, fourth in product(rows, repeat=4):
        columns = zip(first, second, third, fourth, strict=True)
        if any(len(set(column)) < 4 for column in columns):
            continue
        bands = ((first, second), (third, fourth))
        if all(len({*a[i : i + 2], *b[i : i + 2]}) == 4 for a, b in bands for i in (0, 2)):
            grids.append([*first, *second, *third, *fourth])
    return np.array(grids)


GRIDS = every_grid()


def canonical(puzzle):
    """The smallest disguise of a 4 x 4 puzzle, among all of them."""
    lines = [
        (*p, *q)
        for a, b in permutations([(0, 1), (2, 3)])
        for p in permutations(a)
        for q in permutations(b)
    ]
    best = None
    for rows, columns in product(lines, repeat=2):
        grid = puzzle.reshape(4, 4)[np.ix_(rows, columns)]
        for cells in (grid, grid.T):
            names = {0: 0}  # digits renamed in the order of their appearance
            found = [names.setdefault(int(d), len(names)) for d in cells.ravel()]
            best = found if best is None else min(best, found)
    return tuple(best)


def test_there_are_288_grids_and_the_solver_finds_them():
    assert len(GRIDS) == 288  # known
    found = solve_sudoku(np.zeros(16, dtype=np.int64), limit=1000)
    assert {tuple(g) for g in found} == {tuple(g) for g in GRIDS}


@given(st.integers(0, 287), st.integers(0, 2**16 - 1), st.integers(0, 4))
def test_the_solver_finds_every_solution(number, mask, broken):
    puzzle = GRIDS[number] * (mask >> np.arange(16) & 1)
    puzzle[0] = broken  # may be a contradiction
    fits = GRIDS[((puzzle == GRIDS) | (puzzle == 0)).all(1)]
    found = solve_sudoku(puzzle, limit=300)
    assert {tuple(g) for g in found} == {tuple(g) for g in fits}
    assert len(found) == len(fits)


@pytest.mark.parametrize(("box", "givens", "n"), [(2, 5, 60), (3, 32, 8)])
def test_puzzles_have_exactly_one_solution(box, givens, n):
    for task in sudoku(box=box, givens=givens, n_train=n, n_test=n, seed=3):
        assert task.inputs.shape == (n, box**4)
        assert len({p.numpy().tobytes() for p in task.inputs}) == n
        assert ((task.inputs > 0).sum(1) == givens).all()
        for puzzle, target in zip(task.inputs.numpy(), task.targets.numpy(), strict=True):
            (solution,) = solve_sudoku(puzzle)
            np.testing.assert_array_equal(target, np.where(puzzle > 0, -1, solution - 1))
            lines = solution.reshape(box, box, box, box)
            for parts in (lines, lines.transpose(2, 3, 0, 1), lines.transpose(0, 2, 1, 3)):
                assert all(len(set(p)) == box**2 for p in parts.reshape(box**2, box**2))


def test_no_test_puzzle_is_a_training_puzzle_in_disguise():
    train, test = sudoku(n_train=60, n_test=40, copies=2, seed=0)
    mine = {canonical(puzzle) for puzzle in train.inputs.numpy()}
    assert len(mine) < 60  # there were some: the split had something to keep together
    assert not mine & {canonical(puzzle) for puzzle in test.inputs.numpy()}


def test_the_thirteen_puzzles_of_four_givens():
    # There are 13 essentially different ones (published; and none with three givens).
    train, test = sudoku(givens=4, n_train=100, n_test=60, seed=1)
    puzzles = np.concatenate([train.inputs, test.inputs])
    assert len({canonical(p) for p in puzzles}) == len(set(orbits(puzzles))) == 13
    with pytest.raises(InvalidArgument, match="0 and 0 were found"):
        sudoku(givens=3, n_train=4, n_test=4, seed=0)


@pytest.mark.parametrize("givens", [5, 7])
def test_numbers_of_orbits_tell_the_disguises_apart(givens):
    puzzles = sudoku(givens=givens, n_train=60, n_test=1, seed=2)[0].inputs.numpy()
    brute = [canonical(p) for p in puzzles]
    assert len(set(brute)) == len(set(zip(brute, orbits(puzzles), strict=True)))  # none is split
    assert len(set(orbits(puzzles))) > 0.9 * len(set(brute))  # few are put together


NINE = sudoku(box=3, givens=40, n_train=1, n_test=1, seed=4)[0].inputs[0].numpy()


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_disguises_keep_the_orbit_and_the_solution(seed):
    rng = np.random.default_rng(seed)
    puzzle, solution = NINE, solve_sudoku(NINE)[0]
    disguised, answer = symmetric_copy(np.stack([puzzle, solution]), rng)
    np.testing.assert_array_equal(orbits(disguised[None]), orbits(puzzle[None]))
    np.testing.assert_array_equal(solve_sudoku(disguised), answer[None])


def test_copies_and_chance():
    plain, _ = sudoku(n_train=30, n_test=10, seed=5)
    train, test = sudoku(n_train=30, n_test=10, copies=3, seed=5)
    assert (len(train), len(test)) == (90, 10)
    assert (train.inputs[:30] == plain.inputs).all()
    assert (train.inputs[30:60] != plain.inputs).any(1).all()
    assert (orbits(train.inputs[30:60].numpy()) == orbits(plain.inputs.numpy())).all()
    shares = [train.accuracy(train.targets * 0 + digit) for digit in range(4)]
    assert train.chance == pytest.approx(max(shares))
    assert train.accuracy(train.targets) == 1.0


def test_the_seed_decides():
    first, again, other = (sudoku(n_train=20, n_test=20, seed=s)[0].inputs for s in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


def test_a_file_reads_back(tmp_path):
    train, _ = sudoku(box=3, givens=35, n_train=3, n_test=1, seed=0)
    rows = ["source,question,answer,rating"]
    for puzzle, target in zip(train.inputs, train.targets, strict=True):
        answer = (puzzle + target + 1).tolist()
        question = "".join(map(str, puzzle.tolist())).replace("0", ".")
        rows.append(f"made,{question},{''.join(map(str, answer))},7")
    (tmp_path / "some.csv").write_text("\n".join(rows))
    task = read_sudoku(tmp_path / "some.csv")
    assert (task.inputs == train.inputs).all()
    assert (task.targets == train.targets).all()
    assert len(read_sudoku(tmp_path / "some.csv", first=2)) == 2


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("question,answer\n", "0 rows"),
        ("puzzle,answer\n1,2\n", "columns"),
        ("question,answer\n12,12\n", "row 0 of 'question'"),
        (f"question,answer\n{'.' * 16},{'5' * 16}\n", "row 0 of 'answer'"),
        (f"question,answer\n{'1' + '.' * 15},{'2' * 16}\n", "answer of row 0"),
        (f"question,answer\n{'.' * 16},{'1' * 15}x\n", "'answer'"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, match):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InvalidArgument, match=match):
        read_sudoku(tmp_path / "bad.csv")


@pytest.mark.parametrize(
    "bad",
    [{"box": 4}, {"givens": 0}, {"givens": 16}, {"n_train": 0}, {"copies": 0}, {"seed": -1}],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(InvalidArgument):
        sudoku(**{"seed": 0, **bad})


@pytest.mark.parametrize("puzzle", [np.zeros(17, int), np.full(16, 5), np.full(16, -1)])
def test_the_solver_refuses_what_is_no_grid(puzzle):
    with pytest.raises(InvalidArgument):
        solve_sudoku(puzzle)
    with pytest.raises(InvalidArgument, match="limit"):
        solve_sudoku(np.zeros(16, int), limit=0)
