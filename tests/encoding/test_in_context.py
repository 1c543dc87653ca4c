"""An encoder that is written from a context: against loops, and against the best inference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bregma.encoding import InContextEncoder, InContextRegressor, episodes, in_context_loss
from bregma.errors import InvalidArgument
from bregma.run import fit

SMALL = {"width": 8, "layers": 2, "heads": 2, "hidden": 6, "registers": 2, "seed": 0}


def encoder(**settings):
    return InContextEncoder(3, **{**SMALL, **settings}).double()


def context(n=5, tasks=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(tasks, n, 3, generator=generator, dtype=torch.float64)
    return x, torch.randn(tasks, n, generator=generator, dtype=torch.float64)


def normalised(t, norm):
    z = (t - t.mean()) / math.sqrt(t.var() + 1e-5)
    return z * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def linear(part, t):
    return part.weight.detach().numpy() @ t + part.bias.detach().numpy()


def mlp(part, t):
    hidden = linear(part.bent[0], t)
    return linear(part.straight, t) + linear(
        part.bent[2], np.where(hidden > 0, hidden, 0.1 * hidden)
    )


def by_loops(module, x, y):
    """Weights of one task, token by token."""
    tokens = [r.detach().numpy() for r in module.register]
    tokens += [mlp(module.read, np.append(x[i], y[i])) for i in range(len(x))]
    width = len(tokens[0])
    for block in module.blocks:
        part = width // block.heads
        scale = (math.log(len(tokens)) if block.length_scaling else 1) / math.sqrt(part)
        qkv = [linear(block.qkv, normalised(t, block.before_attention)) for t in tokens]
        mixed = []
        for i in range(len(tokens)):
            seen = np.zeros(width)
            for h in range(block.heads):
                of_head = np.arange(h * part, (h + 1) * part)
                q, k, v = of_head, width + of_head, 2 * width + of_head
                weights = np.array([np.exp(scale * qkv[i][q] @ other[k]) for other in qkv])
                weights /= weights.sum()
                for w, other in zip(weights, qkv, strict=True):
                    seen[of_head] += w * other[v]
            mixed.append(tokens[i] + linear(block.mixed, seen))
        tokens = []
        for t in mixed:
            gate_up = linear(block.gate_up, normalised(t, block.before_mlp))
            gate, up = gate_up[: len(gate_up) // 2], gate_up[len(gate_up) // 2 :]
            tokens.append(t + linear(block.down, gate / (1 + np.exp(-gate)) * up))
    return mlp(module.write[1], normalised(tokens[0], module.write[0]))


@pytest.mark.parametrize("length_scaling", [True, False])
def test_weights_are_what_loops_say(length_scaling):
    module = encoder(length_scaling=length_scaling)
    with torch.no_grad():  # biases too
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
            )
    x, y = context()
    written = module.weights(x, y).detach().numpy()
    for task in range(2):
        np.testing.assert_allclose(
            written[task], by_loops(module, x[task].numpy(), y[task].numpy()), rtol=1e-9, atol=1e-12
        )


def test_predictions_are_linear_in_new_images():
    module = encoder()
    x, y = context()
    new, _ = context(7, seed=1)
    written = module.weights(x, y)
    for task in range(2):
        for image in range(7):
            expected = written[task, :3] @ new[task, image] + written[task, 3]
            assert module(x, y, new)[task, image].item() == pytest.approx(expected.item())


@settings(max_examples=8)
@given(st.permutations(range(6)))
def test_the_order_of_the_context_has_no_meaning(order):
    module = encoder()
    x, y = context(6)
    torch.testing.assert_close(module.weights(x[:, order], y[:, order]), module.weights(x, y))


def test_which_response_belongs_to_which_image_has_a_meaning():
    module = encoder()
    x, y = context(6)
    assert not torch.allclose(module.weights(x, y.roll(1, 1)), module.weights(x, y))


def test_tasks_do_not_see_each_other():
    module = encoder()
    x, y = context()
    torch.testing.assert_close(module.weights(x[:1], y[:1]), module.weights(x, y)[:1])


def test_the_seed_makes_the_weights():
    x, y = context()
    assert (encoder().weights(x, y) == encoder().weights(x, y)).all()
    assert (encoder().weights(x, y) != encoder(seed=1).weights(x, y)).any()


@pytest.mark.parametrize("wrong", [{"width": 9}, {"layers": 0}, {"registers": 0}, {"hidden": 0}])
def test_impossible_encoders_are_refused(wrong):
    with pytest.raises(InvalidArgument):
        encoder(**wrong)


def test_contexts_that_do_not_fit_are_refused(unchecked_types):
    module = encoder()
    x, y = context()
    for bad in [(x[..., :2], y), (x, y[:, :3]), (x[:, :0], y[:, :0]), (x[0], y[0])]:
        with pytest.raises(InvalidArgument, match="context must be"):
            module.weights(*bad)
    with pytest.raises(InvalidArgument, match="new images"):
        module(x, y, x[:1])


# Training


def one_direction(n_voxels, seed, noise=0.5):
    """Voxels that all weigh embeddings along one direction: rank 1, easy to learn."""
    rng = np.random.default_rng(seed)
    x, a = rng.standard_normal((100, 3)), rng.standard_normal(n_voxels)
    signal = np.outer(x @ np.array([2.0, -1.0, 2.0]) / 3, a)
    return x, signal + noise * rng.standard_normal(signal.shape), a


@pytest.fixture(scope="module")
def trained():
    module = InContextEncoder(3, width=24, layers=2, heads=2, hidden=48, seed=0)
    worlds = [one_direction(200, seed) for seed in (0, 1)]
    subjects = [(torch.tensor(x).float(), torch.tensor(y).float()) for x, y, _ in worlds]
    batches = episodes(subjects, context=(2, 12), queries=16, tasks=32, steps=300)
    adam = torch.optim.AdamW(module.parameters(), lr=4e-3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, 4e-3, total_steps=301, pct_start=0.1)
    adam.register_step_post_hook(lambda *_: cycle.step())
    fit(module, in_context_loss, batches, optimizer=adam, epochs=1, seed=0)
    return module


@pytest.mark.parametrize("n", [4, 10, 50])
def test_a_trained_encoder_is_near_the_posterior_mean_of_new_subjects(trained, n):
    """For rank 1 that is a number: sum(z y) / (sum(z z) + noise^2) along the shared direction."""
    direction = np.array([2.0, -1.0, 2.0]) / 3
    errors = []
    for seed in range(10, 20):
        x, y, a = one_direction(50, seed)
        x, y, truth = x[:n], y[:n], np.outer(a, direction)
        z = x @ direction
        best = np.outer(z @ y / (z @ z + 0.25), direction)
        plain = np.linalg.lstsq(x, y, rcond=None)[0].T
        found = InContextRegressor(trained, device="cpu").fit(x, y).coef_
        errors.append([((w - truth) ** 2).sum(axis=1).mean() for w in (best, found, plain)])
    best, found, plain = np.mean(errors, axis=0)
    assert best < found < best + 0.06  # the weights themselves have a squared length of 1
    if n < 50:
        assert found < 0.5 * plain


def test_the_regressor_is_one_forward_pass_in_any_portions(trained):
    x, y, _ = one_direction(10, seed=7)
    model = InContextRegressor(trained, batch_size=3, device="cpu").fit(x[:20], y[:20])
    with torch.no_grad():
        for voxel in range(10):
            written = trained.weights(
                torch.tensor(x[None, :20]).float(), torch.tensor(y[None, :20, voxel]).float()
            )[0]
            found = np.append(model.coef_[voxel], model.intercept_[voxel])
            np.testing.assert_allclose(found, written.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.predict(x), x @ model.coef_.T + model.intercept_)
    assert model.score(x, y) > 0.3


def test_tools_of_scikit_learn_work(trained):
    x, y, _ = one_direction(4, seed=7)
    model = InContextRegressor(trained, device="cpu")
    assert clone(model).batch_size == 64
    pipeline = make_pipeline(StandardScaler(), model)
    assert cross_val_predict(pipeline, x, y, cv=3).shape == y.shape


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((5, 4)), np.zeros((5, 2))),
        (np.zeros((5, 3)), np.zeros((4, 2))),
        (np.full((5, 3), np.nan), np.zeros((5, 2))),
        (np.zeros((0, 3)), np.zeros((0, 2))),
    ],
)
def test_data_that_do_not_fit_are_refused(trained, x, y, unchecked_types):
    with pytest.raises(InvalidArgument):
        InContextRegressor(trained).fit(x, y)


def test_wrong_predictions_are_refused(trained):
    with pytest.raises(NotFittedError):
        InContextRegressor(trained).predict(np.zeros((2, 3)))
    model = InContextRegressor(trained, device="cpu").fit(np.ones((5, 3)), np.ones((5, 2)))
    with pytest.raises(InvalidArgument, match="4 features"):
        model.predict(np.zeros((2, 4)))


# Episodes


def coded_subjects():
    """The response tells subject, image and voxel; so does the embedding, but for the voxel."""
    for s, (n_images, n_voxels) in enumerate([(40, 3), (30, 9)]):
        image, voxel = torch.arange(n_images), torch.arange(n_voxels)
        yield (
            torch.stack([torch.full((n_images,), s), image], 1).float(),
            (1000.0 * s + 10.0 * image[:, None] + voxel),
        )


def drawn(seed=0, steps=200):
    batches = episodes(list(coded_subjects()), context=(5, 20), queries=10, tasks=4, steps=steps)
    return list(batches(torch.Generator().manual_seed(seed)))


def test_responses_belong_to_their_images_and_none_is_asked_that_was_seen():
    lengths, of_subject, voxels = set(), [], set()
    for x, y, new, target in drawn():
        lengths.add(x.shape[1])
        of_subject.append(int(x[0, 0, 0]))
        for task in range(4):
            seen, asked = set(x[task, :, 1].tolist()), set(new[task, :, 1].tolist())
            assert len(seen) == x.shape[1]
            assert len(asked) == 10
            assert not seen & asked
            parts = torch.cat([x[task], new[task]]), torch.cat([y[task], target[task]])
            voxel = parts[1] - 1000 * parts[0][:, 0] - 10 * parts[0][:, 1]
            assert (voxel == voxel[0]).all()
            voxels.add((of_subject[-1], int(voxel[0])))
    assert (min(lengths), max(lengths)) == (5, 20)
    assert len(voxels) == 3 + 9
    assert np.mean(of_subject) == pytest.approx(9 / 12, abs=4 * math.sqrt(9 / 12 * 3 / 12 / 200))


def test_the_generator_makes_the_episodes():
    for one, same, other in zip(drawn(0, 3), drawn(0, 3), drawn(1, 3), strict=True):
        assert all((a == b).all() for a, b in zip(one, same, strict=True))
        assert any(a.shape != b.shape or (a != b).any() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": (5, 31)}, "saw 40 images"),
        ({"context": (0, 5)}, "from 1 on"),
        ({"context": (9, 5)}, "from 1 on"),
        ({"tasks": 0}, "1 or more"),
        ({"subjects": []}, "one subject"),
        ({"subjects": [(torch.zeros(30, 2), torch.zeros(29, 3))]}, "do not fit"),
        ({"subjects": [(torch.zeros(30, 2), torch.full((30, 3), torch.inf))]}, "finite"),
    ],
)
def test_impossible_episodes_are_refused(change, message, unchecked_types):
    right = {"context": (5, 9), "queries": 10, "tasks": 4, "steps": 1}
    settings = {"subjects": list(coded_subjects()), **right, **change}
    with pytest.raises(InvalidArgument, match=message):
        episodes(settings.pop("subjects"), **settings)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_writes_what_the_cpu_writes(trained):
    x, y, _ = one_direction(10, seed=7)
    cpu, cuda = (InContextRegressor(trained, device=name).fit(x, y) for name in ("cpu", "cuda"))
    np.testing.assert_allclose(cuda.coef_, cpu.coef_, rtol=1e-3, atol=1e-4)
    assert next(trained.parameters()).device.type == "cpu"
