"""Codebooks against brute force and sums by hand."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bregma.errors import InvalidArgument
from bregma.signals import ResidualVQ, VectorQuantizer, rotation_trick, straight_through


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def started(n_codes=6, width=3, **options):
    quantizer = VectorQuantizer(n_codes, width, **options)
    quantizer(normal(200, width))
    return quantizer


@given(seed=st.integers(0, 50), n_codes=st.integers(1, 12), width=st.integers(1, 6))
def test_the_nearest_code_is_that_of_brute_force(seed, n_codes, width):
    quantizer = started(n_codes, width).eval()
    x = normal(4, 5, width, seed=seed) * 2
    for place in [(0, 0), (1, 3), (3, 4)]:
        distances = [float(((x[place] - code) ** 2).sum()) for code in quantizer.book]
        chosen = int(quantizer.choose(x)[place])
        assert distances[chosen] == pytest.approx(min(distances), rel=1e-5, abs=1e-6)
    made = quantizer(x)
    torch.testing.assert_close(made.values, quantizer.book[made.codes])
    torch.testing.assert_close(made.commitment, ((x - quantizer.book[made.codes]) ** 2).mean())


def test_running_means_by_hand():
    quantizer = VectorQuantizer(2, 1, decay=0.5)
    quantizer(torch.tensor([[0.0], [0.0], [10.0], [14.0]]))
    # k-means: 0 and 12, two inputs each; then the same batch again, so that nothing changes
    order = quantizer.book[:, 0].argsort()
    assert quantizer.book[order, 0].tolist() == [0, 12]
    assert quantizer.counts[order].tolist() == [2, 2]
    quantizer(torch.tensor([[2.0], [8.0], [10.0], [11.0]]))
    # counts 0.5 * 2 + 0.5 * (1, 3), sums 0.5 * (0, 24) + 0.5 * (2, 29)
    assert quantizer.counts[order].tolist() == [1.5, 2.5]
    torch.testing.assert_close(quantizer.sums[order, 0], torch.tensor([1.0, 26.5]))
    torch.testing.assert_close(quantizer.book[order, 0], torch.tensor([1 / 1.5, 26.5 / 2.5]))


def test_on_the_same_data_codes_become_the_means_of_what_chooses_them():
    quantizer, x = VectorQuantizer(5, 2, decay=0.5), normal(300, 2)
    for _ in range(60):
        codes = quantizer(x).codes
    means = torch.stack([x[codes == i].mean(0) for i in range(5)])
    torch.testing.assert_close(quantizer.book, means, atol=1e-3, rtol=1e-3)


def test_a_dead_code_is_put_onto_an_input():
    quantizer = started(decay=0.5)
    with torch.no_grad():
        quantizer.book[2] = quantizer.sums[2] = 1000.0
        quantizer.counts[2] = 1e-9
    x = normal(200, 3)
    quantizer(x)
    assert float((x - quantizer.book[2]).norm(dim=1).min()) < 1e-5
    assert float(quantizer.share[2]) > 0.1


def test_evaluation_learns_nothing():
    quantizer = started().eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(normal(50, 3, seed=1))
    for name, value in quantizer.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_state_goes_on_where_it_was():
    a, b = started(), VectorQuantizer(6, 3)
    b.load_state_dict(a.state_dict())
    x = normal(30, 3, seed=2)
    torch.testing.assert_close(a(x).values, b(x).values)
    torch.testing.assert_close(a.book, b.book)


def test_straight_through_is_the_identity_backward():
    x, chosen = normal(4, 3).requires_grad_(), normal(4, 3, seed=1)
    made = straight_through(x, chosen)
    torch.testing.assert_close(made, chosen)
    weight = normal(4, 3, seed=2)
    (made * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)


def test_the_rotation_trick_turns_gradients_as_it_turns_vectors():
    x, chosen = normal(7, 5).requires_grad_(), normal(7, 5, seed=1)
    made = rotation_trick(x, chosen)
    torch.testing.assert_close(made, chosen, atol=1e-5, rtol=1e-5)
    for vector, code in zip(x.detach(), chosen, strict=True):
        jacobian = torch.autograd.functional.jacobian(partial(rotation_trick, chosen=code), vector)
        turn = jacobian * (vector.norm() / code.norm())
        torch.testing.assert_close(turn @ turn.T, torch.eye(5), atol=1e-5, rtol=1e-5)
        assert float(torch.linalg.det(turn)) == pytest.approx(1, abs=1e-4)  # no mirror


def test_residual_levels_by_hand():
    quantizer = ResidualVQ(3, 8, 4)
    x = normal(500, 4)
    for _ in range(3):
        quantizer(x)
    quantizer.eval()
    made, rest, distances = quantizer(x), x.clone(), []
    for number, level in enumerate(quantizer.levels):
        nearest = ((rest[:, None] - level.book) ** 2).sum(-1).argmin(1)
        assert torch.equal(nearest, made.codes[:, number])
        rest = rest - level.book[nearest]
        distances.append((rest**2).mean())
    torch.testing.assert_close(made.values, x - rest, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made.commitment, torch.stack(distances).mean())
    assert distances == sorted(distances, reverse=True)
    torch.testing.assert_close(quantizer.values(made.codes), made.values, atol=1e-5, rtol=1e-5)
    coarse = quantizer.values(made.codes[:, :1])
    torch.testing.assert_close(coarse, quantizer.levels[0].book[made.codes[:, 0]])


def test_the_gradient_passes_once_for_all_levels():
    quantizer = ResidualVQ(3, 4, 2, gradient=straight_through)
    quantizer(normal(50, 2))
    x = normal(5, 2, seed=1).requires_grad_()
    quantizer.eval()(x).values.sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(5, 2))


def test_usage_is_one_for_even_choices_and_small_for_a_single_code():
    quantizer = ResidualVQ(2, 8, 1)
    quantizer(normal(100, 1))
    quantizer.levels[0].counts.fill_(3.0)
    quantizer.levels[1].counts.zero_()
    quantizer.levels[1].counts[0] = 3.0
    torch.testing.assert_close(quantizer.usage, torch.tensor([1.0, 1 / 8]))


def test_bad_input():
    for options in ({"n_codes": 0, "width": 2}, {"n_codes": 2, "width": 2, "decay": 1.0}):
        with pytest.raises(InvalidArgument, match="decay from 0 to below 1"):
            VectorQuantizer(**options)
    with pytest.raises(InvalidArgument, match="n_levels"):
        ResidualVQ(0, 2, 2)
    quantizer = VectorQuantizer(2, 3)
    with pytest.raises(InvalidArgument, match="empty: call"):
        quantizer.eval()(normal(4, 3))
    quantizer.train()
    for x in (normal(4, 2), torch.zeros(0, 3)):
        with pytest.raises(InvalidArgument, match="have the width 3"):
            quantizer(x)
    with pytest.raises(InvalidArgument, match="NaN"):
        quantizer(torch.full((2, 3), float("nan")))
    residual = ResidualVQ(2, 4, 3)
    residual(normal(10, 3))
    for codes, match in ((torch.zeros(2, 3).long(), "3 levels"), (torch.full((1, 2), 4), "0 to 3")):
        with pytest.raises(InvalidArgument, match=match):
            residual.values(codes)
