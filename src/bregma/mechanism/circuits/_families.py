"""How transformers of known families are read as a stream; one short function for each family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bregma.mechanism.circuits._stream import (
    Angles,
    Attention,
    Layer,
    Map,
    Projection,
    Readout,
    Stream,
    same,
)


def gpt2(model: Any) -> Stream:
    """GPT-2 of transformers."""
    base = model.transformer

    def embed(tokens: Tensor) -> Tensor:
        return base.wte(tokens) + base.wpe(torch.arange(tokens.shape[1], device=tokens.device))

    def layer(block: Any) -> Layer:
        attn = block.attn
        weight, bias = attn.c_attn.weight, attn.c_attn.bias  # stored as (width, 3 width)
        parts = weight.unflatten(1, (3, attn.num_heads, -1)).unbind(1)
        biases = bias.view(3, attn.num_heads, -1).unbind(0)
        heads = Attention(
            block.ln_1,
            *_three(parts, biases),
            out=attn.c_proj.weight.unflatten(0, (attn.num_heads, -1)),
            bias=attn.c_proj.bias,
            scale=attn.scaling,
            causal=True,
        )
        return Layer(heads, block.ln_2, block.mlp)

    return Stream([layer(b) for b in base.h], embed, _head(base.ln_f, model.lm_head), place=-1)


def llama(model: Any) -> Stream:
    """Llama, Mistral, Qwen2, Qwen3 and others of transformers that name their parts alike."""
    base = model.model

    def layer(block: Any) -> Layer:
        attn = block.self_attn
        n_heads = attn.q_proj.weight.shape[0] // attn.head_dim
        n_groups = n_heads // attn.num_key_value_groups
        heads = Attention(
            block.input_layernorm,
            _linear(attn.q_proj, n_heads, getattr(attn, "q_norm", same)),
            _linear(attn.k_proj, n_groups, getattr(attn, "k_norm", same)),
            _linear(attn.v_proj, n_groups),
            out=attn.o_proj.weight.T.unflatten(0, (n_heads, -1)),
            bias=attn.o_proj.bias,
            scale=attn.scaling,
            causal=True,
            angles=_rotary(base.rotary_emb),
        )
        return Layer(heads, block.post_attention_layernorm, block.mlp)

    layers = [layer(b) for b in base.layers]
    return Stream(layers, base.embed_tokens, _head(base.norm, model.lm_head), place=-1)


def gpt_neox(model: Any) -> Stream:
    """GPT-NeoX and Pythia of transformers, whose perceptrons read what the heads read."""
    base = model.gpt_neox

    def layer(block: Any) -> Layer:
        attn = block.attention
        n_heads = attn.query_key_value.weight.shape[0] // (3 * attn.head_size)
        weight = attn.query_key_value.weight.T.unflatten(1, (n_heads, 3, -1)).unbind(2)
        bias = attn.query_key_value.bias
        biases = (None,) * 3 if bias is None else bias.view(n_heads, 3, -1).unbind(1)
        heads = Attention(
            block.input_layernorm,
            *_three(weight, biases),
            out=attn.dense.weight.T.unflatten(0, (n_heads, -1)),
            bias=attn.dense.bias,
            scale=attn.scaling,
            causal=True,
            angles=_rotary(base.rotary_emb),
        )
        norm = block.post_attention_layernorm
        return Layer(heads, norm, block.mlp, parallel=block.use_parallel_residual)

    layers = [layer(b) for b in base.layers]
    answer = _head(base.final_layer_norm, getattr(model, "embed_out", None) or model.lm_head)
    return Stream(layers, base.embed_in, answer, place=-1)


def vision_transformer(model: Any) -> Stream:
    """Vision transformers of timm, with a class token or with the mean over tokens."""

    def embed(images: Tensor) -> Tensor:
        return model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(images))))

    def layer(block: Any) -> Layer:
        attn = block.attn
        parts = attn.qkv.weight.T.unflatten(1, (3, attn.num_heads, -1)).unbind(1)
        bias = attn.qkv.bias
        biases = (None,) * 3 if bias is None else bias.view(3, attn.num_heads, -1).unbind(0)
        gain = getattr(block.ls1, "gamma", None)  # scales what the heads write
        out, constant = attn.proj.weight.T, attn.proj.bias
        if gain is not None:
            out, constant = out * gain, None if constant is None else constant * gain
        heads = Attention(
            block.norm1,
            *_three(parts, biases, attn.q_norm, attn.k_norm),
            out=out.unflatten(0, (attn.num_heads, -1)),
            bias=constant,
            scale=attn.scale,
            causal=False,
        )
        return Layer(heads, block.norm2, nn.Sequential(block.mlp, block.ls2))

    layers = [layer(b) for b in model.blocks]
    answer = Readout(model.norm, model.forward_head)
    return Stream(layers, embed, answer, place=0 if model.global_pool == "token" else None)


def causal_transformer(model: Any) -> Stream:
    """`bregma.nn.CausalTransformer`."""

    def layer(block: Any) -> Layer:
        parts = block.query_key_value.weight.T.unflatten(1, (3, block.heads, -1)).unbind(1)
        bias = block.query_key_value.bias
        biases = (None,) * 3 if bias is None else bias.view(3, block.heads, -1).unbind(0)
        heads = Attention(
            block.first,
            *_three(parts, biases),
            out=block.project.weight.T.unflatten(0, (block.heads, -1)),
            bias=block.project.bias,
            scale=parts[0].shape[-1] ** -0.5,
            causal=True,
        )
        mlp = nn.Sequential(block.widen, block.hidden, block.narrow)
        return Layer(heads, block.second, mlp)

    layers = [layer(b) for b in model.blocks]
    return Stream(layers, model.embed, _head(model.norm, model.unembed), place=-1)


# What a model of each family has, that others have not.
FAMILIES: tuple[tuple[str, Callable[[Any], Stream]], ...] = (
    ("transformer.h.0.attn.c_attn", gpt2),
    ("model.layers.0.self_attn.q_proj", llama),
    ("gpt_neox.layers.0.attention.query_key_value", gpt_neox),
    ("blocks.0.attn.qkv", vision_transformer),
    ("blocks.0.query_key_value", causal_transformer),
)


def _three(
    weights: Sequence[Tensor], biases: Sequence[Tensor | None], query: Map = same, key: Map = same
) -> tuple[Projection, Projection, Projection]:
    q, k, v = map(Projection, weights, biases, (query, key, same))
    return q, k, v


def _linear(layer: nn.Linear, groups: int, norm: Map = same) -> Projection:
    bias = None if layer.bias is None else layer.bias.view(groups, -1)
    return Projection(layer.weight.T.unflatten(1, (groups, -1)), bias, norm)


def _rotary(embedding: Any) -> Angles:
    def angles(x: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = embedding(x, torch.arange(x.shape[1], device=x.device)[None])
        return cos[0], sin[0]

    return angles


def _head(norm: Map, unembed: Map) -> Readout:
    return Readout(norm, lambda x: unembed(x[:, 0]))
