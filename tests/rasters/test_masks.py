"""Masks lie where their georeference says, each pixel of the image takes the nearest of theirs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.warp import Resampling, calculate_default_transform, reproject

from crossearth.datasets import SceneDataset, read_scene
from crossearth.errors import LabelError
from crossearth.geometry import Window
from crossearth.labels import ISPRS
from crossearth.rasters import Mask, RasterReader

type Write = Callable[..., Path]
HEIGHT, WIDTH = 120, 150
PLACE = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
IMAGE = np.random.default_rng(0).integers(1, 255, (3, HEIGHT, WIDTH), np.uint8)
IDS = np.repeat(np.repeat(np.arange(180).reshape(12, 15) % 6, 10, 0), 10, 1).astype(np.uint8)


def labels_of(image: Path, mask: Path, *, gsd_m: float | None = None) -> np.ndarray:
    data = SceneDataset([read_scene(image, mask)], ISPRS, gsd_m=gsd_m)
    ids: np.ndarray = data[0]['mask'].numpy()
    return ids


def test_a_mask_thirty_metres_east_is_read_thirty_metres_east(write_raster: Write) -> None:
    image = write_raster('a.tif', IMAGE)
    mask = write_raster('m.tif', IDS[None], transform=PLACE @ Affine.translation(60, 0))
    ids = labels_of(image, mask)
    assert (ids[:, :60] == 255).all()
    np.testing.assert_array_equal(ids[:, 60:], IDS[:, :-60])


@pytest.mark.parametrize('crs', [None, 'EPSG:32633'])
def test_a_transform_without_a_crs_counts_in_that_of_the_image(
    write_raster: Write, crs: str | None
) -> None:
    """World files name no CRS: the image's is in its file, or an argument."""
    image = write_raster('a.tif', IMAGE) if crs is None else world(write_raster, 'a', IMAGE, PLACE)
    shifted = world(write_raster, 'm', IDS[None], PLACE @ Affine.translation(60, 0))
    ids = SceneDataset([read_scene(image, shifted, crs=crs)], ISPRS)[0]['mask'].numpy()
    assert (ids[:, :60] == 255).all()
    np.testing.assert_array_equal(ids[:, 60:], IDS[:, :-60])

    half = world(write_raster, 'h', IDS[None], PLACE @ Affine.translation(0.5, 0.5))
    ids = SceneDataset([read_scene(image, half, crs=crs)], ISPRS)[0]['mask'].numpy()
    np.testing.assert_array_equal(ids, IDS)


def test_masks_that_lie_elsewhere_are_refused_where_nothing_names_a_crs(
    write_raster: Write,
) -> None:
    image = world(write_raster, 'a', IMAGE, PLACE)
    shifted = world(write_raster, 'm', IDS[None], PLACE @ Affine.translation(60, 0))
    with pytest.raises(LabelError, match=r'm\.tif: .* 60\.0 pixels from its image .*crs='):
        read_scene(image, shifted)
    scene = read_scene(image, world(write_raster, 's', IDS[None], PLACE))
    np.testing.assert_array_equal(SceneDataset([scene], ISPRS)[0]['mask'].numpy(), IDS)


def world(write_raster: Write, stem: str, pixels: np.ndarray, place: Affine) -> Path:
    """A file that a world file places, without a CRS."""
    path = write_raster(f'{stem}.tif', pixels, crs=None)
    centre = place @ Affine.translation(0.5, 0.5)
    numbers = (getattr(centre, letter) for letter in 'adbecf')
    path.with_suffix('.tfw').write_text('\n'.join(f'{number:.10f}' for number in numbers))
    return path


def test_a_mask_of_another_resolution_and_extent_falls_on_its_pixels(write_raster: Write) -> None:
    image = write_raster('a.tif', IMAGE)
    coarse = IDS[5::10, 5::10]  # one pixel per patch, 5 m wide
    mask = write_raster('m.tif', coarse[None], transform=PLACE @ Affine.scale(10))
    np.testing.assert_array_equal(labels_of(image, mask), IDS)
    fine = np.repeat(np.repeat(IDS, 3, 0), 3, 1)
    mask = write_raster('f.tif', fine[None], transform=PLACE @ Affine.scale(1 / 3))
    np.testing.assert_array_equal(labels_of(image, mask), IDS)
    data = SceneDataset([read_scene(image, mask)], ISPRS)
    part = data[Window(0, -4, 100, 30, 70)]['mask'].numpy()
    np.testing.assert_array_equal(part[4:, :50], IDS[:26, 100:])
    assert (part[:4] == 255).all()
    assert (part[:, 50:] == 255).all()


