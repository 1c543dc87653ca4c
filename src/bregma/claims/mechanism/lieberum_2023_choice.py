"""Multiple choice: which heads say the label, and how few directions they need for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import PromptPairs, multiple_choice
from bregma.mechanism import (
    HeadSubspaces,
    TransformerGraph,
    direct_attribution,
    head_subspaces,
    patch,
    weighted_attention,
)
from bregma.nn import CausalTransformer
from bregma.run import derive, fit, minibatches

ASKED = 5  # the question is over here
LABELS = torch.tensor([6, 8, 10, 12])  # places of A, B, C, D; each option is behind its label


def right_option(prompts: Tensor, label: Tensor) -> Tensor:
    """Number of the option with the right label."""
    return (prompts[:, LABELS] == label[:, None]).int().argmax(1)


def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Of the label at the end, and of the answer itself behind the question: it is known."""
    prompts, label = batch
    scores = net(prompts)
    option = LABELS[right_option(prompts, label)] + 1
    answer = prompts.gather(1, option[:, None])[:, 0]
    return nn.functional.cross_entropy(scores[:, -1], label) + nn.functional.cross_entropy(
        scores[:, ASKED], answer
    )


def trained(steps: int, width: int, layers: int, seed: int) -> nn.Module:
    """Answers with labels in their order and with random ones."""
    kinds = [
        multiple_choice(32 * steps, labels=kind, seed=derive(seed, kind)).task()
        for kind in ("ABCD", "random")
    ]
    prompts, label = (torch.cat([getattr(t, x) for t in kinds]) for x in ("inputs", "targets"))
    net = CausalTransformer(
        kinds[0].n_classes, prompts.shape[1], width, heads=4, layers=layers, seed=seed
    )
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    fit(net, loss, minibatches(prompts, label, size=64), optimizer=adam, epochs=1, seed=seed)
    return net


def lead(scores: Tensor, pairs: PromptPairs) -> Tensor:
    """Of the right label over the mean of the others."""
    labels = scores.gather(1, pairs.clean[:, LABELS])
    right = scores.gather(1, pairs.right[:, None])[:, 0]
    return (4 * right - labels.sum(1)) / 3


def letter_heads(net: nn.Module, pairs: PromptPairs) -> tuple[list[str], Tensor]:
    """Heads that get most from the right option (or the one that does most), and from where."""
    gets = weighted_attention(net, pairs.clean)
    shares = torch.from_numpy((gets / gets.sum("key")).values)  # (prompt, head, key)
    right = right_option(pairs.clean, pairs.right)
    at_label, at_text = (
        shares.gather(2, places[right][:, None, None].expand(-1, shares.shape[1], 1)).mean((0, 2))
        for places in (LABELS, LABELS + 1)
    )
    both = at_label + at_text
    found = (both >= both.max().clamp(max=0.5)).nonzero()[:, 0]
    on_text = bool(at_text[found].sum() > at_label[found].sum())
    return [str(gets["head"].values[h]) for h in found], LABELS + int(on_text)


def answers(net: nn.Module, pairs: PromptPairs, by: HeadSubspaces | None, places: Tensor) -> Tensor:
    """Of the network as it is, or restricted."""
    if by is not None:
        return by.run(net, pairs.clean, places)
    with torch.no_grad():
        return net(pairs.clean)[:, -1]


def restored(net: nn.Module, pairs: PromptPairs, nodes: list[str]) -> float:
    """Share of the lead that is left where only these act directly on the answer as they did."""
    graph = TransformerGraph(net, batch_size=64)
    others = [sender not in nodes for sender in graph.senders]
    kept, none = graph.joined.copy(), graph.joined & False
    kept[others, -1] = False
    whole, left, corrupt = graph.measure(pairs, [graph.joined, kept, none], metric=lead).mean(1)
    return float((left - corrupt) / (whole - corrupt))


