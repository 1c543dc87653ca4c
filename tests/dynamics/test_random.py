"""Random numbers: the published cipher, the same bits in every engine, the right distributions."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from numba import njit
from scipy import stats

from bregma.dynamics.randomness import _random as in_numpy
from bregma.dynamics.randomness import _random_numba as in_numba
from bregma.dynamics.randomness import _random_torch as in_torch
from bregma.errors import InvalidArgument

KEY = 2**62 + 987654321
UNIT = np.arange(5000)
STEP, STREAM = 77, 3
MEAN = np.linspace(0, 95, 5000)

# Random123 1.14, kat_vectors, philox4x32 with 10 rounds: counter, key, words
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_cipher_gives_the_published_words(counter, key, expected):
    both = key[0] + (key[1] << 32)
    signed = both - 2**64 if both >= 2**63 else both  # the 64 bits of a signed integer
    assert in_numpy.philox(both, *counter) == expected
    arrays = in_numpy.philox(signed, *(np.array([c]) for c in counter))
    assert tuple(int(a[0]) for a in arrays) == expected
    tensors = in_torch.words(signed, *(torch.tensor([c]) for c in counter))
    assert tuple(int(t[0]) for t in tensors) == expected
    assert in_numba.philox(signed, *counter) == expected


# One number in all engines


@njit
def every_kind(key, unit, step, stream, mean, out, out_32):
    for i in range(len(unit)):
        out[0, i] = in_numba.uniform_64(key, unit[i], step, stream, 2)
        out[1, i] = in_numba.normal_64(key, unit[i], step, stream, 2)
        out[2, i] = in_numba.poisson_count(mean[i], key, unit[i], step, stream)
        out_32[0, i] = in_numba.uniform_32(key, unit[i], step, stream, 2)
        out_32[1, i] = in_numba.normal_32(key, unit[i], step, stream, 2)


def numpy_numbers():
    where = (KEY, UNIT, STEP, STREAM, 2)
    return (
        np.stack(
            [
                in_numpy.uniform(*where),
                in_numpy.normal(*where),
                in_numpy.poisson_count(MEAN, KEY, UNIT, STEP, STREAM),
            ]
        ),
        np.stack([f(*where, dtype=np.float32) for f in (in_numpy.uniform, in_numpy.normal)]),
    )


@pytest.mark.parametrize("fastmath", [False, True])
def test_numba_gives_the_same_bits_also_inside_a_fastmath_kernel(fastmath):
    out, out_32 = np.empty((3, len(UNIT))), np.empty((2, len(UNIT)), np.float32)
    kernel = njit(fastmath=fastmath)(every_kind.py_func)
    kernel(KEY, UNIT, STEP, STREAM, MEAN, out, out_32)
    expected, expected_32 = numpy_numbers()
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(out_32, expected_32)


def test_torch_gives_the_same_bits():
    unit, mean = torch.from_numpy(UNIT), torch.from_numpy(MEAN)
    where, single = (KEY, unit, STEP, STREAM, 2), {"dtype": torch.float32}
    count = in_torch.poisson_count(mean, KEY, unit, STEP, STREAM)
    out = torch.stack([in_torch.uniform(*where), in_torch.normal(*where), count])
    out_32 = torch.stack([f(*where, **single) for f in (in_torch.uniform, in_torch.normal)])
    expected, expected_32 = numpy_numbers()
    np.testing.assert_array_equal(out.numpy(), expected)
    np.testing.assert_array_equal(out_32.numpy(), expected_32)


KERNEL = """
import sys
import numpy as np, torch, triton, triton.language as tl
from bregma.dynamics.randomness import _random_triton as random

