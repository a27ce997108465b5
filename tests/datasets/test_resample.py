"""Positions are measured on ramps: a pixel's value is its own column and row."""

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject

from crossearth.datasets import FolderDataset, SceneDataset, read_scene, resampled_scene
from crossearth.datasets.resample import source_grid
from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.labels import ISPRS

HEIGHT, WIDTH = 300, 340
ROTATED = Affine.translation(500_000, 4_000_000) @ Affine.rotation(20) @ Affine.scale(2, -2)
PLACES = {
    'utm': ('EPSG:32633', Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000), 0.4),
    'coarser': ('EPSG:32633', Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000), 0.8),
    'another zone': ('EPSG:32632', Affine(2, 0, 750_000, 0, -2, 5_800_000), 1.7),
    'degrees': ('EPSG:4326', Affine(1e-4, 0, 13.4, 0, -1e-4, 52.5), 7.0),
    'web mercator': ('EPSG:3857', Affine(1.2, 0, 1_500_000, 0, -1.2, 8_400_000), 0.5),
    'south pole': ('EPSG:3031', Affine(25, 0, 100_000, 0, -25, 200_000), 20.0),
    'off the pole': ('EPSG:3031', Affine(6000, 0, -1_000_000, 0, -6000, 1_000_000), 4000.0),
    'rotated': ('EPSG:32618', ROTATED, 1.5),
    'south up': ('EPSG:32633', Affine(0.5, 0, 400_000, 0, 0.5, 5_800_000), 0.7),
}
SEAM = {
    'over the antimeridian': ('EPSG:4326', Affine(1e-4, 0, 179.99, 0, -1e-4, -17.0), 9.0),
    'before the antimeridian': ('EPSG:4326', Affine(1e-4, 0, -180.01, 0, -1e-4, -17.0), 9.0),
    'degrees from 0 to 360': ('EPSG:4326', Affine(1e-4, 0, 190.0, 0, -1e-4, 45.0), 9.0),
    'web mercator beyond 180': ('EPSG:3857', Affine(2, 0, 20_037_300, 0, -2, -1_900_000), 1.8),
}


def ramps():
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([cols + 0.5, rows + 0.5]).astype(np.float32)


def exact_positions(view, window):
    """Native columns and rows of the pixel centres, from PROJ alone."""
    cols, rows = np.meshgrid(
        np.arange(window.col, window.col + window.width) + 0.5,
        np.arange(window.row, window.row + window.height) + 0.5,
    )
    a, b, c, d, e, f = tuple(view.transform)[:6]
    to_native = Transformer.from_crs(view.crs, view.native.crs, always_xy=True)
    x, y = to_native.transform(a * cols + b * rows + c, d * cols + e * rows + f)
    turn = {4326: 360.0, 3857: 2 * np.pi * 6_378_137}.get(view.native.crs.to_epsg())
    if turn is not None:  # PROJ counts from -180 to 180, rasters run on
        left, _, right, _ = view.native.bounds_xy
        x = x - turn * np.round((x - (left + right) / 2) / turn)
    a, b, c, d, e, f = tuple(~view.native.transform)[:6]
    return np.stack([a * x + b * y + c, d * x + e * y + f])


def native_gsd(scene):
    lon, lat = Transformer.from_crs(scene.crs, 'EPSG:4326', always_xy=True).transform(
        *zip(
            *(scene.transform @ (scene.width / 2 + d, scene.height / 2) for d in (0, 1)),
            strict=True,
        )
    )
    return Geod(ellps='WGS84').inv(lon[0], lat[0], lon[1], lat[1])[2]


