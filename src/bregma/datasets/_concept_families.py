"""Activity of neurons in which concepts of a family share a core and have neurons of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bregma.errors import InvalidArgument
from bregma.run import spawn


@dataclass(frozen=True)
class ConceptFamilies:
    """Activity, and the concepts it was made of.

    Parameters
    ----------
    activity : array (sample, neuron)
        Sums of patterns, with noise.
    patterns : array (concept, neuron)
        Of length 1: a core that the family shares, and private neurons, with any sign.
    amounts : array (sample, concept)
        How much of each concept is in each sample: 0 or more.
    family : array (concept,)
        To which family each concept belongs.
    """

    activity: Float[np.ndarray, "sample neuron"]
    patterns: Float[np.ndarray, "concept neuron"]
    amounts: Float[np.ndarray, "sample concept"]
    family: Int[np.ndarray, " concept"]


def concept_families(
    n: int,
    *,
    families: int = 4,
    concepts: int = 4,
    neurons: int = 256,
    core: int = 8,
    private: int = 8,
    noise: float = 0.1,
    gated: bool = True,
    seed: int,
) -> ConceptFamilies:
    """Samples of concepts that come in families.

    Families are on or off; concepts of a family are used only while it is on, each in every
    second sample, so that concepts of a family come together. With ``gated=False`` every
    concept comes and goes on its own, as often.

    Parameters
    ----------
    n : int
        How many samples.
    families, concepts : int
        How many families, and concepts in each.
    neurons : int
        How many neurons; cores and private neurons of all concepts are different ones.
    core, private : int
        Neurons that a family shares, and those that a concept has for itself.
    noise : float
        Standard deviation of the noise of a neuron; entries of patterns are about 0.25.
    gated : bool
        Whether concepts of a family come together.
    seed : int
        Draws everything.

    Returns
    -------
    ConceptFamilies
        Activity with its truth.

    Raises
    ------
    InvalidArgument
        If a number is out of range, or there are too few neurons.

    Examples
    --------
    >>> world = concept_families(100, seed=0)
    >>> world.activity.shape, world.patterns.shape
    ((100, 256), (16, 256))
    """
    needed = families * (core + concepts * private)
    if min(n, families, concepts, core, private) < 1 or not noise >= 0 or needed > neurons:
        raise InvalidArgument(
            f"all numbers must be 1 or more, noise 0 or more, and {needed} neurons are needed, "
            f"not {neurons}"
        )
    rng = spawn(seed, "concept families")
    own = rng.permutation(neurons)[:needed].reshape(families, -1)
    by_family = np.zeros((families, concepts, neurons))
    for members, places in zip(by_family, own, strict=True):
        members[:, places[:core]] = _weights(rng, core)  # the same for the whole family
        for member, mine in zip(members, places[core:].reshape(concepts, private), strict=True):
            member[mine] = _weights(rng, private)
    patterns = by_family.reshape(-1, neurons)
    patterns /= np.linalg.norm(patterns, axis=1, keepdims=True)
    used = rng.random((n, families, concepts)) < 0.5
    shape = (n, families, 1) if gated else (n, families, concepts)
    used &= rng.random(shape) < 1 / 3
    amounts = (used * rng.uniform(0.5, 2.0, used.shape)).reshape(n, -1)
    activity = amounts @ patterns + noise * rng.standard_normal((n, neurons))
    family = np.repeat(np.arange(families), concepts)
    return ConceptFamilies(activity, patterns, amounts, family)


def _weights(rng: np.random.Generator, n: int) -> Float[np.ndarray, " n"]:
    return rng.choice([-1.0, 1.0], n) * rng.uniform(0.5, 1.5, n)
