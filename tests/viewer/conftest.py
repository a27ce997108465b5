import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

NAMES = ('background', '<b>roof</b>', 'tree', 'car')
COLOURS = {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 200, 0), 3: (0, 0, 255), 255: (0, 0, 0, 0)}
PLACE = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)


def write(path, pixels, *, names=(), scale=None, **profile):
    """A raster of (c, h, w), with the names and colours of a map if there are names."""
    options = {'crs': 'EPSG:32633', 'transform': PLACE} | profile
    count, height, width = pixels.shape
    with rasterio.open(
        path, 'w', driver='GTiff', count=count, height=height, width=width, dtype=pixels.dtype,
        **options,
    ) as file:  # fmt: skip
        file.write(pixels)
        if names:
            file.write_colormap(1, COLOURS)
            file.update_tags(**{f'CLASS_{index}': name for index, name in enumerate(names)})
        if scale is not None:
            file.scales = (scale,) * count
    return path


def quarters(height, width):
    """Class ids 0 and 1 above, 2 and 3 below; 255 in the corner at the bottom right."""
    rows, cols = np.ogrid[:height, :width]
    ids = ((rows >= height // 2) * 2 + (cols >= width // 2)).astype(np.uint8)
    ids[-height // 8 :, -width // 8 :] = 255
    return ids[None]


@pytest.fixture(scope='session')
def files(tmp_path_factory):
    """A map of 80 x 120 px with its scene and its confidence."""
    folder = tmp_path_factory.mktemp('view')
    rows, cols = np.mgrid[:80, :120].astype(np.uint8)
    write(folder / 'scene.tif', np.stack([rows, cols, 255 - rows]), photometric='rgb')
    write(folder / 'map.tif', quarters(80, 120), names=NAMES, nodata=255)
    certain = np.where(quarters(80, 120) == 255, 255, 127).astype(np.uint8)
    write(folder / 'confidence.tif', certain, nodata=255, scale=1 / 254)
    return folder