@pytest.mark.parametrize('place', PLACES)
def test_positions_are_within_a_quarter_pixel_of_the_exact_ones_and_of_gdal(write_raster, place):
    crs, transform, gsd_m = PLACES[place]
    path = write_raster('a.tif', ramps(), crs=crs, transform=transform)
    data = SceneDataset([read_scene(path)], ISPRS, gsd_m=gsd_m)
    view = data.scenes[0]
    window = Window(0, view.height // 3, view.width // 3, view.height // 3, view.width // 3)
    got = data[window]['image'].numpy()
    exact = exact_positions(view, window)
    limit = 0.25 * min(1.0, gsd_m / native_gsd(view.native))  # of the smaller of both pixels
    inside = (exact[0] > 1) & (exact[0] < WIDTH - 1) & (exact[1] > 1) & (exact[1] < HEIGHT - 1)
    assert inside.mean() > 0.5
    assert abs(got - exact)[:, inside].max() < 0.1 * limit
    with (
        rasterio.open(path) as source,
        WarpedVRT(
            source,
            crs=view.crs.to_wkt(),
            transform=view.transform,
            height=view.height,
            width=view.width,
            resampling=Resampling.bilinear,
            tolerance=0.01,
        ) as warped,
    ):
        gdal = warped.read(window=rasterio.windows.Window(
            window.col, window.row, window.width, window.height
        ))  # fmt: skip
    assert abs(got - gdal)[:, inside].max() < limit


@pytest.mark.parametrize('place', SEAM)
def test_scenes_go_on_across_the_antimeridian(write_raster, place):
    crs, transform, gsd_m = SEAM[place]
    scene = read_scene(write_raster('a.tif', ramps(), crs=crs, transform=transform))
    data = SceneDataset([scene], ISPRS, gsd_m=gsd_m)
    view = data.scenes[0]
    got = data[0]['image'].numpy()
    exact = exact_positions(view, data.whole(0))
    limit = 0.25 * min(1.0, gsd_m / native_gsd(scene))
    inside = (exact[0] > 1) & (exact[0] < WIDTH - 1) & (exact[1] > 1) & (exact[1] < HEIGHT - 1)
    assert inside.mean() > 0.9
    assert abs(got - exact)[:, inside].max() < 0.1 * limit
    gdal, _ = reproject(
        ramps(),
        np.zeros_like(got),
        src_transform=transform,
        src_crs=crs,
        dst_transform=view.transform,
        dst_crs=view.crs.to_wkt(),
        resampling=Resampling.bilinear,
    )
    if crs == 'EPSG:4326':  # GDAL does not follow Web Mercator beyond 180 degrees
        assert abs(got - gdal)[:, inside].max() < 0.25


def test_positions_hold_where_meridians_meet(write_raster):
    transform = Affine(1e-2, 0, 20, 0, -1e-2, 89.9)
    scene = read_scene(write_raster('a.tif', ramps(), crs='EPSG:4326', transform=transform))
    data = SceneDataset([scene], ISPRS, gsd_m=1500.0)
    grid = source_grid(data.scenes[0], data.whole(0))
    exact = exact_positions(data.scenes[0], data.whole(0))
    got = grid.positions.permute(2, 0, 1).numpy() + np.array(
        [[[grid.window.col]], [[grid.window.row]]]
    )
    inside = (exact[0] > 0) & (exact[0] < WIDTH) & (exact[1] > 0) & (exact[1] < HEIGHT)
    assert inside.sum() > 1000
    assert abs(got - exact)[:, inside].max() < 0.01


@pytest.mark.parametrize('place', ['degrees', 'web mercator', 'rotated', 'off the pole'])
def test_a_pixel_is_as_large_on_the_ground_as_was_asked_for(write_raster, place):
    crs, transform, gsd_m = PLACES[place]
    view = resampled_scene(
        read_scene(write_raster('a.tif', ramps(), crs=crs, transform=transform)), gsd_m
    )
    col, row = view.width // 2, view.height // 2
    lon, lat = Transformer.from_crs(view.crs, 'EPSG:4326', always_xy=True).transform(
        *zip(
            *(view.transform @ p for p in ((col, row), (col + 1, row), (col, row + 1))), strict=True
        )
    )
    _, _, sides = Geod(ellps='WGS84').inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    assert sides == pytest.approx([gsd_m] * 2, rel=2e-3)


def test_two_windows_agree_on_the_pixels_they_share(write_raster):
    crs, transform, gsd_m = PLACES['another zone']
    noise = np.random.default_rng(0).integers(0, 255, (3, HEIGHT, WIDTH), np.uint8)
    path = write_raster('a.tif', noise, crs=crs, transform=transform)
    data = SceneDataset([read_scene(path)], ISPRS, gsd_m=gsd_m)
    left, right = data[Window(0, 50, 40, 64, 64)], data[Window(0, 70, 60, 64, 64)]
    difference = left['image'][:, 20:, 20:].int() - right['image'][:, :44, :44].int()
    assert difference.abs().max() <= 12  # noise of 255, moved by less than 0.1 pixel
    assert difference.abs().float().mean() < 1


def test_larger_pixels_are_averages_not_samples(write_raster):
    checker = (np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2 * 200).astype(np.uint8)[None]
    data = SceneDataset([read_scene(write_raster('a.tif', checker))], ISPRS, gsd_m=2.0)
    image = data[Window(0, 10, 10, 50, 50)]['image']
    assert image.min() >= 99
    assert image.max() <= 101


def test_masks_take_the_nearest_class_and_the_corners_of_a_rotated_scene_have_none(write_raster):
    crs, transform, gsd_m = PLACES['rotated']
    classes = (np.indices((HEIGHT, WIDTH))[1] // 40 % 6).astype(np.uint8)[None]
    scene = read_scene(
        write_raster('a.tif', ramps(), crs=crs, transform=transform),
        write_raster('m.tif', classes, crs=crs, transform=transform),
    )
    data = SceneDataset([scene], ISPRS, gsd_m=gsd_m)
    sample = data[0]
    cols, rows = exact_positions(data.scenes[0], data.whole(0))
    inside = (cols >= 0) & (cols < WIDTH) & (rows >= 0) & (rows < HEIGHT)
    near = np.zeros_like(inside)
    for edge in (0, WIDTH):
        near |= abs(cols - edge) < 0.25
    for edge in (0, HEIGHT):
        near |= abs(rows - edge) < 0.25
    ids = sample['mask'].numpy()
    assert (ids[~inside & ~near] == 255).all()
    assert (sample['image'].numpy()[:, ~inside & ~near] == 0).all()
    expected = (np.clip(cols, 0, WIDTH - 1) // 40 % 6).astype(int)
    clear = inside & ~near & (abs((cols + 20) % 40 - 20) > 0.25)
    assert (ids[clear] == expected[clear]).all()
    assert clear.mean() > 0.5


def test_pixels_without_data_do_not_bleed_into_their_neighbours(write_raster):
    pixels = np.full((1, HEIGHT, WIDTH), 1000, np.uint16)
    pixels[:, :, 170:] = 0
    scene = read_scene(
        write_raster('a.tif', pixels, nodata=0),
        write_raster('m.tif', np.ones((1, HEIGHT, WIDTH), np.uint8)),
    )
    sample = SceneDataset([scene], ISPRS, gsd_m=0.4)[0]
    assert set(sample['image'].to(torch.int32).unique().tolist()) == {0, 1000}
    assert ((sample['mask'] == 1) == (sample['image'][0].to(torch.int32) == 1000)).all()


def test_nan_stays_where_it_is(write_raster):
    pixels = np.full((1, HEIGHT, WIDTH), 3.5, np.float32)
    pixels[0, 100:110, 100:110] = np.nan
    scene = read_scene(
        write_raster('a.tif', pixels), write_raster('m.tif', np.ones((1, HEIGHT, WIDTH), np.uint8))
    )
    sample = SceneDataset([scene], ISPRS, gsd_m=0.4)[0]
    assert not sample['image'].isnan().any()
    assert sample['image'][sample['image'] > 0].unique() == pytest.approx(3.5, rel=1e-6)
    holes = (sample['mask'][20:-20, 20:-20] == 255).sum().item()
    assert holes == pytest.approx(100 * (0.5 / 0.4) ** 2, rel=0.1)


def test_a_scene_of_that_pixel_size_is_read_as_it_is(write_raster):
    scene = read_scene(write_raster('a.tif', ramps()))
    assert resampled_scene(scene, 0.505) is scene
    assert resampled_scene(scene, 0.52).native is scene


def test_scenes_that_cannot_be_resampled_say_why(write_raster):
    placeless = read_scene(write_raster('p.tif', ramps(), crs=None))
    with pytest.raises(ConfigError, match=r"p\.tif: has no CRS and transform.*crs='EPSG"):
        resampled_scene(placeless, 1.0)
    scene = read_scene(write_raster('a.tif', ramps()))
    for wrong in (0.0, -1.0, float('nan')):
        with pytest.raises(ConfigError, match='expected metres, more than 0'):
            resampled_scene(scene, wrong)
    globe = read_scene(
        write_raster('g.tif', ramps(), crs='EPSG:4326', transform=Affine(1, 0, -170, 0, -0.5, 75))
    )
    with pytest.raises(ConfigError, match=r'g\.tif: spans .* km'):
        resampled_scene(globe, 1000.0)


def test_scenes_of_many_crss_types_and_band_orders_are_one_dataset(write_raster, tmp_path):
    values = np.stack([np.full((HEIGHT, WIDTH), v) for v in (10, 20, 30, 40)])
    crs, transform, _ = PLACES['web mercator']
    write_raster('x/a.tif', (values[:3] * 5).astype(np.uint8))
    write_raster('x/b_ir.tif', (values * 100).astype(np.uint16), nodata=0, photometric='MINISBLACK')
    floats = (values[:3] / 51).astype(np.float32)
    floats[:, :5] = np.nan
    write_raster('x/c.tif', floats, crs=crs, transform=transform)
    write_raster('x/d.png', (values[:3] * 5).astype(np.uint8), crs=None, driver='PNG')
    data = FolderDataset(
        tmp_path / 'x',
        labels=ISPRS,
        bands={'*_ir.tif': (3, 2, 1), '*': (1, 2, 3)},
        dtype='unit',
        value_range={'uint16': (0.0, 5100.0)},
    )
    batch = torch.stack([data[Window(i, 20, 20, 32, 32)]['image'] for i in range(4)])
    first = torch.tensor([50, 100, 150]) / 255
    expected = torch.stack([first, torch.tensor([3000, 2000, 1000]) / 5100, first, first])
    assert torch.allclose(batch, expected[:, :, None, None].expand_as(batch), atol=1e-6)
    with pytest.raises(ConfigError, match=r'd\.png: has no CRS'):
        FolderDataset(tmp_path / 'x', labels=ISPRS, bands=(1, 2, 3), gsd_m=0.5)


def test_the_real_scenes_of_many_grids_lie_where_gdal_puts_them(real_data):
    names = ('adelaide_2', 'cogeo', 'pix4d_alpha_nodata', 'RGB.byte')
    files = sorted(
        p for p in (real_data / 'georef').glob('*.tif') if p.stem.split('__')[-1] in names
    )
    assert len(files) == 4
    for path in files:
        scene = read_scene(path)
        view = resampled_scene(scene, 1.3 * native_gsd(scene))
        window = Window(0, view.height // 4, view.width // 4, 128, 128)
        exact = exact_positions(view, window)
        grid = source_grid(view, window)
        corner = np.array([grid.window.col, grid.window.row])
        assert abs(grid.positions.numpy() + corner - exact.transpose(1, 2, 0)).max() < 0.25
