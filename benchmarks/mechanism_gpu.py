"""The mechanism toolbox on a GPU: patching, recording, and steps of a TopK dictionary.

    python benchmarks/mechanism_gpu.py [--rounds 5]

Everything at the shape of GPT-2 small with random weights (needs transformers), 8 prompts of 128
tokens: the grid of all heads beside plain hooks (twelve of them, scaled to all), all heads recorded
beside a bare pass, and the fused step of 768 -> 12,288 features, batch 4,096, k = 32, beside dense
autograd. Times are best wall times up to the end of all kernels; the first round compiles and is
not counted. Without a GPU it says so (``--device cpu`` tries the script). No table has been
measured with this file yet.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bregma import TorchSystem
from bregma.mechanism import Contrast, SparseAutoencoder, TopKCode, TopKStep, patch
from mechanism_patching import HEADS, LAYERS, by_hooks, model, prompts

Row = tuple[str, float, str]


def best(run: Callable[[], Any], rounds: int, device: torch.device) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def patching(net: Any, pairs: Contrast, rounds: int, device: torch.device) -> list[Row]:
    """All heads of all layers, and how far the values are from those of plain hooks."""
    effects = patch(net, pairs).values.values
    places = [(layer, layer % HEADS) for layer in range(LAYERS)]
    plain = [by_hooks(net, pairs, *at).cpu() for at in places]
    apart = max(
        float((one - torch.from_numpy(effects[:, *at])).abs().max())
        for one, at in zip(plain, places, strict=True)
    )
    hooks = best(lambda: [by_hooks(net, pairs, *at) for at in places], rounds, device) * HEADS
    # Each of these has a clean and a corrupt run of its own, which a loop would share.
    own = best(lambda: patch(net, pairs), rounds, device)
    return [
        ("patching, plain hooks", hooks / 3, ""),
        ("patching, bregma", own, f"differs by {apart:.1g}"),
    ]


def recording(net: Any, tokens: torch.Tensor, rounds: int, device: torch.device) -> list[Row]:
    """What all heads gather, beside a bare pass."""
    system = TorchSystem(net, "transformer.h.*.attn.c_proj.input")
    with torch.no_grad():
        bare = best(lambda: net(tokens).logits, rounds, device)
    own = best(lambda: system.record(tokens, batch_size=len(tokens)), rounds, device)
    return [("bare pass", bare, ""), ("recording all heads, bregma", own, f"{own / bare:.2f} x")]


def dictionary(rounds: int, device: torch.device, n_features: int = 12_288) -> list[Row]:
    """A training step; the losses are those of dense autograd."""
    start = SparseAutoencoder(768, n_features, TopKCode(32), seed=0).to(device)
    x = torch.randn(4096, 768, generator=torch.Generator().manual_seed(1)).to(device)
    rows, wanted = list[Row](), 0.0
    for mode in ("dense autograd", "float32", "bfloat16"):
        sae = deepcopy(start)
        adam = torch.optim.Adam(sae.parameters(), lr=1e-4)
        losses = list[float]()
        if mode == "dense autograd":

            def step(sae: Any = sae, adam: Any = adam, losses: list[float] = losses) -> None:
                adam.zero_grad()
                loss = sae.loss(x).total
                loss.backward()
                adam.step()
                sae.normalise_()
                losses.append(float(loss))
        else:
            fused = TopKStep(sae, adam, mode)

            def step(fused: Any = fused, losses: list[float] = losses) -> None:
                losses.append(fused(x))

        seconds = best(step, rounds, device)
        wanted = wanted or losses[-1]
        rows.append(
            (f"TopK step, {mode}", seconds, f"loss differs by {losses[-1] / wanted - 1:.1g}")
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    made, net = prompts(), model().to(device)
    pairs = Contrast(*(x.to(device) for x in (made.clean, made.corrupt, made.right, made.wrong)))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    shown = Table("", "best", "", title=f"{name}, torch {torch.__version__}")
    rows = dictionary(asked.rounds, device)
    rows += recording(net, pairs.clean, asked.rounds, device)
    rows += patching(net, pairs, asked.rounds, device)
    for what, seconds, note in rows:
        shown.add_row(what, f"{1e3 * seconds:.1f} ms", note)
    Console().print(shown)


if __name__ == "__main__":
    main()
