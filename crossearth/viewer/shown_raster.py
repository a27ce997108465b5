"""A raster as coloured pictures: an overview of the whole, and tiles."""

import io
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import rasterio
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from crossearth.rasters.opening import damaged

__all__ = ['TILE_PX', 'ShownRaster']

TILE_PX = 256
"""Side of a tile, in pixels."""

type Paint = Callable[
    [Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w']], UInt8[np.ndarray, 'h w 4']
]

_WEBP_QUALITY = 85


@dataclass(frozen=True, slots=True)
class ShownRaster:
    """A raster on the grid of a map, and how it is coloured. Threads may share it.

    Args:
        name: Name of the layer, one plain word.
        dataset: The open raster; whoever opened it also closes it.
        bands: Bands to read, counted from 1.
        paint: Values and where they are valid → red, green, blue, alpha.
        resampling: How several pixels become one.
        is_photograph: Whether its pictures may be compressed lossily.
    """

    name: str
    dataset: rasterio.DatasetReader | WarpedVRT
    bands: tuple[int, ...]
    paint: Paint
    resampling: Resampling
    is_photograph: bool
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def colours(self, window: Window, height: int, width: int) -> UInt8[np.ndarray, 'h w 4']:
        """Red, green, blue and alpha of a window, resampled to a size.

        Raises:
            SceneError: If it cannot be read.
        """
        values, valid = self.values(window, height, width)
        return self.paint(values, valid)

    def values(
        self, window: Window, height: int, width: int
    ) -> tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w']]:
        """Values of a window resampled to a size, and True where there is data.

        Raises:
            SceneError: If it cannot be read.
        """
        try:
            with self._lock:  # GDAL handles must not be used by several threads at once
                values = self.dataset.read(
                    self.bands,
                    window=window,
                    out_shape=(len(self.bands), height, width),
                    resampling=self.resampling,
                )
                mask = self.dataset.dataset_mask(window=window, out_shape=(height, width))
        except RasterioIOError as error:
            raise damaged(self.dataset.name, f'{window}', error) from error
        return values, mask > 0

    def overview(self, most_px: int) -> UInt8[np.ndarray, 'h w 4']:
        """The whole raster, at most `most_px` pixels long and wide."""
        height, width = fitting(self.dataset.height, self.dataset.width, most_px)
        return self.colours(Window(0, 0, self.dataset.width, self.dataset.height), height, width)

    def tile(self, level: int, col: int, row: int) -> bytes | None:
        """A picture of `TILE_PX` pixels as WebP, each covering 2**level by 2**level raster pixels.

        Returns:
            The tile; None outside the raster.
        """
        step = TILE_PX << level
        left, top = col * step, row * step
        across = min(step, self.dataset.width - left)
        down = min(step, self.dataset.height - top)
        if across <= 0 or down <= 0:
            return None
        height, width = math.ceil(down / 2**level), math.ceil(across / 2**level)
        # a whole tile also at the border, because the browser stretches smaller pictures
        canvas = np.zeros((TILE_PX, TILE_PX, 4), np.uint8)
        canvas[:height, :width] = self.colours(Window(left, top, across, down), height, width)
        return self.encoded(canvas)

    def encoded(self, colours: UInt8[np.ndarray, 'h w 4']) -> bytes:
        """A picture as WebP, lossless unless it is a photograph."""
        stream = io.BytesIO()
        quality = {'quality': _WEBP_QUALITY} if self.is_photograph else {'lossless': True}
        Image.fromarray(colours).save(stream, 'WEBP', **quality)
        return stream.getvalue()


def fitting(height: int, width: int, most_px: int) -> tuple[int, int]:
    """Size of a picture of a raster whose longer side is at most `most_px`.

    Example:
        >>> fitting(300, 1200, 400), fitting(30, 40, 400)
        ((100, 400), (30, 40))
    """
    factor = min(most_px / max(height, width), 1.0)
    return max(round(height * factor), 1), max(round(width * factor), 1)
