"""Recording what all heads gather, at GPT-2 small's shape, against TransformerLens and nnsight.

Run it with a Python that has bregma, transformers, transformer-lens (before 4) and nnsight:
``python benchmarks/mechanism_recording.py [--prompts 8]``. Weights are random. Everybody runs in a
process of its own; the time is the best of three, memory is what the process holds at most above
what it held before. The reference is a bare forward pass that answers at all tokens. bregma's
recording carries a name and a place for each of its units (1.2 million at 128 tokens), which takes
the same time however many prompts there are.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from mechanism_patching import HEADS, LAYERS, TOKENS, WORDS, model

SITE = "transformer.h.{}.attn.c_proj"


def bare(net: Any, tokens: torch.Tensor) -> Any:
    for some in tokens.split(8):
        net(some)


def one_layer(net: Any, tokens: torch.Tensor) -> Any:
    """bregma, the third layer alone: the pass ends there."""
    return bregma(net, tokens, "2")


def bregma(net: Any, tokens: torch.Tensor, layer: str = "*") -> Any:
    from bregma import TorchSystem

    return TorchSystem(net, SITE.format(layer) + ".input").record(tokens, batch_size=8)


def transformer_lens(net: Any, tokens: torch.Tensor, everything: bool = False) -> Any:
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    if not isinstance(net, HookedTransformer):
        config = HookedTransformerConfig(
            n_layers=LAYERS, d_model=768, n_ctx=1024, d_head=64, n_heads=HEADS, d_vocab=WORDS,
            act_fn="gelu_new", normalization_type="LN", seed=0, device="cpu",
        )  # fmt: skip
        return HookedTransformer(config)
    wanted = None if everything else lambda name: name.endswith("hook_z")
    return [net.run_with_cache(some, names_filter=wanted)[1] for some in tokens.split(8)]


def transformer_lens_everything(net: Any, tokens: torch.Tensor) -> Any:
    return transformer_lens(net, tokens, everything=True)


def nnsight(net: Any, tokens: torch.Tensor) -> Any:
    from nnsight import NNsight

    traced, kept = NNsight(net), []
    for some in tokens.split(8):
        with traced.trace(some):
            for layer in range(LAYERS):
                kept.append(traced.transformer.h[layer].attn.c_proj.input.save())
    return kept


CONTENDERS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (bare, bregma, one_layer, transformer_lens, transformer_lens_everything, nnsight)
}


@torch.no_grad()
def alone(name: str, n: int, threads: int) -> dict[str, float]:
    """Seconds and MiB of one contender."""
    torch.set_num_threads(threads)
    net, run = model(), CONTENDERS[name]
    tokens = torch.randint(WORDS, (n, TOKENS), generator=torch.Generator().manual_seed(1))
    if name.startswith("transformer_lens"):
        net = transformer_lens(net, tokens)  # its own kind of model
    bare(net, tokens[:1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run(net, tokens)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(seconds), "MiB": (peak - before) / 1024}


def main() -> None:
    """One process for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        print(json.dumps(alone(asked.alone, asked.prompts, asked.threads)))
        return
    found: dict[str, dict[str, float]] = {}
    for name in CONTENDERS:
        command = [sys.executable, __file__, "--alone", name, "--prompts", str(asked.prompts),
                   "--threads", str(asked.threads)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name} is left out: {done.stderr.strip().splitlines()[-1]}")
            continue
        found[name] = json.loads(done.stdout.strip().splitlines()[-1])
        ratio = found[name]["seconds"] / found["bare"]["seconds"]
        print(f"{name:28} {found[name]['seconds']:7.2f} s {ratio:5.2f} x bare "
              f"{found[name]['MiB']:7.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