@triton.jit
def kernel(key, step, mean, out, out_32, theirs, n, SIZE: tl.constexpr):
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    here = i < n
    tl.store(out + i, random.uniform_64(key, i, step, 3, 2), here)
    tl.store(out + n + i, random.normal_64(key, i, step, 3, 2), here)
    count = random.poisson_count(tl.load(mean + i, here, 0.0), key, i, step, 3)
    tl.store(out + 2 * n + i, count.to(tl.float64), here)
    tl.store(out_32 + i, random.uniform_32(key, i, step, 3, 2), here)
    tl.store(out_32 + n + i, random.normal_32(key, i, step, 3, 2), here)
    c = i.to(tl.uint32)
    x0, _x1, _x2, _x3 = tl.philox(key, c, c * 0 + step.to(tl.uint32), c * 0 + 3, c * 0 + 2)
    tl.store(theirs + i, (x0 >> 8).to(tl.float32) * 5.960464477539063e-08, here)
"""

INTERPRET = """
mean = torch.from_numpy(np.linspace(0, 95, 5000))
n = len(mean)
out, out_32 = torch.empty(3, n, dtype=torch.float64), torch.empty(2, n)
theirs = torch.empty(n)
kernel[(5,)](2**62 + 987654321, 77, mean, out, out_32, theirs, n, SIZE=1024)
np.savez(sys.argv[1], out=out.numpy(), out_32=out_32.numpy(), theirs=theirs.numpy())
"""

COMPILE = """
types = dict(key="i64", step="i32", mean="*fp64", out="*fp64", out_32="*fp32", theirs="*fp32",
             n="i32", SIZE="constexpr")
