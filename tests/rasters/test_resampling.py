"""Positions are measured on ramps: a pixel's value is its own column and row."""

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject

from crossearth.datasets import FolderDataset, SceneDataset, read_scene
from crossearth.errors import ConfigError
from crossearth.geometry import Window, bounds_of
from crossearth.labels import ISPRS
from crossearth.rasters import RasterReader, describe_raster, resampled
from crossearth.rasters.ground_grid import on_local_projection
from crossearth.rasters.positions import FRACTIONS, Positions
from crossearth.rasters.resampling import resample_box

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
    'sheared': ('EPSG:32618', ROTATED @ Affine.shear(4), 1.5),
    'south up': ('EPSG:32633', Affine(0.5, 0, 400_000, 0, 0.5, 5_800_000), 0.7),
}
SEAM = {
    'over the antimeridian': ('EPSG:4326', Affine(1e-4, 0, 179.99, 0, -1e-4, -17.0), 9.0),
    'before the antimeridian': ('EPSG:4326', Affine(1e-4, 0, -180.01, 0, -1e-4, -17.0), 9.0),
    'degrees from 0 to 360': ('EPSG:4326', Affine(1e-4, 0, 190.0, 0, -1e-4, 45.0), 9.0),
    'web mercator beyond 180': ('EPSG:3857', Affine(2, 0, 20_037_300, 0, -2, -1_900_000), 1.8),
}

TURNED = ('rotated', 'sheared', 'another zone')


def ramps():
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([cols + 0.5, rows + 0.5]).astype(np.float32)


def positions(view, window):
    """Native columns and rows of the pixel centres, as the reader takes them."""
    found = RasterReader()._positions(view, view.native, window)
    return np.stack([found.cols, found.rows]) / FRACTIONS


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
        native = view.native
        left, _, right, _ = bounds_of(native.transform, height=native.height, width=native.width)
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


LARGEST_ERROR_PX = 0.01 + 0.5 / FRACTIONS  # of interpolation, and of rounding


@pytest.mark.parametrize('place', [*PLACES, *SEAM])
def test_positions_are_those_of_the_projection(write_raster, place):
    crs, transform, gsd_m = (PLACES | SEAM)[place]
    view = on_local_projection(
        describe_raster(write_raster('a.tif', ramps(), crs=crs, transform=transform)), gsd_m
    )
    window = Window(0, -3, 5, view.height, view.width)
    got, exact = positions(view, window), exact_positions(view, window)
    inside = (exact[0] > 0) & (exact[0] < WIDTH) & (exact[1] > 0) & (exact[1] < HEIGHT)
    assert inside.mean() > 0.5
    # of the smaller of both pixels
    limit = LARGEST_ERROR_PX * min(1.0, gsd_m / native_gsd(view.native)) + 1 / FRACTIONS
    assert abs(got - exact)[:, inside].max() < limit


@pytest.mark.parametrize('place', [*PLACES, 'over the antimeridian', 'degrees from 0 to 360'])
def test_images_are_those_of_gdals_warper(write_raster, place):
    """GDAL takes the average of larger pixels, and interpolates smaller ones.

    Values differ by what 0.03 pixel moves them: positions are interpolated to within 0.01 pixel,
    and averages of turned pixels are taken over boxes that are turned differently.
    """
    crs, transform, gsd_m = (PLACES | SEAM)[place]
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    waves = 120 + 60 * np.sin(rows / 7) + 50 * np.cos(cols / 9)  # at most 14 from pixel to pixel
    path = write_raster('a.tif', waves[None].astype(np.float32), crs=crs, transform=transform)
    raster = describe_raster(path)
    view = on_local_projection(raster, gsd_m)
    across, down = raster.gsd_m()
    if (across < gsd_m) != (down < gsd_m):
        pytest.skip('GDAL cannot average along one axis and interpolate along the other')
    got, shown = RasterReader().read(view, Window(0, 0, 0, view.height, view.width))
    with rasterio.open(path) as source:
        gdal = np.full(got.shape, np.nan, np.float32)
        reproject(
            source.read(),
            gdal,
            src_transform=transform,
            src_crs=crs,
            dst_transform=view.transform,
            dst_crs=view.crs.to_wkt(),
            resampling=Resampling.average if gsd_m > across else Resampling.bilinear,
            dst_nodata=np.nan,
            tolerance=0.0,
        )
    exact = exact_positions(view, Window(0, 0, 0, view.height, view.width))
    inner = (exact[0] > 2) & (exact[0] < WIDTH - 2) & (exact[1] > 2) & (exact[1] < HEIGHT - 2)
    assert inner.mean() > 0.5
    assert shown is None or shown[inner].all()
    assert abs(got - gdal)[:, inner].max() < (0.6 if place in TURNED else 14 * 0.03)


