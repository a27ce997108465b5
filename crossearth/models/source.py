"""Measures statistics of the source domain, for the file of a model to remember."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from crossearth.appearance import AppearanceMeter
from crossearth.calibration import CalibrationMeter
from crossearth.models.features import Features
from crossearth.models.moments import ChannelMoments
from crossearth.models.segmenter import Segmenter
from crossearth.modes import evaluating
from crossearth.source_statistics import FeatureStatistics, SourceStatistics

__all__ = [
    'FeatureMeter',
    'SourceMeter',
    'segmenter_backbone',
    'shows_whole',
    'valid_as_padded',
]


class SourceMeter:
    """Sees windows of the source one by one and gives the statistics to remember.

    Args:
        model: Images (b, c, h, w) in [0, 1] → logits (b, k, h, w). It runs in eval mode on its
            own device, and its mode is restored afterwards.
        seed: Chooses the labelled pixels on which confidence is measured.
    """

    def __init__(self, model: nn.Module, *, seed: int = 0) -> None:
        self._model = model
        parameter = next(model.parameters(), None)
        self._device = torch.device('cpu') if parameter is None else parameter.device
        self._appearance = AppearanceMeter()
        self._features = FeatureMeter(model)
        self._calibration = CalibrationMeter(seed=seed)

    @torch.no_grad()
    def add_image(
        self, image: Float[Tensor, 'c h w'], valid: Bool[Tensor, 'h w'] | None = None
    ) -> None:
        """Add an image of the training data, in [0, 1]; `valid` is True where it has data."""
        self._appearance.add(image, valid)
        batch_valid = None if valid is None else valid[None]
        with evaluating(self._model), self._features.watching(batch_valid):
            self._model(image[None].to(self._device))

    @torch.no_grad()
    def add_labelled(self, image: Float[Tensor, 'c h w'], mask: Int64[Tensor, 'h w']) -> None:
        """Add a held-out labelled image; 255 in the mask is ignored."""
        with evaluating(self._model):
            logits = self._model(image[None].to(self._device))
        self._calibration.add(logits[0], mask)

    def statistics(self) -> SourceStatistics:
        """All that was measured.

        Raises:
            ConfigError: If no image was added.
        """
        return SourceStatistics(
            self._appearance.appearance(),
            self._features.statistics(),
            self._calibration.calibration(),
        )


class FeatureMeter:
    """Moments of the maps that the backbone of a `Segmenter` gives, while watched."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._backbone = segmenter_backbone(model)
        self._moments: list[ChannelMoments] = []

    @contextmanager
    def watching(self, valid: Bool[Tensor, 'b h w'] | None = None) -> Iterator[None]:
        """Count the features of all calls inside; `valid` is True where images have data.

        With `valid`, only calls on these images as a whole count. Calls on parts, such as the
        details of `HRDA`, do not: their place, and so their valid pixels, is unknown.
        """

        def count(_module: nn.Module, inputs: tuple[Tensor, ...], output: Features) -> None:
            if valid is not None and not shows_whole(inputs[0], valid):
                return
            if not self._moments:
                self._moments = [ChannelMoments() for _ in output.maps]
            for moments, values in zip(self._moments, output.maps, strict=True):
                moments.add(values, valid)

        if self._backbone is None:
            yield
            return
        if valid is not None:
            valid = valid_as_padded(self._model, valid)
        handle = self._backbone.register_forward_hook(count)
        try:
            yield
        finally:
            handle.remove()

    @property
    def all_seen(self) -> bool:
        """Whether each map had a cell with data in half of its pixels; True before any call."""
        return all(one.count for one in self._moments)

    def statistics(self) -> tuple[FeatureStatistics, ...]:
        """Statistics of each map; empty for other models, or before any call."""
        return tuple(
            FeatureStatistics(tuple(one.mean.tolist()), tuple(one.var.sqrt().tolist()))
            for one in self._moments
            if one.count
        )


def segmenter_backbone(model: nn.Module) -> nn.Module | None:
    """The backbone of a `Segmenter`, to watch its passes; None for other models."""
    if isinstance(model, Segmenter) and isinstance(model.backbone, nn.Module):
        return model.backbone
    return None


def shows_whole(images: Tensor, valid: Bool[Tensor, 'b h w']) -> bool:
    """Whether images match `valid` in number and proportions, as the details of `HRDA` do not."""
    (count, height, width), (rows, cols) = valid.shape, images.shape[-2:]
    return len(images) == count and rows * width == cols * height


def valid_as_padded(
    model: nn.Module, valid: Bool[Tensor, '*b h w']
) -> Bool[Tensor, '*b padded_h padded_w']:
    """Which pixels have data, at the size that a `Segmenter` pads images to for its layers.

    Example:
        >>> model = nn.Identity()
        >>> valid_as_padded(model, torch.ones(3, 5, dtype=torch.bool)).shape
        torch.Size([3, 5])
    """
    if not isinstance(model, Segmenter):
        return valid
    height, width = valid.shape[-2:]
    # Padded with False: what the model mirrors there is not data of the image.
    return F.pad(valid, (0, -width % model.multiple_px, 0, -height % model.multiple_px))
