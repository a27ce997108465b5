"""The segmentation model: images in, logits of the same height and width out."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from crossearth.errors import BandError, ConfigError, ShapeError
from crossearth.labels import IGNORE_INDEX
from crossearth.models.describing import model_counts, model_table
from crossearth.models.features import Backbone, Features
from crossearth.models.padding import crop_to, pad_to_multiple, to_multiple
from crossearth.models.recording import Blueprint

__all__ = ['IMAGENET_MEAN', 'IMAGENET_STD', 'Segmenter', 'classifies_masks']

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green, blue over ImageNet, in [0, 1]."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of red, green, blue over ImageNet, in [0, 1]."""

_LEAST_SUM = 1e-30  # far below any sum that matters, and a normal number in float32


class Segmenter(nn.Module):
    """A complete segmentation model: normalise, pad, backbone, decoder, upsample, crop.

    Args:
        backbone: Normalised image → `Features`.
        decoder: `Features` → logits (b, k, h', w') on any grid over the same ground; see
            `Decoder`.
        mean: Mean per band, in [0, 1].
        std: Standard deviation per band, in [0, 1].
        multiple_px: Images are padded to a multiple of this. 32 is the coarsest stride of the
            pyramid; transformers with patches of 14 px need 28.

    Attributes:
        num_classes: Classes of the logits.
        in_channels: Bands of the images.
        blueprint: How a builder built the model, for `save_model`; None for models that were not
            built by a builder.

    Raises:
        ConfigError: If mean and std differ in number or are not finite, a mean is above 1, a std is
            not positive, or the decoder lacks `num_classes`.

    Example:
        >>> import timm
        >>> from crossearth.models.backbones import TimmPyramid
        >>> from crossearth.models.decoders import FPNDecoder
        >>> backbone = TimmPyramid(timm.create_model('resnet18'))
        >>> decoder = FPNDecoder(backbone.channels, num_classes=6, width=32)
        >>> model = Segmenter(backbone, decoder, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        >>> model(torch.rand(1, 3, 75, 100)).shape
        torch.Size([1, 6, 75, 100])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        decoder: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        multiple_px: int = 32,
    ) -> None:
        super().__init__()
        finite = all(map(math.isfinite, (*mean, *std)))
        if len(mean) != len(std) or not mean or not finite or min(std) <= 0:
            raise ConfigError(
                f'mean {tuple(mean)} and std {tuple(std)}: expected one finite number per band in '
                'each, and a positive std'
            )
        if max(mean) > 1:
            raise ConfigError(
                f'mean {tuple(mean)} is above 1, but models take images in [0, 1]: divide the mean '
                'and std of values of 0 to 255 by 255'
            )
        num_classes = getattr(decoder, 'num_classes', None)
        if not isinstance(num_classes, int):
            raise ConfigError(
                f'{type(decoder).__name__} has no num_classes: a decoder is a module with '
                '`num_classes` and `forward(features)`, which returns logits (b, num_classes, h, w)'
            )
        self.backbone = backbone
        self.decoder = decoder
        self.multiple_px = multiple_px
        self.num_classes = num_classes
        self.in_channels = len(mean)
        self.blueprint: Blueprint | None = None
        self.register_buffer('mean', torch.tensor(mean, dtype=torch.float32))
        self.register_buffer('std', torch.tensor(std, dtype=torch.float32))

    def extra_repr(self) -> str:
        """Counts, for `print`."""
        return ', '.join(model_counts(self).values())

    def _repr_html_(self) -> str:
        return model_table(self)

    def normalize(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b c h w']:
        """Subtract the mean and divide by the standard deviation of each band."""
        return (image - self.mean[:, None, None]) / self.std[:, None, None]

    def forward(self, image: Shaped[Tensor, 'b c h w']) -> Float[Tensor, 'b k h w']:
        """Logits of a batch of images.

        Args:
            image: Floating point, in [0, 1], of any size. Any precision is converted to the
                model's.

        Returns:
            Logits at the image's size.

        Raises:
            BandError: If the number of bands is not the model's.
            ShapeError: If the image is empty, not floating point, or not a batch.
            ConfigError: If the backbone does not return `Features`.
        """
        height, width = image.shape[-2:]
        padded = self._pad(image)
        logits = self.decoder(self._features(padded))
        if logits.shape[-2:] != padded.shape[-2:]:
            # Enlarged before the crop, because the image may end within a cell of the logits.
            logits = F.interpolate(logits, padded.shape[-2:], mode='bilinear', align_corners=False)
        logits = crop_to(logits, height, width)
        if classifies_masks(self):
            # a double stays one; bfloat16 would round their logarithms to two digits
            sums = logits.to(torch.promote_types(logits.dtype, torch.float32))
            logits = sums.clamp_min(_LEAST_SUM).log()
        return logits

    def losses(
        self,
        image: Shaped[Tensor, 'b c h w'],
        mask: Int64[Tensor, 'b mask_h mask_w'],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The decoder's own losses against a label map.

        Args:
            image: Floating point, in [0, 1], of any size.
            mask: Class ids at the image's size; 255 is ignored, and so is padding.
            generator: Source of the random points that losses sample, on the image's device.

        Returns:
            Weighted terms by name, to be summed.

        Raises:
            BandError: If the number of bands is not the model's.
            ShapeError: If the image is empty, not floating point or not a batch, or the mask has
                another shape or type.
            ConfigError: If the decoder has no losses.
        """
        if mask.shape != image.shape[:1] + image.shape[2:] or mask.dtype != torch.int64:
            raise ShapeError(
                f'mask of shape {tuple(mask.shape)} and {mask.dtype} does not fit the image: '
                f'expected {(len(image), *image.shape[2:])} and torch.int64'
            )
        return self.losses_of(self.encode(image), mask, generator=generator)

    def encode(self, image: Shaped[Tensor, 'b c h w']) -> Features:
        """Features of a batch of images, normalised and padded as in `forward`.

        Args:
            image: Floating point, in [0, 1], of any size.

        Raises:
            BandError: If the number of bands is not the model's.
            ShapeError: If the image is empty, not floating point, or not a batch.
            ConfigError: If the backbone does not return `Features`.
        """
        return self._features(self._pad(image))

    def losses_of(
        self,
        features: Features,
        mask: Int64[Tensor, 'b mask_h mask_w'],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The decoder's own losses for features that `encode` made.

        Args:
            features: Features of images of the mask's size.
            mask: Class ids; 255 is ignored, and so is padding.
            generator: Source of the random points that losses sample, on the image's device.

        Returns:
            Weighted terms by name, to be summed.

        Raises:
            ConfigError: If the decoder has no losses.
        """
        decoder: Any = self.decoder  # a Decoder
        if not hasattr(decoder, 'losses'):
            raise ConfigError(
                f'{type(decoder).__name__} has no losses: train it with a loss on its logits, or '
                'give it `losses(features, mask, *, generator)`, see Decoder'
            )
        height, width = mask.shape[-2:]
        right = to_multiple(width, self.multiple_px) - width
        down = to_multiple(height, self.multiple_px) - height
        # Mirrored pixels of the padding have no label of their own.
        labels = F.pad(mask, (0, right, 0, down), value=IGNORE_INDEX)
        terms: dict[str, Tensor] = decoder.losses(features, labels, generator=generator)
        return terms

    def _features(self, padded: Tensor) -> Features:
        features = self.backbone(padded)
        if not isinstance(features, Features):
            raise ConfigError(
                f'{type(self.backbone).__name__} returned {type(features).__name__}, expected '
                'Features: a backbone is a module with `channels` and `forward(image)`, which '
                'returns Features of four maps at strides 4, 8, 16 and 32'
            )
        return features

    def _pad(self, image: Tensor) -> Tensor:
        """Normalise an image and pad it to whole multiples."""
        if image.ndim != 4:
            raise ShapeError(
                f'image has shape {tuple(image.shape)}, expected a batch (b, c, h, w): pass '
                'image[None] for a single one'
            )
        if image.shape[1] != self.in_channels:
            raise BandError(
                f'image has {image.shape[1]} bands, the model takes {self.in_channels}: choose the '
                f'bands, or build the model with in_channels={image.shape[1]}'
            )
        if not image.is_floating_point():
            raise ShapeError(
                f'image is {image.dtype}, expected floats in [0, 1]: divide by the largest value '
                'of the data type (255 for uint8)'
            )
        if 0 in image.shape:
            raise ShapeError(f'image of shape {tuple(image.shape)} is empty')
        normalized = self.normalize(image).to(self.mean.dtype)  # images from numpy may be doubles
        return pad_to_multiple(normalized, self.multiple_px, self.multiple_px)


def classifies_masks(model: object) -> bool:
    """Whether a model's decoder returns sums of probabilities, whose logarithms are the logits.

    Their softmax is each class's share of the sums.
    """
    return isinstance(model, Segmenter) and bool(getattr(model.decoder, 'returns_sums', False))
