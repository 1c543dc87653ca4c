"""Recording what all heads gather, at GPT-2 small's shape, against TransformerLens and nnsight.

Run it with a Python that has bregma, transformers, transformer-lens (before 4) and nnsight:
``python benchmarks/mechanism_recording.py [--prompts 8]``. Weights are random. Everybody runs in a
process of its own; the time is the best of three, memory is what the process holds at most above
what it held before (Linux). The reference is a bare forward pass that answers at all tokens.
bregma's recording has a name and a place for each of its units (1.2 million at 128 tokens). They
are made when they are first asked for, in the same time however many prompts there are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mechanism_patching import HEADS, LAYERS, TOKENS, WORDS, model

BATCH = 8
Run = Callable[[torch.Tensor], Any]


def bare() -> Run:
    net = model()
    return lambda tokens: [net(some).logits.shape for some in tokens.split(BATCH)]


def bregma(layer: str = "*") -> Run:
    from bregma import TorchSystem

    system = TorchSystem(model(), f"transformer.h.{layer}.attn.c_proj.input")
    return lambda tokens: system.record(tokens, batch_size=BATCH)


def bregma_with_labels() -> Run:
    record = bregma()
    return lambda tokens: record(tokens).units


def bregma_third_layer() -> Run:
    return bregma("2")  # the pass ends there


def transformer_lens(everything: bool = False) -> Run:
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=LAYERS, d_model=768, n_ctx=1024, d_head=64, n_heads=HEADS, d_vocab=WORDS,
        act_fn="gelu_new", normalization_type="LN", seed=0, device="cpu",
    )  # fmt: skip
    net = HookedTransformer(config)
    wanted = None if everything else lambda name: name.endswith("hook_z")
    return lambda tokens: [
        net.run_with_cache(some, names_filter=wanted)[1] for some in tokens.split(BATCH)
    ]


def transformer_lens_everything() -> Run:
    return transformer_lens(everything=True)


def nnsight() -> Run:
    from nnsight import NNsight

    traced = NNsight(model())

    def run(tokens: torch.Tensor) -> Any:
        kept = []
        for some in tokens.split(BATCH):
            with traced.trace(some):
                for layer in range(LAYERS):
                    kept.append(traced.transformer.h[layer].attn.c_proj.input.save())
        return kept

    return run


CONTENDERS: dict[str, Callable[[], Run]] = {
    f.__name__: f
    for f in (
        bare, bregma, bregma_with_labels, bregma_third_layer, transformer_lens,
        transformer_lens_everything, nnsight,
    )
}  # fmt: skip


def held(what: str) -> float:
    """MiB of this process: now (VmRSS) or at most since the last reset (VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


@torch.no_grad()
def alone(name: str, n: int, threads: int) -> dict[str, float]:
    """Seconds and MiB of one contender."""
    torch.set_num_threads(threads)
    run = CONTENDERS[name]()
    tokens = torch.randint(WORDS, (n, TOKENS), generator=torch.Generator().manual_seed(1))
    run(tokens[:1])
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before, seconds = held("VmRSS"), []
    for _ in range(3):
        start = time.perf_counter()
        run(tokens)
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "MiB": held("VmHWM") - before}


def main() -> None:
    """One process for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=BATCH)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        print(json.dumps(alone(asked.alone, asked.prompts, asked.threads)))
        return
    reference = None
    for name in CONTENDERS:
        command = [sys.executable, __file__, "--alone", name, "--prompts", str(asked.prompts),
                   "--threads", str(asked.threads)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name} is left out: {done.stderr.strip().splitlines()[-1]}")
            continue
        found = json.loads(done.stdout.strip().splitlines()[-1])
        reference = reference or found["seconds"]
        print(f"{name:28} {found['seconds']:7.2f} s {found['seconds'] / reference:5.2f} x bare "
              f"{found['MiB']:7.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
