"""Convolutional and hierarchical backbones of timm behind the contract of the library."""

from typing import Any

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
        model: Built by `timm.create_model`. It is taken over: layers behind the last map and the
            classifier are removed, as they would never get a gradient.

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

    def __init__(self, model: nn.Module) -> None:
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

    def forward(self, image: Float[Tensor, 'b c h w']) -> Features:
        """Pyramid of a batch of normalised images.

        Args:
            image: Normalised images. CNNs take any size; transformers with windows may take only
                the size they were built for.

        Returns:
            Four maps, no queries.

        Raises:
            ShapeError: If the model takes one size only, and this is another.
        """
        try:
            c4, c8, c16, c32 = self.model.forward_intermediates(  # type: ignore[operator]  # timm's method
                image, indices=list(self.indices), output_fmt='NCHW', intermediates_only=True
            )
        except AssertionError as error:
            raise ShapeError(
                f'{type(self.model).__name__} refuses {image.shape[-2]}x{image.shape[-1]} px '
                f'({error}): build it with this img_size, or with strict_img_size=False where the '
                'model offers it'
            ) from error
        return Features((c4, c8, c16, c32))
