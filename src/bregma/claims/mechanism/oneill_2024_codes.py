"""Heads of a circuit by the discrete codes that they have on some prompts and never on others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import PromptPairs, Wired, wired_scenes
from bregma.mechanism import code_pair_scores, code_scores, head_codes, head_outputs, patch
from bregma.run import derive, spawn

WHERE_TWICE = {"indirect_object": -5, "colored_objects": -2}  # what is there for the second time


def near(pairs: PromptPairs) -> PromptPairs:
    """Corrupt prompts that differ from the clean ones in the one word that is there twice."""
    corrupt = pairs.clean.clone()
    corrupt[:, WHERE_TWICE[pairs.name]] = pairs.corrupt[:, WHERE_TWICE[pairs.name]]
    return replace(pairs, corrupt=corrupt)


def clustered(outputs: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Codes by k-means: the number of the nearest of as many centres as the dictionary used."""
    x = outputs - outputs.mean(0)
    lengths = np.sqrt(np.square(x).sum(2).mean(0))
    x = (x / np.maximum(lengths, 1e-6 * lengths.max())[:, None]).reshape(-1, x.shape[2])
    found = KMeans(min(n, len(x)), n_init=1, random_state=derive(seed, "means") % 2**32)
    return found.fit_predict(x).reshape(outputs.shape[:2])


def separated(outputs: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """|difference of means| / pooled sd of what each head writes."""
    ours, theirs = outputs[positive], outputs[~positive]
    apart = np.linalg.norm(ours.mean(0) - theirs.mean(0), axis=1)
    spread = np.sqrt((ours.var(0).sum(1) + theirs.var(0).sum(1)) / 2)
    return apart / np.maximum(spread, 1e-6 * apart.max())


def screened(
    wired: Wired, pairs: PromptPairs, *, n_features: int, epochs: int, n_shuffles: int, seed: int
) -> dict[str, float]:
    """Area under the ROC of each way to find the heads of the circuit."""
    heads = list(wired.roles)
    true = np.array([head in wired.heads(pairs.name) for head in heads])

    def auc(scores: np.ndarray) -> float:
        return float(roc_auc_score(true, scores))

    outputs = head_outputs(wired.net, torch.cat([pairs.clean, pairs.corrupt]), at="mean").values
    positive = np.arange(len(outputs)) < len(pairs)
    codes = head_codes(outputs, n_features=n_features, epochs=epochs, seed=seed)
    untrained = head_codes(outputs, n_features=n_features, epochs=0, seed=seed)
    rng = spawn(seed, "labels")
    shuffled = [auc(code_scores(codes, rng.permutation(positive))) for _ in range(n_shuffles)]
    effects = patch(wired.net, pairs, direction="noise").mean.values
    return {
        "auc_codes": auc(code_scores(codes, positive)),
        "auc_pairs": auc(code_pair_scores(codes, positive).sum(1)),
        "auc_shuffled": float(np.mean(shuffled)),
        "auc_untrained": auc(code_scores(untrained, positive)),
        "auc_means": auc(code_scores(clustered(outputs, len(np.unique(codes)), seed), positive)),
        "auc_difference": auc(separated(outputs, positive)),
        "auc_patching": auc(np.abs(effects).ravel()),
    }


@claim(
    paper=Paper(
        title="Sparse Autoencoders Enable Scalable and Reliable Circuit Identification in Language "
        "Models",
        authors="Charles O'Neill, Thang Bui",
        year=2024,
        arxiv="2405.12522",
    ),
    sentence="With ten prompts that a network can answer and ten that it cannot, heads that have "
    "discrete codes for the former alone are those of the circuit.",
    systems="wired networks of 24 heads, 5 of which are in the circuit of each of two tasks",
    controls={
        "auc_shuffled": "the same codes, with prompts called positive at random",
        "auc_untrained": "codes of the same autoencoder before training",
        "auc_means": "codes by k-means, with as many centres as codes were used",
        "auc_difference": "difference of means over the pooled sd, without codes",
        "auc_patching": "effect of patching each head",
        "auc_other_words": "the same codes, where negatives have other words throughout",
    },
    expects=[
        Expect(
            measure="auc_codes",
            above=0.9,
            says="Codes find the heads of the circuit",
            paper="above other methods on GPT-2 small; circuits of the literature",
        ),
        Expect(
            measure="auc_codes",
            above="auc_shuffled",
            by=0.2,
            says="They do more than with prompts called positive at random",
        ),
        Expect(
            measure="auc_codes",
            above="auc_untrained",
            says="Training of the autoencoder is needed",
        ),
        Expect(
            measure="auc_codes",
            above="auc_means",
            says="A sparse autoencoder is better than k-means of as many codes",
        ),
        Expect(
            measure="auc_codes",
            above="auc_difference",
            says="Codes are better than a difference of means",
        ),
        Expect(
            measure="auc_behind_patching",
            below=0.05,
            says="They are hardly behind patching",
        ),
        Expect(
            measure="auc_other_words",
            below="auc_codes",
            says="Negatives that differ in other words as well make it worse",
        ),
    ],
    smoke={"n_prompts": 3, "n_heads": 3, "n_features": 20, "epochs": 5, "n_shuffles": 2},
    check={"n_prompts": 10, "n_heads": 6, "n_features": 200, "epochs": 500, "n_shuffles": 20},
    full={"n_prompts": 250, "n_heads": 6, "n_features": 200, "epochs": 500, "n_shuffles": 100},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"c = \mathrm{ReLU}(W_e z + b_e), \quad \hat z = W_d c + b_d, \quad "
        r"L = |z - \hat z|^2 + \lambda |c|_1",
        r"k_h(x) = \arg\max_i c_i(z_h(x)), \qquad s_h = \frac{|k_h(X^+) \setminus k_h(X^-)|}"
        r"{|k_h(X^+) \cup k_h(X^-)|}",
    ],
    use="""
from bregma.datasets import indirect_object
from bregma.mechanism import screen_heads
from bregma.nn import CausalTransformer

pairs = indirect_object(10, seed=0)  # yours: what the model can answer, and what it cannot
model = CausalTransformer(len(pairs.words), 15, 16, heads=2, layers=2)  # yours
found = screen_heads(model, pairs, at="mean", n_features=50, epochs=20, seed=0)
print(found.scores.to_series().sort_values(ascending=False))  # then patch these
""",
)
def oneill_2024_codes(
    *, seed: int, n_prompts: int, n_heads: int, n_features: int, epochs: int, n_shuffles: int
) -> dict[str, float | Curve]:
    wired = wired_scenes(n_prompts, n_heads=n_heads, seed=seed)
    how = {"n_features": n_features, "epochs": epochs, "n_shuffles": n_shuffles, "seed": seed}
    each = [screened(wired, near(pairs), **how) for pairs in wired.tasks.values()]
    other = [screened(wired, pairs, **how) for pairs in wired.tasks.values()]
    out: dict[str, float | Curve] = {
        name: float(np.mean([one[name] for one in each])) for name in each[0]
    }
    out["auc_behind_patching"] = float(
        np.mean([one["auc_patching"] - one["auc_codes"] for one in each])
    )
    for name in ("codes", "means", "difference"):
        out[f"auc_{name}_other_words"] = float(np.mean([one[f"auc_{name}"] for one in other]))
    out["auc_other_words"] = out.pop("auc_codes_other_words")
    return out
