"""Attention of timm's transformers through xformers; no other file imports xformers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.layers.attention import Attention
from torch import Tensor, nn

from crossearth.errors import ConfigError

__all__ = ['XformersAttention', 'use_xformers']

_DEVICE = 'cuda'  # where xformers has operators


def use_xformers(blocks: Sequence[nn.Module]) -> None:
    """Let the attention of transformer blocks run through `memory_efficient_attention`, in place.

    Args:
        blocks: Blocks with timm's `Attention` as `attn`. Its weights and names stay.

    Raises:
        ConfigError: If xformers is not installed, or the blocks have another kind of attention
            (rotary, relative positions, talking heads), which takes part in the product itself.

    Source:
        "Self-attention Does Not Need O(n²) Memory" (arXiv 2112.05682), as xformers implements it.
    """
    try:
        from xformers.ops import memory_efficient_attention
    except ImportError as error:
        raise ConfigError(
            "attention='xformers' needs the package xformers, which has wheels only for Linux on "
            "x86-64: install it, or use attention='sdpa'"
        ) from error
    kinds = {type(getattr(block, 'attn', None)) for block in blocks}
    if kinds != {Attention}:
        names = ', '.join(sorted(kind.__name__ for kind in kinds))
        raise ConfigError(
            f"attention='xformers' replaces timm's plain Attention, but the blocks have "
            f"{names}: use attention='sdpa'"
        )
    for block in blocks:
        block.attn = XformersAttention(block.attn, memory_efficient_attention)


class XformersAttention(nn.Module):
    """timm's `Attention` in eval mode, with the product computed by xformers.

    Args:
        attention: Taken over. Its layers keep their names, so the same weights load.
        product: `memory_efficient_attention`.
    """

    def __init__(self, attention: Any, product: Callable[..., Tensor]) -> None:
        super().__init__()
        self.num_heads: int = attention.num_heads
        self.head_dim: int = attention.head_dim
        self.product = product
        for name, layer in attention.named_children():
            self.add_module(name, layer)

    def forward(
        self, tokens: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Compute what timm's `Attention.forward` does, without dropout, which eval mode disables.

        Raises:
            ConfigError: If there is a mask, or xformers has no operator for the device or type.
        """
        if attn_mask is not None or is_causal:
            raise ConfigError("attention='xformers' takes no mask: use attention='sdpa'")
        if tokens.device.type != _DEVICE:
            raise ConfigError(
                f"attention='xformers' cannot run on {tokens.device.type}, because it has only "
                "CUDA operators: move the model to a GPU, or use attention='sdpa'"
            )
        layers: Any = self  # timm's, under its names
        qkv = layers.qkv(tokens).unflatten(-1, (3, self.num_heads, self.head_dim))
        # xformers takes (b, n, heads, d), so heads do not move forward as in timm.
        query, key, value = qkv.unbind(2)
        query, key = layers.q_norm(query), layers.k_norm(key)
        if query.dtype not in (torch.float16, torch.bfloat16):
            raise ConfigError(
                f"attention='xformers' cannot run in {query.dtype}, because its operators take "
                "float16 and bfloat16: train under autocast, or use attention='sdpa'"
            )
        # norms of queries and keys may return another type than autocast's
        mixed = self.product(query.to(value.dtype), key.to(value.dtype), value).flatten(2)
        mixed = layers.norm(mixed)
        gate = getattr(layers, 'gate', None)  # older supported versions of timm lack it
        if gate is not None:
            mixed = mixed * gate(tokens).sigmoid()
        projected: Tensor = layers.proj(mixed)
        return projected
