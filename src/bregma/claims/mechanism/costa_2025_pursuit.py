"""Matching pursuit as the encoder of a sparse autoencoder, on concepts that have parents."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import ConceptTree, concept_tree, planted_codes
from bregma.mechanism import (
    BatchTopKCode,
    Learner,
    MatchingPursuitCode,
    NestedAutoencoder,
    ReLUCode,
    SparseAutoencoder,
    SparseCode,
    TopKCode,
    absorption,
    babel,
    fit_dictionary,
    match_features,
    score_dictionary,
)
from bregma.run import derive, spawn_torch

BATCH, TEST, LR = 128, 4000, 1e-2
ON = 2  # features of a signal: as long is its path
CODES: dict[str, Callable[[], SparseCode]] = {
    "pursuit": lambda: MatchingPursuitCode(ON),
    "from_data": lambda: MatchingPursuitCode(ON),
    "frozen": lambda: MatchingPursuitCode(ON),
    "top_k": lambda: TopKCode(ON),
    "nested": lambda: TopKCode(ON),
    "batch_top_k": lambda: BatchTopKCode(ON),
    "relu": lambda: ReLUCode(0.6),
}


def train(
    kinds: Iterable[str], x: Tensor, atoms: int, general: int, steps: int, seed: int
) -> dict[str, SparseAutoencoder]:
    """As many features as atoms, and the same batches for all; the rate rises, stays and falls."""

    def rate(step: int) -> float:
        return LR * min(1, (step + 1) / 100, (steps - step) / (steps / 4))

    saes: dict[str, SparseAutoencoder] = {}
    for kind in kinds:
        made = CODES[kind]()
        saes[kind] = (
            NestedAutoencoder(x.shape[1], [general, atoms], made, seed=seed)
            if kind == "nested"
            else SparseAutoencoder(x.shape[1], atoms, made, seed=seed)
        )
    if "from_data" in saes:
        saes["from_data"].start_from(x, seed=seed)
    learners = {k: Learner(sae, rate=rate) for k, sae in saes.items() if k != "frozen"}
    epochs = steps * BATCH // len(x)
    fit_dictionary(learners, x, epochs=epochs, batch_size=BATCH, dead_after=10_000, seed=seed)
    return {kind: sae.eval() for kind, sae in saes.items()}


def share(sae: SparseAutoencoder, atoms: Tensor) -> float:
    """Share of the atoms that were found: with a feature of their own, at a cosine above 0.9."""
    return match_features(sae.decoder, atoms).share()


def fvu_of(sae: SparseAutoencoder, x: Tensor, name: str, most: int = 10) -> list[float]:
    """Error with 1 to 10 features per signal, whatever it was trained with."""
    found = []
    for number in range(1, most + 1):
        setattr(sae.code, name, number)
        found.append(score_dictionary(sae, x).fvu)
    setattr(sae.code, name, ON)
    return found


def parent_first(sae: SparseAutoencoder, x: Tensor, tree: ConceptTree, codes: Tensor) -> float:
    """Share of signals whose first feature is that of the parent."""
    index = torch.from_numpy(match_features(sae.decoder, tree.dictionary.T).index)
    chosen, _ = sae.code.choose(x - sae.bias, sae.decoder)  # type: ignore[operator]
    return float((chosen[:, 0] == index[codes[:, tree.parent < 0].argmax(1)]).float().mean())


def together(code: Tensor, features: Tensor) -> float:
    """Mean |cosine| of the two features that are on in a signal."""
    two = code[(code > 0).sum(1) == ON]
    a, b = features[(two > 0).nonzero()[:, 1].view(-1, ON)].unbind(1)
    return float(torch.nn.functional.cosine_similarity(a, b).abs().mean().detach())


@claim(
    paper=Paper(
        title="From Flat to Hierarchical: Extracting Sparse Representations with Matching Pursuit",
        authors="Valérie Costa, Thomas Fel, Ekdeep Singh Lubana, Bahareh Tolooshams, Demba Ba",
        year=2025,
        arxiv="2506.03093",
    ),
    sentence="Where concepts have parents that they are orthogonal to, an autoencoder that encodes "
    "by matching pursuit finds more of them than one that encodes in a single linear step.",
    systems="signals of one path through a tree of 8 parents with 5 children each in 32 numbers",
    controls={
        "share_top_k": "the same width, features per signal, batches and rate; linear encoder",
        "share_relu": "the same with an l1 cost, which leaves about 2 to 4 features on",
        "share_batch_top_k": "the same with features shared out over a batch",
        "share_nested": "the same with nested dictionaries of 8 and 48 features (Matryoshka)",
        "share_from_data": "pursuit whose features start at samples, not at random directions",
        "fvu_frozen": "pursuit with random features that are not trained",
        "share_flat_top_k": "no tree: pairs of orthogonal atoms, where there is nothing to win",
    },
    expects=[
        Expect(
            measure="share_pursuit",
            above="share_top_k",
            times=1.5,
            by=0.2,
            says="Pursuit finds more of the concepts than the k largest pre-activations do",
            paper="both levels recovered, others merge or absorb them; a tree of 3 x 3 and 8 more",
        ),
        Expect(
            measure="share_pursuit", above="share_relu", by=0.3, says="And more than an l1 cost"
        ),
        Expect(
            measure="share_pursuit",
            above="share_nested",
            by=0.3,
            says="And more than nested dictionaries, which are made for levels",
        ),
        Expect(
            measure="share_pursuit",
            above="share_batch_top_k",
            by=0.3,
            says="And more than features that are shared out over a batch",
        ),
        Expect(
            measure="fvu_pursuit", below="fvu_top_k", times=0.5, says="At half the error or less"
        ),
        Expect(
            measure="fvu_pursuit",
            below="fvu_frozen",
            times=0.1,
            says="It is the features, not pursuit with whatever features",
        ),
        Expect(
            measure="together_pursuit",
            below="together_top_k",
            times=0.25,
            says="The two features of a signal are near orthogonal, unlike those of TopK",
            paper="features that are chosen together are conditionally orthogonal",
        ),
        Expect(
            measure="fvu_pursuit_more",
            below="fvu_pursuit",
            says="Ten steps in use, after training with two, leave less error (an identity)",
        ),
        Expect(
            measure="fvu_top_k_more",
            above="fvu_top_k",
            times=3,
            says="Ten features of TopK in use leave more than three times the error of its two",
            paper="TopK degrades away from the k of training",
        ),
        Expect(
            measure="share_flat_pursuit",
            below="share_flat_top_k",
            times=1.1,
            says="Without a tree, on orthogonal atoms, it does not win",
        ),
        Expect(
            measure="share_pursuit",
            above="share_from_data",
            by=0.1,
            says="Started at samples, each a parent and child in one, it finds fewer",
            paper="does not compare",
        ),
    ],
    smoke={"steps": 45, "n": 1920, "pixels": 16, "parents": 3, "children": 3},
    check={"steps": 2000, "n": 16_000, "pixels": 32, "parents": 8, "children": 5},
    full={"steps": 20_000, "n": 128_000, "pixels": 64, "parents": 20, "children": 10},
    seeds=(1, 2, 3, 4),
    equations=[
        r"j_t = \arg\max_j\, d_j \cdot r_{t-1}, \quad c_t = \max(0, d_{j_t} \cdot r_{t-1}), \quad "
        r"r_t = r_{t-1} - c_t d_{j_t}, \quad r_0 = x - b",
        r"|r_t|^2 = |r_{t-1}|^2 - c_t^2, \qquad r_t \cdot d_{j_t} = 0",
        r"\mu_1(m) = \max_i \max_{|L| = m,\, i \notin L} \sum_{j \in L} |d_i \cdot d_j|",
    ],
    use="""
