"""Weighted resamples against copies, against rsatoolbox, and what must hold for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.geometry import (
    RDMCosine,
    RDMPearson,
    RDMRhoA,
    RDMSpearman,
    RDMTauA,
    RDMWhitenedCorrelation,
    RDMWhitenedCosine,
    Resamples,
    _whitened,
    bootstrap_rdms,
)

PEER = {
    "cosine": RDMCosine(),
    "corr": RDMPearson(),
    "spearman": RDMSpearman(),
    "rho-a": RDMRhoA(),
    "tau-a": RDMTauA(),
    "cosine_cov": RDMWhitenedCosine(),
    "corr_cov": RDMWhitenedCorrelation(),
}
ALL = list(PEER.values())
WAYS = ("both", "subject", "stimulus")


def some_data(n_rdms, n_models, n_stimuli, seed=0):
    """RDMs of subjects that share something with the models; one model has ties."""
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(n_stimuli, 1)
    x = rng.normal(size=(n_stimuli, 6))
    patterns = x + rng.normal(size=(n_rdms, n_stimuli, 6))
    data = ((patterns[:, i] - patterns[:, j]) ** 2).sum(-1)
    models = np.stack([((x[i] - x[j])[:, : k + 1] ** 2).sum(-1) for k in range(n_models)])
    models[-1] = np.arange(n_stimuli)[i] % 3 != np.arange(n_stimuli)[j] % 3
    return data, models


def copies(rdms, stimulus_counts):
    """The resample as rsatoolbox makes it: stimuli copied, self-pairs dropped."""
    n = len(stimulus_counts)
    square = np.full((len(rdms), n, n), np.nan)
    i, j = np.triu_indices(n, 1)
    square[:, i, j] = square[:, j, i] = rdms
    rows = np.repeat(np.arange(n), stimulus_counts)
    i, j = np.triu_indices(len(rows), 1)
    out = square[:, rows[i], rows[j]]
    return out[:, ~np.isnan(out[0])]


def peer_bootstrap(method, data, models, resamples, monkeypatch):
    """What eval_dual_bootstrap of rsatoolbox gives for our resamples."""
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="rsatoolbox is the peer")
    evaluate = pytest.importorskip("rsatoolbox.inference.evaluate")
    samples = iter(zip(resamples.stimulus, resamples.subject, strict=True))

    def given_sample(rdms, rdm_descriptor="index", pattern_descriptor="index"):
        stimulus, subject = next(samples)
        rdm_idx = np.repeat(np.arange(len(subject)), subject)
        pattern_idx = np.repeat(np.arange(len(stimulus)), stimulus)
        sample = rdms.subsample(rdm_descriptor, rdm_idx)
        return sample.subsample_pattern(pattern_descriptor, pattern_idx), rdm_idx, pattern_idx

    monkeypatch.setattr(evaluate, "bootstrap_sample", given_sample)
    monkeypatch.setattr(evaluate.tqdm, "trange", range)
    result = rsatoolbox.inference.eval_dual_bootstrap(
        [rsatoolbox.model.ModelFixed(str(k), m) for k, m in enumerate(models)],
        rsatoolbox.rdm.RDMs(data), method=method, N=len(resamples.stimulus),
    )  # fmt: skip
    return (
        result.evaluations[:, :, 0, 0, :].transpose(2, 0, 1),
        *result.noise_ceiling[:, :, 0, :].transpose(0, 2, 1),
    )


def distinct_ceilings(comparison, data, models, resamples):
    """Ceilings as rsatoolbox averages them: each distinct subject of a resample counts once."""
    subject = np.arange(len(data))
    counts = resamples.subject
    out = []
    for stimulus, count in (
        (resamples.stimulus, counts),
        (np.ones_like(resamples.stimulus), counts),
        (resamples.stimulus, np.ones_like(counts)),
    ):
        got = comparison.resample(data[None], models, subject=subject, stimulus=stimulus,
                                  multiplicity=count[:, None])  # fmt: skip
        share = (count > 0) / (count > 0).sum(1, keepdims=True)
        out.append([(share * x[0, :, 0]).sum(1) for x in (got.lower, got.upper)])
    return np.array(out).transpose(1, 0, 2)


@pytest.mark.parametrize("method", PEER)
def test_the_same_resamples_give_the_numbers_of_rsatoolbox(method, monkeypatch):
    data, models = some_data(5, 3, 14)
    resamples = Resamples.draw(12, n_stimuli=14, n_subjects=5, seed=3)
    scores, lower, upper = peer_bootstrap(method, data, models, resamples, monkeypatch)
    ours = bootstrap_rdms(PEER[method], data, models, resamples)
    np.testing.assert_allclose(ours.scores, scores, atol=1e-10)
    if "cov" not in method:  # their pool of whitened RDMs is not the best one, see the comparisons
        ceilings = distinct_ceilings(PEER[method], data, models, resamples)
        np.testing.assert_allclose(ceilings, [lower, upper], atol=1e-10)
    else:
        assert (ours.upper[2] >= upper[2] - 1e-12).all()


def test_a_ceiling_counts_a_subject_as_often_as_a_score_does(monkeypatch):
    """The upper ceiling is the score of the pool; in rsatoolbox it is not, once subjects repeat."""
    data, _ = some_data(4, 2, 12, seed=1)
    resamples = Resamples(np.ones((1, 12), np.int64), np.array([[2, 0, 1, 1]]))
    pool = RDMPearson().pool(data[[0, 0, 2, 3]])[None]
    ours = bootstrap_rdms(RDMPearson(), data, pool, resamples)
    np.testing.assert_allclose(ours.upper[0], ours.scores[0, :, 0], atol=1e-12)
    scores, _, upper = peer_bootstrap("corr", data, pool, resamples, monkeypatch)
    assert abs(upper[0, 0] - scores[0, 0, 0]) > 1e-3


def tau_a(x, y):
    signs = np.sign(np.subtract.outer(x, x)) * np.sign(np.subtract.outer(y, y))
    return signs.sum() / (len(x) * (len(x) - 1))


def rho_a(x, y):
    x, y = (stats.rankdata(z) - (len(z) + 1) / 2 for z in (x, y))
    return 12 * x @ y / (len(x) ** 3 - len(x))


NAIVE = {  # similarity of two vectors, and what each RDM becomes before RDMs are pooled
    "cosine": (lambda x, y: x @ y / np.sqrt(x @ x * (y @ y)), lambda x: x / np.sqrt(x @ x)),
    "Pearson": (lambda x, y: np.corrcoef(x, y)[0, 1], stats.zscore),
    "Spearman": (lambda x, y: stats.spearmanr(x, y).statistic, stats.rankdata),
    "rho-a": (rho_a, stats.rankdata),
    "tau-a": (tau_a, stats.rankdata),
}


@pytest.mark.parametrize("comparison", [c for c in ALL if c.name in NAIVE], ids=lambda c: c.name)
def test_weights_are_copies(comparison):
    """Every number of a resample, by brute force from copied stimuli and repeated RDMs."""
    similar, prepared = NAIVE[comparison.name]
    data, models = some_data(5, 2, 11, seed=2)
    subject = np.array([0, 0, 1, 2, 2])  # sessions
    resamples = Resamples.draw(9, n_stimuli=11, n_subjects=3, seed=1)
    ours = bootstrap_rdms(comparison, data, models, resamples, subject=subject)
    everything = np.ones(11, np.int64), np.ones(3, np.int64)
    for b, (stimulus, count) in enumerate(zip(*vars(resamples).values(), strict=True)):
        ways = ((stimulus, count), (everything[0], count), (stimulus, everything[1]))
        for way, (w, v) in enumerate(ways):
            x, m = copies(data, w), copies(models, w)
            z = np.array([prepared(rdm) for rdm in x])
            score, lower, upper = np.zeros(2), 0.0, 0.0
            for s in np.flatnonzero(v):
                own = np.flatnonzero(subject == s)
                share = v[s] / v.sum() / len(own)
                repeats = np.repeat(np.arange(5), v[subject])
                others = z[repeats[subject[repeats] != s]].sum(0)
                for r in own:
                    score += share * np.array([similar(x[r], model) for model in m])
                    lower += share * similar(x[r], others)
                    upper += share * similar(x[r], z[repeats].sum(0))
            np.testing.assert_allclose(ours.scores[way, b], score, atol=1e-10)
            np.testing.assert_allclose(ours.lower[way, b], lower, atol=1e-10)
            np.testing.assert_allclose(ours.upper[way, b], upper, atol=1e-10)


@pytest.mark.parametrize("n_stimuli", [3, 8])
def test_whitening_a_resample_is_least_squares(n_stimuli):
    """Row effects fitted to the copied Gram matrices, self-pairs missing, by brute force."""
    data, models = some_data(2, 3, n_stimuli)
    stimulus = Resamples.draw(20, n_stimuli=n_stimuli, n_subjects=1, seed=0).stimulus
    if n_stimuli == 8:
        stimulus[0] = [5, 1, 1, 1, 0, 0, 0, 0]  # one stimulus is half and more of the resample
    rdms = np.concatenate([data, models])
    inner, norms = _whitened.weighted_products(
        data[None], models, stimulus.astype(float), centre=False, whiten=True
    )
    for b, w in enumerate(stimulus):
        rows = np.repeat(np.arange(n_stimuli), w)
        i, j = np.triu_indices(len(rows))
        known = (rows[i] != rows[j]) | (i == j)
        i, j = i[known], j[known]
        design = np.zeros((len(i), len(rows)))
        np.add.at(design, (np.arange(len(i)), i), 1)
        np.add.at(design, (np.arange(len(i)), j), 1)
        root = np.sqrt(np.where(i == j, 1, 2))
        square = np.zeros((5, n_stimuli, n_stimuli))
        p, q = np.triu_indices(n_stimuli, 1)
        square[:, p, q] = square[:, q, p] = -rdms / 2
        gram = square[:, rows[i], rows[j]] * root
        design *= root[:, None]
        left = gram - gram @ np.linalg.pinv(design).T @ design.T
        product = 2 * left @ left.T
        np.testing.assert_allclose(inner[0, b], product[:2], atol=1e-8)
        np.testing.assert_allclose(norms[0, b], np.diag(product), atol=1e-8)


@pytest.mark.parametrize("comparison", ALL, ids=lambda c: c.name)
def test_everything_once_is_the_plain_comparison(comparison):
    data, models = some_data(4, 3, 9)
    all_once = Resamples(np.ones((1, 9), np.int64), np.ones((1, 4), np.int64))
    got = bootstrap_rdms(comparison, data, models, all_once)
    expected = comparison.compare(data, models).mean(0)
    for way in range(3):
        np.testing.assert_allclose(got.scores[way, 0], expected, atol=1e-12)
    assert (got.lower <= got.upper).all()


@pytest.mark.parametrize("comparison", ALL, ids=lambda c: c.name)
def test_batches_and_places_change_nothing(comparison, monkeypatch):
    data, models = some_data(4, 3, 10)
    places = np.stack([data, data[::-1] * 2, data**2])
    resamples = Resamples.draw(70, n_stimuli=10, n_subjects=4, seed=0)
    together = bootstrap_rdms(comparison, places, models, resamples)
    assert together.scores.shape == (3, 3, 70, 3)
    monkeypatch.setattr(_whitened, "CHUNK", 200)
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 1)
    for place, rdms in enumerate(places):
        alone = bootstrap_rdms(comparison, rdms, models, resamples)
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a, b[place], atol=1e-13)


def test_resamples_are_reproducible_and_can_be_compared():
    a = Resamples.draw(500, n_stimuli=4, n_subjects=2, seed=7)
    b = Resamples.draw(500, n_stimuli=4, n_subjects=2, seed=7)
    assert np.array_equal(a.stimulus, b.stimulus)
    assert np.array_equal(a.subject, b.subject)
    assert ((a.stimulus > 0).sum(1) >= 3).all()
    assert (a.subject == 1).all()  # of two subjects, both
    assert (a.stimulus.sum(1) == 4).all()


@pytest.mark.parametrize("comparison", ALL, ids=lambda c: c.name)
def test_a_resample_in_which_a_model_is_constant_counts_as_no_correspondence(comparison):
    data, models = some_data(3, 2, 8)
    stimulus = np.array([[2, 0, 0, 3, 0, 0, 3, 0]])  # one category of the last model
    got = bootstrap_rdms(comparison, data, models, Resamples(stimulus, np.ones((1, 3), np.int64)))
    assert np.isfinite(got.scores).all()
    assert got.scores[0, 0, -1] == 0.0


def test_a_single_subject_has_no_ceiling_to_resample():
    data, models = some_data(1, 2, 8)
    resamples = Resamples.draw(5, n_stimuli=8, n_subjects=1, seed=0)
    for comparison in ALL:
        got = bootstrap_rdms(comparison, data, models, resamples)
        assert np.isfinite(got.scores).all()
        assert (got.lower == 0).all()


def test_what_does_not_fit_is_refused():
    data, models = some_data(3, 2, 8)
    resamples = Resamples.draw(5, n_stimuli=8, n_subjects=3, seed=0)
    with pytest.raises(InvalidArgument, match="numbered from 0 to 2"):
        bootstrap_rdms(RDMCosine(), data, models, resamples, subject=np.array([0, 1, 1]))
    with pytest.raises(InvalidArgument, match="drawn for 8 stimuli"):
        bootstrap_rdms(RDMCosine(), *some_data(3, 2, 9), resamples)
    with pytest.raises(NotIdentifiable, match="with 2 stimuli: they have 1 distances"):
        Resamples.draw(5, n_stimuli=2, n_subjects=3, seed=0)
    with pytest.raises(InvalidArgument, match="0 samples"):
        Resamples.draw(0, n_stimuli=5, n_subjects=3, seed=0)