def test_positions_hold_where_meridians_meet(write_raster):
    transform = Affine(1e-2, 0, 20, 0, -1e-2, 89.9)
    scene = read_scene(write_raster('a.tif', ramps(), crs='EPSG:4326', transform=transform))
    data = SceneDataset([scene], ISPRS, gsd_m=1500.0)
    view = data.scenes[0].raster
    got, exact = positions(view, data.whole(0)), exact_positions(view, data.whole(0))
    inside = (exact[0] > 0) & (exact[0] < WIDTH) & (exact[1] > 0) & (exact[1] < HEIGHT)
    assert inside.sum() > 1000
    assert abs(got - exact)[:, inside].max() < 0.01


@pytest.mark.parametrize('place', ['degrees', 'web mercator', 'rotated', 'sheared', 'off the pole'])
def test_a_pixel_is_as_large_on_the_ground_as_was_asked_for(write_raster, place):
    crs, transform, gsd_m = PLACES[place]
    view = resampled(
        describe_raster(write_raster('a.tif', ramps(), crs=crs, transform=transform)), gsd_m
    )
    col, row = view.width // 2, view.height // 2
    lon, lat = Transformer.from_crs(view.crs, 'EPSG:4326', always_xy=True).transform(
        *zip(
            *(view.transform @ p for p in ((col, row), (col + 1, row), (col, row + 1))), strict=True
        )
    )
    _, _, sides = Geod(ellps='WGS84').inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    assert sides == pytest.approx([gsd_m] * 2, rel=2e-3)


@pytest.mark.parametrize('place', ['another zone', 'sheared'])
def test_two_windows_agree_on_the_pixels_they_share(write_raster, place):
    crs, transform, gsd_m = PLACES[place]
    noise = np.random.default_rng(0).integers(0, 255, (3, HEIGHT, WIDTH), np.uint8)
    path = write_raster('a.tif', noise, crs=crs, transform=transform)
    data = SceneDataset([read_scene(path)], ISPRS, gsd_m=gsd_m)
    left, right = data[Window(0, 50, 40, 64, 64)], data[Window(0, 70, 60, 64, 64)]
    difference = left['image'][:, 20:, 20:].int() - right['image'][:, :44, :44].int()
    assert difference.abs().max() == 0


def test_larger_pixels_are_averages_not_samples(write_raster):
    checker = (np.indices((HEIGHT, WIDTH)).sum(axis=0) % 2 * 200).astype(np.uint8)[None]
    data = SceneDataset([read_scene(write_raster('a.tif', checker))], ISPRS, gsd_m=2.0)
    image = data[Window(0, 10, 10, 50, 50)]['image']
    assert image.min() >= 99
    assert image.max() <= 101


