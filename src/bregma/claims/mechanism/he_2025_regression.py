"""Heads that learn regression become a pair that cancels, and take one step of gradient descent."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import linear_prompts
from bregma.mechanism import diagonality, homogeneity, zero_sum
from bregma.nn import PromptAttention
from bregma.run import derive

D, LENGTH = 5, 40


def trained(kind: str, heads: int, n_steps: int, batch: int, seed: int) -> PromptAttention:
    """A layer that has seen new lines at every step."""
    net = PromptAttention(D + 1, heads=heads, kind=kind, seed=seed)
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, n_steps)
    for step in range(n_steps):
        prompts = linear_prompts(
            batch, n_features=D, length=LENGTH, seed=derive(seed, "step", step)
        )
        loss = (net(prompts.inputs) - prompts.targets).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        slower.step()
    return net


def debiased_step(inputs: Tensor) -> Float[Tensor, " prompt"]:
    """One step of gradient descent from 0 on centred examples, at a rate of 1."""
    x, y, asked = inputs[:, :-1, :D], inputs[:, :-1, D], inputs[:, -1, :D]
    return torch.einsum("pl,pld,pd->p", y, x - x.mean(1, keepdim=True), asked) / x.shape[1]


def used(look: Float[Tensor, "head entry entry"]) -> Float[Tensor, "head entry entry"]:
    """Without what reads the y of the question: that is 0, so that nothing is learned there."""
    return look * (torch.arange(D + 1) < D)


def correlation(a: Tensor, b: Tensor) -> float:
    """Of Pearson."""
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


@claim(
    paper=Paper(
        title="In-Context Linear Regression Demystified: Training Dynamics and Mechanistic "
        "Interpretability of Multi-Head Softmax Attention",
        authors="Jianliang He, Xintian Pan, Siyu Chen, Zhuoran Yang",
        year=2025,
        arxiv="2503.12734",
    ),
    sentence="Softmax heads that learn regression in context come to look alike: they compare "
    "inputs evenly, say the target alone, and cancel, which makes one step of debiased gradient "
    "descent; one head cannot.",
    systems="one layer of 1, 2 or 4 softmax heads on prompts of 40 examples in 5 dimensions; "
    "linear attention",
    controls={
        "one_head": "error of one softmax head, trained alike",
        "untrained": "error before training",
        "untrained_diagonal": "the diagonal share before training",
        "untrained_zero_sum": "cancellation before training",
        "sum_longer": "linear attention (a sum over examples) at twice the length",
        "mean_longer": "linear attention that takes the mean over examples, at twice the length",
        "one_head_step": "correlation of one head with the step of gradient descent",
    },
    expects=[
        Expect(
            measure="two_heads",
            below="one_head",
            times=0.7,
            says="Two heads err much less than one, at the same training",
        ),
        Expect(
            measure="diagonal",
            above="untrained_diagonal",
            by=0.5,
            says="What heads look for becomes diagonal",
        ),
        Expect(measure="even", above=0.95, says="with equal entries"),
        Expect(measure="target_alone", above=0.95, says="What they say is the target alone"),
        Expect(
            measure="zero_sum",
            above="untrained_zero_sum",
            by=0.3,
            says="and the heads cancel: the same input everywhere would be passed over",
        ),
        Expect(
            measure="agreement",
            above=0.8,
            says="What says the opposite looks for the opposite, by as much",
        ),
        Expect(
            measure="step",
            above="one_head_step",
            by=0.04,
            says="Together they are one step of debiased gradient descent, one head is not",
        ),
        Expect(
            measure="four_heads",
            below="two_heads",
            times=1.1,
            says="More heads than two do not err more",
            paper="two heads and more are about equal",
        ),
        Expect(
            measure="two_heads_longer",
            below="two_heads",
            times=0.8,
            says="With twice as many examples as in training the error goes down",
        ),
        Expect(
            measure="sum_longer",
            above="two_heads_longer",
            times=3,
            says="Linear attention that sums over examples fails there",
            paper="linear attention does not go over to other lengths",
        ),
        Expect(
            measure="mean_longer",
            below="two_heads_longer",
            times=1.1,
            says="One that takes the mean does not: it is the division that goes over to other "
            "lengths, not the softmax",
        ),
    ],
    smoke={"n_steps": 30, "batch": 32, "n_test": 64},
    check={"n_steps": 1500, "batch": 128, "n_test": 4096},
    full={"n_steps": 50000, "batch": 256, "n_test": 32768},
    equations=[
        r"\hat y = \sum_h u_h^\top Z \, \mathrm{softmax}\big(Z^\top A_h z_q\big), \qquad "
        r"A_h = K_h^\top Q_h",
        r"A_h \to \mathrm{diag}(w_h I, 0), \quad u_h \to m_h e_y, \quad \sum_h m_h \to 0",
        r"\hat y \approx \Big(\sum_h m_h w_h\Big) "
        r"\frac1L \sum_l y_l \, (x_l - \bar x)^\top x_q",
    ],
    use="""
