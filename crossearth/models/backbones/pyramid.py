"""Convolutional and hierarchical timm networks as backbones."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.models.efficientformer import EfficientFormer
from torch import Tensor, nn

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError, ShapeError
from crossearth.models.adapters.layers import layer_depths
from crossearth.models.features import STRIDES, Features
from crossearth.models.padding import ceil_div

__all__ = ['TimmPyramid']


class TimmPyramid(nn.Module):
    """Any timm model with maps at several strides, as a backbone.

    Works for CNNs (ResNet, EfficientNet, ConvNeXt, …) and for hierarchical transformers (PVTv2,
    Swin, TinyViT, …), through timm's `forward_intermediates`. All of it trains, unless you freeze
    it with `requires_grad_(False)`. If a model lacks a map at one of the strides 4, 8, 16 and 32,
    the map of the nearest stride is resized (bilinear): LeViT and PiT begin at 8, Microsoft's
    EfficientViT at 16, and NesT ends at 16.

    Args:
        model: Built by `timm.create_model`. It is taken over. Layers after the last map and the
            classifier are removed, because they would never get a gradient.
        img_size: Height and width in px that the model was built for, if it was built with an
            `img_size`; timm's own by default. Used in error messages.

    Raises:
        ConfigError: If the model has maps at fewer than two of the strides.

    Example:
        >>> import timm, torch
        >>> backbone = TimmPyramid(timm.create_model('resnet18'))
        >>> backbone.channels
        (64, 128, 256, 512)
        >>> [tuple(m.shape[2:]) for m in backbone(torch.zeros(1, 3, 64, 96)).maps]
        [(16, 24), (8, 12), (4, 6), (2, 3)]
    """

    def __init__(self, model: nn.Module, *, img_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        timm: Any = model  # torch's types do not know forward_intermediates
        name = type(model).__name__
        if not hasattr(model, 'forward_intermediates') or not hasattr(model, 'feature_info'):
            raise ConfigError(
                f'{name} has no forward_intermediates: expected a timm model that returns its '
                'feature maps'
            )
        infos = list(timm.feature_info)
        # the last of the maps at a stride is the deepest
        at_stride = {int(info['reduction']): i for i, info in enumerate(infos)}
        own = [stride for stride in STRIDES if stride in at_stride]
        if len(own) < 2:
            raise ConfigError(
                f'{name} has maps at strides {sorted(at_stride)}, expected at least two of 4, 8, '
                '16 and 32: choose a CNN or a hierarchical transformer; use ReinViT for plain '
                'vision transformers'
            )
        self.strides = tuple(own)
        self.indices = tuple(at_stride[stride] for stride in own)
        # for each level, the index of the map to use or to resize
        self.sources = tuple(
            own.index(min(own, key=lambda at: (abs(at - stride), at))) for stride in STRIDES
        )
        widths = [int(infos[index]['num_chs']) for index in self.indices]
        c4, c8, c16, c32 = (widths[source] for source in self.sources)
        self.channels = (c4, c8, c16, c32)
        # No decoder reads what follows the last map, so its parameters would never get a gradient.
        timm.prune_intermediate_layers(list(self.indices), prune_norm=True, prune_head=True)
        self.model = model
        settings: dict[str, Any] = getattr(model, 'pretrained_cfg', {})
        self.one_size = bool(settings.get('fixed_input_size'))
        own_size = tuple(settings.get('input_size', ())[1:])
        if isinstance(model, EfficientFormer) and img_size not in (None, own_size):
            raise ConfigError(
                f'{name} got img_size {img_size[0]}x{img_size[1]}, but attends over 7x7 cells '
                f'whatever its img_size: build it for {own_size[0]}x{own_size[1]} px, or choose '
                'efficientformerv2_s0, which can be built for any size'
            )
        self.img_size = img_size or own_size

    def _forget_tables(self) -> None:
        """Clear the lookup tables that TinyViT, LeViT and EfficientFormer cache in eval mode.

        A moving average that changes weights in eval mode would not change the tables. With their
        graph they can be neither copied nor used twice, and those of inference mode not trained.
        """
        for module in self.model.modules():
            if getattr(module, 'attention_bias_cache', None):
                module.attention_bias_cache = {}  # type: ignore[assignment]  # timm's attribute

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self, channels=self.channels)

    def forward(self, image: Float[Tensor, 'b c h w']) -> Features:
        """Pyramid of a batch of normalised images.

        Args:
            image: Normalised images. CNNs take any size; Swin, Hiera, MaxViT, CoAtNet, GCViT and
                others take only the size they were built for.

        Returns:
            Four maps, no queries.

        Raises:
            ShapeError: If the model takes only one size and this is another, or if its maps have
                another size because its convolutions cut off borders.
        """
        if torch.is_grad_enabled():
            self._forget_tables()  # of a compiled validation, for the next training step
        try:
            maps = self.model.forward_intermediates(  # type: ignore[operator]  # timm's method
                image, indices=list(self.indices), output_fmt='NCHW', intermediates_only=True
            )
        # It is a RuntimeError as well, but says nothing about the size that a network takes.
        except torch.OutOfMemoryError:
            raise
        # some timm families assert the size, others fail inside a product
        except (AssertionError, RuntimeError, IndexError) as error:
            height, width = image.shape[-2:]
            if 'Kernel size' in str(error):
                raise ShapeError(
                    f'images of {height}x{width} px are too small for {type(self.model).__name__}: '
                    'use larger windows'
                ) from error
            if not self.one_size or (height, width) == self.img_size:
                raise
            own = '{}x{} px'.format(*self.img_size) if self.img_size else 'one size'
            if isinstance(self.model, EfficientFormer):
                raise ShapeError(
                    f'EfficientFormer takes only images of {own}, got {height}x{width} px: use '
                    'images of its size, or choose efficientformerv2_s0, which can be built for any'
                ) from error
            raise ShapeError(
                f'{type(self.model).__name__} takes only images of {own}, got {height}x{width} px: '
                f'build it for yours (img_size=({height}, {width}) of fpn_timm, adapted_fpn or '
                'timm.create_model), use images of its size, or choose a '
                'backbone without a fixed size, such as a CNN or pvt_v2'
            ) from error
        # Comparisons of sizes would specialise a compiled or exported model to some of them.
        if not torch.compiler.is_compiling():
            self._forget_tables()
            self._check_grids(image, maps)
        c4, c8, c16, c32 = (
            _at_stride(maps[source], self.strides[source], stride)
            for source, stride in zip(self.sources, STRIDES, strict=True)
        )
        return Features((c4, c8, c16, c32))

    def layer_depths(self) -> dict[str, int]:
        """The layer of each parameter, as timm counts it; see `Layered`."""
        return {f'model.{name}': depth for name, depth in layer_depths(self.model).items()}

    def _check_grids(self, image: Tensor, maps: list[Tensor]) -> None:
        """Raise if maps do not cover the image, such as those of Inception."""
        height, width = image.shape[-2:]
        if height % STRIDES[-1] or width % STRIDES[-1]:
            return
        for level, stride in zip(maps, self.strides, strict=True):
            rows, cols = level.shape[-2:]
            if (rows, cols) != (height // stride, width // stride):
                raise ShapeError(
                    f'{type(self.model).__name__} gives a map of {rows}x{cols} at stride {stride} '
                    f'for an image of {height}x{width} px, expected {height // stride}x'
                    f'{width // stride}: its convolutions cut off borders, so its maps are shifted '
                    'against the image. Choose another backbone'
                )


def _at_stride(level: Tensor, own: int, stride: int) -> Tensor:
    """A map of one stride at another."""
    if own == stride:
        return level
    rows, cols = (ceil_div(side * own, stride) for side in level.shape[-2:])
    return F.interpolate(level, (rows, cols), mode='bilinear', align_corners=False)
