"""Scenes as a trained model sees them: in the pixel sizes of its training."""

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from torch import nn

from crossearth.datasets.cut import resampled_scene
from crossearth.datasets.drawn_pixels import ONE_GSD, DrawnPixels
from crossearth.datasets.resizing import resize_range
from crossearth.datasets.scene import Scene
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.scene_index import SceneIndex
from crossearth.errors import ConfigError
from crossearth.geometry import SAME_SIZE
from crossearth.imagery import Imagery

__all__ = [
    'check_augment_gsd',
    'describe_learnt',
    'describe_pixels',
    'learnt_gsd',
    'ranged_scenes',
    'seen_scene',
    'seen_scenes',
    'warn_of_wide_types',
]


def learnt_gsd(
    train: SceneDataset, drawn: DrawnPixels | None, augment: nn.ModuleList, *, size_px: int
) -> tuple[float | None, tuple[float, float] | None]:
    """The ground sampling distances that training sees, in metres.

    Args:
        train: The scenes.
        drawn: What draws the pixel sizes of windows; None for those of the scenes.
        augment: Augmentations of training batches, see `resize_range`.
        size_px: Side of the windows.

    Returns:
        The middle of the range in octaves, and the finest and coarsest, or None for a single one.
        None and None if the size of a scene is not known.
    """
    if drawn is not None and drawn.name == 'gsd_m':
        known: tuple[float, float] | None = drawn.span
    else:
        known = train.gsd_range_m if train.gsd_m is None else (train.gsd_m, train.gsd_m)
    if known is None:
        return None, None
    least, most = resize_range(augment, size_px=size_px)
    if drawn is not None and drawn.name == 'scale':
        least, most = least * drawn.span[0], most * drawn.span[1]
    low, high = known[0] / most, known[1] / least
    middle = min(max(math.sqrt(low * high), low), high)  # rounding may move the root outside
    return middle, None if high <= low * ONE_GSD else (low, high)


def check_augment_gsd(augment: nn.ModuleList, seen: Sequence[float | None]) -> None:
    """Refuse augmentations that were told another pixel size than that of the windows.

    Args:
        augment: Augmentations of training batches. Those with an attribute `gsd_m`, such as
            `SensorSimulation`, measure in metres on the ground.
        seen: Smallest and largest size of the windows' pixels, in metres; None is not checked.

    Raises:
        ConfigError: If a distance differs by more than 2 %, or windows have several.
    """
    for module in augment.modules():
        stated = getattr(module, 'gsd_m', None)
        if not isinstance(stated, int | float):
            continue
        for gsd_m in seen:
            if gsd_m is None or abs(stated / gsd_m - 1) <= SAME_SIZE:
                continue
            sizes = ' to '.join(sorted({f'{size:.3g}' for size in seen if size}, key=float))
            raise ConfigError(
                f'{type(module).__name__} was told that pixels have {stated:.3g} m, but windows '
                f'are read at {sizes} m, so its metres would be wrong: pass it the size of the '
                'windows, or leave its gsd_m out, so that it measures in pixels'
            )


def warn_of_wide_types(name: str, scenes: Sequence[Scene], *, source: Sequence[Scene]) -> None:
    """Warn of integers that are divided by the largest value of a type that they may not fill.

    Args:
        name: What the scenes are for.
        scenes: The scenes, of which those that state a `value_range` are as they should be.
        source: Scenes of the source, whose integers without a range are not warned of again.
    """
    usual = {scene.raster.dtype for scene in source if scene.raster.value_range is None}
    wide = [
        scene.raster
        for scene in scenes
        if scene.raster.value_range is None
        and scene.raster.dtype not in {'uint8', *usual}
        and 'int' in scene.raster.dtype  # floats are checked when they are read
    ]
    if wide:
        dtype = wide[0].dtype
        warnings.warn(
            f'{wide[0].path}: holds {dtype} pixels ({len(wide)} of {len(scenes)} {name} scenes) '
            f'without a value_range, so they are divided by {np.iinfo(dtype).max}, which makes '
            '12 bits in uint16 almost black: pass value_range=(low, high) to the dataset, also if '
            'values do reach that far',
            stacklevel=3,
        )


