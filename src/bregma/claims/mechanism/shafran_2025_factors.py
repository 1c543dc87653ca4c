"""Semi-nonnegative factors: groups of neurons that are on together, found, ordered and steered."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA, FastICA
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import ConceptFamilies, concept_families, digits
from bregma.mechanism import (
    Learner,
    ReLUCode,
    SemiNMF,
    SparseAutoencoder,
    concept_score,
    feature_hierarchy,
    fit_dictionary,
    match_features,
)
from bregma.run import fit, minibatches, private_randomness, spawn

STRENGTHS = (0.25, 0.5, 1.0, 2.0)  # of steering, in mean lengths of the activity


def autoencoder(x: np.ndarray, n: int, l1: float, epochs: int, seed: int) -> SparseAutoencoder:
    """As many features, on the same activity."""
    sae = SparseAutoencoder(x.shape[1], n, ReLUCode(l1), seed=seed)
    learner = Learner(sae, rate=3e-3)
    fit_dictionary(learner, x, epochs=epochs, batch_size=64, dead_after=3000, seed=seed)
    return sae.requires_grad_(False)


def matched(patterns: np.ndarray, world: ConceptFamilies) -> float:
    """Mean |cosine| of the true patterns and their partners."""
    return match_features(patterns, world.patterns, signed=False).mean


def told(model: SemiNMF, world: ConceptFamilies) -> float:
    """How well amounts tell the samples in which each concept is (AUROC)."""
    amounts = model.transform(world.activity)
    partner = match_features(model.components_, world.patterns).index
    truth = world.amounts > 0
    aucs = [roc_auc_score(t, a) for t, a in zip(truth.T, amounts[:, partner].T, strict=True)]
    return float(np.mean(aucs))


def classifier(x: Tensor, y: Tensor, epochs: int, seed: int) -> nn.Sequential:
    """Two hidden layers; the first one is taken apart."""
    with private_randomness(seed):
        sizes = (nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
        net = nn.Sequential(*sizes)
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)

    def loss(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return nn.functional.cross_entropy(net(batch[0]), batch[1])

    fit(net, loss, minibatches(x, y, size=64), optimizer=adam, epochs=epochs, seed=seed)
    return net.requires_grad_(False)


def strongest_class(amounts: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The class whose inputs use each feature most."""
    return np.stack([amounts[y == c].mean(0) for c in range(10)]).argmax(0)


def steered(
    rest: nn.Module, hidden: Tensor, features: np.ndarray, strength: float
) -> tuple[Tensor, Tensor]:
    """(feature, class): mean change of logits, and mean probability, where a feature is added."""
    size = strength * hidden.norm(dim=1).mean()
    unit = torch.from_numpy(features / np.linalg.norm(features, axis=1, keepdims=True)).float()
    after = torch.stack([rest(hidden + size * f) for f in unit])
    return (after - rest(hidden)).mean(1), after.softmax(-1).mean(1)


