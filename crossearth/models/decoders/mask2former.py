"""The mask decoder of Mask2Former, with queries that an adapter links from its tokens.

Source: "Masked-attention Mask Transformer for Universal Image Segmentation" (arXiv 2112.01527);
query linking from Rein (arXiv 2312.04265), eq. 7–9. Parameter names are those of the published
checkpoints.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError
from crossearth.labels import IGNORE_INDEX
from crossearth.models.decoders.mask_classification import MaskLosses, mask_losses
from crossearth.models.decoders.pixel_decoder import (
    DeformablePixelDecoder,
    FeedForward,
    sine_positions,
)
from crossearth.models.features import Features

__all__ = ['Mask2FormerDecoder', 'MaskPredictions']


class MaskPredictions(NamedTuple):
    """One class distribution and one mask per query, as logits.

    Args:
        classes: Logits of the classes and, last, of "no object".
        masks: Logits of the masks, at the stride of the finest map.
    """

    classes: Float[Tensor, 'b q k1']
    masks: Float[Tensor, 'b q h w']


class Mask2FormerDecoder(nn.Module):
    """Features → logits of the image, through queries that each find one mask and its class.

    The queries' positions come from the adapter (`Features.queries`), and one linear layer makes
    their contents from these. Without an adapter, build it with `link_queries=False`, so that the
    decoder has its own queries.

    Args:
        channels: Widths of the backbone's maps, fine to coarse.
        num_classes: Number of classes.
        dim: Width inside, and width of the linked queries.
        queries: Number of own queries if they are not linked; there are as many linked ones as the
            adapter has tokens.
        depth: Layers of the mask decoder.
        pixel_depth: Layers of the pixel decoder.
        heads: Heads of every attention.
        points: Points that each head of the pixel decoder reads in each level.
        ffn_dim: Width inside the mask decoder's feed-forward parts.
        pixel_ffn_dim: Width inside the pixel decoder's.
        link_queries: Whether queries come from `Features.queries`.
        loss: Weights and numbers of points of the losses.

    Raises:
        ConfigError: If the sizes do not fit one another.

    Source:
        Mask2Former, section 3.2; Rein's head for the linked queries.

    Example:
        >>> decoder = Mask2FormerDecoder((8, 8, 8, 8), 3, dim=32, depth=1, pixel_depth=1)
        >>> maps = tuple(torch.rand(1, 8, 16 >> i, 16 >> i) for i in range(4))
        >>> decoder(Features(maps, queries=torch.rand(5, 32))).shape
        torch.Size([1, 3, 64, 64])
    """

    returns_sums = True

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        num_classes: int,
        *,
        dim: int = 256,
        queries: int = 100,
        depth: int = 9,
        pixel_depth: int = 6,
        heads: int = 8,
        points: int = 4,
        ffn_dim: int = 2048,
        pixel_ffn_dim: int = 1024,
        link_queries: bool = True,
        loss: MaskLosses | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1 or queries < 1 or depth < 1 or pixel_depth < 1:
            raise ConfigError(
                f'num_classes {num_classes}, queries {queries}, depth {depth} and pixel_depth '
                f'{pixel_depth} must be positive'
            )
        self.num_classes = num_classes
        self.link_queries = link_queries
        self.loss = loss or MaskLosses()
        self.pixel_decoder = DeformablePixelDecoder(
            channels, dim=dim, depth=pixel_depth, heads=heads, points=points, ffn_dim=pixel_ffn_dim
        )
        # Bare modules hold the parts, so that parameters have their published names.
        self.transformer_decoder = nn.Module()
        self.transformer_decoder.layers = nn.ModuleList(
            _DecoderLayer(dim, heads=heads, ffn_dim=ffn_dim) for _ in range(depth)
        )
        self.transformer_decoder.post_norm = nn.LayerNorm(dim)
        self.level_embed = nn.Embedding(3, dim)
        self.cls_embed = nn.Linear(dim, num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)
        )
        if link_queries:
            self.querys2feat = nn.Linear(dim, dim)
        else:
            self.query_embed = nn.Embedding(queries, dim)
            self.query_feat = nn.Embedding(queries, dim)

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self, dim=self.cls_embed.in_features)

    def forward(self, features: Features) -> Float[Tensor, 'b k height width']:
        """Sums of probabilities, at four times the size of the finest map: the image's size.

        Class probabilities (without "no object") times mask probabilities, summed over queries, as
        in the release. They are not logits; `Segmenter` returns their logarithms, which are.
        """
        last = self.predictions(features)[-1]
        rows, cols = last.masks.shape[-2:]
        masks = F.interpolate(
            last.masks, (4 * rows, 4 * cols), mode='bilinear', align_corners=False
        )
        classes = last.classes.softmax(-1)[..., :-1]
        return torch.einsum('bqk,bqhw->bkhw', classes, masks.sigmoid())

    def predictions(self, features: Features) -> list[MaskPredictions]:
        """Predictions of the queries before and after each layer; the last one is the result.

        Raises:
            ConfigError: If queries should be linked and the backbone gives none.
        """
        mask_features, levels = self.pixel_decoder(features)
        batch = mask_features.shape[0]
        keys, values = [], []
        # Positions tell where to look, so they are part of the keys but not of the values.
        for level, embedding in zip(levels, self.level_embed.weight, strict=True):
            positions = sine_positions(level.shape[1], *level.shape[2:], device=level.device)
            memory = level.flatten(2).transpose(1, 2) + embedding
            keys.append(memory + positions.flatten(1).T.to(memory.dtype))
            values.append(memory)
        query_pos, query = self._queries(features)
        query_pos, query = (part.expand(batch, -1, -1) for part in (query_pos, query))
        prediction = self._predict(query, mask_features)
        found = [prediction]
        for step, layer in enumerate(self.transformer_decoder.layers):  # type: ignore[arg-type]  # the ModuleList set above
            # the levels in turn, coarse to fine: strides 32, 16, 8, 32, …
            level = levels[step % 3]
            visible = _visible(prediction.masks, (level.shape[-2], level.shape[-1]))
            query = layer(query, query_pos, keys[step % 3], values[step % 3], visible)
            prediction = self._predict(query, mask_features)
            found.append(prediction)
        return found

    def losses(
        self,
        features: Features,
        mask: Int64[Tensor, 'b height width'],
        *,
        ignore_index: int = IGNORE_INDEX,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Losses of every prediction against a label map.

        Args:
            features: Output of the backbone.
            mask: Class ids of the images.
            ignore_index: Label of pixels that belong to no class; every mask must leave them out.
            generator: Draws the sampled points.

        Returns:
            Weighted terms by name, to be summed. They are `loss_cls`, `loss_mask` and `loss_dice`
            of the last prediction, and `d0.loss_cls`, … of the others.
        """
        return mask_losses(
            [(p.classes, p.masks) for p in self.predictions(features)],
            mask,
            settings=self.loss,
            ignore_index=ignore_index,
            generator=generator,
        )

    def _queries(self, features: Features) -> tuple[Tensor, Tensor]:
        """Positions and contents of the queries."""
        if not self.link_queries:
            return self.query_embed.weight, self.query_feat.weight
        if features.queries is None:
            raise ConfigError(
                'the backbone gives no queries, but this decoder links them from an adapter: use '
                'an adapter with link_queries=True, or build the decoder with link_queries=False'
            )
        return features.queries, self.querys2feat(features.queries)

    def _predict(self, query: Tensor, mask_features: Tensor) -> MaskPredictions:
        normed = self.transformer_decoder.post_norm(query)  # type: ignore[operator]  # a LayerNorm
        masks = torch.einsum('bqc,bchw->bqhw', self.mask_embed(normed), mask_features)
        return MaskPredictions(self.cls_embed(normed), masks)


