"""Unlabelled images of the place to map, in addition to a labelled source."""

import dataclasses
import warnings
import zlib
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from crossearth.datasets.samplers import RandomWindowSampler
from crossearth.datasets.scene import Scene
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.seen import seen_scene, warn_of_wide_types
from crossearth.datasets.window_loader import WindowLoader
from crossearth.errors import BandError, ConfigError
from crossearth.geometry import ScaledWindow, Window
from crossearth.imagery import Imagery

__all__ = ['PairedLoader', 'TargetWindows', 'unlabelled_scenes']

type Sample = dict[str, Tensor]

_LEAST_VALID = 0.5  # smallest share of a window with data
_ATTEMPTS = 10
_OTHERS_SEED = 0x5EA5


def unlabelled_scenes(
    target: SceneDataset | Mapping[str, SceneDataset],
    train: SceneDataset,
    *,
    imagery: Imagery,
) -> SceneDataset:
    """Scenes of a target without their masks, as a model of the source sees them.

    Images are float32 in [0, 1]. Scenes are seen at the ground sampling distance of the source, as
    when they are mapped, unless their dataset was opened with a `gsd_m`.

    Args:
        target: The scenes; a mapping names several places.
        train: The labelled source.
        imagery: What the source is seen at, and its value range, for datasets that do not scale
            their pixels and scenes that state no range.

    Returns:
        One dataset, whose scenes have no labels.

    Raises:
        ConfigError: If there are no datasets, or a scene cannot be resampled.
        BandError: If a dataset has another number of bands than the source.
    """
    named = target if isinstance(target, Mapping) else {'': target}
    if not named:
        raise ConfigError('target is empty: expected a dataset, or {name: dataset}')
    scenes: list[Scene] = []
    unplaced: list[str] = []
    for name, dataset in named.items():
        if dataset.num_bands != train.num_bands:
            raise BandError(
                f'target {name or dataset.scenes[0].image}: has {dataset.num_bands} bands, the '
                f'training data {train.num_bands}: choose bands=(...) so that they agree'
            )
        # a dataset that scales its pixels states its own range
        assumed = None if dataset.dtype == 'unit' else imagery.value_range
        for scene in dataset.scenes:
            value_range = scene.raster.value_range or assumed
            raster = dataclasses.replace(scene.raster, value_range=value_range)
            seen = dataclasses.replace(
                scene, raster=raster, labels=None, domain=name or scene.domain
            )
            if dataset.gsd_m is None and scene.raster.gsd_m() is None:
                unplaced.append(scene.image)
            scenes.append(seen if dataset.gsd_m is not None else seen_scene(seen, imagery))
    warn_of_wide_types('target', scenes, source=train.scenes)
    if unplaced and imagery.gsd_m is not None:
        warnings.warn(
            f'{unplaced[0]}: is not georeferenced ({len(unplaced)} of {len(scenes)} '
            f'target scenes), but the source is seen at {imagery.gsd_m:.4g} m per pixel: it is '
            'read in its own pixels; state their size (native_gsd_m=0.21), georeference it, or '
            'make sure that they are as large',
            stacklevel=2,
        )
    weights = target.domain_weights if isinstance(target, SceneDataset) else None
    return SceneDataset(scenes, train.labels, dtype='unit', domain_weights=weights)


class TargetWindows(Dataset[Sample]):
    """Windows of unlabelled scenes: `image` (c,h,w) in [0, 1], and `valid` (h,w), where data is.

    A window with data in less than half of its pixels is drawn again, from all scenes, up to ten
    times in all; the one with most data is used. Scenes that are mostly empty thus do not fill
    batches. Which windows are drawn depends only on the first one, not on the process that reads it
    or on what was read before.

    Args:
        scenes: Result of `unlabelled_scenes`.
        size_px: Side of the windows.
        border: How windows meet borders, see `RandomWindowSampler`.
        pad: Whether scenes smaller than a window are padded.
    """

    def __init__(
        self,
        scenes: SceneDataset,
        size_px: int,
        *,
        border: Literal['pad', 'shift'] = 'shift',
        pad: bool = False,
    ) -> None:
        self.scenes = scenes
        self._others = RandomWindowSampler(
            scenes, size_px, length=_ATTEMPTS - 1, seed=_OTHERS_SEED, border=border, pad=pad
        )

    def __getitem__(self, window: Window) -> Sample:
        best, share = self._read(window)
        if share >= _LEAST_VALID:
            return best
        place = f'{window.scene} {window.row} {window.col}'
        # not `hash`, whose value for a string differs from process to process
        for other in self._others.windows(zlib.crc32(place.encode())):
            sample, other_share = self._read(other)
            if other_share > share:
                best, share = sample, other_share
            if share >= _LEAST_VALID:
                break
        return best

    def _read(self, window: Window | ScaledWindow) -> tuple[Sample, float]:
        image, valid = self.scenes.read_image(window)
        known = torch.ones(image.shape[-2:], dtype=torch.bool)
        if valid is not None:
            known = torch.from_numpy(valid)
        return {'image': image, 'valid': known}, float(known.float().mean())


class PairedLoader:
    """Batches of the source, each with one of the target: `target_image` and `target_valid`.

    Args:
        source: Labelled windows.
        target: Unlabelled windows, with as many batches per epoch.
    """

    def __init__(self, source: WindowLoader, target: WindowLoader) -> None:
        self.source = source
        self.target = target

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Sample]:
        for batch, unlabelled in zip(self.source, self.target, strict=True):
            yield {**batch, **{f'target_{name}': unlabelled[name] for name in unlabelled}}

    def state_dict(self) -> dict[str, int]:
        """How many batches of each were handed out."""
        return {**self.source.state_dict(), 'target_batches': self.target.batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after this many batches."""
        self.source.load_state_dict(state)
        self.target.batches = state['target_batches']
