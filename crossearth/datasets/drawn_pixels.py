"""The pixel size of each training window, drawn at random."""

import math

import numpy as np
from jaxtyping import Float64, Int64

from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.errors import ConfigError, WindowError
from crossearth.geometry import SAME_SIZE, scaled_start
from crossearth.rasters.scaled_grid import FINEST

__all__ = ['ONE_GSD', 'DrawnPixels', 'Span']

type Span = float | int | tuple[float, float]

ONE_GSD = 1.05
"""Scenes of one campaign differ by this much with latitude and height."""


class DrawnPixels:
    """Draws the pixel size of a window, log-uniformly: each octave is equally likely.

    Pass exactly one of the two ranges.

    Args:
        dataset: Scenes in their files' own pixels.
        gsd_m: Smallest and largest side of a pixel on the ground, in metres, or one for all.
        scale: Smallest and largest factor of the image's size. At 3, a window shows its content
            three times as large as the file does, in pixels a third the size of the file's own. At
            0.5 it shows it half as large, in pixels twice the size.

    Raises:
        ConfigError: If not exactly one range is given, it is empty, scenes are already resampled,
            or `gsd_m` is given and the ground sampling distance of a scene is not known. If pixels
            could be more than fifty times finer than those of a scene.
    """

    def __init__(
        self, dataset: SceneDataset, *, gsd_m: Span | None = None, scale: Span | None = None
    ) -> None:
        if (gsd_m is None) == (scale is None):
            raise ConfigError(
                f'gsd_m is {gsd_m} and scale is {scale}: expected exactly one; use gsd_m for '
                'georeferenced scenes, and scale for others'
            )
        self.name = 'scale' if gsd_m is None else 'gsd_m'
        self.span = _checked(self.name, scale if gsd_m is None else gsd_m)
        if dataset.gsd_m is not None or any(s.raster.native is not None for s in dataset.scenes):
            raise ConfigError(
                f'{self.name}={self.span} is set, but the dataset was opened with '
                f'gsd_m={dataset.gsd_m}, and windows are read from the pixels of the files: open '
                'the dataset without gsd_m'
            )
        self._images = [scene.image for scene in dataset.scenes]
        # a step is a size, in the units of the draw, divided by the scene's own
        self._own = np.ones((len(dataset.scenes), 2))
        if gsd_m is not None:
            self._own = np.array([_own_gsd(dataset, i) for i in range(len(dataset.scenes))])
        finest = self.limits()[0]
        if len(finest) and finest.min() < 1 / FINEST:
            worst = int(finest.min(axis=1).argmin())
            low, high = self.span
            if self.name == 'gsd_m':
                remedy = f'raise {low:g} to {self._own[worst].max() / FINEST:.3g}'
            else:
                remedy = f'lower {high:g} to {FINEST}'
            raise ConfigError(
                f'{self.name}={self.span} draws pixels of {finest.min():.2g} times those of '
                f'{self._images[worst]}: expected at least 1/{FINEST}, because finer ones show '
                f'nothing new: {remedy}, or leave this image out'
            )

    def draw(
        self, scene: Int64[np.ndarray, ' n'], rng: np.random.Generator
    ) -> Float64[np.ndarray, 'n 2']:
        """Rows and columns of its scene from one pixel of each window to the next.

        Args:
            scene: The scene of each window.
            rng: Gives one draw per window.
        """
        low, high = np.log(self.span)
        size = np.exp(low + (high - low) * rng.random(len(scene)))
        size = np.clip(size, *self.span)  # rounding may leave the range
        return self._steps(size[:, None], self._own[scene])

    def limits(self) -> Float64[np.ndarray, 'ends n 2']:
        """Steps of each scene at the smallest and at the largest pixels of the range."""
        # a larger scale means smaller pixels
        ends = self.span if self.name == 'gsd_m' else self.span[::-1]
        return np.stack([self._steps(np.array(end), self._own) for end in ends])

    def common(self) -> Float64[np.ndarray, 'n 2']:
        """Steps to pixels of one size for all scenes; 1 if theirs agree within 5 %."""
        size = np.sqrt(self._own.prod(axis=1))
        if size.max() <= size.min() * ONE_GSD:
            return np.ones_like(self._own)
        steps: Float64[np.ndarray, 'n 2'] = np.sqrt(size.min() * size.max()) / self._own
        return steps

    def check_sizes(
        self,
        corners: Int64[np.ndarray, 'n 2'],
        shapes: Int64[np.ndarray, 'n 2'],
        *,
        size_px: int,
        pad: bool,
    ) -> None:
        """Raise if a scene is smaller than a window of the largest pixels.

        Args:
            corners: First row and column of each scene in its image.
            shapes: Rows and columns of each scene.
            size_px: Side of the windows.
            pad: Raise only for scenes without a pixel.

        Raises:
            WindowError: If a scene is smaller.
        """
        steps = self.limits()[1]
        seen = scaled_start(corners + shapes, steps) - scaled_start(corners, steps)
        least = 1 if pad else size_px
        for image, shape, seen_hw, step in zip(self._images, shapes, seen, steps, strict=True):
            if seen_hw.min() < least:
                worst = float((shape / (least * step)).min())
                low, high = self.span
                most = high * worst if self.name == 'gsd_m' else low / worst
                raise WindowError(
                    f'{image}: {shape[0]}x{shape[1]} pixels are {seen_hw[0]}x{seen_hw[1]} at '
                    f'{self.name}={high if self.name == "gsd_m" else low:g}, smaller than a window '
                    f'of {size_px}: choose {"" if pad else "a smaller size_px, "}{self.name} '
                    f'{"up to" if self.name == "gsd_m" else "from"} {most:.3g}'
                    + ('' if pad else ', or pad=True')
                )

    def _steps(
        self, size: Float64[np.ndarray, '...'], own: Float64[np.ndarray, 'n 2']
    ) -> Float64[np.ndarray, 'n 2']:
        steps = size / own if self.name == 'gsd_m' else own / size
        same = (np.abs(steps - 1) <= SAME_SIZE).all(axis=1)
        return np.where(same[:, None], 1.0, steps)


def _checked(name: str, given: Span | None) -> tuple[float, float]:
    ends = (given, given) if isinstance(given, int | float) else given
    if (
        not isinstance(ends, tuple | list)
        or len(ends) != 2
        or not all(isinstance(end, int | float) for end in ends)
        or not 0 < ends[0] <= ends[1] < math.inf
    ):
        raise ConfigError(
            f'{name} is {given!r}: expected the smallest and the largest, both above 0, such as '
            f'{"(0.3, 2.0) metres" if name == "gsd_m" else "(0.5, 3.0)"}, or one number'
        )
    return float(ends[0]), float(ends[1])


def _own_gsd(dataset: SceneDataset, index: int) -> tuple[float, float]:
    """Metres on the ground between rows and between columns of a scene."""
    scene = dataset.scenes[index]
    own_m = scene.raster.gsd_m()
    if own_m is None:
        raise ConfigError(
            f'{scene.image}: the size of its pixels on the ground is not known, so windows '
            'cannot be read at a gsd_m: pass scale=(0.5, 3.0), which needs no georeference, or '
            'open the dataset with native_gsd_m, the size of its own pixels in metres'
        )
    across, down = own_m
    return down, across
