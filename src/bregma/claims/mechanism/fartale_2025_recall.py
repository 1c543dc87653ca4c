"""Recall from weights and reasoning over the prompt: do they have parts of their own?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import FactWorld, PromptPairs, recall_and_chain
from bregma.mechanism import (
    PartRemoval,
    TrainingClamp,
    clamped,
    dissociate,
    double_dissociation,
    logit_difference,
    selectivity,
)
from bregma.nn import CausalTransformer
from bregma.recording import Recording
from bregma.run import derive, fit, minibatches

SIZE = 4  # parts for each ability, at most
SPECIAL = 0.5  # how specialised they have to be: one ability loses three times as much
Measure = Callable[[Tensor, PromptPairs], np.ndarray]


def network(world: FactWorld, width: int, heads: int, layers: int, seed: int) -> nn.Module:
    """As it is before training."""
    task = world.training
    return CausalTransformer(
        task.n_classes, task.inputs.shape[1], width, heads=heads, layers=layers, seed=seed
    )


def train(net: nn.Module, world: FactWorld, seed: int) -> None:
    """Facts and single links first, then chains as well: two links at once take much longer."""

    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(net(batch[0])[:, -1], batch[1])

    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    prompts, answer = world.training.inputs, world.training.targets
    facts = prompts[:, -2] == world.recall.clean[0, -2]  # learned at once: a fifth is enough
    some = ~facts | (torch.arange(len(facts)) % 5 == 0)
    prompts, answer = prompts[some], answer[some]
    simple = prompts[:, -2] != world.chain.clean[0, -2]  # the word that asks for a chain's end
    for rows in (simple, simple | True):
        batches = minibatches(prompts[rows], answer[rows], size=64)
        fit(net, loss, batches, optimizer=adam, epochs=1, seed=seed)


def lead(answers: Tensor, pairs: PromptPairs) -> np.ndarray:
    return logit_difference(answers, pairs).numpy()


def correct(answers: Tensor, pairs: PromptPairs) -> np.ndarray:
    return (answers.argmax(-1) == pairs.right).numpy().astype(float)


class Asked:
    """A network, and two halves of the prompts of both abilities."""

    def __init__(self, net: nn.Module, world: FactWorld, seed: int) -> None:
        self.net, self.seed = net, seed
        abilities = (world.recall, world.chain)
        split = [pairs.split(0.5, seed=derive(seed, pairs.name)) for pairs in abilities]
        self.halves = list(zip(*split, strict=True))
        self.reference = torch.cat([pairs.clean for pairs in self.halves[0]])
        self.without = {
            baseline: PartRemoval(net, self.reference, baseline=baseline, seed=seed)
            for baseline in ("mean", "zero", "resample")
        }
        self.parts, self.layers = self.without["mean"].parts, self.without["mean"].layers
        self.intact = [float(x.mean()) for x in self.trials((), 0)]

    def trials(
        self, removed: Sequence[str], half: int, of: Measure = lead, baseline: str = "mean"
    ) -> list[np.ndarray]:
        """Of recall and of chains, without some parts."""
        without = self.without[baseline]
        return [of(without(pairs.clean, removed), pairs) for pairs in self.halves[half]]

    def score(self, intact: list[float]) -> Callable[..., list[np.ndarray]]:
        """Leads as shares of intact ones, so that both abilities are on one scale."""

        def shares(removed: Sequence[str], half: int, baseline: str = "mean") -> list[np.ndarray]:
            return [
                x / scale
                for x, scale in zip(self.trials(removed, half, lead, baseline), intact, strict=True)
            ]

        return shares

    def lost(self, parts: Sequence[str]) -> list[float]:
        """Accuracy of recall and of chains that is lost on the second half."""
        intact, left = self.trials((), 1, correct), self.trials(parts, 1, correct)
        return [float(a.mean() - b.mean()) for a, b in zip(intact, left, strict=True)]

    def silenced(self, masks: Tensor, means: Tensor) -> list[np.ndarray]:
        """Shares of the lead with hidden units (layer, unit) held at their means."""
        clamps = [
            TrainingClamp(f"blocks.{i}.hidden", mean, mask)
            for i, (mean, mask) in enumerate(zip(means, masks, strict=True))
        ]
        with torch.no_grad(), clamped(self.net, *clamps):
            found = [lead(self.net(pairs.clean)[:, -1], pairs) for pairs in self.halves[1]]
        return [x / scale for x, scale in zip(found, self.intact, strict=True)]


def index(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Double dissociation, from trials without parts for recall and without those for chains."""
    tables = (np.stack(pair, 1) for pair in zip(first, second, strict=True))
    return double_dissociation(*tables, n=1, seed=0).index


