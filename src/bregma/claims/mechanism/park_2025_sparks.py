"""Heads that emerge in post-training: imitation adds them, rewards search among them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import PromptPairs, Task, modular_sums
from bregma.learning import group_advantage, group_relative_loss
from bregma.mechanism import (
    Contrast,
    HeadHistory,
    TrainingClamp,
    TransformerGraph,
    circuit,
    clamped,
    heads_over_training,
)
from bregma.nn import CausalTransformer
from bregma.run import derive, spawn, spawn_torch

LAYERS, HEADS, SAMPLES, BATCH, FAITHFUL = 3, 8, 16, 64, 0.85
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of log-probabilities, prompts, right answers


def imitation(log_p: Tensor, _: Tensor, right: Tensor) -> Tensor:
    """Supervised fine-tuning: cross-entropy of the right answers."""
    return nn.functional.nll_loss(log_p, right)


def grpo(base: nn.Module, seed: int, *, shuffled: bool = False) -> Loss:
    """Rewards of sampled answers, compared within their prompt."""
    draw, reference = spawn_torch(seed, "answers"), deepcopy(base)

    def loss(log_p: Tensor, prompts: Tensor, right: Tensor) -> Tensor:
        answers = torch.multinomial(log_p.detach().exp(), SAMPLES, True, generator=draw)
        rewards = (answers == right[:, None]).float()
        if shuffled:  # as many rewards, for whatever was said
            rewards = rewards.flatten()[torch.randperm(rewards.numel(), generator=draw)]
            rewards = rewards.view_as(answers)
        with torch.no_grad():
            kept = reference(prompts)[:, -1].log_softmax(-1).gather(1, answers).view(-1, 1)
        own = log_p.gather(1, answers).view(-1, 1)
        gain = group_advantage(rewards).flatten()
        return group_relative_loss(own, own.detach(), kept, gain, beta=1e-3)

    return loss


def trained(
    net: nn.Module, task: Task, loss: Loss, *, steps: int, lr: float, checkpoints: int, seed: int
) -> list[nn.Module]:
    """The network before training, and copies of it at even distances."""
    adam, draw = torch.optim.AdamW(net.parameters(), lr=lr), spawn_torch(seed, "batches")
    found = [deepcopy(net)]
    for step in range(1, steps + 1):
        rows = torch.randint(len(task), (BATCH,), generator=draw)
        prompts, right = task.inputs[rows], task.targets[rows]
        adam.zero_grad()
        loss(net(prompts)[:, -1].log_softmax(-1), prompts, right).backward()
        adam.step()
        if step % (steps // checkpoints) == 0:
            found.append(deepcopy(net))
    return found


@torch.no_grad()
def accuracy(net: nn.Module, task: Task) -> float:
    return task.accuracy(net(task.inputs)[:, -1])


def without(net: nn.Module, heads: np.ndarray, task: Task) -> float:
    """Accuracy where heads do for every prompt what they do on average."""
    clamps = [
        TrainingClamp(
            f"blocks.{layer}.head",
            lambda here, _: here.mean(0, keepdim=True),
            torch.from_numpy(of_layer)[:, None, None],
        )
        for layer, of_layer in enumerate(heads.reshape(LAYERS, HEADS))
    ]
    with clamped(net, *clamps):
        return accuracy(net, task)


def contrast(pairs: PromptPairs) -> Contrast:
    return Contrast(pairs.clean, pairs.corrupt, pairs.right, pairs.wrong)


def moved(history: HeadHistory) -> float:
    """Mean churn after the first checkpoint, before which nobody does the task."""
    return float(history.churn[1:].mean())


@claim(
    paper=Paper(
        title="Thinking Sparks!: Emergent Attention Heads in Reasoning Models During Post Training",
        authors="Yein Park, Minbyul Jeong, Jaewoo Kang",
        year=2025,
        arxiv="2509.25758",
    ),
    sentence="Post-training by imitation adds attention heads that stay, post-training by rewards "
    "(GRPO) adds fewer and goes on exchanging them.",
    systems="transformer of 3 layers with 8 heads: sums modulo 7 of one step, then of two as well",
    controls={
        "added_grpo": "the same start, prompts and number of steps, with rewards (GRPO)",
        "churn_sft": "the same start, prompts and number of steps, with the right answers",
        "retest_grpo": "circuits of one and the same checkpoint on resampled prompts",
        "churn_shuffled": "GRPO with the rewards exchanged among all samples of a step",
        "lost_random": "as many random heads of the same layers silenced",
    },
    expects=[
        Expect(
            measure="added_sft",
            above="added_grpo",
            says="Imitation adds more heads than rewards do, in circuits that are as faithful",
            paper="in Qwen2.5-Math-1.5B, by circuits of a fixed number of edges; here faithful "
            "circuits take in nearly all of 24 heads after either, which leaves little to differ",
        ),
        Expect(
            measure="churn_grpo",
            above="churn_sft",
            says="Rewards exchange more of the active heads between checkpoints",
        ),
        Expect(
            measure="churn_grpo",
            above="retest_grpo",
            says="And more than finding the same circuit on other prompts does",
        ),
        Expect(
            measure="lost_sft",
            above=0.5,
            says="Without the heads that imitation added, half of what it taught is lost",
        ),
        Expect(
            measure="lost_sft",
            above="lost_random",
            says="Which is more than without as many random heads of the same layers",
        ),
        Expect(
            measure="one_step_lost",
            below=0.05,
            says="While sums of one step lose 5 points at most (nothing where no head is new)",
        ),
    ],
    smoke={"pretraining": 10, "steps": 4, "checkpoints": 2, "n_pairs": 12},
    check={"pretraining": 300, "steps": 400, "checkpoints": 8, "n_pairs": 96},
    full={"pretraining": 2000, "steps": 4000, "checkpoints": 40, "n_pairs": 512},
    equations=[
        r"A_i = \frac{r_i - \bar r}{\mathrm{sd}(r) + \epsilon}, \quad \mathcal{L} = -\frac{1}{G} "
        r"\sum_i \min(\rho_i A_i, \mathrm{clip}(\rho_i, 1 - e, 1 + e) A_i) + "
        r"\beta\, \mathrm{KL}(\pi \| \pi_{\mathrm{ref}})",
        r"E_t = H_t \setminus H_0, \qquad \mathrm{churn}_t = "
        r"\frac{|H_t \setminus H_{t-1}| + |H_{t-1} \setminus H_t|}{|H_t \cup H_{t-1}|}",
    ],
    use="""