import torch
from bregma.mechanism import MatchingPursuitCode, SparseAutoencoder, babel
from bregma.mechanism import fit_dictionary, score_dictionary

x = torch.randn(2000, 4) @ torch.randn(4, 24)  # activity, yours
sae = SparseAutoencoder(24, 96, MatchingPursuitCode(3), seed=0)
fit_dictionary(sae, x, epochs=5, batch_size=200, seed=0)
for sae.code.steps in (1, 3, 10):  # in use as many steps as one likes
    print(sae.code.steps, score_dictionary(sae, x).fvu)
print(babel(sae.decoder)[:3])  # how alike the features are
""",
)
def costa_2025_pursuit(
    *, seed: int, steps: int, n: int, pixels: int, parents: int, children: int
) -> dict[str, float | Curve]:
    sizes = {"pixels": pixels, "parents": parents, "children": children}
    tree = concept_tree(n + TEST, **sizes, seed=seed)
    uneven = concept_tree(n, **sizes, alone=0.4, seed=derive(seed, "uneven"))
    flat = planted_codes(n, pixels=pixels, atoms=pixels, active=ON, signed=False, seed=seed).codes
    square = torch.randn(pixels, pixels, generator=spawn_torch(seed, "flat"))
    axes = torch.linalg.qr(square).Q  # as many orthogonal atoms as pixels: no tree
    atoms, general = tree.dictionary.T, parents
    x, test, truth = tree.signals[:n], tree.signals[n:], tree.codes[n:]

    saes = train(CODES, x, len(atoms), general, steps, seed)
    out: dict[str, float | Curve] = {}
    for kind, sae in saes.items():
        code, scores = sae.encode(test).detach(), score_dictionary(sae, test)
        match = match_features(sae.decoder, atoms)
        out[f"share_{kind}"] = match.share()
        out[f"fvu_{kind}"], out[f"on_{kind}"] = scores.fvu, scores.l0
        out[f"absorbed_{kind}"] = absorption(code, truth, tree.parent, match)
    for kind in ("pursuit", "top_k"):
        out[f"together_{kind}"] = together(saes[kind].encode(test).detach(), saes[kind].decoder)
    out["parent_first"] = parent_first(saes["pursuit"], test, tree, truth)

    dictionaries = {"true features": atoms}
    for name, setting in (("pursuit", "steps"), ("top_k", "k")):
        fvu = fvu_of(saes[name], test, setting)
        out[f"fvu_{name}_more"] = fvu[-1]
        out[name] = Curve(range(1, 11), fvu, "features per signal in use", "error (FVU)")
        dictionaries[f"features of {name}"] = saes[name].decoder
    for name, features in dictionaries.items():
        alike = babel(features).numpy()
        out[name] = Curve(range(1, len(alike) + 1), alike, "other features", "Babel function")
    for kind, sae in train(
        ("pursuit", "top_k", "batch_top_k"), uneven.signals, len(atoms), general, steps, seed
    ).items():
        out[f"share_uneven_{kind}"] = share(sae, uneven.dictionary.T)
    for kind, sae in train(("pursuit", "top_k"), flat @ axes, pixels, 1, steps, seed).items():
        out[f"share_flat_{kind}"] = share(sae, axes)
    return out