source = triton.compiler.ASTSource(fn=kernel, signature=types, constexprs={(7,): 1024})
target = triton.backends.compiler.GPUTarget("cuda", 80, 32)
compiled = triton.compile(source, target=target, options={"enable_fp_fusion": False})
open(sys.argv[1], "w").write(compiled.asm["ptx"])
"""

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not there on every platform"
)


def run_triton(program, out, folder, **environment):
    # In a process of its own: Triton reads the environment when it is first imported.
    (folder / "kernel.py").write_text(KERNEL + program)
    command = [sys.executable, folder / "kernel.py", out]
    variables = os.environ | environment | {"TRITON_CACHE_DIR": str(folder / "cache")}
    subprocess.run(command, env=variables, check=True)


@needs_triton
def test_triton_gives_the_same_bits_and_its_own_philox_agrees(tmp_path):
    run_triton(INTERPRET, tmp_path / "out.npz", tmp_path, TRITON_INTERPRET="1")
    got = np.load(tmp_path / "out.npz")
    expected, expected_32 = numpy_numbers()
    np.testing.assert_array_equal(got["out"], expected)
    np.testing.assert_array_equal(got["out_32"], expected_32)
    np.testing.assert_array_equal(got["theirs"], expected_32[0])


@needs_triton
def test_compiled_for_a_gpu_every_operation_is_rounded_by_itself(tmp_path):
    # what the interpreter computes is then also what a GPU computes: IEEE 754 leaves no choice
    run_triton(COMPILE, tmp_path / "kernel.ptx", tmp_path, TRITON_INTERPRET="0")
    code = (tmp_path / "kernel.ptx").read_text()
    arithmetic = set(re.findall(r"\b(?:fma|mul|add|sub|div|sqrt)\.[a-z.]*f(?:32|64)\b", code))
    assert {"mul.rn.f64", "add.rn.f64", "div.rn.f64", "sqrt.rn.f64"} <= arithmetic
    assert all(".rn." in operation for operation in arithmetic)
    assert not any("fma" in operation for operation in arithmetic)


def test_numbers_do_not_depend_on_how_units_and_steps_are_divided():
    steps = np.arange(40)[:, None]
    whole = in_numpy.normal(KEY, np.arange(30), steps, STREAM)
    for t in (0, 7, 39):
        for units in (np.arange(10), np.arange(29, 10, -1)):
            np.testing.assert_array_equal(in_numpy.normal(KEY, units, t, STREAM), whole[t, units])
    assert float(in_numpy.normal(KEY, 4, 7, STREAM)) == whole[7, 4]


# Elementary functions


def test_functions_are_those_of_the_library_to_rounding():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.random(20000), 2.0 ** -np.arange(54), 1 - 2.0 ** -np.arange(1, 54)])
    x = x[x > 0]
    np.testing.assert_allclose(in_numpy.log(x), np.log(x), rtol=1e-15, atol=0)
    v = np.append(rng.random(20000) - 0.5, [-0.5, 0.0])
    np.testing.assert_allclose(in_numpy.sin_pi(v), np.sin(np.pi * v), rtol=1e-15, atol=1e-16)
    mean = np.append(rng.random(20000) * 30, [0, 30])
    np.testing.assert_allclose(in_numpy.exp_minus(mean), np.exp(-mean), rtol=5e-14, atol=0)


# Distributions. The seeds are fixed, so that a p-value is one number and no matter of luck.

MANY = 200_000
ALL = np.arange(MANY)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform(dtype):
    u = in_numpy.uniform(KEY, ALL, 5, 1, dtype=dtype)
    assert u.dtype == dtype
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 0.01
    low = (u * 2**24 % 1024).astype(int)  # the low bits are as random as the high ones
    assert stats.chisquare(np.bincount(low, minlength=1024)).pvalue > 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal(dtype):
    z = in_numpy.normal(KEY, ALL, 5, 1, dtype=dtype).astype(float)
    assert stats.kstest(z, "norm").pvalue > 0.01
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 3.5 * np.sqrt(variance / MANY)
    tail = (np.abs(z) > 4).sum()
    assert stats.binomtest(int(tail), MANY, 2 * stats.norm.sf(4)).pvalue > 0.01


def test_extreme_words_stay_finite():
    assert in_numpy.log(np.array([2.0**-53, 1.0])).tolist() == [-53 * np.log(2), 0.0]


@pytest.mark.parametrize("other", [
    (KEY + 1, ALL, 5, 1, 0), (KEY ^ 2**40, ALL, 5, 1, 0), (KEY, ALL + 1, 5, 1, 0),
    (KEY, ALL, 6, 1, 0), (KEY, ALL, 5, 2, 0), (KEY, ALL, 5, 1, 1),
])  # fmt: skip
def test_neighbours_in_every_direction_are_independent(other):
    a, b = in_numpy.normal(KEY, ALL, 5, 1, 0), in_numpy.normal(*other)
    for x, y in ((a, b), (a**2, b**2), (np.abs(a), b)):
        assert stats.pearsonr(x, y).pvalue > 0.005
    cells = np.histogram2d(stats.norm.cdf(a), stats.norm.cdf(b), 16, [[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.ravel()).pvalue > 0.005


@pytest.mark.parametrize("mean", [1e-3, 0.3, 4.0, 29.9, 30.0, 31.0, 75.5, 200.0])
def test_poisson_counts_are_exact(mean):
    count = in_numpy.poisson_count(mean, KEY, ALL, 9, 2)
    k = np.arange(count.max() + 1)
    expected = stats.poisson.pmf(k, mean) * MANY
    enough = expected > 5  # rare counts are put together
    observed = np.append(np.bincount(count)[enough], (~np.isin(count, k[enough])).sum())
    expected = np.append(expected[enough], MANY - expected[enough].sum())
    assert stats.chisquare(observed, expected).pvalue > 0.01


def test_poisson_of_nothing_and_of_broadcast_means():
    assert in_numpy.poisson_count(0.0, KEY, UNIT, 1, 1).sum() == 0
    assert in_numpy.poisson_count(np.zeros((0,)), KEY, np.zeros(0, int), 1, 1).shape == (0,)
    table = in_numpy.poisson_count(np.array([[1.0], [40.0]]), KEY, np.arange(6), 1, 1)
    assert table.shape == (2, 6)
    for row, mean in zip(table, (1.0, 40.0), strict=True):
        np.testing.assert_array_equal(row, in_numpy.poisson_count(mean, KEY, np.arange(6), 1, 1))


@pytest.mark.parametrize("mean", [-1.0, np.nan, np.inf])
def test_impossible_means_are_refused(mean):
    with pytest.raises(InvalidArgument, match="mean"):
        in_numpy.poisson_count(mean, KEY, UNIT, 1, 1)


@pytest.mark.parametrize("key", [-1, 2**63])
def test_impossible_keys_are_refused(key):
    with pytest.raises(InvalidArgument, match="derive"):
        in_numpy.uniform(key, UNIT, 0, 0)