@claim(
    paper=Paper(
        title="Does circuit analysis interpretability scale? Evidence from multiple choice "
        "capabilities in Chinchilla",
        authors="Tom Lieberum, Matthew Rahtz, János Kramár, Neel Nanda, Geoffrey Irving, "
        "Rohin Shah, Vladimir Mikulik",
        year=2023,
        arxiv="2307.09458",
    ),
    sentence="In multiple choice a few heads that look at the right option say its label; three "
    "directions of their queries, keys and values are enough for A to D, and not for any letters.",
    systems="two-layer transformer trained on questions with four options, with labels in their "
    "order and with random letters",
    controls={
        "lead_random": "random directions of the same heads, as many, around the same means",
        "accuracy_free": "the network as it is",
        "lead_others_random": "random directions in all other heads instead",
        "other_nodes": "what everything but these heads adds to the answer directly",
        "lead_letters": "the same directions, with any letters as labels",
    },
    expects=[
        Expect(
            measure="lead_low_rank",
            above="lead_random",
            by=0.4,
            says="With three directions each, heads keep more of the right label's lead than with "
            "random ones",
            paper="no loss with three directions; Chinchilla 70B on MMLU",
        ),
        Expect(
            measure="accuracy_low_rank",
            above="accuracy_free",
            times=0.98,
            says="And no accuracy is lost",
        ),
        Expect(
            measure="letter_heads",
            above="other_nodes",
            by=0.4,
            says="These heads alone, acting directly, restore most of the lead",
            paper="45 output nodes, 32 of them heads",
        ),
        Expect(
            measure="lead_letters",
            below="lead_low_rank",
            by=0.3,
            says="With any letters as labels, directions found on A to D keep less",
            paper="the explanation is partial with randomised labels",
        ),
        Expect(
            measure="lead_letters_qk",
            above="lead_letters",
            by=0.3,
            says="What is lost then are values: queries and keys go on to find the right option",
        ),
        Expect(
            measure="lead_others_random",
            above="lead_random",
            by=0.4,
            says="In other heads even random directions cost less",
        ),
        Expect(
            measure="upstream_total",
            above="upstream_direct",
            by=0.3,
            says="The head that matters most before them does so through them, not directly",
        ),
    ],
    smoke={"steps": 20, "width": 32, "layers": 2, "n": 40},
    check={"steps": 1800, "width": 64, "layers": 2, "n": 400},
    full={"steps": 40_000, "width": 256, "layers": 4, "n": 4000},
    seeds=(1, 2, 3, 4),
    equations=[
        r"c_n = \frac{o_n}{\sigma} \cdot g \odot \Big(W_{\text{right}} - \tfrac{1}{3} "
        r"\sum_{\text{wrong}} W_{\text{wrong}}\Big)",
        r"w_s = a_{ts} \, \lVert v_s W_O \rVert",
        r"\hat k = \bar k + V V^\top (k - \bar k), \quad V \in \mathbb{R}^{d \times 3}",
    ],
    use="""
import torch
from bregma.datasets import multiple_choice
from bregma.mechanism import direct_attribution, head_subspaces
from bregma.nn import CausalTransformer

pairs = multiple_choice(64, seed=0)
net = CausalTransformer(len(pairs.words), 16, 32, heads=4, layers=2)  # yours, trained
added = direct_attribution(net, pairs).to_frame()  # what each part adds to right minus wrong
heads = [part for part in added["sender"] if ".h" in part][:2]
few = head_subspaces(net, pairs.clean, heads, places=[6, 8, 10, 12], rank=3)
answers = few.run(net, pairs.clean, [6, 8, 10, 12])
chance = few.random(seed=0).run(net, pairs.clean, [6, 8, 10, 12])
""",
)
def lieberum_2023_choice(
    *, seed: int, steps: int, width: int, layers: int, n: int
) -> dict[str, float | Curve]:
    net = trained(steps, width, layers, seed)
    find, test = multiple_choice(2 * n, seed=derive(seed, "pairs")).split(0.5, seed=seed)
    shuffled, letters = (
        multiple_choice(n, labels=kind, seed=derive(seed, kind)) for kind in ("shuffled", "random")
    )
    heads, places = letter_heads(net, find)
    direct = direct_attribution(net, find, metric=lead, batch_size=64).share
    total = patch(net, find, direction="noise", metric=lead, batch_size=64).share
    names = [f"{i}.h{h}" for i in range(layers) for h in range(total.sizes["head"])]
    direct_of = [float(direct.sel(sender=name)) for name in names]
    total_of = total.values.ravel()
    others = [name for name in names if name not in heads]
    first = max((names.index(name) for name in others), key=lambda i: total_of[i])
    nodes = TransformerGraph(net).senders

    def subspaces(pairs: PromptPairs, of: list[str], rank: int = 3) -> HeadSubspaces:
        return head_subspaces(net, pairs.clean, of, places, rank=rank)

    def kept(pairs: PromptPairs, by: HeadSubspaces) -> float:
        """Share of the right label's lead that is left."""
        free, left = (lead(answers(net, pairs, some, places), pairs) for some in (None, by))
        return float(left.mean() / free.mean())

    def accuracy(pairs: PromptPairs, by: HeadSubspaces | None = None) -> float:
        return pairs.task().accuracy(answers(net, pairs, by, places))

    found = subspaces(find, heads)
    random = [found.random(seed=derive(seed, "random", i)) for i in range(3)]
    ranks = range(1, 7)
    by_rank = [subspaces(find, heads, rank) for rank in ranks]
    return {
        "n_heads": len(heads),
        "letter_heads": restored(net, test, heads),
        "other_nodes": restored(net, test, [node for node in nodes if node not in heads]),
        "direct_letter_heads": float(direct.sel(sender=heads).sum()),
        "total_letter_heads": sum(total_of[names.index(head)] for head in heads),
        "upstream_direct": direct_of[first],
        "upstream_total": float(total_of[first]),
        "lead_low_rank": kept(test, found),
        "lead_random": sum(kept(test, one) for one in random) / len(random),
        "lead_others_random": kept(test, subspaces(find, others).random(seed=seed)),
        "lead_shuffled": kept(shuffled, found),
        "lead_letters": kept(letters, found),
        "lead_letters_qk": kept(letters, found.only("qk")),
        "lead_random_qk": sum(kept(test, one.only("qk")) for one in random) / len(random),
        "accuracy_free": accuracy(test),
        "accuracy_free_letters": accuracy(letters),
        "accuracy_low_rank": accuracy(test, found),
        "accuracy_random": sum(accuracy(test, one) for one in random) / len(random),
        "accuracy_letters": accuracy(letters, found),
        "direct": Curve(range(len(names)), direct_of, "head, layer by layer", "share of the lead"),
        "total": Curve(range(len(names)), total_of, "head, layer by layer", "share of the lead"),
        "A to D": Curve(
            ranks, [kept(test, some) for some in by_rank], "directions", "share of the lead kept"
        ),
        "any letters": Curve(
            ranks, [kept(letters, some) for some in by_rank], "directions", "share of the lead kept"
        ),
    }
