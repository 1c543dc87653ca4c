"""Wang et al. (2025): a small recurrent reasoner, supervised segment by segment, solves Sudoku."""

from typing import Any

import torch

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import sudoku
from bregma.nn import (
    OneTimescale,
    PostNormTransformer,
    Reasoner,
    TwoTimescale,
    deep_supervision,
    segment_loss,
    solved,
)
from bregma.run import derive, device, fit, minibatches


@claim(
    paper=Paper(
        title="Hierarchical Reasoning Model",
        authors="Guan Wang, Jin Li, Yuhao Sun, Xing Chen, Changling Liu, Yue Wu, Meng Lu, "
        "Sen Song, Yasin Abbasi Yadkori",
        year=2025,
        arxiv="2506.21734",
    ),
    sentence="Two coupled recurrent modules with gradients through their last update only, trained "
    "with a loss after every segment, solve Sudoku that the same blocks in one pass do not.",
    systems="two stacks of one Transformer block (two speeds), 4 x 4 Sudoku, no test puzzle a "
    "symmetric copy of a training puzzle",
    controls={
        "feedforward": "the same parameters in one pass, without recurrence",
        "first_segment": "the same model after its first segment",
        "unsupervised_gain": "change over segments where only the first one was supervised",
        "flat": "both blocks in one module of one speed, as many block updates and gradients",
        "through_time": "one segment with gradients through all of its updates",
        "dimension_ratio_untrained": "the model before training",
    },
    expects=[
        Expect(
            measure="hierarchical",
            above="feedforward",
            by=0.1,
            says="Thinking in segments solves more puzzles than one pass of the same parameters.",
            paper="Sudoku-Extreme (9 x 9): 55 % against 0 % of a Transformer trained directly; "
            "ours are 4 x 4 puzzles, 24 features and 1,564 updates",
        ),
        Expect(
            measure="hierarchical",
            above="first_segment",
            by=0.1,
            says="Later segments improve the answer of the first one.",
            paper="accuracy rises with the segments up to the trained number, and beyond it",
        ),
        Expect(
            measure="gain",
            above="unsupervised_gain",
            by=0.2,
            says="It does so because every segment was supervised.",
            paper="re-analyses (ARC Prize, 2025) find most of the gain in this outer loop",
        ),
        Expect(
            measure="flat",
            above="hierarchical",
            times=0.95,
            says="Two levels and two speeds are not what helps: one module is as good.",
            paper="the paper credits the hierarchy and has no such control; Jolicoeur-Martineau "
            "(2025) finds one small network better",
        ),
        Expect(
            measure="dimension_ratio",
            above="dimension_ratio_untrained",
            says="Training gives the slow state more dimensions than the fast one.",
            paper="participation ratios 90 and 30 after training, 42 and 41 before, of 512",
        ),
    ],
    smoke={"n_train": 48, "n_test": 50, "copies": 2, "passes": 4, "width": 16},
    check={},
    full={
        "box": 3, "givens": 26, "n_train": 1000, "n_test": 1000, "copies": 200, "batch": 384,
        "passes": 320, "segments": 16, "width": 512, "heads": 8, "blocks": 4, "rate": 1e-4,
    },
    equations=[
        r"z_L \leftarrow f_L(z_L,\, z_H + x) \quad (T \text{ times}), \qquad "
        r"z_H \leftarrow f_H(z_H,\, z_L) \quad (N \text{ times})",
        r"\frac{\partial z_H^*}{\partial \theta} = \left(1 - J\right)^{-1} "
        r"\frac{\partial f}{\partial \theta} \approx \frac{\partial f}{\partial \theta}",
        r"\theta \leftarrow \theta - \eta\, \nabla_\theta\, \mathrm{CE}(\hat y^{m}, y), \qquad "
        r"z^{m+1}_0 = \mathrm{detach}(z^{m}) \qquad m = 1 \dots M",
    ],
    use="""
import torch
from bregma.nn import PostNormTransformer, Reasoner, TwoTimescale, deep_supervision, segment_loss
from bregma.run import fit, minibatches

tokens = torch.randint(0, 5, (64, 9), generator=torch.Generator().manual_seed(0))
targets = tokens.flip(1)  # whatever has to be answered at each place; -1 where nothing is asked
core = TwoTimescale(PostNormTransformer(16, seed=0), PostNormTransformer(16, seed=1))
model = Reasoner(core, width=16, length=9, n_tokens=5, n_answers=5, seed=2)
batches = deep_supervision(minibatches(tokens, targets, size=32), segments=4)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
fit(model, segment_loss, batches, optimizer=optimizer, epochs=5, seed=0)
answers = [segment.logits.argmax(-1) for segment in model.think(tokens, segments=4)]
""",
)  # fmt: skip
def wang_2025_hierarchical_reasoning(
    *, seed: int, box: int = 2, givens: int = 6, n_train: int = 500, n_test: int = 500,
    copies: int = 25, batch: int = 32, passes: int = 4, segments: int = 4,
    width: int = 24, heads: int = 4, blocks: int = 1, rate: float = 3e-3,
) -> dict[str, float | Curve]:  # fmt: skip
    train, test = sudoku(
        box=box, givens=givens, n_train=n_train, n_test=n_test, copies=copies, seed=seed
    )
    where = device()
    examples = minibatches(train.inputs.to(where), train.targets.to(where), size=batch)
    tokens, targets = test.inputs.to(where), test.targets.to(where)

    def stack(name: str, n: int = blocks) -> PostNormTransformer:
        return PostNormTransformer(width, heads=heads, blocks=n, seed=derive(seed, name))

    def levels(**shape: Any) -> TwoTimescale:
        return TwoTimescale(stack("fast"), stack("slow"), **shape)

    def reasoner(core: torch.nn.Module) -> Reasoner:
        return Reasoner(
            core, width=width, length=box**4, n_tokens=box**2 + 1, n_answers=box**2, seed=seed
        ).to(where)

    def trained(core: torch.nn.Module, supervised: int) -> Reasoner:
        # The same examples and as many updates for all: each batch is shown for `supervised`
        # segments in a row and comes back in as many epochs less.
        model = reasoner(core)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
        shown = deep_supervision(examples, segments=supervised)
        fit(model, segment_loss, shown, optimizer=optimizer, epochs=passes // supervised, seed=seed)
        return model

    def exact(model: Reasoner) -> list[float]:
        """Share of test puzzles without a wrong cell, after twice as many segments as trained."""
        thoughts = model.think(tokens, segments=2 * segments)
        return [float(solved(thought.logits, targets).float().mean()) for thought in thoughts]

    hierarchical = trained(levels(), segments)
    scores = exact(hierarchical)
    flat = exact(trained(OneTimescale(stack("flat", 2 * blocks), steps=3), segments))
    unsupervised = exact(trained(levels(), 1))
    feedforward = exact(trained(levels(cycles=1, steps=1), 1))
    through_time = exact(trained(levels(one_step=False), 1))
    last = segments - 1
    numbers = range(1, 2 * segments + 1)

    def curve(y: list[float]) -> Curve:
        return Curve(numbers, y, "segment", "puzzles solved")

    return {
        "hierarchical": scores[last],
        "first_segment": scores[0],
        "gain": scores[last] - scores[0],
        "overrun": scores[-1],
        "feedforward": feedforward[0],
        "unsupervised_gain": unsupervised[last] - unsupervised[0],
        "unsupervised": unsupervised[0],
        "flat": flat[last],
        "through_time": through_time[0],
        "dimension_ratio": dimension_ratio(hierarchical, tokens, segments),
        "dimension_ratio_untrained": dimension_ratio(reasoner(levels()), tokens, segments),
        "two levels": curve(scores),
        "one level": curve(flat),
        "two levels, first segment supervised": curve(unsupervised),
    }


def dimension_ratio(model: Reasoner, tokens: torch.Tensor, segments: int) -> float:
    """Participation ratio (sum of variances)^2 / (sum of their squares), slow over fast state."""
    states = zip(
        *(thought.state for thought in model.think(tokens, segments=segments)), strict=True
    )
    slow, fast = (torch.cat(parts).flatten(0, 1).T.cov() for parts in states)
    return float((slow.trace() ** 2 / (slow**2).sum()) / (fast.trace() ** 2 / (fast**2).sum()))
