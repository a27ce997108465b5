"""What is found in a folder of images and masks."""

import numpy as np
import pytest
from affine import Affine

from crossearth.survey.report import findings
from crossearth.survey.scenes import gather
from tests.conftest import PLACE


def test_masks_on_a_part_of_their_image_are_named_with_their_share(tmp_path, write_raster):
    """One mask is as large as its image, one covers a quarter, and one has pixels twice as wide."""
    pixels = np.random.default_rng(0).integers(1, 255, (3, 80, 80), dtype=np.uint8)
    mask = np.tile(np.arange(80, dtype=np.uint8) % 2, (80, 1))[None]
    for name in 'abc':
        write_raster(f'images/{name}.tif', pixels)
    write_raster('masks/a.tif', mask)
    write_raster('masks/b.tif', mask[:, :40, :40], transform=PLACE @ Affine.translation(20, 30))
    write_raster('masks/c.tif', mask[:, :40, :40], transform=PLACE @ Affine.scale(2))
    found = gather('source', f'{tmp_path}/images', f'{tmp_path}/masks', progress=False)
    shares = {look.name: look.covered for look in found.looks}
    assert shares == {'a.tif': 1, 'b.tif': pytest.approx(0.25, abs=0.02), 'c.tif': 1}
    (line,) = [line for line in findings([found]) if 'part of their image' in line]
    assert line == (
        '  masks that lie on a part of their image (at least 25% of it; the rest has no label): '
        '1: b.tif'
    )