def describe_learnt(imagery: Imagery) -> str:
    """The size of the pixels that training sees, in words."""
    if imagery.gsd_m is None:
        return (
            'pixels of unknown size on the ground: the file of the model will not state it, and '
            'scenes to test or map are seen in their own pixels'
        )
    span = imagery.gsd_range_m or (imagery.gsd_m,)
    return f'pixels of {" to ".join(f"{size:.3g}" for size in span)} m'


def seen_scenes(
    dataset: SceneDataset, imagery: Imagery, *, gsd_m: float | Literal['native'] | None = None
) -> SceneDataset:
    """A dataset whose scenes, and their masks, are seen as `crossearth predict` shows them.

    A scene of unknown pixel size on the ground is seen in its own pixels, and so is a dataset that
    was opened with a `gsd_m`.

    Args:
        dataset: The scenes; parts of scenes stay the same parts.
        imagery: What the model was trained on.
        gsd_m: Side of a pixel in metres for all scenes of known size, `'native'` for their own
            pixels, None to follow `imagery`.

    Returns:
        The dataset itself, or a copy of it with other scenes.

    Raises:
        ConfigError: If a scene cannot be resampled.
    """
    if gsd_m == 'native' or dataset.gsd_m is not None:
        return dataset
    known = imagery if gsd_m is None else Imagery(gsd_m=gsd_m)
    return _of_scenes(dataset, [seen_scene(scene, known) for scene in dataset.scenes])


def ranged_scenes(dataset: SceneDataset, imagery: Imagery) -> SceneDataset:
    """A dataset whose scenes state which values become 0 and 1, as `crossearth predict` knows them.

    A range that a scene states itself has priority over that of the training imagery.

    Args:
        dataset: The scenes. If the dataset scales its images itself, it is not changed.
        imagery: What the model was trained on.

    Returns:
        The dataset itself, or a copy of it with other scenes.
    """
    if dataset.dtype == 'unit' or imagery.value_range is None:
        return dataset
    return _of_scenes(dataset, [_ranged(scene, imagery.value_range) for scene in dataset.scenes])


def _ranged(scene: Scene, value_range: tuple[float, float]) -> Scene:
    if scene.raster.value_range is not None:
        return scene
    return replace(scene, raster=replace(scene.raster, value_range=value_range))


def _of_scenes(dataset: SceneDataset, scenes: list[Scene]) -> SceneDataset:
    """A copy of a dataset with other scenes; the dataset itself if they are its own."""
    if all(now is before for now, before in zip(scenes, dataset.scenes, strict=True)):
        return dataset
    seen = copy.copy(dataset)
    seen._index = SceneIndex(scenes)
    return seen


def seen_scene(scene: Scene, imagery: Imagery) -> Scene:
    """A scene as `crossearth predict` shows it; the scene itself if it is not resampled."""
    own_m = scene.raster.gsd_m()
    gsd_m = None if own_m is None or scene.raster.native is not None else imagery.gsd_for(own_m)
    seen = scene if gsd_m is None else resampled_scene(scene, gsd_m)
    return scene if seen.raster is scene.raster else seen


def describe_pixels(before: SceneDataset, seen: SceneDataset) -> str:
    """The pixel size at which a dataset is seen, and that of its own pixels, in words."""
    if before.gsd_m is not None:
        return f'{before.gsd_m:.3g} m, as it was opened'
    if seen is before:
        return f'its own pixels ({_sizes(before)})'
    return f'{_sizes(seen)} (own pixels {_sizes(before)})'


def _sizes(dataset: SceneDataset) -> str:
    sizes = [scene.raster.mean_gsd_m() for scene in dataset.scenes]
    known = sorted((f'{size:.3g}' for size in sizes if size is not None), key=float)
    if not known:
        return 'of unknown size on the ground'
    span = f'{known[0]} m' if known[0] == known[-1] else f'{known[0]} to {known[-1]} m'
    lacking = len(sizes) - len(known)
    return f'{span}, {lacking} of {len(sizes)} scenes unknown' if lacking else span
