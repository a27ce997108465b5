"""Reads blocks at random places of a scene, in the values that models see."""

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.geometry import window_grid
from crossearth.radiometry import to_unit
from crossearth.rasters import Raster, RasterReader, gdal_environment

__all__ = ['BLOCK_PX', 'read_blocks']

BLOCK_PX = 2048


def read_blocks(
    raster: Raster, *, most: int, seed: int
) -> Iterator[tuple[Float[Tensor, 'c h w'], Bool[Tensor, 'h w']]]:
    """Blocks of 2048 px, or of the size of a smaller scene, that only overlap at its border.

    Args:
        raster: The scene.
        most: Maximum number of blocks.
        seed: Seed for the choice of blocks.

    Yields:
        Values in [0, 1], and True where a pixel has data.

    Raises:
        SceneError: If a block cannot be read.
        ConfigError: If values lie outside [0, 1] and no `value_range` was given.
    """
    grid = window_grid(0, raster.height, raster.width, tile_px=BLOCK_PX, stride_px=BLOCK_PX)
    order = torch.randperm(len(grid), generator=torch.Generator().manual_seed(seed))
    reader = RasterReader()
    try:
        for index in order[:most].tolist():
            with gdal_environment():
                values, valid = reader.read(raster, grid[index])
            try:
                image = to_unit(torch.from_numpy(values), value_range=raster.value_range)
            except ConfigError as error:
                raise ConfigError(f'{raster.path}: {error}') from error
            shown = torch.ones(image.shape[1:], dtype=torch.bool)
            yield image, shown if valid is None else torch.from_numpy(valid)
    finally:
        reader.close()