def test_masks_take_the_nearest_class_and_the_corners_of_a_turned_scene_have_none(write_raster):
    crs, transform, gsd_m = PLACES['sheared']
    classes = (np.indices((HEIGHT, WIDTH))[1] // 40 % 6).astype(np.uint8)[None]
    scene = read_scene(
        write_raster('a.tif', ramps(), crs=crs, transform=transform),
        write_raster('m.tif', classes, crs=crs, transform=transform),
    )
    data = SceneDataset([scene], ISPRS, gsd_m=gsd_m)
    sample = data[0]
    cols, rows = exact_positions(data.scenes[0].raster, data.whole(0))
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
        raster = describe_raster(path)
        view = resampled(raster, 1.3 * native_gsd(raster))
        window = Window(0, view.height // 4, view.width // 4, 128, 128)
        assert abs(positions(view, window) - exact_positions(view, window)).max() < 0.02


def boxes(seed, side, *, height=40, width=50, window=(17, 23)):
    """Positions at random places, turned a little, that overhang a source here and there."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: window[0], : window[1]] + 0.5
    turn = rng.uniform(-0.4, 0.4)
    step = max(side, 0.3)
    at = [
        rng.uniform(-3, 20) + step * (cols * np.cos(turn) - rows * np.sin(turn)),
        rng.uniform(-3, 15) + step * (cols * np.sin(turn) + rows * np.cos(turn)),
    ]
    cols, rows = (np.rint(np.clip(p, -1e4, 1e4) * FRACTIONS).astype(np.int32) for p in at)
    sides = None if side <= 1 else np.full(window, round(side * FRACTIONS), np.int32)
    return Positions(cols, rows, sides, sides)


def average_by_definition(pixels, valid, positions):
    """The slow way: each box separately, with whole pixels and fractions."""
    height, width = pixels.shape[1:]
    image = np.zeros((len(pixels), *positions.cols.shape))
    shown = np.zeros(positions.cols.shape, bool)
    for i in np.ndindex(shown.shape):
        col, row = int(positions.cols[i]), int(positions.rows[i])
        if not (0 <= col < width * FRACTIONS and 0 <= row < height * FRACTIONS):
            continue
        side = FRACTIONS if positions.widths is None else int(positions.widths[i])
        weights = np.zeros((height, width), np.int64)
        low = [place - side // 2 for place in (row, col)]
        for r in range(
            max(low[0] // FRACTIONS, 0), min((low[0] + side - 1) // FRACTIONS + 1, height)
        ):
            for c in range(
                max(low[1] // FRACTIONS, 0), min((low[1] + side - 1) // FRACTIONS + 1, width)
            ):
                covered = [
                    min(start + side, (at + 1) * FRACTIONS) - max(start, at * FRACTIONS)
                    for start, at in zip(low, (r, c), strict=True)
                ]
                weights[r, c] = covered[0] * covered[1] * bool(valid[r, c])
        nearest = bool(valid[row // FRACTIONS, col // FRACTIONS])
        shown[i] = nearest if positions.widths is None else weights.any()
        if shown[i]:
            image[:, *i] = (pixels * weights).sum(axis=(1, 2)) / weights.sum()
    return image, shown


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    side=st.sampled_from([0.4, 1.0, 1.3, 2.0, 3.7]),
    dtype=st.sampled_from(['uint8', 'uint16', 'int16', 'int32', 'float32', 'float64']),
    holes=st.booleans(),
)
def test_pixels_are_averages_over_boxes_by_definition(seed, side, dtype, holes):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 250, (2, 40, 50)).astype(dtype)
    valid = rng.random((40, 50)) > 0.2 if holes else np.ones((40, 50), bool)
    positions_ = boxes(seed, side)
    got, shown = resample_box(pixels, valid if holes else None, positions_, top=0, left=0)
    expected, known = average_by_definition(pixels.astype(np.float64), valid, positions_)
    np.testing.assert_array_equal(np.ones(known.shape, bool) if shown is None else shown, known)
    if pixels.dtype.kind == 'f':
        # at most 25 terms of at most 250 are summed in float32
        limit = 250 * 25 * np.finfo(np.float32).eps
        assert abs(got - np.where(known, expected, 0)).max() < limit
    else:
        whole = np.rint(expected)
        tied = abs(abs(expected - np.floor(expected)) - 0.5) < 1e-3  # the last bit decides
        assert (got == np.where(known, whole, 0))[:, ~tied.any(axis=0)].all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    side=st.sampled_from([0.3, 0.7, 1.0]),
    top=st.integers(0, 9),
    left=st.integers(0, 9),
)
def test_the_fast_path_for_bytes_gives_the_same_bytes(seed, side, top, left):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (3, 40, 50), np.uint8)
    positions_ = boxes(seed, side)
    # a block that begins further in, away from which all boxes lie that its first pixels miss
    away = (positions_.rows < (top + 1) * FRACTIONS) | (positions_.cols < (left + 1) * FRACTIONS)
    inside = positions_.inside(40, 50)
    away &= True if inside is None else inside
    rows, cols = (
        np.where(away, FRACTIONS * 20, plane) for plane in (positions_.rows, positions_.cols)
    )
    positions_ = Positions(cols.astype(np.int32), rows.astype(np.int32), None, None)
    fast, shown = resample_box(pixels[:, top:, left:], None, positions_, top=top, left=left)
    # told that every pixel holds data, instead of knowing it, the general way is taken
    plain, known = resample_box(pixels, np.ones((40, 50), bool), positions_, top=0, left=0)
    np.testing.assert_array_equal(fast, plain)
    inside = positions_.inside(40, 50)
    for found in (shown, known):
        assert (found is None) == (inside is None)
        if inside is not None:
            np.testing.assert_array_equal(found, inside)
