"""A timm vision transformer, usually frozen, with an adapter after each block."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from timm.models.cait import Cait
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError, ShapeError
from crossearth.models.adapters.contract import Adapter, check_adapter
from crossearth.models.adapters.geospatial import queries_on_grid
from crossearth.models.adapters.layers import layer_depths
from crossearth.models.backbones.tokens import (
    SAMEncoder,
    first_tokens,
    fixed_size,
    patch_size,
    prefix_tokens,
    transformer_blocks,
)
from crossearth.models.backbones.xformers_attention import use_xformers
from crossearth.models.features import Features
from crossearth.models.padding import ceil_div, crop_to, pad_to_multiple

__all__ = ['ReinViT']


class ReinViT(nn.Module):
    """Any timm vision transformer, frozen, refined block by block, read as a four-level pyramid.

    Unless `frozen=False`, the transformer does not train. Its parameters require no gradient, and
    it stays in eval mode (no dropout, no stochastic depth) whatever `train()` sets. The adapter
    sees patch tokens only, after each block; class and register tokens pass by. The features of
    four blocks, before the final norm, are resized ×4, ×2, ×1 and ×½ (bilinear), so that with
    patches of 16 px the maps have strides 4, 8, 16 and 32.

    Args:
        vit: Transformer built by `timm.create_model(..., num_classes=0, dynamic_img_size=True)`,
            or a `TokenEncoder`, such as `torchgeo_vit` returns. It is frozen in place.
        adapter: `LoRARein`, `Rein` or any module that fulfils the contract `Adapter`; None for a
            frozen backbone without one.
        indices: The four blocks to read, increasing; by default at ⅓, ½, ⅔ and the whole depth
            (7, 11, 15, 23 of 24).
        extractor: `GeospatialSemanticExtractor`, run once per image.
        injector: `Injector`, shared by all blocks; needs an extractor. The features of a block
            become `f + Δ_adapter(f) + injector(queries, f)`.
        attention: `'sdpa'` is torch's fused attention, as timm uses it. `'xformers'` is
            `memory_efficient_attention`, on CUDA in float16 or bfloat16, for transformers with
            plain attention; an error explains where it cannot run.
        checkpointing: Keep only the input of each block and recompute the rest in the backward
            pass, which saves memory and takes about a third longer.
        odd_grid: How the coarsest map rounds half of an odd number of patches. `'up'` gives
            ⌈side / 32⌉ cells, like the convolutions of other backbones; `'down'` leaves out the
            last row or column, as the released model does.
        frozen: False trains the whole transformer (full fine-tuning), in training mode. Its final
            norm and its pooling are not read, and stay frozen.

    Raises:
        ConfigError: If the model has no blocks of patch tokens, the adapter lacks part of its
            contract, or the blocks to read or the depth of the adapter do not fit.

    Source:
        Rein, section 3.2; CrossEarth, section 3.1.

    Example:
        >>> import timm, torch
        >>> from crossearth.models.adapters import LoRARein
        >>> vit = timm.create_model('vit_tiny_patch16_224', depth=4, num_classes=0,
        ...                         dynamic_img_size=True)
        >>> backbone = ReinViT(vit, LoRARein(depth=4, dim=192))
        >>> features = backbone(torch.zeros(1, 3, 64, 96))
        >>> [tuple(m.shape[2:]) for m in features.maps], features.queries.shape
        ([(16, 24), (8, 12), (4, 6), (2, 3)], torch.Size([100, 256]))
    """

    def __init__(
        self,
        vit: nn.Module,
        adapter: Adapter | None,
        *,
        indices: Sequence[int] | None = None,
        extractor: nn.Module | None = None,
        injector: nn.Module | None = None,
        attention: Literal['sdpa', 'xformers'] = 'sdpa',
        checkpointing: bool = False,
        odd_grid: Literal['up', 'down'] = 'up',
        frozen: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(vit, VisionTransformerSAM):
            vit = SAMEncoder(vit)
        blocks = transformer_blocks(vit)
        depth = len(blocks)
        if adapter is not None:
            check_adapter(adapter, depth)
        if (extractor is None) != (injector is None):
            raise ConfigError('got only one of extractor and injector: pass both, or neither')
        if attention not in ('sdpa', 'xformers'):
            raise ConfigError(f"attention is {attention!r}: expected 'sdpa' or 'xformers'")
        if odd_grid not in ('up', 'down'):
            raise ConfigError(f"odd_grid is {odd_grid!r}: expected 'up' or 'down'")
        if attention == 'xformers':
            use_xformers(blocks)
        self.frozen = frozen
        self.vit = vit.requires_grad_(False).eval() if frozen else _without_end(vit)
        self.adapter = adapter
        self.extractor = extractor
        self.injector = injector
        self.checkpointing = checkpointing
        self.odd_grid = odd_grid
        self.depth = depth
        self.indices = _indices(indices, depth)
        self.patch_px = patch_size(vit)
        self.img_size = fixed_size(vit)
        self.prefix_tokens = prefix_tokens(vit)
        dim = int(vit.embed_dim)  # type: ignore[arg-type]  # timm's attribute
        self.channels = (dim, dim, dim, dim)

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self, patch_px=self.patch_px)

    def train(self, mode: bool = True) -> 'ReinViT':
        """Training mode for the adapter; a frozen transformer stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.vit.eval()
        return self

    def forward(self, image: Float[Tensor, 'b c h w'], *, geospatial: bool = True) -> Features:
        """Pyramid of a batch of normalised images.

        Args:
            image: Normalised images with sides of at least one patch. Sides that are not multiples
                of the patch are padded at the right and bottom, and the maps cropped to
                ⌈side / stride⌉.
            geospatial: Whether the injector takes part. Off in CrossEarth's masked image
                modelling, "to prevent additional assistance" (section 3.3).

        Returns:
            Four maps, and the adapter's queries.

        Raises:
            ShapeError: If the image is smaller than a patch, or the transformer takes only one
                size and this is another.
        """
        padded = self._padded(image)
        queries = self._geospatial_queries(padded) if geospatial else None
        return self._pyramid(image, padded, queries, without=0)

    def forward_both(
        self, image: Float[Tensor, 'b c h w'], damaged: Float[Tensor, 'n c h w']
    ) -> tuple[Features, Features]:
        """`self(image)` and `self(damaged, geospatial=False)`, in one pass of the transformer.

        Args:
            image: Normalised images, with the injector.
            damaged: Normalised images of the same size, without the injector.

        Returns:
            Features of each batch.

        Raises:
            ShapeError: See `forward`.
        """
        both = torch.cat([image, damaged])
        queries = self._geospatial_queries(self._padded(image))
        found = self._pyramid(both, self._padded(both), queries, without=len(damaged))
        sizes = [len(image), len(damaged)]
        parts = zip(*(torch.split(level, sizes) for level in found.maps), strict=True)
        first, second = (Features(maps, found.queries) for maps in parts)
        return first, second

    def layer_depths(self) -> dict[str, int]:
        """The layer of each transformer parameter, as timm counts it; see `Layered`."""
        return {f'vit.{name}': depth for name, depth in layer_depths(self.vit).items()}

    def _padded(self, image: Tensor) -> Tensor:
        """Pad images to whole patches, and check that the transformer takes this size."""
        height, width = image.shape[-2:]
        patch_h, patch_w = self.patch_px
        if height < patch_h or width < patch_w:
            raise ShapeError(
                f'image of {height}x{width} px is smaller than one patch of {patch_h}x{patch_w} '
                'px: use a larger image'
            )
        padded = pad_to_multiple(image, patch_h, patch_w)
        if self.img_size is not None and tuple(padded.shape[-2:]) != self.img_size:
            raise ShapeError(
                f'{type(self.vit).__name__} takes only images of '
                f'{self.img_size[0]}x{self.img_size[1]} px, got '
                f'{padded.shape[-2]}x{padded.shape[-1]} px: crop or resize images to that size '
                '(tile_px for the windows of predict_scene), or build the transformer with this '
                'img_size, or with dynamic_img_size=True where its family offers it'
            )
        return padded

    def _geospatial_queries(self, padded: Tensor) -> Tensor | None:
        """One query for each patch of each image, (b, patches, d); None without an extractor."""
        if self.extractor is None:
            return None
        return queries_on_grid(self.extractor, padded, self._grid(padded))

    def _grid(self, padded: Tensor) -> tuple[int, int]:
        return padded.shape[-2] // self.patch_px[0], padded.shape[-1] // self.patch_px[1]

    def _pyramid(
        self, image: Tensor, padded: Tensor, queries: Tensor | None, *, without: int
    ) -> Features:
        """Features of images; the last `without` images have no geospatial queries."""
        blocks: Any = self.vit.blocks
        tokens, arguments = first_tokens(self.vit, padded)
        rows, cols = self._grid(padded)
        taken: dict[int, Tensor] = {}
        for layer, block in enumerate(blocks):
            if self.checkpointing and torch.is_grad_enabled():
                # The reentrant variant gives no gradients where no input needs one, and the first
                # tokens of a frozen transformer need none.
                tokens = checkpoint(
                    self._refined_block,
                    *(block, layer, (rows, cols), tokens, queries, without, arguments[layer]),
                    use_reentrant=False,
                )
            else:
                tokens = self._refined_block(
                    block, layer, (rows, cols), tokens, queries, without, arguments[layer]
                )
            if layer in self.indices:
                taken[layer] = tokens[:, self.prefix_tokens :]
        # Tokens lie channel by channel already; so do the maps, which resizes 30 times faster.
        levels = (
            rearrange(
                taken[index], 'b (rows cols) c -> b c rows cols', rows=rows, cols=cols
            ).contiguous(memory_format=torch.channels_last)
            for index in self.indices
        )
        maps = self._resized(image, *levels)
        return Features(maps, None if self.adapter is None else self.adapter.queries())

    def _refined_block(
        self,
        block: nn.Module,
        layer: int,
        grid: tuple[int, int],
        tokens: Tensor,
        queries: Tensor | None,
        without: int,
        arguments: dict[str, Any],
    ) -> Tensor:
        """Run a block, then let the adapter and injector refine its patches."""
        tokens = block(tokens, **arguments)
        if self.adapter is None and queries is None:
            return tokens
        prefix, patches = tokens[:, : self.prefix_tokens], tokens[:, self.prefix_tokens :]
        refined = patches if self.adapter is None else self.adapter(patches, layer, grid)
        if refined.shape != patches.shape:
            raise ShapeError(
                f'{type(self.adapter).__name__} returned features of shape {tuple(refined.shape)} '
                f'for {tuple(patches.shape)}: an adapter must keep the shape'
            )
        # The injector reads the features of the block, not those that the adapter has refined.
        if queries is not None:
            assert self.injector is not None
            if without:
                injected = self.injector(queries, patches[:-without])
                # Damaged images come last in the batch and get nothing injected (section 3.3).
                refined = refined + F.pad(injected, (0, 0, 0, 0, 0, without))
            else:
                refined = refined + self.injector(queries, patches)
        return torch.cat([prefix, refined], dim=1)

    def _resized(
        self, image: Tensor, fine: Tensor, middle: Tensor, same: Tensor, coarse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps at strides ¼, ½, 1 and 2 of the patch, without the padding."""
        height, width = image.shape[-2:]
        patch_h, patch_w = self.patch_px
        rows, cols = same.shape[-2:]
        fine = _resize(fine, 4 * rows, 4 * cols)
        middle = _resize(middle, 2 * rows, 2 * cols)
        if self.odd_grid == 'up' or min(rows, cols) < 2:  # half of one patch would be nothing
            coarse = _resize(coarse, (rows + 1) // 2, (cols + 1) // 2)
        else:  # samples between patches 0 and 1, 2 and 3, …
            coarse = F.interpolate(coarse, scale_factor=0.5, mode='bilinear', align_corners=False)
        return (
            crop_to(fine, ceil_div(4 * height, patch_h), ceil_div(4 * width, patch_w)),
            crop_to(middle, ceil_div(2 * height, patch_h), ceil_div(2 * width, patch_w)),
            same,
            coarse,
        )


def _indices(indices: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """The four blocks to read, checked."""
    if indices is None:
        # Blocks 7, 11, 15 and 23 of 24, as published.
        return tuple(max(round(depth * part) - 1, 0) for part in (1 / 3, 1 / 2, 2 / 3, 1))
    in_order = all(low <= high for low, high in pairwise(indices))
    if len(indices) != 4 or not in_order or indices[0] < 0 or indices[3] >= depth:
        raise ConfigError(
            f'indices are {list(indices)}, expected four increasing ones of 0 to {depth - 1}, '
            f'because the transformer has {depth} blocks'
        )
    return tuple(indices)


def _without_end(vit: nn.Module) -> nn.Module:
    """Freeze what nothing reads: parts after the blocks, and CaiT's class token."""
    if isinstance(vit, Cait):  # its class token joins after the blocks
        vit.cls_token.requires_grad_(False)
    names = [name for name, _ in vit.named_children()]
    for name in names[names.index('blocks') + 1 :]:
        vit.get_submodule(name).requires_grad_(False)
    return vit


def _resize(features: Tensor, rows: int, cols: int) -> Tensor:
    return F.interpolate(features, (rows, cols), mode='bilinear', align_corners=False)
