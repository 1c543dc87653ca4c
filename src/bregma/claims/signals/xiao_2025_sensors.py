"""Tokens of EEG and MEG that carry over to a layout of sensors that was never seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import DipoleBrain, dipole_brain, eeg_layout, meg_layout
from bregma.run import derive, fit, spawn_torch
from bregma.signals import (
    MaskedTokenModel,
    Sensors,
    SensorTokenizer,
    hidden_sensor_batches,
    hidden_sensor_correlation,
    hidden_token_batches,
    hide_tokens,
    masked_token_loss,
    sensor_windows,
    spherical_spline,
    tokenizer_loss,
    waveform_correlation,
)

RATE = 32.0  # samples per second, in windows of 1 s
BAND = (3.0, 12.0)
Windows = tuple[Tensor, Sensors]

USE = """
import torch
from bregma.datasets import dipole_brain, eeg_layout
from bregma.run import fit
from bregma.signals import (SensorTokenizer, Sensors, hidden_sensor_batches, sensor_windows,
                            tokenizer_loss)

recording = dipole_brain(seed=0).record(eeg_layout(19), 8, seed=0).recording  # bregma.read(path)
x, sensors = sensor_windows(recording, seconds=1.0, rate=64.0), Sensors.of(recording)
tokenizer = SensorTokenizer(32, n_sources=4, n_heads=2, n_codes=8, seed=0)
optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=2e-3)
batches = hidden_sensor_batches([(x, sensors)], size=4)  # more layouts: more pairs in the list
fit(tokenizer, tokenizer_loss, batches, optimizer=optimizer, epochs=2, seed=0)
codes = tokenizer.eval().tokens(x, sensors)  # (window, source, token, level)
"""


@claim(
    paper=Paper(
        title="BrainOmni: a brain foundation model for unified EEG and MEG signals",
        authors="Qinfan Xiao, Ziyun Cui, Chi Zhang, Siqi Chen, Wen Wu, Andrew Thwaites, "
        "Alexandra Woolgar, Bowen Zhou, Chao Zhang",
        year=2025,
        arxiv="2505.18185",
    ),
    sentence="A tokenizer that knows where each sensor is, which way it looks and what it measures "
    "reconstructs sensors of a layout that it never saw from other sensors of that layout.",
    systems="A tokenizer of 16 latent sources (4 codebooks of 64) trained on simulated EEG of 19 "
    "and 32 electrodes and MEG of 60 sensors of one brain, tested on EEG of 64 electrodes at "
    "other places, a quarter of which is hidden.",
    controls={
        "shuffled": "The same training with the geometry of each layout dealt out to other sensors "
        "of that layout; true geometry in the test.",
        "blind": "The same training with no geometry, only kinds of sensors.",
        "permuted": "The trained tokenizer, with the geometry of the new layout permuted.",
        "spline": "Spherical splines through the seen electrodes: no training, geometry only.",
        "linear": "Ridge regression trained on the new layout itself, hidden electrodes included.",
        "unigram": "Cross-entropy of the codes of each source by their frequencies in training.",
    },
    expects=[
        Expect(measure="unseen", above="shuffled", by=0.2,
               says="On a new layout, hidden electrodes are reconstructed by what geometry taught",
               paper="Reconstruction carries over to held-out EEG and MEG devices"),
        Expect(measure="unseen", above="permuted", by=0.3,
               says="The reconstruction comes from where the sensors of the new layout are"),
        Expect(measure="unseen", above="blind", by=0.3,
               says="Without geometry there is nothing to tell electrodes apart"),
        Expect(measure="unseen", above=0.65,
               says="Correlation with the measured waveform of 0.65 (chance 0)"),
        Expect(measure="short_of_spline", below=0.1,
               says="No more than 0.1 below spherical splines, which need no tokens"),
        Expect(measure="unseen_meg", above="permuted_meg", by=0.2,
               says="The same on a helmet of other places"),
        Expect(measure="least_gain", above=0.0,
               says="Each level of the residual quantisation improves the reconstruction"),
        Expect(measure="usage", above=0.5, says="Half of every codebook is in use"),
        Expect(measure="masked", below="unigram", by=0.1,
               says="Hidden tokens of the new layout are predicted from those around them",
               paper="The paper judges the pretrained model by clinical and cognitive decoding"),
    ],
    smoke={"n_windows": 16, "n_test": 8, "epochs": 1, "epochs_masked": 1},
    check={"n_windows": 560, "n_test": 60, "epochs": 2, "epochs_masked": 2},
    full={"n_windows": 20_000, "n_test": 2_000, "epochs": 16, "epochs_masked": 32},
    equations=[
        r"s_c = \mathrm{RMSNorm}\big(h_c + \mathrm{MLP}(h_c)\big),\quad "
        r"h_c = \mathrm{MLP}(p_c, o_c) + e_{\mathrm{kind}(c)}",
        r"z_{qt} = \sum_c \mathrm{softmax}_c\big(q_q \cdot W_k(u_{ct} + s_c)\big)\, W_v u_{ct}",
        r"\hat z = \sum_l e^{(l)}_{i_l},\quad i_l = \arg\min_i "
        r"\lVert z - \textstyle\sum_{m<l} e^{(m)}_{i_m} - e^{(l)}_i \rVert",
        r"\hat u_{ct} = \sum_q \mathrm{softmax}_q\big(s_c \cdot W'_k \hat z_{qt}\big)\, "
        r"W'_v \hat z_{qt}",
    ],
    use=USE,
    species=("human",),
)  # fmt: skip
def xiao_2025_sensors(
    *, seed: int, n_windows: int, n_test: int, epochs: int, epochs_masked: int
) -> Measures:
    brain = dipole_brain(band=BAND, seed=seed)
    layouts = [eeg_layout(19), eeg_layout(32), meg_layout(20)]
    known = [_view(brain, x, n_windows, derive(seed, "known", i)) for i, x in enumerate(layouts)]
    cap, helmet = eeg_layout(64), meg_layout(30, turn=40.0)
    x, new = _view(brain, cap, n_test, derive(seed, "new"))
    x_meg, new_meg = _view(brain, helmet, n_test, derive(seed, "new MEG"))
    hidden, hidden_meg = torch.arange(64) % 4 == 1, torch.arange(90) // 3 % 4 == 1

    tokenizer = _tokenizer(known, epochs, seed)
    # The same wrong geometry in every window of a layout, so that it can be learned.
    shuffled = _tokenizer([(x, s.permuted(seed=seed)) for x, s in known], epochs, seed)
    blind = _tokenizer([(x, s.without_geometry()) for x, s in known], epochs, seed)

    score = hidden_sensor_correlation
    levels = [score(tokenizer, x, new, hidden, n_levels=k) for k in (1, 2, 3, 4)]
    spline = _spline(x, new, hidden)
    masked, unigram = _masked(tokenizer, known, (x, new), epochs_masked, seed)
    return {
        "unseen": levels[-1],
        "shuffled": score(shuffled, x, new, hidden),
        "blind": score(blind, x, new.without_geometry(), hidden),
        "permuted": score(tokenizer, x, new.permuted(seed=seed), hidden),
        "spline": spline,
        "short_of_spline": spline - levels[-1],
        "linear": _linear(_view(brain, cap, n_test, derive(seed, "own"))[0], x, hidden),
        "bayes": float(brain.best(cap, hidden.numpy(), rate=RATE).mean()),
        "unseen_meg": score(tokenizer, x_meg, new_meg, hidden_meg),
        "permuted_meg": score(tokenizer, x_meg, new_meg.permuted(seed=seed), hidden_meg),
        "bayes_meg": float(brain.best(helmet, hidden_meg.numpy(), rate=RATE).mean()),
        "least_gain": float(np.diff(levels).min()),
        "usage": float(tokenizer.quantizer.usage.min()),
        "masked": masked,
        "unigram": unigram,
        "levels": Curve((1, 2, 3, 4), levels, "levels of codes", "correlation, hidden electrodes"),
    }


def _view(brain: DipoleBrain, layout: Any, n: int, seed: int) -> Windows:
    """Windows of the brain through a layout."""
    made = brain.record(layout, n, rate=RATE, seed=seed)
    x = sensor_windows(made.recording, seconds=1.0, rate=RATE, average_reference=False)
    return x, Sensors.of_table(layout)


def _tokenizer(known: Sequence[Windows], epochs: int, seed: int) -> SensorTokenizer:
    tokenizer = SensorTokenizer(64, n_sources=16, strides=(4,), decay=0.95, seed=seed)
    batches = hidden_sensor_batches(known, size=8)
    n_steps = epochs * sum(-(-len(x) // 8) for x, _ in known)
    _train(tokenizer, tokenizer_loss, batches, 6e-3, n_steps, epochs, seed)
    return tokenizer.eval()


def _train(
    module: nn.Module,
    loss: Callable[[nn.Module, Any], Tensor],
    batches: Any,
    rate: float,
    n_steps: int,
    epochs: int,
    seed: int,
) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, betas=(0.8, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=n_steps + 1, cycle_momentum=False
    )
    optimizer.register_step_post_hook(lambda *_: schedule.step())
    fit(module, loss, batches, optimizer=optimizer, epochs=epochs, seed=seed)


def _spline(x: Tensor, sensors: Sensors, hidden: Tensor) -> float:
    places = sensors.positions.numpy().astype(float)
    weights = torch.as_tensor(spherical_spline(places[~hidden], places[hidden])).to(x)
    return float(waveform_correlation(weights @ x[:, ~hidden], x[:, hidden]).mean())


def _linear(train: Tensor, test: Tensor, hidden: Tensor) -> float:
    seen, wanted = (train[:, rows].transpose(1, 2).flatten(0, 1) for rows in (~hidden, hidden))
    weights = torch.as_tensor(RidgeCV().fit(seen.numpy(), wanted.numpy()).coef_).to(test)
    return float(waveform_correlation(weights @ test[:, ~hidden], test[:, hidden]).mean())


def _masked(
    tokenizer: SensorTokenizer, known: Sequence[Windows], new: Windows, epochs: int, seed: int
) -> tuple[float, float]:
    """Nats per code of the first level on the new layout: predicted, and by frequency."""
    values_of = tokenizer.quantizer.values
    codes = torch.cat([tokenizer.tokens(*windows) for windows in known])
    model = MaskedTokenModel(64, 16, 4, 64, seed=seed)
    batches = hidden_token_batches(values_of(codes), codes, size=16)
    n_steps = epochs * -(-len(codes) // 16)
    _train(model, masked_token_loss, batches, 4e-3, n_steps, epochs, seed)
    test = tokenizer.tokens(*new)
    tokens = hide_tokens(values_of(test), test, generator=spawn_torch(seed, "test"))
    with torch.no_grad():
        logits = model(tokens.values, tokens.blank)[tokens.hidden]
    masked = cross_entropy(logits[:, 0], test[tokens.hidden][:, 0])
    counts = torch.nn.functional.one_hot(codes[..., 0], 64).sum(dim=(0, 2)) + 1.0
    frequency = (counts / counts.sum(-1, keepdim=True)).log()  # (source, code)
    by_frequency = frequency[:, None].expand(*test.shape[1:3], 64).expand(len(test), -1, -1, -1)
    unigram = cross_entropy(by_frequency[tokens.hidden], test[tokens.hidden][:, 0])
    return float(masked), float(unigram)
