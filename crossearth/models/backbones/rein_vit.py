"""A frozen vision transformer of timm with an adapter after each block."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.models.cait import Cait
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crossearth.errors import ConfigError, ShapeError
from crossearth.models.adapters.geospatial import queries_on_grid
from crossearth.models.adapters.rein import Adapter
from crossearth.models.backbones.xformers_attention import use_xformers
from crossearth.models.features import Features
from crossearth.models.padding import ceil_div, crop_to, pad_to_multiple

__all__ = ['ReinViT']


class ReinViT(nn.Module):
    """Any timm vision transformer, frozen, refined block by block, read as a four-level pyramid.

    The transformer never trains: its parameters require no gradient, and it stays in eval mode
    (no dropout, no stochastic depth) whatever `train()` says. The adapter sees patch tokens only,
    after each block; class and register tokens pass by. The features of four blocks, before the
    final norm, are resized ×4, ×2, ×1 and ×½ (bilinear), so that with patches of 16 px the maps
    have strides 4, 8, 16 and 32.

    Args:
        vit: Transformer built by `timm.create_model(..., num_classes=0, dynamic_img_size=True)`.
            It is taken over: frozen, and its blocks call the adapter from now on.
        adapter: `LoRARein`, `Rein` or any module with their two methods; None for a frozen
            backbone.
        indices: The four blocks to read, increasing; by default at ⅓, ½, ⅔ and the whole depth
            (7, 11, 15, 23 of 24).
        extractor: `GeospatialSemanticExtractor`, run once an image.
        injector: `Injector`, shared by all blocks; needs an extractor. The features of a block
            become `f + Δ_adapter(f) + injector(queries, f)`.
        attention: `'sdpa'` is torch's fused attention, as timm uses it. `'xformers'` is
            `memory_efficient_attention`, on CUDA in float16 or bfloat16, for transformers with
            plain attention; it says so where it cannot run.
        checkpointing: Keep only what enters each block, and compute the rest again in the
            backward pass: less memory for about a third more time.

    Raises:
        ConfigError: If the model has no blocks of patch tokens, or the blocks to read or the depth
            of the adapter do not fit.

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
    ) -> None:
        super().__init__()
        blocks = _blocks(vit)
        depth = len(blocks)
        if indices is None:
            indices = [round(depth * part) - 1 for part in (1 / 3, 1 / 2, 2 / 3, 1)]
            indices = [max(index, 0) for index in indices]
        in_order = all(low <= high for low, high in pairwise(indices))
        if len(indices) != 4 or not in_order or indices[0] < 0 or indices[3] >= depth:
            raise ConfigError(
                f'indices {list(indices)} do not name four blocks in order: expected four of '
                f'0 to {depth - 1}, as the transformer has {depth} blocks'
            )
        if adapter is not None and adapter.depth != depth:
            raise ConfigError(
                f'the adapter has {adapter.depth} layers, the transformer {depth} blocks: build '
                f'the adapter with depth={depth}'
            )
        self.vit = vit.requires_grad_(False).eval()
        if (extractor is None) != (injector is None):
            raise ConfigError('extractor and injector work together: give both, or neither of them')
        self.adapter = adapter
        self.extractor = extractor
        self.injector = injector
        # of the images that are on their way, by thread: a server runs one model in several
        self._queries: dict[int, Tensor] = {}
        self.depth = depth
        self.indices = tuple(indices)
        timm: Any = vit  # what follows are timm's attributes, which torch's types do not know
        # with the stem of a hybrid, whose own patches are of its feature map
        self.patch_px: tuple[int, int] = tuple(timm.patch_embed.feat_ratio(as_scalar=False))
        # CaiT's class token joins behind the blocks, although it counts as a prefix
        self.prefix_tokens = 0 if isinstance(vit, Cait) else int(timm.num_prefix_tokens)
        dim = int(timm.embed_dim)
        self.channels = (dim, dim, dim, dim)
        self.checkpointing = checkpointing
        if attention not in ('sdpa', 'xformers'):
            raise ConfigError(f"attention is {attention!r}: expected 'sdpa' or 'xformers'")
        if attention == 'xformers':
            use_xformers(blocks)
        if adapter is not None or injector is not None:
            # The blocks stay the modules they are, under their own names: weights of the plain
            # transformer still load, and every way of timm to run the blocks meets the adapter.
            for layer, block in enumerate(blocks):
                # setattr: to mypy a method, to torch an attribute like any other
                setattr(block, 'forward', partial(self._adapted, layer, block.forward))  # noqa: B010

    def train(self, mode: bool = True) -> 'ReinViT':
        """Training mode for the adapter; the transformer stays in eval mode."""
        super().train(mode)
        self.vit.eval()
        return self

    def forward(
        self, image: Float[Tensor, 'b c h w'], *, geospatial: bool = True, plain: int = 0
    ) -> Features:
        """Pyramid of a batch of normalised images.

        Args:
            image: Normalised images of at least one patch a side. Other sizes than multiples of
                the patch are padded at the right and bottom, and the maps cropped, to
                ⌈side / stride⌉.
            geospatial: Whether the injector takes part. Off in CrossEarth's masked image
                modelling, "to prevent additional assistance" (section 3.3).
            plain: How many images at the end of the batch go without the injector, so that both
                flows share one pass.

        Returns:
            Four maps, and the adapter's queries.

        Raises:
            ShapeError: If the image is smaller than a patch, or the transformer takes one size
                only and this is another.
        """
        height, width = image.shape[-2:]
        patch_h, patch_w = self.patch_px
        if height < patch_h or width < patch_w:
            raise ShapeError(
                f'image of {height}x{width} px is smaller than one patch of {patch_h}x{patch_w} '
                'px: give a larger image'
            )
        padded = pad_to_multiple(image, patch_h, patch_w)
        wanted = sorted(set(self.indices))
        if geospatial and plain < len(padded) and self.extractor is not None:
            grid = (padded.shape[-2] // patch_h, padded.shape[-1] // patch_w)
            injected = padded[: len(padded) - plain] if plain else padded
            self._queries[_thread()] = queries_on_grid(self.extractor, injected, grid)
        try:
            taken: list[Tensor] = self.vit.forward_intermediates(  # type: ignore[operator]  # timm's method
                padded, indices=wanted, norm=False, output_fmt='NCHW', intermediates_only=True
            )
        except AssertionError as error:
            raise ShapeError(
                f'the transformer refuses {padded.shape[-2]}x{padded.shape[-1]} px ({error}): '
                'build it with dynamic_img_size=True, or for this img_size'
            ) from error
        finally:
            self._queries.pop(_thread(), None)
        levels = dict(zip(wanted, taken, strict=True))
        fine, middle, same, coarse = (levels[index] for index in self.indices)
        rows, cols = same.shape[-2:]
        fine = _resize(fine, 4 * rows, 4 * cols)
        middle = _resize(middle, 2 * rows, 2 * cols)
        coarse = _resize(coarse, (rows + 1) // 2, (cols + 1) // 2)
        maps = (
            crop_to(fine, ceil_div(4 * height, patch_h), ceil_div(4 * width, patch_w)),
            crop_to(middle, ceil_div(2 * height, patch_h), ceil_div(2 * width, patch_w)),
            same,
            coarse,
        )
        return Features(maps, None if self.adapter is None else self.adapter.queries())

    def _adapted(
        self, layer: int, block: Callable[..., Tensor], tokens: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Tokens after a block and its adapter; what else the block takes is timm's affair."""
        # Taken here and handed on: a block that is computed again in the backward pass must meet
        # the queries of its own image, although others may have passed since.
        queries = self._queries.get(_thread())
        if self.checkpointing and torch.is_grad_enabled():
            step = partial(self._step, layer, block)
            return checkpoint(step, tokens, queries, *args, use_reentrant=False, **kwargs)
        return self._step(layer, block, tokens, queries, *args, **kwargs)

    def _step(
        self,
        layer: int,
        block: Callable[..., Tensor],
        tokens: Tensor,
        queries: Tensor | None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        tokens = block(tokens, *args, **kwargs)
        prefix, patches = tokens[:, : self.prefix_tokens], tokens[:, self.prefix_tokens :]
        refined = patches if self.adapter is None else self.adapter(patches, layer)
        if queries is not None and self.injector is not None:
            plain = len(patches) - len(queries)
            injected = self.injector(queries, patches[: len(queries)] if plain else patches)
            refined = refined + (F.pad(injected, (0, 0, 0, 0, 0, plain)) if plain else injected)
        return torch.cat([prefix, refined], dim=1)


def _blocks(vit: nn.Module) -> list[nn.Module]:
    blocks = getattr(vit, 'blocks', None)
    if (
        not isinstance(blocks, nn.Sequential | nn.ModuleList)
        or not len(blocks)
        or not hasattr(vit, 'forward_intermediates')
        or not hasattr(getattr(vit, 'patch_embed', None), 'feat_ratio')
        or not hasattr(vit, 'embed_dim')
        or not (isinstance(vit, Cait) or hasattr(vit, 'num_prefix_tokens'))
    ):
        raise ConfigError(
            f'{type(vit).__name__} is no timm vision transformer with blocks of patch tokens: '
            'pass a model of the VisionTransformer, Eva, Beit or CaiT families, or use TimmPyramid '
            'for convolutional and hierarchical models'
        )
    if any(isinstance(vars(block).get('forward'), partial) for block in blocks):
        raise ConfigError(
            'this transformer has an adapter already: build a new one for each ReinViT'
        )
    return list(blocks)


def _thread() -> int:
    """The thread that runs a model; a traced graph knows none, and keeps nothing between calls."""
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


def _resize(features: Tensor, rows: int, cols: int) -> Tensor:
    return F.interpolate(features, (rows, cols), mode='bilinear', align_corners=False)