import torch
from bregma.mechanism import diagonality, head_circuits, homogeneity, zero_sum
from bregma.nn import CausalTransformer

model = CausalTransformer(20, 16, 32, heads=4, layers=2)  # yours: GPT-2, Llama, ...
words = model.embed(torch.arange(20)[:, None])[:, 0].detach()  # directions that mean something
basis = torch.linalg.qr(words.T)[0]
for layer in range(2):
    heads = head_circuits(model, layer, basis=basis)
    print(diagonality(heads.look), homogeneity(heads.look), zero_sum(heads.say))
""",
)
def he_2025_regression(
    *, seed: int, n_steps: int, batch: int, n_test: int
) -> dict[str, float | Curve]:
    untrained = PromptAttention(D + 1, heads=2, seed=seed)
    nets = {
        "one_head": trained("softmax", 1, n_steps, batch, seed),
        "two_heads": trained("softmax", 2, n_steps, batch, seed),
        "four_heads": trained("softmax", 4, n_steps, batch, seed),
        "sum": trained("sum", 1, n_steps, batch, seed),
        "mean": trained("mean", 1, n_steps, batch, seed),
        "untrained": untrained,
    }
    measures: dict[str, float | Curve] = {}
    guesses, lengths = {}, (LENGTH // 2, LENGTH, 2 * LENGTH, 4 * LENGTH)
    errors: dict[str, list[float]] = {name: [] for name in (*nets, "ridge")}
    for length in lengths:
        prompts = linear_prompts(
            n_test, n_features=D, length=length, seed=derive(seed, "test", length)
        )
        errors["ridge"].append(prompts.best_error)
        for name, net in nets.items():
            with torch.no_grad():
                guess = net(prompts.inputs)
            errors[name].append(prompts.error(guess))
            if length == LENGTH:
                guesses[name], step = guess, debiased_step(prompts.inputs)
    for name, error in errors.items():
        measures[name], measures[f"{name}_longer"] = error[1:3]
        if name != "untrained":
            label = name.replace("_", " ")
            measures[f"error of {label}"] = Curve(lengths, error, "examples", label)

    pair = nets["two_heads"]
    look, say = used(pair.look.detach()), pair.say.detach()
    signs = look[:, :D, :D].diagonal(dim1=1, dim2=2).mean(1) * say[:, D]
    return measures | {
        "diagonal": float(diagonality(look).min()),
        "untrained_diagonal": float(diagonality(used(untrained.look.detach())).max()),
        "even": float(homogeneity(look[:, :D, :D]).min()),
        "target_alone": float((say[:, D].square() / say.square().sum(1)).min()),
        "zero_sum": zero_sum(say),
        "untrained_zero_sum": zero_sum(untrained.say.detach()),
        "agreement": float(signs.min() / signs.max()),
        "step": correlation(guesses["two_heads"], step),
        "one_head_step": correlation(guesses["one_head"], step),
    }