def _visible(masks: Tensor, size: tuple[int, int]) -> Bool[Tensor, 'b 1 q n']:
    """Which pixels of a level each query may attend to: those inside its last mask.

    A query with an empty mask may attend to all, because a softmax over nothing is NaN.

    Source:
        Mask2Former, eq. 2–3.
    """
    resized = F.interpolate(masks.detach(), size, mode='bilinear', align_corners=False)
    inside = resized.flatten(2).sigmoid() >= 0.5
    return (inside | ~inside.any(-1, keepdim=True))[:, None]


class _DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, feed-forward, with norms after each (post-norm)."""

    def __init__(self, dim: int, *, heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn = _Attention(dim, heads)
        self.cross_attn = _Attention(dim, heads)
        self.ffn = FeedForward(dim, ffn_dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))

    def forward(
        self, query: Tensor, query_pos: Tensor, key: Tensor, value: Tensor, visible: Tensor
    ) -> Tensor:
        found = self.cross_attn(query + query_pos, key, value, visible)
        query = self.norms[0](query + found)
        placed = query + query_pos
        query = self.norms[1](query + self.self_attn(placed, placed, query))
        refined: Tensor = self.norms[2](self.ffn(query))
        return refined


class _Attention(nn.Module):
    """Multi-head attention through torch's fused product, with the published parameter names."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attn = nn.Module()
        self.attn.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.attn.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.attn.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.attn.in_proj_weight)
        nn.init.xavier_uniform_(self.attn.out_proj.weight)
        nn.init.zeros_(self.attn.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None = None
    ) -> Tensor:
        weights = self.attn.in_proj_weight.chunk(3)  # type: ignore[operator]  # a Parameter
        biases = self.attn.in_proj_bias.chunk(3)  # type: ignore[operator]  # a Parameter
        q, k, v = (
            rearrange(F.linear(part, weight, bias), 'b n (h d) -> b h n d', h=self.heads)
            for part, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        projected: Tensor = self.attn.out_proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[operator]  # a Linear
        return projected
