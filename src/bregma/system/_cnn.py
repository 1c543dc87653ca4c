"""A small convolutional network that learns to read digits in a few seconds."""

from __future__ import annotations

import hashlib
import inspect
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument
from bregma.run import Checkpoint, derive, fit, minibatches, private_randomness

SIDE = 32  # rows and columns of its input
EPOCHS, BATCH = 4, 64


class SmallCNN(nn.Sequential):
    """Four convolutional stages and a linear readout of ten classes, for grey images.

    Stages are called ``conv1`` to ``conv4``, their rectified outputs ``relu1`` to ``relu4``.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = (1, 8, 16, 32, 64)
        for i, (before, after) in enumerate(pairwise(channels), start=1):
            self.add_module(f"conv{i}", nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.add_module(f"norm{i}", nn.BatchNorm2d(after))
            self.add_module(f"relu{i}", nn.ReLU())
            self.add_module(f"pool{i}", nn.MaxPool2d(2) if i < 4 else nn.AdaptiveAvgPool2d(1))
        self.add_module("flat", nn.Flatten())
        self.add_module("readout", nn.Linear(channels[-1], 10))


def digits() -> tuple[Float[torch.Tensor, "example 1 row column"], Int[torch.Tensor, " example"]]:
    """Handwritten digits that come with scikit-learn, enlarged to the network's input.

    Returns
    -------
    (torch.Tensor, torch.Tensor)
        Images between 0 and 1, and which digit each is.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(images.reshape(-1, 1, 8, 8) / 16).float()
    large = F.interpolate(small, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    return large, torch.from_numpy(labels)


def trained_cnn(seed: int = 0) -> SmallCNN:
    """The network after learning four fifths of the digits, light on dark and dark on light.

    Training takes a few seconds; the weights are kept in the user's cache (``BREGMA_CACHE``, or
    ``XDG_CACHE_HOME``, or ``~/.cache``) under a hash of this recipe.

    Parameters
    ----------
    seed : int
        Seed of the initial weights and of the order of the examples.

    Returns
    -------
    SmallCNN
        In evaluation mode.
    """
    network = untrained_cnn(seed)
    store = Checkpoint(_cache() / f"cnn-{_recipe()}-{seed}.pt")
    try:
        state = store.load()
        if state is not None:
            network.load_state_dict(state)
            return network.eval()
    except (InvalidArgument, RuntimeError):  # damaged: learn it again
        pass
    images, labels = digits()
    learn = np.arange(len(labels)) % 5 != 0
    images = torch.cat([images[learn], 1 - images[learn]])
    labels = labels[learn].repeat(2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    steps = EPOCHS * math.ceil(len(labels) / BATCH)
    slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / steps, total_iters=steps)
    optimizer.register_step_post_hook(lambda *_: slower.step())
    with _one_thread():
        fit(
            network,
            lambda net, batch: F.cross_entropy(net(batch[0]), batch[1]),
            minibatches(images, labels, size=BATCH),
            optimizer=optimizer,
            epochs=EPOCHS,
            seed=seed,
        )
    with suppress(OSError):  # a read-only home: learn it again next time
        store.save(dict(network.state_dict()))
    return network.eval()


def untrained_cnn(seed: int = 0) -> SmallCNN:
    """The network before it learned anything.

    Parameters
    ----------
    seed : int
        Seed of the weights.

    Returns
    -------
    SmallCNN
        In evaluation mode.
    """
    with private_randomness(derive(seed, "cnn")):
        return SmallCNN().eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are then taken in one order, and the weights do not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _recipe() -> str:
    """Hash of what the weights depend on: this file and the version of PyTorch."""
    source = inspect.getsource(inspect.getmodule(_recipe))  # type: ignore[arg-type]
    return hashlib.sha256(f"{torch.__version__}\n{source}".encode()).hexdigest()[:16]


def _cache() -> Path:
    if own := os.environ.get("BREGMA_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bregma"
