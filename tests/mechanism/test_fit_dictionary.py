"""Training dictionaries: planted truth, streams, interruptions, new starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bregma import Recording, TorchSystem
from bregma.datasets import planted_codes
from bregma.errors import BregmaError, InvalidArgument, UnknownName
from bregma.mechanism import (
    ActivityStream,
    BatchTopKCode,
    Codebook,
    Crosscoder,
    GatedCode,
    JumpReLUCode,
    Learner,
    MatchingPursuitCode,
    ReLUCode,
    SparseAutoencoder,
    TopKCode,
    fit_dictionary,
    match_features,
    samples_of,
    score_dictionary,
)
from bregma.system import RecordedSystem


def small(code=None, seed=0, **settings):
    return SparseAutoencoder(6, 20, code or TopKCode(2), seed=seed, **settings)


@pytest.fixture(scope="module")
def signals():
    return torch.randn(500, 6, generator=torch.Generator().manual_seed(0))


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_every_code_finds_planted_features():
    data = planted_codes(10_000, pixels=24, atoms=24, active=2, signed=False, noise=0.01, seed=0)
    codes = {
        "relu": ReLUCode(0.4),
        "top-k": TopKCode(2),
        "batch": BatchTopKCode(2),
        "jump": JumpReLUCode(48, l0=0.3),
        "gated": GatedCode(48, l1=1.0),
        "pursuit": MatchingPursuitCode(2),
    }
    learners = {
        name: Learner(SparseAutoencoder(24, 48, code, seed=0), rate=1e-2)
        for name, code in codes.items()
    }
    start = match_features(learners["relu"].dictionary.decoder, data.dictionary.T)
    assert start.mean < 0.5  # the best of 48 random directions is no small cosine
    fit = fit_dictionary(
        learners, data.signals, epochs=4, batch_size=200, dead_after=3000, seed=0
    )  # all in one pass
    assert fit.n_samples == 40_000
    for name, learner in learners.items():
        found = match_features(learner.dictionary.decoder, data.dictionary.T)
        assert found.mean > (0.7 if name in ("jump", "gated") else 0.95), name
        assert len(fit.losses[name]) == 200
        scores = score_dictionary(learner.dictionary, data.signals[:2000])
        assert scores.fvu < 0.15, name
        assert scores.l0 < 6, name


def test_training_together_is_training_alone(signals):
    together = {"a": small(seed=1), "b": small(ReLUCode(0.1), seed=2)}
    fit = fit_dictionary(together, signals, batch_size=50, buffer=200, seed=3)
    for name, alone in (("a", small(seed=1)), ("b", small(ReLUCode(0.1), seed=2))):
        one = fit_dictionary({name: alone}, signals, batch_size=50, buffer=200, seed=3)
        assert same(alone, together[name])
        np.testing.assert_array_equal(one.losses[name], fit.losses[name])


def test_the_same_seed_gives_the_same_bits_whatever_the_global_generators_do(signals):
    found = []
    for poison, seed in ((1, 0), (2, 0), (2, 1)):
        torch.manual_seed(poison)
        sae = small()
        fit_dictionary(sae, signals, batch_size=50, dead_after=100, seed=seed)
        found.append(sae)
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("at", [0, 3, 7, 12])
def test_an_interruption_changes_no_bit(signals, tmp_path, at):
    """Pieces of 60 samples, blocks of 120 or more, saved every second step."""

    def stream(stop):
        calls = iter(range(1000))

        def epoch(generator):
            order = torch.randperm(len(signals), generator=generator)

            def piece(rows):
                if next(calls) == stop:
                    raise Interrupted
                return signals[rows]

            return [lambda rows=rows: piece(rows) for rows in order.split(60)]

        return epoch

    def learners():
        return {"a": small(seed=1), "b": small(BatchTopKCode(2), seed=2)}

    settings = {"epochs": 2, "batch_size": 30, "buffer": 110, "dead_after": 90, "seed": 0}
    whole = learners()
    expected = fit_dictionary(whole, stream(None), **settings)
    assert sum(expected.n_revived.values()) > 0
    file = tmp_path / "run.pt"
    with pytest.raises(Interrupted):
        fit_dictionary(learners(), stream(at), checkpoint=file, every=2, **settings)
    again = learners()
    found = fit_dictionary(again, stream(None), checkpoint=file, every=2, **settings)
    assert all(same(again[name], whole[name]) for name in whole)
    assert again["b"].code.threshold == whole["b"].code.threshold
    for name in whole:
        np.testing.assert_array_equal(found.losses[name], expected.losses[name])
    assert found.n_revived == expected.n_revived
    assert found.n_samples == expected.n_samples == 1000


def test_an_interruption_inside_a_block_goes_on_at_its_step(signals, tmp_path, monkeypatch):
    from bregma.mechanism.dictionaries import _learner

    whole, steps = small(), []
    fit_dictionary(whole, signals, batch_size=20, seed=0)
    step = _learner.Training.step

    def fails_once(self, batch):
        steps.append(1)
        if len(steps) == 14:
            raise Interrupted
        step(self, batch)

    monkeypatch.setattr(_learner.Training, "step", fails_once)
    file = tmp_path / "run.pt"
    with pytest.raises(Interrupted):
        fit_dictionary(small(), signals, batch_size=20, seed=0, checkpoint=file, every=5)
    again = small()
    fit_dictionary(again, signals, batch_size=20, seed=0, checkpoint=file, every=5)
    assert len(steps) == 14 + 25 - 10  # ten steps were saved
    assert same(again, whole)


def test_a_checkpoint_of_something_else_is_refused(signals, tmp_path):
    file = tmp_path / "run.pt"
    fit_dictionary(small(), signals, seed=0, checkpoint=file)
    for dictionaries, seed in (
        (small(), 1),
        ({"x": small()}, 0),
        (SparseAutoencoder(6, 21, TopKCode(2), seed=0), 0),
    ):
        with pytest.raises(InvalidArgument, match=r"run\.pt"):
            fit_dictionary(dictionaries, signals, seed=seed, checkpoint=file)


def test_dead_features_start_anew(signals):
    sae = small(TopKCode(1))
    with torch.no_grad():
        sae.encoder.bias[:10] = -100.0  # never on
    fit = fit_dictionary(sae, signals, batch_size=50, epochs=3, dead_after=400, seed=0)
    assert fit.n_revived["0"] >= 10
    assert (sae.encoder.bias > -1).all()
    still = small(TopKCode(1))
    with torch.no_grad():
        still.encoder.bias[:10] = -100.0
    none = fit_dictionary(still, signals, batch_size=50, epochs=3, dead_after=None, seed=0)
    assert none.n_revived["0"] == 0
    assert score_dictionary(still, signals).dead >= 0.5


def test_a_transcoder_learns_a_layer():
    """MLP(x) = 3 ReLU(U x), with rows of U far apart: its features are the neurons."""
    generator = torch.Generator().manual_seed(0)
    u = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    v = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    x = torch.randn(6000, 8, generator=generator) - 0.3
    y = 3 * (x @ u.T).relu() @ v
    transcoder = SparseAutoencoder(8, 12, ReLUCode(0.05), n_outputs=8, seed=0)
    fit_dictionary(
        Learner(transcoder, rate=lambda step: 1e-2 if step < 350 else 1e-3), (x, y), epochs=6,
        batch_size=100, seed=0,
    )  # fmt: skip
    assert match_features(transcoder.decoder, v).mean > 0.95
    assert match_features(transcoder.encoder.weight, u).mean > 0.95
    assert score_dictionary(transcoder, (x, y)).fvu < 0.02


def test_rates_may_change(signals):
    seen = []

    def rate(step):
        seen.append(step)
        return 0.0

    sae = small()
    before = sae.decoder.detach().clone()
    fit_dictionary(Learner(sae, rate=rate), signals, batch_size=100, dead_after=None, seed=0)
    assert seen[-5:] == [0, 1, 2, 3, 4]
    torch.testing.assert_close(sae.decoder, before)


def test_half_precision(signals):
    from bregma.mechanism.dictionaries._topk_step import has_bfloat16

    if not has_bfloat16():
        with pytest.raises(InvalidArgument, match="bfloat16"):
            fit_dictionary(small(), signals, precision="bfloat16", seed=0)
        return
    for code in (TopKCode(2), ReLUCode(0.1)):
        full, half = small(code), small(code)
        a = fit_dictionary(full, signals, batch_size=50, seed=0).losses["0"]
        b = fit_dictionary(half, signals, batch_size=50, precision="bfloat16", seed=0).losses["0"]
        np.testing.assert_allclose(a, b, rtol=0.05)


# Where activity comes from


@pytest.fixture
def system():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Embedding(9, 6), torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4)
    )
    return TorchSystem(net, ["0", "1", "3"])


def test_the_stream_of_a_system_is_what_it_records(system):
    tokens = np.random.default_rng(0).integers(0, 9, (23, 7))
    pieces = ActivityStream(system, tokens, size=5)(torch.Generator().manual_seed(0))
    assert len(pieces) == 5
    parts = [piece() for piece in pieces]
    with torch.no_grad():
        expected = system.module(torch.from_numpy(tokens)).reshape(-1, 4).numpy()
    found = np.concatenate([part["3"] for part in parts])
    assert found.shape == (161, 4)
    np.testing.assert_allclose(  # in another order: compare sorted rows
        found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], atol=1e-6
    )
    embedded = np.concatenate([part["0"] for part in parts])
    again = system.module[1](torch.from_numpy(embedded)).detach()  # rows of layers belong together
    np.testing.assert_allclose(np.concatenate([part["1"] for part in parts]), again, atol=1e-6)


def test_maps_of_channels_become_one_sample_per_place():
    net = torch.nn.Conv2d(2, 3, 3, padding=1)
    images = torch.randn(4, 2, 5, 6)
    recording = TorchSystem(net, ".").record(images.numpy())
    expected = net(images).permute(0, 2, 3, 1).reshape(-1, 3).detach()
    np.testing.assert_allclose(samples_of(recording)["."], expected, atol=1e-5)


def test_several_layers_in_one_pass(system):
    tokens = np.random.default_rng(0).integers(0, 9, (40, 7))
    learners = {
        "sae": Learner(SparseAutoencoder(6, 12, TopKCode(2), seed=0), "0", rate=1e-2),
        "transcoder": Learner(
            SparseAutoencoder(5, 12, ReLUCode(0.01), n_outputs=4, seed=0), "1", "3", 1e-2
        ),
        "both": Learner(Crosscoder([5, 4], 12, ReLUCode(0.01), seed=0), ["1", "3"], rate=1e-2),
        "codes": Learner(Codebook(4, 9, seed=0), "3", rate=1e-2),
    }
    fit = fit_dictionary(
        learners, ActivityStream(system, tokens, 20), epochs=8, batch_size=28, seed=0
    )
    for name, losses in fit.losses.items():
        assert losses[-10:].mean() < 0.5 * losses[:3].mean(), name


def test_spike_counts_of_a_recording():
    """Two assemblies of ten neurons each, active one after the other."""
    rng = np.random.default_rng(0)
    rates = np.full((300, 20), 0.2)
    on = rng.random((300, 2)) < 0.3
    rates[:, :10] += 3.0 * on[:, :1]
    rates[:, 10:] += 3.0 * on[:, 1:]
    counts = rng.poisson(rates)[None].astype(float)
    recording = Recording.from_array(counts, time=np.arange(300) / 50, measured_in="spikes")
    sae = SparseAutoencoder(20, 4, ReLUCode(0.5), seed=0)
    fit_dictionary(Learner(sae, rate=1e-2), recording, epochs=40, batch_size=50, seed=0)
    code = sae.encode(torch.as_tensor(counts[0], dtype=torch.float32)).detach().numpy()
    correlation = np.corrcoef(code.T, on.T)[:4, 4:]
    assert (np.nan_to_num(correlation).max(0) > 0.85).all()


def test_a_recorded_system_and_a_lazy_recording(tmp_path, signals):
    pytest.importorskip("zarr")
    recording = Recording.from_array(signals.numpy())
    recording.save(tmp_path / "x.zarr")
    from bregma.recording import read

    results = []
    for activity in (
        recording,
        read(tmp_path / "x.zarr"),
        signals,
        signals.double().numpy(),
    ):
        sae = small()
        fit_dictionary(sae, activity, batch_size=50, seed=0)
        results.append(sae)
    assert all(same(results[0], other) for other in results[1:])
    looked_up = small()
    stream = ActivityStream(RecordedSystem(recording), recording.stimuli, size=100)
    assert fit_dictionary(looked_up, stream, batch_size=50, seed=0).n_samples == 500


def test_memory_holds_one_piece(tmp_path, signals):
    """The buffer is on disk: maps of files in the folder that was asked for."""
    seen = []

    def epoch(generator):
        for _ in range(4):
            seen.append([f.stat().st_size for f in tmp_path.rglob("*.f32")])
            yield signals

    fit_dictionary(small(), epoch, buffer=2000, folder=tmp_path, seed=0)
    assert len(seen) == 4
    assert seen[-1][0] >= 2 * 500 * 6 * 4
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("activity", "error", "reason"),
    [
        (torch.full((5, 6), torch.nan), InvalidArgument, "NaN"),
        (torch.zeros(5), InvalidArgument, "shape"),
        (torch.zeros(0, 6), InvalidArgument, "shape"),
        (torch.zeros(5, 7), InvalidArgument, "fit a dictionary"),
        ((torch.zeros(5, 6), torch.zeros(4, 6)), InvalidArgument, "number of samples"),
        (lambda generator: [], InvalidArgument, "empty"),
        (lambda generator: [torch.zeros(5, 6), torch.zeros(5, 5)], InvalidArgument, "change"),
        ({"a": torch.zeros(5, 6), "b": torch.zeros(5, 6)}, InvalidArgument, "which one"),
        (torch.full((5, 6), 1e30), BregmaError, "learning rate"),
    ],
)
@pytest.mark.parametrize("code", [TopKCode(2), ReLUCode(0.1)])
def test_bad_activity(activity, error, reason, code):
    with pytest.raises(error, match=reason):
        fit_dictionary(small(code, centred=False), activity, seed=0)


def test_bad_settings(signals):
    for settings in (
        {"epochs": 0}, {"batch_size": 0}, {"buffer": 0}, {"every": 0}, {"precision": "float8"},
    ):  # fmt: skip
        with pytest.raises(BregmaError):
            fit_dictionary(small(), signals, seed=0, **settings)
    with pytest.raises(InvalidArgument, match="no dictionary"):
        fit_dictionary(torch.nn.Linear(6, 6), signals, seed=0)
    with pytest.raises(InvalidArgument, match="no dictionary"):
        fit_dictionary({}, signals, seed=0)
    with pytest.raises(UnknownName, match="activity"):
        fit_dictionary(Learner(small(), "block"), signals, seed=0)


def test_modes_are_as_before(signals):
    sae = small(BatchTopKCode(2)).eval()
    fit_dictionary(sae, signals, seed=0)
    assert not sae.training
    assert sae.code.threshold > 0
