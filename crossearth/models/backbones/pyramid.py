"""Convolutional and hierarchical backbones of timm behind the contract of the library."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.models.features import Features

__all__ = ['TimmPyramid']

_STRIDES = (4, 8, 16, 32)


class TimmPyramid(nn.Module):
    """Any timm model with maps at strides 4, 8, 16 and 32, as a backbone.

    Works for CNNs (ResNet, EfficientNet, ConvNeXt, …) and for hierarchical transformers (PVTv2,
    Swin, TinyViT, …), through timm's `forward_intermediates`. It trains as it is; freeze it with
    `requires_grad_(False)` if it shall not.

    Args:
        model: Built by `timm.create_model`. It is taken over: layers after the last map and the
            classifier are removed, as they would never get a gradient.
        img_size: Height and width in px that the model was built for, if it was built with an
            `img_size`; by default timm's own. Only errors name it.

    Raises:
        ConfigError: If the model has no such maps.

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
        timm: Any = model  # forward_intermediates and its kin are unknown to torch's types
        name = type(model).__name__
        if not hasattr(model, 'forward_intermediates') or not hasattr(model, 'feature_info'):
            raise ConfigError(
                f'{name} has no forward_intermediates: expected a timm model that gives its '
                'feature maps'
            )
        infos = list(timm.feature_info)
        # the last of the maps at a stride is the deepest
        at_stride = {int(info['reduction']): i for i, info in enumerate(infos)}
        if any(stride not in at_stride for stride in _STRIDES):
            raise ConfigError(
                f'{name} has maps at strides {sorted(at_stride)}, expected 4, 8, 16 and 32: choose '
                'a CNN or a hierarchical transformer; plain vision transformers go into ReinViT'
            )
        self.indices = tuple(at_stride[stride] for stride in _STRIDES)
        c4, c8, c16, c32 = (int(infos[index]['num_chs']) for index in self.indices)
        self.channels = (c4, c8, c16, c32)
        timm.prune_intermediate_layers(list(self.indices), prune_norm=True, prune_head=True)
        self.model = model
        settings: dict[str, Any] = getattr(model, 'pretrained_cfg', {})
        self.one_size = bool(settings.get('fixed_input_size'))
        self.img_size = img_size or tuple(settings.get('input_size', ())[1:])

    def forward(self, image: Float[Tensor, 'b c h w']) -> Features:
        """Pyramid of a batch of normalised images.

        Args:
            image: Normalised images. CNNs take any size; Swin, Hiera, MaxViT, CoAtNet, GCViT and
                others take only the size they were built for.

        Returns:
            Four maps, no queries.

        Raises:
            ShapeError: If the model takes one size only, and this is another.
        """
        try:
            c4, c8, c16, c32 = self.model.forward_intermediates(  # type: ignore[operator]  # timm's method
                image, indices=list(self.indices), output_fmt='NCHW', intermediates_only=True
            )
        except torch.OutOfMemoryError:
            raise
        # timm asserts the size in some families, and fails inside a product in others
        except (AssertionError, RuntimeError, IndexError) as error:
            height, width = image.shape[-2:]
            if not self.one_size or (height, width) == self.img_size:
                raise
            own = '{}x{} px'.format(*self.img_size) if self.img_size else 'one size'
            raise ShapeError(
                f'{type(self.model).__name__} takes images of {own} only, got {height}x{width} px: '
                f'build it for yours (fpn_timm(…, img_size=({height}, {width})), or '
                'timm.create_model with this img_size), give it images of its size, or choose a '
                'backbone without a fixed size, such as a CNN or pvt_v2'
            ) from error
        return Features((c4, c8, c16, c32))
