"""Small networks with wild weights, and pairs of prompts for them."""

from __future__ import annotations

from typing import Any

import torch

from bregma.mechanism import Contrast
from bregma.nn import CausalTransformer

N_WORDS, N_TOKENS = 20, 6


def wild(model: Any, seed: int = 0) -> Any:
    """Weights so large that every part matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator)
            p.copy_(0.25 * noise if p.ndim > 1 else p + 0.1 * noise)
    return model.eval()


def net(layers: int = 3, heads: int = 2, seed: int = 0) -> CausalTransformer:
    return wild(CausalTransformer(N_WORDS, N_TOKENS, 16, heads=heads, layers=layers), seed)


def of_transformers(library: Any, family: str, **changes: Any) -> Any:
    """A language model of that library; pairs of heads share keys and values where it can."""
    sizes = {
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "hidden_size": 32, "head_dim": 8, "intermediate_size": 48, "vocab_size": N_WORDS,
        "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    config = library.AutoConfig.for_model(family, **sizes | changes)
    return wild(library.AutoModelForCausalLM.from_config(config))


def pairs(n: int = 5, seed: int = 0, n_words: int = N_WORDS) -> Contrast:
    g = torch.Generator().manual_seed(seed)
    clean, corrupt = torch.randint(n_words, (2, n, N_TOKENS), generator=g)
    right, wrong = torch.randint(n_words // 2, (2, n), generator=g)
    return Contrast(clean, corrupt, right, wrong + n_words // 2)


def difference(model: Any, tokens: torch.Tensor, asked: Contrast) -> torch.Tensor:
    """Right minus wrong at the last token, from the model itself."""
    with torch.no_grad():
        out = model(tokens)
    logits = getattr(out, "logits", out)[:, -1]
    rows = torch.arange(len(tokens))
    return logits[rows, asked.right] - logits[rows, asked.wrong]
