"""Windows of unlabelled scenes, cut as for a map of these scenes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from crossearth.errors import BandError, ConfigError, SceneError
from crossearth.imagery import Imagery
from crossearth.inference.grid import Grid
from crossearth.inference.request import View
from crossearth.inference.scene import OpenScene
from crossearth.inference.seeing import see_scene
from crossearth.rasters import gdal_environment

__all__ = ['SceneWindows', 'SeenScene', 'read_windows']

_LEAST_DATA = 0.5  # share of a window's pixels that must have data
_TRIES = 16  # windows to read at most per window that is kept, as large scenes may be mostly empty

type _Values = Shaped[np.ndarray, 'c h w']
type _Valid = Bool[np.ndarray, 'h w']


@dataclass(frozen=True, slots=True)
class SeenScene:
    """A scene, and the pixel size at which the model sees it.

    Args:
        name: File name, without folders.
        gsd_m: Ground sampling distance of the file, in metres; None without a georeference.
        seen_gsd_m: Ground sampling distance of the pixels that the model sees, in metres; None if
            unknown.
    """

    name: str
    gsd_m: float | None
    seen_gsd_m: float | None


class SceneWindows:
    """Windows of scenes, kept in the data type of their files. They can be iterated repeatedly.

    Each is an image (c, h, w) in [0, 1] and a mask (h, w), True where it has data. The image is 0
    elsewhere.

    Args:
        scenes: The scenes that they come from.
        windows: Values and masks, each with the scene that it belongs to.
    """

    def __init__(
        self,
        scenes: Sequence[SeenScene],
        windows: Sequence[tuple[Float[Tensor, 'c _ _'], Bool[Tensor, '_ _']]],
    ) -> None:
        self.scenes = tuple(scenes)
        self._windows = tuple(windows)

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[tuple[Float[Tensor, 'c h w'], Bool[Tensor, 'h w']]]:
        return iter(self._windows)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, 'c h w'], Bool[Tensor, 'h w']]:
        return self._windows[index]


def read_windows(
    sources: Sequence[str | Path],
    known: Imagery,
    *,
    view: View = View(),
    tile_px: int = 512,
    max_windows: int = 64,
    seed: int = 0,
) -> SceneWindows:
    """Windows at random places of scenes, as `predict_scene` would cut them for the model.

    Bands, values, nodata and ground sampling distance are those of a map with the same `view`.
    Windows do not overlap, except the last ones along an axis. Those with data in less than half of
    their pixels are left out.

    Args:
        sources: Scenes, as paths or anything that GDAL opens.
        known: What the model was trained on, see `imagery_of`.
        view: How the model sees the scenes. If there are several, a stated pixel size is that of
            scenes without a georeference.
        tile_px: Side of a window; a smaller scene is one smaller window.
        max_windows: Number of windows to keep, from all scenes together.
        seed: Seed for the choice of windows.

    Raises:
        SceneError: If no window has data in half of its pixels.
        BandError: If scenes differ in their number of bands.
        ConfigError: If a number is below 1, or there are no scenes.
        CrossEarthError: As in `predict_scene`.
    """
    if tile_px < 1 or max_windows < 1 or not sources:
        raise ConfigError(
            f'got {len(sources)} scenes, tile_px={tile_px}, max_windows={max_windows}: expected at '
            'least 1 of each'
        )
    with ExitStack() as stack:
        stack.enter_context(gdal_environment())
        shown = view if len(sources) == 1 else view.for_many()
        seen = [see_scene(source, known, shown) for source in sources]
        scenes = [stack.enter_context(OpenScene(one.seen)) for one in seen]
        for scene in scenes:
            if len(scene.bands) != len(scenes[0].bands):
                raise BandError(
                    f'{scene.name} has {len(scene.bands)} bands, but {scenes[0].name} has '
                    f'{len(scenes[0].bands)}: choose bands that all scenes have (--bands), or '
                    'leave out one of them'
                )
        places = [
            (index, row, col)
            for index, scene in enumerate(scenes)
            for grid in [Grid(scene.height, scene.width, tile_px=tile_px, stride_px=tile_px)]
            for row in grid.row_starts
            for col in grid.col_starts
        ]
        draws = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(places), generator=draws)[: max_windows * _TRIES]
        windows: list[tuple[Tensor, Tensor]] = []
        for place in order.tolist():
            index, row, col = places[place]
            image, valid = _read(scenes[index], row, col, tile_px)
            if bool(valid.float().mean() >= _LEAST_DATA):
                windows.append((image, valid))
            if len(windows) == max_windows:
                break
        if not windows:
            raise SceneError(
                f'{scenes[0].name}: none of {len(order)} windows of {tile_px} px has data in half '
                'of its pixels: choose a smaller tile_px, or scenes with data'
            )
        named = [
            SeenScene(Path(str(source)).name, one.native.mean_gsd_m(), one.seen.mean_gsd_m())
            for source, one in zip(sources, seen, strict=True)
        ]
    return SceneWindows(named, windows)


def _read(scene: OpenScene, row: int, col: int, tile_px: int) -> tuple[Tensor, Tensor]:
    height, width = min(tile_px, scene.height), min(tile_px, scene.width)
    values: _Values = np.empty((len(scene.bands), height, width), scene.dtype)
    has_data = scene.read(row, row + height, col, col + width, out=values)
    image = torch.empty(values.shape)
    scene.scale(values, out=image.numpy())
    valid: _Valid = np.ones((height, width), bool) if has_data is None else has_data
    return image, torch.from_numpy(valid.copy())
