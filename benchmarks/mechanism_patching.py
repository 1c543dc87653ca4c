"""Grids of head by layer patching against TransformerLens and nnsight, at the shape of GPT-2 small.

Run it with a Python that has bregma, transformers, transformer-lens (before 4) and nnsight:
``python benchmarks/mechanism_patching.py [--heads 1]``. Weights are random. The peers patch some
heads of every layer, and their times are scaled to all twelve; bregma patches all. Values are
compared with plain hooks on the model of transformers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from bregma.mechanism import Contrast, patch

LAYERS, HEADS, BATCH, TOKENS, WORDS = 12, 12, 8, 128, 50257


def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config()).eval()


def prompts() -> Contrast:
    g = torch.Generator().manual_seed(1)
    clean, corrupt = torch.randint(WORDS, (2, BATCH, TOKENS), generator=g)
    right, wrong = torch.randint(WORDS, (2, BATCH), generator=g)
    return Contrast(clean, corrupt, right, wrong)


def measured(logits: torch.Tensor, pairs: Contrast) -> torch.Tensor:
    rows = torch.arange(BATCH)
    return logits[rows, -1, pairs.right] - logits[rows, -1, pairs.wrong]


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


@torch.no_grad()
def by_hooks(net: Any, pairs: Contrast, layer: int, head: int) -> torch.Tensor:
    """The effect of one head, with plain hooks on the model."""
    part, kept = net.transformer.h[layer].attn.c_proj, []
    listen = part.register_forward_pre_hook(lambda m, a: kept.append(a[0]))
    net(pairs.clean)
    listen.remove()
    before = measured(net(pairs.corrupt).logits, pairs)

    def swap(module: Any, args: Any) -> Any:
        z = args[0].clone()
        own = slice(head * 64, head * 64 + 64)
        z[..., own] = kept[0][..., own]
        return (z,)

    handle = part.register_forward_pre_hook(swap)
    after = measured(net(pairs.corrupt).logits, pairs)
    handle.remove()
    return after - before


def transformer_lens(net: Any, pairs: Contrast) -> Callable[[int], None]:
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(
        n_layers=LAYERS, d_model=768, n_ctx=1024, d_head=64, n_heads=HEADS, d_vocab=WORDS,
        act_fn="gelu_new", normalization_type="LN", seed=0, device="cpu",
    )  # fmt: skip
    hooked = HookedTransformer(config)
    _, cache = hooked.run_with_cache(pairs.clean, names_filter=lambda name: name.endswith("hook_z"))

    def swap(z: torch.Tensor, hook: Any, head: int) -> torch.Tensor:
        z[:, :, head] = cache[hook.name][:, :, head]
        return z

    def run(heads: int) -> None:
        for layer, head in product(range(LAYERS), range(heads)):
            hooks = [(f"blocks.{layer}.attn.hook_z", partial(swap, head=head))]
            measured(hooked.run_with_hooks(pairs.corrupt, fwd_hooks=hooks), pairs)

    return run


def nnsight(net: Any, pairs: Contrast) -> Callable[[int], None]:
    from nnsight import NNsight

    traced = NNsight(net)
    kept = []
    with traced.trace(pairs.clean):
        for layer in range(LAYERS):
            kept.append(traced.transformer.h[layer].attn.c_proj.input.save())

    def run(heads: int) -> None:
        for layer, head in product(range(LAYERS), range(heads)):
            own = slice(head * 64, head * 64 + 64)
            with traced.trace(pairs.corrupt):
                traced.transformer.h[layer].attn.c_proj.input[..., own] = kept[layer][..., own]
                logits = traced.output.logits.save()
            measured(logits, pairs)

    return run


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=1, help="heads of each layer for the peers")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    net, pairs = model(), prompts()
    own, effects = seconds(lambda: patch(net, pairs))
    apart = max(
        (by_hooks(net, pairs, *at) - effects.values.values[:, *at]).abs().max().item()
        for at in ((0, 0), (5, 7), (11, 11))
    )
    table = {"bregma, s": own, "largest difference from plain hooks": apart}
    for peer in (transformer_lens, nnsight):
        try:
            run = peer(net, pairs)  # the clean run, and the making of a model, are not counted
            taken, _ = seconds(partial(run, asked.heads))
        except ImportError as error:
            print(f"{peer.__name__} is left out: {error}")
            continue
        whole = taken * HEADS / asked.heads
        table |= {f"{peer.__name__}, s": whole, f"{peer.__name__} / bregma": whole / own}
    print(json.dumps({name: round(value, 9) for name, value in table.items()}, indent=1))


if __name__ == "__main__":
    main()