@claim(
    paper=Paper(
        title="Decomposing MLP Activations into Interpretable Features via Semi-Nonnegative Matrix "
        "Factorization",
        authors="Or Shafran, Atticus Geiger, Mor Geva",
        year=2025,
        arxiv="2506.10920",
    ),
    sentence="Factoring the activity of a perceptron into signed groups of neurons, used in "
    "amounts of 0 or more, gives features that steer a network better than autoencoders and "
    "differences of means do, and that show families of concepts.",
    systems="256 neurons with 16 planted concepts in 4 families; the first hidden layer of a "
    "network that reads handwritten digits",
    controls={
        "sae_steers": "sparse autoencoder with as many features, its cost chosen on the pilot",
        "sae_concept_score": "the same autoencoder, scored in the same way",
        "difference_steers": "difference of means between a class and the others: uses the labels",
        "random_steers": "random directions of the same length",
        "free_matched": "the same factorisation without winners",
        "sae_matched": "sparse autoencoder with as many features",
        "ica_matched": "FastICA with as many components, which wins where concepts are independent",
        "pca_matched": "principal components",
        "shuffled_matched": "the same factorisation of activity shuffled neuron by neuron",
    },
    expects=[
        Expect(
            measure="steers",
            above="sae_steers",
            says="Adding a feature makes its class more probable than a feature of an "
            "autoencoder does, at the same length",
            paper="concept and fluency of text of Llama 3.1, Gemma 2 and GPT-2: above autoencoders "
            "that others had trained, with many more features",
        ),
        Expect(
            measure="steers",
            above="difference_steers",
            says="More than a difference of means does",
            paper="above; there concepts are found in text, here they are what the network learned",
        ),
        Expect(
            measure="steers",
            above="random_steers",
            by=0.4,
            says="More than a random direction does",
        ),
        Expect(
            measure="own_class",
            above=0.8,
            says="For 80 % of the features no logit rises more than that of their class",
        ),
        Expect(
            measure="concept_score",
            above="sae_concept_score",
            says="Features are more like the activity of their class, and less like that of "
            "others, than features of an autoencoder",
            paper="on a par with autoencoders or above, in most layers",
        ),
        Expect(measure="matched", above=0.88, says="Planted concepts are found"),
        Expect(measure="told", above=0.95, says="And the samples that they are in"),
        Expect(
            measure="matched",
            above="free_matched",
            by=0.1,
            says="Better if winners take all",
        ),
        Expect(
            measure="matched",
            above="shuffled_matched",
            by=0.4,
            says="In shuffled activity there is nothing to be found",
        ),
        Expect(
            measure="families",
            above=0.6,
            says="Factoring the features again gives the families",
            paper="shown for weekdays and months, without a number",
        ),
    ],
    smoke={"n": 200, "epochs": 2, "net_epochs": 2},
    check={"n": 1500, "epochs": 60, "net_epochs": 30},
    full={"n": 20000, "epochs": 60, "net_epochs": 100},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"A \approx Y Z, \quad Y \ge 0; \qquad Z \leftarrow (Y^\top Y)^{+} Y^\top A, \quad "
        r"\text{then the largest } |Z_{jd}| \text{ of each row stay}",
        r"Z \approx Y' Z', \quad Y' \ge 0 \qquad \text{(families: fewer rows)}",
    ],
    use="""
import numpy as np
from bregma.mechanism import SemiNMF, concept_score, feature_hierarchy

rng = np.random.default_rng(0)
activity = rng.gamma(1.0, size=(300, 64)) * (rng.random((300, 64)) < 0.2)  # yours: (token, neuron)
model = SemiNMF(12, kept=0.1, seed=0).fit(activity)
amounts = model.transform(activity)  # (token, feature)
print(amounts[:, 0].argsort()[-5:])  # tokens that use feature 0 most
print(concept_score(model.components_, activity[:50], activity[50:]))  # tokens of a concept, others
print(feature_hierarchy(model.components_, [4], seed=0).parents())
# to steer, add a multiple of W_out @ model.components_[0] to what the perceptron writes
""",
)
def shafran_2025_factors(
    *, seed: int, n: int, epochs: int, net_epochs: int
) -> dict[str, float | Curve]:
    world = concept_families(n, seed=seed)
    alone = concept_families(n, gated=False, seed=seed)  # concepts that come and go independently
    x, share = world.activity, 16 / 256  # neurons of a pattern
    model = SemiNMF(16, kept=share, seed=seed).fit(x)
    shuffled = SemiNMF(16, kept=share, seed=seed).fit(spawn(seed, "shuffle").permuted(x, axis=0))

    def ica(of: ConceptFamilies) -> float:
        found = FastICA(16, max_iter=1000, tol=1e-3, random_state=seed).fit(of.activity)
        return matched(found.mixing_.T, of)

    train, test = digits(seed=seed)
    net, y = classifier(train.inputs, train.targets, net_epochs, seed), train.targets.numpy()
    hidden, seen = net[:2](train.inputs).numpy(), net[:2](test.inputs)
    factors = SemiNMF(20, kept=0.5, seed=seed).fit(hidden)
    sae = autoencoder(hidden, 20, 2.0, epochs, seed)
    random = spawn(seed, "random directions").standard_normal((20, hidden.shape[1]))
    means = np.stack([hidden[y == c].mean(0) - hidden[y != c].mean(0) for c in range(10)])
    methods = {
        "factors": (factors.components_, strongest_class(factors.transform(hidden), y)),
        "autoencoder": (
            sae.decoder.numpy(),
            strongest_class(sae.encode(torch.from_numpy(hidden)).numpy(), y),
        ),
        "differences of means": (means, np.arange(10)),
        "random directions": (random, strongest_class(np.maximum(hidden @ random.T, 0), y)),
    }
    classes = test.targets.numpy()
    probable, scores, own = dict[str, list[float]](), dict[str, float](), dict[str, float]()
    for name, (features, label) in methods.items():
        rows, runs = range(len(label)), [steered(net[2:], seen, features, s) for s in STRENGTHS]
        probable[name] = [float(p[rows, label].mean()) for _, p in runs]
        own[name] = float((runs[2][0].argmax(1).numpy() == label).mean())
        each = [
            concept_score(features[j : j + 1], seen[classes == c], seen[classes != c])[0]
            for j, c in enumerate(label)
        ]
        scores[name] = float(np.mean(each))
    axes = ("length of what is added, in mean lengths of the activity", "probability of its class")
    at_one = {name: values[2] for name, values in probable.items()}
    return {
        "steers": at_one["factors"],
        "sae_steers": at_one["autoencoder"],
        "difference_steers": at_one["differences of means"],
        "random_steers": at_one["random directions"],
        "own_class": own["factors"],
        "sae_own_class": own["autoencoder"],
        "concept_score": scores["factors"],
        "sae_concept_score": scores["autoencoder"],
        "difference_concept_score": scores["differences of means"],
        "matched": matched(model.components_, world),
        "told": told(model, world),
        "families": float(
            adjusted_rand_score(
                world.family[match_features(world.patterns, model.components_).index],
                feature_hierarchy(model.components_, [4], seed=seed).parents(),
            )
        ),
        "free_matched": matched(SemiNMF(16, seed=seed).fit(x).components_, world),
        "sae_matched": matched(autoencoder(x, 16, 0.1, epochs, seed).decoder.numpy(), world),
        "ica_matched": ica(world),
        "pca_matched": matched(PCA(16, random_state=seed).fit(x).components_, world),
        "shuffled_matched": matched(shuffled.components_, world),
        "matched_independent": matched(
            SemiNMF(16, kept=share, seed=seed).fit(alone.activity).components_, alone
        ),
        "ica_matched_independent": ica(alone),
        **{name: Curve(STRENGTHS, values, *axes) for name, values in probable.items()},
    }
