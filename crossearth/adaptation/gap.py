"""Measures, without labels, how far scenes are from the data that a model was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from crossearth.adaptation.method import averaging_norms, device_of
from crossearth.adaptation.norms import watching_norms
from crossearth.adaptation.windows import SceneWindows, SeenScene
from crossearth.appearance import Appearance, AppearanceMeter, band_distances
from crossearth.errors import SceneError
from crossearth.imagery import Imagery
from crossearth.models.moments import ChannelMoments
from crossearth.models.source import FeatureMeter
from crossearth.modes import evaluating
from crossearth.source_statistics import FeatureStatistics, feature_distances

__all__ = ['Gap', 'measure_gap']


@dataclass(frozen=True, slots=True)
class Gap:
    """How far scenes are from a model's source.

    All distances are √((μ − μₛ)² + (σ − σₛ)²) / σₛ, averaged over channels. This is Fréchet's
    distance between two Gaussians, in standard deviations of the source. Within one campaign,
    distances are about 0.1 to 0.4.

    Args:
        scenes: The scenes, and the pixel sizes at which the model sees them.
        looks: Appearance of their windows, as the model sees them.
        source: Appearance of the source; None if the model's file does not store it.
        source_gsd_m: Ground sampling distance of the source in metres; None if unknown.
        bands: Distance of each band; None if the appearance of the source is unknown.
        features: Distance of each feature map, fine to coarse; None if the file stores no features.
        norms: Distance between the inputs of each batch norm and the averages that it keeps, by
            name; empty for models without batch norms.
    """

    scenes: tuple[SeenScene, ...]
    looks: Appearance
    source: Appearance | None
    source_gsd_m: float | None
    bands: tuple[float, ...] | None
    features: tuple[float, ...] | None
    norms: dict[str, float]

    @property
    def sharpness_ratio(self) -> float | None:
        """Sharpness of the scenes divided by that of the source; None if one is unknown."""
        if self.source is None or not self.source.sharpness or self.looks.sharpness is None:
            return None
        return self.looks.sharpness / self.source.sharpness

    @property
    def norm_distance(self) -> float | None:
        """Mean distance over the batch norms; None if there are none."""
        return sum(self.norms.values()) / len(self.norms) if self.norms else None


@torch.no_grad()
def measure_gap(model: nn.Module, windows: SceneWindows, known: Imagery) -> Gap:
    """Measure how far windows are from the data that a model was trained on.

    Args:
        model: The model before it is adapted.
        windows: Windows of the scenes.
        known: What the model's file stores about its source.

    Raises:
        ConfigError: If the file does not match the model, or the scenes have other bands.
        SceneError: If the windows are too small for a feature map of the model.
    """
    meter, features = AppearanceMeter(), FeatureMeter(model)
    moments = {name: ChannelMoments() for name in averaging_norms(model)}
    for image, valid in windows:
        meter.add(image, valid)
        watching = features.watching(valid[None]), watching_norms(model, moments, valid)
        with evaluating(model), watching[0], watching[1]:
            model(image[None].to(device_of(model)))
    if not features.all_seen:
        largest = max(min(image.shape[-2:]) for image, _ in windows)
        raise SceneError(
            f'the windows are at most {largest} px across, too small for the model: no cell of its '
            'coarsest feature map has data in half of its pixels. Choose a larger tile_px, or '
            'larger scenes'
        )
    looks, source = meter.appearance(), known.source
    seen = features.statistics()
    return Gap(
        scenes=windows.scenes,
        looks=looks,
        source=None if source is None else source.appearance,
        source_gsd_m=known.gsd_m,
        bands=None if source is None else tuple(band_distances(source.appearance, looks)),
        features=None
        if source is None or not source.features
        else tuple(feature_distances(source.features, seen)),
        norms=_norm_distances(model, moments),
    )


def _norm_distances(model: nn.Module, moments: Mapping[str, ChannelMoments]) -> dict[str, float]:
    norms = averaging_norms(model)
    distances = {}
    for name, one in moments.items():
        mean, var = norms[name].running_mean, norms[name].running_var
        if one.count and mean is not None and var is not None:
            kept = FeatureStatistics(tuple(mean.tolist()), tuple(var.sqrt().tolist()))
            came = FeatureStatistics(tuple(one.mean.tolist()), tuple(one.var.sqrt().tolist()))
            distances[name] = feature_distances([kept], [came])[0]
    return distances