def of_neurons(asked: Asked, share: float) -> float:
    """The same for hidden units that are more active for either ability at the last token."""
    active = asked.net.neurons(asked.reference)[:, :, -1]  # type: ignore[operator]
    labels = np.repeat([0, 1], [len(pairs) for pairs in asked.halves[0]])
    rates = Recording.from_array(active.transpose(0, 1).flatten(1).numpy())
    found = selectivity(rates, labels, n=199, seed=asked.seed)
    significant = found.to_frame("d_prime")["p_fdr"].to_numpy() < 0.05
    d_prime = np.where(significant, found.d_prime[:, 0], 0.0)
    n, trials = max(1, int(share * len(d_prime))), []
    for sign in (1, -1):
        cut = max(np.sort(sign * d_prime)[-n], 1e-9)
        mask = torch.from_numpy(sign * d_prime >= cut).view(len(active), -1)
        trials.append(asked.silenced(mask, active.mean(1)))
    return index(*trials)


@claim(
    paper=Paper(
        title="Disentangling recall and reasoning in transformer models through layer-wise "
        "attention and activation analysis",
        authors="Harshwardhan Fartale, Ashish Kattamuri, Rahul Raja, Arpita Vats, Ishita Prasad, "
        "Akshata Kishore Moharir",
        year=2025,
        arxiv="2510.03366",
    ),
    sentence="Recall of stored facts and reasoning over the prompt have parts of their own: "
    "without either set of heads and perceptrons one ability suffers and the other does not.",
    systems="three-layer transformer trained on facts of its own and on chains of two links that "
    "the prompt gives",
    controls={
        "chain_without_recall_parts": "what chains lose without the parts for recall",
        "recall_without_chain_parts": "what recall loses without the parts for chains",
        "index_random": "random sets of as many parts of the same layers, mean of 99",
        "index_untrained": "the same search in the network before training",
        "index_neurons": "hidden units that fire more for either ability, instead of parts",
    },
    expects=[
        Expect(
            measure="recall_without_recall_parts",
            above="chain_without_recall_parts",
            by=0.15,
            says="Without its parts, recall loses more accuracy than chains do",
            paper="up to 15 % of facts with reasoning intact; Qwen and LLaMA",
        ),
        Expect(
            measure="chain_without_chain_parts",
            above="recall_without_chain_parts",
            by=0.3,
            says="Without theirs, chains lose more than recall",
            paper="about as much the other way round",
        ),
        Expect(
            measure="recall_without_chain_parts",
            below=0.15,
            says="And recall loses little then",
        ),
        Expect(
            measure="index_of_recall",
            above=0,
            says="The lead of recall, too, suffers more from its parts than that of chains does",
        ),
        Expect(
            measure="index",
            above="index_random",
            by=0.3,
            says="Leads go apart more than for random sets of parts of the same layers",
        ),
        Expect(
            measure="index",
            above="index_untrained",
            by=0.3,
            says="And more than before training",
        ),
        Expect(measure="index_zero", above=0, says="So they do with zeros instead of means"),
        Expect(measure="index_resample", above=0, says="And with the activity for other prompts"),
        Expect(
            measure="index_neurons",
            below="index",
            by=0.3,
            says="Hidden units that fire more for either ability dissociate less",
            paper="effects of neurons are less robust",
        ),
    ],
    smoke={"steps": 10, "width": 16, "heads": 4, "n": 24, "draws": 5},
    check={"steps": 1100, "width": 64, "heads": 4, "n": 200, "draws": 99},
    full={"steps": 20_000, "width": 256, "heads": 16, "n": 4000, "draws": 999},
    seeds=(1, 2, 3),
    equations=[
        r"s_c = \frac{d_c(\text{recall}) - d_c(\text{chain})}"
        r"{|d_c(\text{recall})| + |d_c(\text{chain})|}",
        r"D = [d_r(C_r) - d_c(C_r)] + [d_c(C_c) - d_r(C_c)]",
        r"d' = \frac{\mu_r - \mu_c}{\sqrt{(\sigma_r^2 + \sigma_c^2) / 2}}",
    ],
    use="""
import numpy as np
from bregma.mechanism import dissociate, double_dissociation

def score(removed, half):  # of your network, circuit or animal without some parts, trial by trial
    rng = np.random.default_rng(half)
    return tuple(1 - 0.8 * (need in removed) + 0.1 * rng.normal(size=40) for need in ("a", "b"))

found = dissociate(score, ["a", "b", "c", "d"], 1, n=50, seed=0)
print(found.first, found.second, found.tested.crossed, found.random.p_value)
patients = double_dissociation([[2, 9], [3, 8], [1, 9]], [[8, 4], [9, 3], [9, 5]], seed=0)
print(patients.index, patients.null.p_value)
""",
)
def fartale_2025_recall(
    *, seed: int, steps: int, width: int, heads: int, n: int, draws: int
) -> dict[str, float | Curve]:
    world = recall_and_chain(
        n, n_train=64 * steps * 15 // 11, n_entities=8, hops=2, seed=derive(seed, "world")
    )
    nets = [network(world, width, heads, 3, seed) for _ in range(2)]
    train(nets[0], world, seed)
    asked, untrained = (Asked(net, world, seed) for net in nets)
    found, before = (
        dissociate(
            one.score(asked.intact),  # type: ignore[arg-type]
            one.parts,
            SIZE,
            strata=one.layers,
            least=SPECIAL,
            n=some,
            seed=seed,
        )
        for one, some in ((asked, draws), (untrained, 1))
    )

    def index_with(baseline: str) -> float:
        score = asked.score(asked.intact)
        return index(*(score(some, 1, baseline=baseline) for some in (found.first, found.second)))

    recall, chain = asked.lost(found.first), asked.lost(found.second)
    intact = [float(x.mean()) for x in asked.trials((), 1, correct)]
    axes = ("head or perceptron, layer by layer", "share of the lead lost")
    parts = range(len(asked.parts))
    return {
        "recall_intact": intact[0],
        "chain_intact": intact[1],
        "n_recall_parts": len(found.first),
        "n_chain_parts": len(found.second),
        "recall_without_recall_parts": recall[0],
        "chain_without_recall_parts": recall[1],
        "recall_without_chain_parts": chain[0],
        "chain_without_chain_parts": chain[1],
        "index": found.tested.index,
        "index_of_recall": found.tested.first,
        "index_of_chain": found.tested.second,
        "index_random": float(found.random.values.mean()),
        "p_random": found.random.p_value,
        "p_labels": found.tested.null.p_value,
        "index_untrained": before.tested.index,
        "index_zero": index_with("zero"),
        "index_resample": index_with("resample"),
        "index_neurons": of_neurons(asked, 0.1),
        "recall": Curve(parts, found.parts["first"].to_numpy(), *axes),
        "chain": Curve(parts, found.parts["second"].to_numpy(), *axes),
    }
