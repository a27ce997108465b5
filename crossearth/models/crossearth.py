"""CrossEarth: one encoder, a decoder that segments and one that restores masked images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crossearth.errors import ConfigError, ShapeError
from crossearth.models.backbones.rein_vit import ReinViT
from crossearth.models.features import Backbone, Features
from crossearth.models.padding import crop_to, to_multiple
from crossearth.models.segmenter import Segmenter

__all__ = ['CrossEarth']


class CrossEarth(Segmenter):
    """A segmentation model that can also restore images, for multi-task training.

    `model(image)` and `model.losses(image, mask)` segment, with the geospatial parts of the
    encoder. `model.restore(image)` is the flow of masked image modelling, without those parts.

    Args:
        encoder: Backbone shared by both flows.
        decoder: Features → logits.
        restorer: Features, size → image; None for a model that only segments.
        mean: Mean per band, in [0, 1].
        std: Standard deviation per band, in [0, 1].
        multiple_px: Images are padded to a multiple of this.

    Source:
        CrossEarth, section 3.1 and 3.3.

    Example:
        >>> import torch
        >>> from crossearth.models import crossearth_vit_small
        >>> model = crossearth_vit_small(6, img_size=64)
        >>> image = torch.rand(1, 3, 50, 60)
        >>> model.restore(image).shape
        torch.Size([1, 3, 50, 60])
    """

    def __init__(
        self,
        encoder: Backbone,
        decoder: nn.Module,
        restorer: nn.Module | None = None,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        multiple_px: int = 32,
    ) -> None:
        super().__init__(encoder, decoder, mean=mean, std=std, multiple_px=multiple_px)
        self.restorer = restorer

    def restore(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b c h w']:
        """Restore an image; the result is normalised, so compare it with `model.normalize(target)`.

        Args:
            image: Floating point, in [0, 1], of any size; masked or styled.

        Returns:
            Prediction at the image's size, in units of the standard deviation of each band.

        Raises:
            ConfigError: If the model was built without a restorer.
            BandError: If the number of bands is not the model's.
            ShapeError: If the image is empty.
        """
        features = self._encode_damaged(self._pad(image))
        return self.restorations([features], (image.shape[-2], image.shape[-1]))[0]

    def encode_flows(
        self, image: Float[Tensor, 'b c h w'], damaged: Sequence[Float[Tensor, '_ c h w']]
    ) -> tuple[Features, list[Features]]:
        """Features of images to segment and of images to restore, in one pass where possible.

        Up to rounding, these are `encode(image)` and, for each batch of `damaged`, the output of
        the encoder without its geospatial parts. Where batch norms are in training mode, every
        batch has its own pass, because their result depends on the other images of the batch. The
        running averages of the encoder's batch norms then come from `image` alone, not from masked
        styled images.

        Args:
            image: Images to segment, in [0, 1].
            damaged: Batches to restore, masked or styled, of the same height and width.

        Returns:
            Features for `losses_of`, and features of each batch for `restorations`.

        Raises:
            BandError: If the number of bands is not the model's.
            ShapeError: If images differ in size.
        """
        sizes = [len(image), *map(len, damaged)]
        if any(batch.shape[1:] != image.shape[1:] for batch in damaged):
            raise ShapeError(
                f'images are {tuple(image.shape[1:])}, those to be restored are '
                f'{[tuple(batch.shape[1:]) for batch in damaged]}: expected the same shape'
            )
        padded = self._pad(torch.cat([image, *damaged]))
        if not self._has_batch_statistics():
            first, *others = self._encode_together(padded, sizes)
            return first, others
        to_segment, *to_restore = torch.split(padded, sizes)
        features = self.backbone(to_segment)
        with _averages_kept(self.backbone):
            # Only clean images may enter the running averages, which inference uses.
            return features, [self._encode_damaged(batch) for batch in to_restore]

    def restorations(
        self, features: Sequence[Features], size_hw: tuple[int, int]
    ) -> list[Float[Tensor, '_ c h w']]:
        """Restored images, normalised, from the features of several batches.

        Args:
            features: Features of masked or styled images, see `encode_flows`.
            size_hw: Rows and columns of the images.

        Returns:
            One batch of images for each batch of features, in units of the standard deviation of
            each band.

        Raises:
            ConfigError: If the model was built without a restorer.
        """
        if self.restorer is None:
            raise ConfigError('this model has no restorer: build it with one to restore images')
        height, width = size_hw
        padded_hw = (to_multiple(height, self.multiple_px), to_multiple(width, self.multiple_px))
        if len(features) < 2 or self._has_batch_statistics():
            return [crop_to(self.restorer(each, padded_hw), height, width) for each in features]
        restored = crop_to(self.restorer(_join(features), padded_hw), height, width)
        return list(torch.split(restored, [len(each.maps[0]) for each in features]))

    def _encode_damaged(self, padded: Tensor) -> Features:
        """Features of masked or styled images, without the geospatial parts."""
        encoder = self.backbone
        if isinstance(encoder, ReinViT):
            features: Features = encoder(padded, geospatial=False)
            return features
        return encoder(padded)  # it has no geospatial part to switch off

    def _encode_together(self, padded: Tensor, sizes: Sequence[int]) -> list[Features]:
        """Features of several batches in one pass; all but the first are masked or styled."""
        encoder = self.backbone
        first, damaged = torch.split(padded, [sizes[0], sum(sizes[1:])])
        if not isinstance(encoder, ReinViT) or not len(damaged):
            return _split(encoder(padded), sizes)
        features, others = encoder.forward_both(first, damaged)
        return [features, *_split(others, sizes[1:])]

    def _has_batch_statistics(self) -> bool:
        """Whether the output for one image depends on the other images of its batch."""
        parts = [part for part in (self.backbone, self.restorer) if isinstance(part, nn.Module)]
        return any(
            isinstance(module, _BatchNorm) and module.training
            for part in parts
            for module in part.modules()
        )


@contextmanager
def _averages_kept(encoder: Backbone) -> Iterator[None]:
    """Batch norms in training mode normalise by the batch but do not update their averages."""
    modules = encoder.modules() if isinstance(encoder, nn.Module) else ()
    norms = [
        module
        for module in modules
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    try:
        for norm in norms:
            # Not momentum = 0, with which num_batches_tracked would still count.
            norm.track_running_stats = False
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _split(features: Features, sizes: Sequence[int]) -> list[Features]:
    """Features of consecutive parts of a batch."""
    levels = [torch.split(level, list(sizes)) for level in features.maps]
    # Queries come from the adapter's tokens, not from images, so all parts have the same.
    return [Features(maps, features.queries) for maps in zip(*levels, strict=True)]


def _join(parts: Sequence[Features]) -> Features:
    """Features of several batches, joined to those of one."""
    first, second, third, fourth = (
        torch.cat(levels) for levels in zip(*(part.maps for part in parts), strict=True)
    )
    return Features((first, second, third, fourth))
