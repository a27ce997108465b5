"""Windows of whole pixels, and the affine maths that ties them to the ground.

Pixel coordinates are `(row, col)`, counted from the upper-left corner of the upper-left pixel, so
the centre of the first pixel is `(0.5, 0.5)`. As in rasterio, affine transforms map `(col, row)` to
`(x, y)` in the units of the CRS, in float64.
"""

import math
from dataclasses import dataclass

import numpy as np
from affine import Affine
from jaxtyping import Int64, Shaped

from crossearth.errors import ConfigError, WindowError

__all__ = [
    'SAME_SIZE',
    'ScaledWindow',
    'Window',
    'axis_starts',
    'bounds_of',
    'scaled_start',
    'window_grid',
    'window_transform',
]


SAME_SIZE = 0.02
"""Pixels whose sizes differ by a smaller share count as equal, and are not resampled."""


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A rectangle of whole pixels in one scene of a dataset.

    A window may reach beyond its scene. The part outside is padding, and its label is 255.

    Args:
        scene: Index of the scene in its dataset.
        row: First row; negative where the window starts above the scene.
        col: First column; negative where the window starts left of the scene.
        height: Number of rows, at least 1.
        width: Number of columns, at least 1.

    Raises:
        WindowError: If a value is not an integer, or a size or the scene index is out of range.

    Example:
        >>> Window(scene=0, row=10, col=20, height=4, width=6).stop
        (14, 26)
    """

    scene: int
    row: int
    col: int
    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ('scene', 'row', 'col', 'height', 'width'):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise WindowError(
                    f'Window {name} is {value!r} ({type(value).__name__}): expected whole pixels, '
                    f'so pass int({name})'
                )
        if self.scene < 0 or self.height < 1 or self.width < 1:
            raise WindowError(
                f'{self} is empty or has a negative scene: expected height and width of at least '
                '1, and scene of at least 0'
            )

    @property
    def stop(self) -> tuple[int, int]:
        """End row and end column of the window (exclusive)."""
        return self.row + self.height, self.col + self.width

    def inside(self, height: int, width: int) -> bool:
        """Whether the window lies completely inside a scene of `height` × `width` pixels."""
        return (
            self.row >= 0
            and self.col >= 0
            and self.row + self.height <= height
            and self.col + self.width <= width
        )


@dataclass(frozen=True, slots=True, order=True)
class ScaledWindow:
    """A window of one scene, counted in pixels that differ in size from the scene's.

    Args:
        window: The window in those pixels. Their first row and column begin where the image does.
            In a part of an image, counting starts at the first pixel whose centre is in the part.
        row_step: Rows of the scene per row of the window; 2 halves the resolution.
        col_step: Columns of the scene per column of the window.

    Raises:
        WindowError: If a step is not finite and positive.
    """

    window: Window
    row_step: float
    col_step: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(step) and step > 0 for step in (self.row_step, self.col_step)):
            raise WindowError(
                f'{self}: expected finite steps above 0, in scene pixels per window pixel'
            )

    @property
    def scene(self) -> int:
        """Index of the scene in its dataset."""
        return self.window.scene


def axis_starts(length_px: int, tile_px: int, stride_px: int) -> list[int]:
    """Starts of the tiles that cover an axis, `stride_px` apart; the last tile ends at the border.

    The last tile is shifted back so that none reaches beyond the axis. An axis shorter than a tile
    has one tile, at 0.

    Args:
        length_px: Length of the axis in pixels, at least 1.
        tile_px: Length of a tile in pixels, at least 1.
        stride_px: Pixels from one tile to the next, from 1 to `tile_px`.

    Returns:
        Increasing starts, in pixels.

    Raises:
        ConfigError: If a length is below 1, or the stride would leave gaps.

    Example:
        >>> axis_starts(1000, 512, 341)
        [0, 341, 488]
        >>> len(axis_starts(6000, 512, 512))
        12
    """
    if length_px < 1 or tile_px < 1:
        raise ConfigError(
            f'an axis of {length_px} px cannot be cut into tiles of {tile_px} px: expected at '
            'least 1 px for both'
        )
    if not 1 <= stride_px <= tile_px:
        raise ConfigError(
            f'a stride of {stride_px} px would leave gaps between tiles of {tile_px} px, or never '
            f'reach the end: choose 1 to {tile_px}'
        )
    last = max(length_px - tile_px, 0)
    return [*range(0, last, stride_px), last]


def window_grid(
    scene: int, height: int, width: int, *, tile_px: int, stride_px: int
) -> list[Window]:
    """Windows that cover a scene row by row, by `axis_starts` along each axis.

    Args:
        scene: Index of the scene.
        height: Rows of the scene.
        width: Columns of the scene.
        tile_px: Side of a window; a scene shorter than this along an axis gets windows of its size.
        stride_px: Pixels from one window to the next.

    Returns:
        Windows inside the scene, in row-major order.

    Example:
        >>> [(w.row, w.col) for w in window_grid(0, 4, 5, tile_px=4, stride_px=4)]
        [(0, 0), (0, 1)]
    """
    tile_height, tile_width = min(tile_px, height), min(tile_px, width)
    return [
        Window(scene=scene, row=row, col=col, height=tile_height, width=tile_width)
        for row in axis_starts(height, tile_px, stride_px)
        for col in axis_starts(width, tile_px, stride_px)
    ]


def scaled_start(
    own: Shaped[np.ndarray, '...'] | int, step: Shaped[np.ndarray, '...'] | float
) -> Int64[np.ndarray, '...']:
    """First pixels of another grid whose centres are at or after a border between pixels.

    Args:
        own: The border, counted in pixels of an axis.
        step: Pixels of this axis per pixel of the other grid; both begin at the same place.

    Example:
        >>> [int(scaled_start(own, 4)) for own in (0, 9, 10, 11, 20)]
        [0, 2, 2, 3, 5]
    """
    # the centre of pixel i lies at (i + 0.5) × step
    return np.asarray(np.ceil(np.asarray(own) / step - 0.5), np.int64)  # scalars become arrays


def bounds_of(transform: Affine, *, height: int, width: int) -> tuple[float, float, float, float]:
    """`(left, bottom, right, top)` of a raster, at the outer edges of its pixels.

    Args:
        transform: `(col, row)` → `(x, y)`.
        height: Rows.
        width: Columns.

    Example:
        >>> bounds_of(Affine(0.5, 0, 100.0, 0, -0.5, 200.0), height=4, width=6)
        (100.0, 198.0, 103.0, 200.0)
    """
    corners = [transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    xs, ys = zip(*corners, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def window_transform(transform: Affine, row: int, col: int) -> Affine:
    """The transform of a window, computed in float64 from that of its scene.

    Args:
        transform: Scene transform, `(col, row)` → `(x, y)`.
        row: First row of the window.
        col: First column of the window.

    Returns:
        Transform whose `(0, 0)` is the window's upper-left corner.

    Example:
        >>> window_transform(Affine(0.5, 0, 100.0, 0, -0.5, 200.0), 4, 2).c
        101.0
    """
    return transform @ Affine.translation(col, row)
