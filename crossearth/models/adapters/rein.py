"""Rein: a few tokens per layer that refine the patch features of a frozen vision transformer.

Source: "Stronger, Fewer, & Superior: Harnessing Vision Foundation Models for Domain Generalized
Semantic Segmentation" (arXiv 2312.04265), eq. 2–9; the baseline of CrossEarth. Written from the
equations. Parameter names are those of the published checkpoints, so that these load by name.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError

__all__ = ['LoRARein', 'Rein']


class _TokenAdapter(nn.Module):
    """What Rein and LoRA-Rein share, which is everything except where the tokens T come from."""

    scale: Tensor

    def __init__(
        self, depth: int, dim: int, *, query_dim: int, zero_init: bool, link_queries: bool
    ) -> None:
        super().__init__()
        self.depth = depth
        self.link_queries = link_queries
        self.mlp_token2feat = nn.Linear(dim, dim)
        self.mlp_delta_f = nn.Linear(dim, dim)
        if link_queries:
            self.transform = nn.Linear(dim, query_dim)
            self.merge = nn.Linear(3 * query_dim, query_dim)
        for linear in self.children():
            assert isinstance(linear, nn.Linear)
            nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
        if zero_init:
            nn.init.zeros_(self.mlp_delta_f.weight)
            nn.init.zeros_(self.mlp_delta_f.bias)
            # not a parameter, so absent from checkpoints: the MLP learns the scale
            self.register_buffer('scale', torch.ones(()), persistent=False)
        else:
            self.scale = nn.Parameter(torch.tensor(0.001))

    def tokens(self, layer: int | None = None) -> Tensor:
        raise NotImplementedError

    def forward(
        self,
        features: Float[Tensor, 'b n c'],
        layer: int,
        grid: tuple[int, int] | None = None,  # noqa: ARG002  # of the contract
    ) -> Float[Tensor, 'b n c']:
        """Features of one block, refined.

        Args:
            features: Patch features of the block, without class and register tokens.
            layer: Index of the block, from 0.
            grid: Not used, because every place is refined in the same way.

        Returns:
            Features of the same shape.
        """
        tokens = self.tokens(layer)
        similarity = features @ tokens.T * features.shape[-1] ** -0.5
        attention = similarity.softmax(-1)
        # Token 0 takes its share of the softmax but adds nothing, so features can stay unchanged.
        found = attention[..., 1:] @ self.mlp_token2feat(tokens[1:])
        refined: Tensor = features + self.scale * self.mlp_delta_f(found + features)
        return refined

    def queries(self) -> Float[Tensor, 'm d'] | None:
        """Queries linked from the tokens of all layers: their maximum, mean and last, merged.

        Returns:
            One query per token, or None if queries are not linked.
        """
        if not self.link_queries:
            return None
        linked = self.transform(self.tokens())
        # Per channel (max, mean, last) instead of three blocks, as published weights expect.
        parts = torch.stack([linked.amax(0), linked.mean(0), linked[-1]], dim=-1)
        merged: Tensor = self.merge(parts.flatten(1))
        return merged


class LoRARein(_TokenAdapter):
    """Rein with low-rank tokens `T_i = A_i B_i`, the adapter of CrossEarth's baseline.

    `f ← f + s · MLP_f(softmax(f Tᵀ / √C)[:, 1:] · MLP_T(T[1:]) + f)` after every block; the MLPs
    and `s` are shared by all blocks.

    Args:
        depth: Number of blocks of the transformer.
        dim: Width C of its features.
        tokens: Tokens per layer; also the number of queries.
        rank: Rank r of the tokens.
        query_dim: Width of the linked queries.
        patch_size: Patch of the transformer in pixels; it only affects the initial tokens.
        zero_init: Start with `MLP_f = 0` and `s = 1` fixed, instead of `s = 0.001`.
        link_queries: Whether `queries()` gives queries. Switch it off for decoders without queries,
            where the parameters that link them would get no gradient.

    Raises:
        ConfigError: If a size is not positive, or there are fewer than two tokens.

    Source:
        Rein, eq. 2–9.

    Example:
        >>> adapter = LoRARein(depth=2, dim=8, tokens=4, rank=2, query_dim=6)
        >>> adapter(torch.zeros(1, 9, 8), layer=1).shape
        torch.Size([1, 9, 8])
        >>> adapter.queries().shape
        torch.Size([4, 6])
    """

    def __init__(
        self,
        depth: int,
        dim: int,
        *,
        tokens: int = 100,
        rank: int = 16,
        query_dim: int = 256,
        patch_size: int = 16,
        zero_init: bool = False,
        link_queries: bool = True,
    ) -> None:
        _check_sizes(depth=depth, dim=dim, tokens=tokens, rank=rank, query_dim=query_dim)
        super().__init__(
            depth, dim, query_dim=query_dim, zero_init=zero_init, link_queries=link_queries
        )
        # Xavier bound of a patch embedding with 3·p² inputs, as in visual prompt tuning
        bound = math.sqrt(6 / (3 * patch_size**2 + math.sqrt(dim * rank)))
        self.learnable_tokens_a = nn.Parameter(
            torch.empty(depth, tokens, rank).uniform_(-bound, bound)
        )
        self.learnable_tokens_b = nn.Parameter(
            torch.empty(depth, rank, dim).uniform_(-bound, bound)
        )

    def tokens(self, layer: int | None = None) -> Tensor:
        """Tokens of one layer, (m, c), or of all, (depth, m, c)."""
        if layer is None:
            return self.learnable_tokens_a @ self.learnable_tokens_b
        return self.learnable_tokens_a[layer] @ self.learnable_tokens_b[layer]


class Rein(_TokenAdapter):
    """Rein with full-rank tokens.

    Args:
        depth: Number of blocks of the transformer.
        dim: Width C of its features.
        tokens: Tokens per layer; also the number of queries.
        query_dim: Width of the linked queries.
        patch_size: Patch of the transformer in pixels; it only affects the initial tokens.
        zero_init: Start with `MLP_f = 0` and `s = 1` fixed, instead of `s = 0.001`.
        link_queries: Whether `queries()` gives queries.

    Raises:
        ConfigError: If a size is not positive, or there are fewer than two tokens.

    Source:
        Rein, eq. 2–6.

    Example:
        >>> adapter = Rein(depth=2, dim=8, tokens=4, zero_init=True)
        >>> features = torch.rand(1, 9, 8)
        >>> torch.equal(adapter(features, layer=0), features)
        True
    """

    def __init__(
        self,
        depth: int,
        dim: int,
        *,
        tokens: int = 100,
        query_dim: int = 256,
        patch_size: int = 16,
        zero_init: bool = False,
        link_queries: bool = True,
    ) -> None:
        _check_sizes(depth=depth, dim=dim, tokens=tokens, query_dim=query_dim)
        super().__init__(
            depth, dim, query_dim=query_dim, zero_init=zero_init, link_queries=link_queries
        )
        bound = math.sqrt(6 / (3 * patch_size**2 + dim))
        self.learnable_tokens = nn.Parameter(
            torch.empty(depth, tokens, dim).uniform_(-bound, bound)
        )

    def tokens(self, layer: int | None = None) -> Tensor:
        """Tokens of one layer, (m, c), or of all, (depth, m, c)."""
        return self.learnable_tokens if layer is None else self.learnable_tokens[layer]


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        least = 2 if name == 'tokens' else 1
        if size < least:
            raise ConfigError(f'{name} is {size}: expected at least {least}')
