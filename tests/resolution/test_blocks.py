import numpy as np
import pytest
import torch

from crossearth.errors import ConfigError
from crossearth.rasters import describe_raster
from crossearth.resolution import blocks
from crossearth.resolution.blocks import read_blocks


def test_the_mean_distance_lies_between_columns_and_rows(write_raster):
    pixels = np.zeros((1, 8, 8), np.uint8)
    tied = describe_raster(write_raster('a.tif', pixels))
    assert tied.mean_gsd_m() == pytest.approx(0.5, 1e-3)
    assert describe_raster(write_raster('b.tif', pixels, crs=None)).mean_gsd_m() is None


def test_blocks_hold_each_pixel_once_and_are_chosen_by_the_seed(write_raster, monkeypatch):
    monkeypatch.setattr(blocks, 'BLOCK_PX', 4)
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    raster = describe_raster(write_raster('a.tif', pixels))
    every = [image for image, _ in read_blocks(raster, most=9, seed=0)]
    values = torch.cat([image.flatten() for image in every]) * 255
    assert sorted(values.round().int().tolist()) == list(range(64))
    (one,) = read_blocks(raster, most=1, seed=0)
    assert torch.equal(one[0], every[0])


def test_pixels_without_data_are_told(write_raster):
    pixels = np.full((1, 4, 4), 7, np.uint8)
    pixels[0, 1, 2] = 0
    raster = describe_raster(write_raster('a.tif', pixels, nodata=0))
    ((_, valid),) = read_blocks(raster, most=1, seed=0)
    assert (~valid).nonzero().tolist() == [[1, 2]]


def test_values_without_a_known_range_are_refused_by_name(write_raster):
    raster = describe_raster(write_raster('a.tif', np.full((1, 4, 4), 300, np.float32)))
    with pytest.raises(ConfigError, match=r'a\.tif.*value_range'):
        next(read_blocks(raster, most=1, seed=0))