from bregma.datasets import docstring
from bregma.mechanism import heads_over_training
from bregma.nn import CausalTransformer

pairs = docstring(24, seed=0)
places = pairs.clean.shape[1]
checkpoints = (CausalTransformer(len(pairs.words), places, 16, heads=4, layers=2, seed=seed)
               for seed in range(3))  # yours: loaded one after the other
history = heads_over_training(checkpoints, pairs, n_edges=10, seed=0)
print(history.births, history.deaths, history.churn, history.retest)
print(history.lives())
""",
)
def park_2025_sparks(
    *, seed: int, pretraining: int, steps: int, checkpoints: int, n_pairs: int
) -> dict[str, float | Curve]:
    one, two = (modular_sums(16384, terms=t, seed=derive(seed, "train")).task() for t in (2, 3))
    both = Task(
        torch.cat([one.inputs, two.inputs]),
        torch.cat([one.targets, two.targets]),
        one.n_classes,
        one.chance,
    )
    test_one, test_two = (
        modular_sums(1024, terms=t, seed=derive(seed, "test")).task() for t in (2, 3)
    )
    easy, hard = (
        contrast(modular_sums(n_pairs, terms=t, seed=derive(seed, "pairs"))) for t in (2, 3)
    )
    net = CausalTransformer(9, 4, 32, heads=HEADS, layers=LAYERS, seed=seed)
    *_, base = trained(
        net, one, imitation, steps=pretraining, lr=2e-3, checkpoints=1, seed=derive(seed, "base")
    )
    losses = {
        "sft": imitation,
        "grpo": grpo(base, seed),
        "shuffled": grpo(base, seed, shuffled=True),
    }
    runs, history = dict[str, list[nn.Module]](), dict[str, HeadHistory]()
    for regime, loss in losses.items():
        runs[regime] = trained(
            deepcopy(base), both, loss, steps=steps, lr=1e-3, checkpoints=checkpoints, seed=seed
        )
        history[regime] = heads_over_training(
            runs[regime],
            hard,
            faithfulness=FAITHFUL,
            n_resamples=0 if regime == "shuffled" else 2,
            batch_size=n_pairs,
            seed=seed,
        )
    # Before post-training nobody does two steps: the heads that were there are those of one step.
    graph = TransformerGraph(base, batch_size=n_pairs)
    there = circuit(graph, easy, faithfulness=FAITHFUL, prune=False, seed=seed).nodes
    end, heads = runs["sft"][-1], history["sft"].heads
    new = history["sft"].active[-1] & ~np.isin(heads, there)
    before, after = accuracy(base, test_two), accuracy(end, test_two)

    def lost(heads: np.ndarray) -> float:
        return (after - without(end, heads, test_two)) / max(after - before, 1e-3)

    def shuffled(i: int) -> np.ndarray:
        """As many random heads of each layer."""
        rng = spawn(seed, "heads", i)
        return np.concatenate([rng.permutation(of) for of in new.reshape(LAYERS, HEADS)])

    sized = {  # circuits of a fixed number of edges, as in the paper
        regime: heads_over_training(
            (run[0], run[-1]), hard, n_edges=40, batch_size=n_pairs, n_resamples=0, seed=seed
        )
        for regime, run in runs.items()
    }
    axes = ("checkpoint", "active heads of 24")
    times = range(checkpoints + 1)
    return {
        **{f"added_{r}": float(h.net_added) for r, h in history.items()},
        **{f"churn_{r}": moved(h) for r, h in history.items()},
        **{f"retest_{r}": float(history[r].retest[1:].mean()) for r in ("sft", "grpo")},
        **{
            f"new_{r}": float((h.active[-1] & ~np.isin(heads, there)).sum())
            for r, h in history.items()
        },
        **{f"sized_{r}": float(h.emergent[-1].sum()) for r, h in sized.items()},
        **{f"accuracy_{r}": accuracy(run[-1], test_two) for r, run in runs.items()},
        "accuracy_base": before,
        "one_step_base": accuracy(base, test_one),
        "one_step_sft": accuracy(end, test_one),
        "lost_sft": lost(new),
        "lost_random": float(np.mean([lost(shuffled(i)) for i in range(5)])),
        "one_step_lost": accuracy(end, test_one) - without(end, new, test_one),
        "imitation": Curve(times, history["sft"].active.sum(1), *axes),
        "rewards": Curve(times, history["grpo"].active.sum(1), *axes),
        "exchanged rewards": Curve(times, history["shuffled"].active.sum(1), *axes),
    }