def in_degrees(ids: np.ndarray) -> tuple[np.ndarray, Affine]:
    bounds = rasterio.transform.array_bounds(*ids.shape, PLACE)
    transform, width, height = calculate_default_transform(
        'EPSG:32633', 'EPSG:4326', ids.shape[1], ids.shape[0], *bounds, resolution=1e-6
    )
    warped = np.full((1, height, width), 255, np.uint8)
    reproject(
        ids, warped[0], src_transform=PLACE, src_crs='EPSG:32633', dst_transform=transform,
        dst_crs='EPSG:4326', resampling=Resampling.nearest, dst_nodata=255, tolerance=0.0,
    )  # fmt: skip
    return warped, transform


@pytest.mark.parametrize('gsd_m', [None, 0.7])
def test_a_mask_of_another_crs_falls_on_its_pixels(
    write_raster: Write, gsd_m: float | None
) -> None:
    image = write_raster('a.tif', IMAGE)
    pixels, transform = in_degrees(IDS)
    mask = write_raster('m.tif', pixels, crs='EPSG:4326', transform=transform)
    same = write_raster('s.tif', IDS[None])
    ids, expected = labels_of(image, mask, gsd_m=gsd_m), labels_of(image, same, gsd_m=gsd_m)
    assert (ids == expected).mean() > 0.97  # pixels of 0.1 m: only those on an edge may differ
    inner = expected[3:-3, 3:-3] != 255
    clear = inner & (ids[3:-3, 3:-3] != 255)
    assert clear.sum() > 0.99 * inner.sum()


def test_a_mask_on_another_continent_is_refused_with_both_places(write_raster: Write) -> None:
    image = write_raster('a.tif', IMAGE)
    there = Affine(5e-6, 0, -60.0, 0, -5e-6, -3.0)
    mask = write_raster('m.tif', IDS[None], crs='EPSG:4326', transform=there)
    with pytest.raises(
        LabelError, match=r'm\.tif: lies at .*longitude -59\.99.*a\.tif at .*longitude 13\.5'
    ):
        read_scene(image, mask)


def test_sizes_have_to_agree_only_where_nothing_places_the_mask(write_raster: Write) -> None:
    image = write_raster('a.tif', IMAGE)
    with pytest.raises(LabelError, match=r'mask is 119x150 .* the mask has no georeference'):
        read_scene(image, write_raster('m.tif', IDS[None, :-1], crs=None))
    placeless = write_raster('p.tif', IMAGE, crs=None)
    with pytest.raises(LabelError, match=r'mask is 119x150 .* the image has no georeference'):
        read_scene(placeless, write_raster('n.tif', IDS[None, :-1]))
    assert (labels_of(placeless, write_raster('o.tif', IDS[None])) == IDS).all()


def test_a_mask_of_the_same_pixels_is_read_pixel_by_pixel(write_raster: Write) -> None:
    image = write_raster('a.tif', IMAGE)
    shifted = PLACE @ Affine.translation(0.02, -0.01)
    scene = read_scene(image, write_raster('m.tif', IDS[None], transform=shifted))
    assert scene.labels is not None
    assert scene.labels.on_image  # type: ignore[union-attr]  # a mask, not vectors


def test_a_mask_that_is_far_finer_is_read_in_pieces(
    write_raster: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    coarse = PLACE @ Affine.scale(10)
    image = write_raster('a.tif', IMAGE[:, ::10, ::10], transform=coarse)
    mask = write_raster('m.tif', IDS[None])
    expected = labels_of(image, mask)
    np.testing.assert_array_equal(expected, IDS[5::10, 5::10])

    read: list[Window] = []
    real = RasterReader._raw_mask

    def spy(self: RasterReader, labels: Mask, window: Window, *, coloured: bool) -> np.ndarray:
        read.append(window)
        return real(self, labels, window, coloured=coloured)

    monkeypatch.setattr(RasterReader, '_raw_mask', spy)
    monkeypatch.setattr('crossearth.rasters.reading._MOST_MASK_PX', 900)
    np.testing.assert_array_equal(labels_of(image, mask), expected)
    assert len(read) > 1
    assert max(window.height * window.width for window in read) <= 900
