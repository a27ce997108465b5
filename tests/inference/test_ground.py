import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.inference import predict_scene
from crossearth.inference.georeference import Georeference
from crossearth.inference.ground import ground_gsd, local_metric_crs, model_grid
from tests.inference.test_predict import Write, labels_of

type OneHot = Callable[[int], Callable[[Tensor], Tensor]]


def at(crs: str, transform: Affine) -> Georeference:
    return Georeference(CRS.from_user_input(crs), transform, (), None, None, pixel_is_point=False)


def patches(height: int, width: int, side: int) -> np.ndarray:
    """Class patches of `side` pixels, so that most pixels are far from another class."""
    ids = np.random.default_rng(4).integers(0, 6, (-(-height // side), -(-width // side)))
    whole = np.repeat(np.repeat(ids, side, 0), side, 1)[:height, :width]
    return whole[None].astype(np.uint8)


def test_ground_size_of_degrees_shrinks_with_latitude_along_the_columns_only() -> None:
    across, down = ground_gsd(
        at('EPSG:4326', Affine(1e-5, 0, 10, 0, -1e-5, 60)), height=10, width=10, name='a'
    )
    assert across == pytest.approx(1e-5 * 111_320 * math.cos(math.radians(60)), rel=5e-3)
    assert down == pytest.approx(1e-5 * 111_412, rel=1e-3)


def test_web_mercator_is_larger_than_the_ground() -> None:
    y = 6_378_137 * math.log(math.tan(math.pi / 4 + math.radians(60) / 2))
    size = ground_gsd(at('EPSG:3857', Affine(1, 0, 0, 0, -1, y)), height=2, width=2, name='a')
    assert size == pytest.approx((0.5, 0.5), rel=5e-3)


@pytest.mark.parametrize(
    ('lon', 'lat', 'span', 'code'),
    [(3, 50, 1e4, 32631), (180, -20, 1e4, 32701), (179.99, 5, 1e4, 32660), (9, -85, 1e4, 32761)],
)
def test_local_projection_is_the_zone_of_the_place(
    lon: float, lat: float, span: float, code: int
) -> None:
    assert local_metric_crs(lon, lat, span_m=span).to_epsg() == code


def test_large_scenes_get_an_equal_area_projection_of_their_own() -> None:
    assert 'lat_0=12' in local_metric_crs(40.0, 12.0, span_m=1e6).to_proj4().replace('.0', '')


@pytest.mark.parametrize(
    ('crs', 'transform'),
    [
        ('EPSG:32633', Affine(0.5, 0, 4e5, 0, -0.5, 5e6)),
        ('EPSG:3857', Affine(1, 0, 1.1e6, 0, -1, 7.2e6)),
        ('EPSG:4326', Affine(1e-5, 0, 13, 0, -6e-6, 52)),
        ('EPSG:4326', Affine(1e-5, 0, 179.9995, 0, -1e-5, -16.5)),
        ('EPSG:3031', Affine(3, 0, -1e5, 0, -3, 2e6)),
        ('EPSG:32633', Affine(0.4, 0.3, 4e5, 0.3, -0.4, 5e6)),
    ],
)
@pytest.mark.parametrize('factor', [0.7, 1.9])
def test_model_pixels_are_square_and_as_large_on_the_ground_as_asked(
    crs: str, transform: Affine, factor: float
) -> None:
    where = at(crs, transform)
    own = ground_gsd(where, height=300, width=400, name='a')
    gsd_m = factor * max(own)
    grid = model_grid(where, height=300, width=400, gsd_m=gsd_m, name='a')
    assert grid is not None
    made = Georeference(grid.crs, grid.transform, (), None, None, pixel_is_point=False)
    on_ground = ground_gsd(made, height=grid.height, width=grid.width, name='a')
    assert on_ground == pytest.approx((gsd_m, gsd_m), rel=6e-3)  # UPS is true to 0.6 %
    # no larger than the scene turned by any angle, so nothing wraps around the globe
    assert max(grid.height, grid.width) * gsd_m < 1.5 * math.hypot(300 * own[1], 400 * own[0])


def test_scene_at_that_size_is_left_as_it_is() -> None:
    where = at('EPSG:32633', Affine(0.5, 0, 4e5, 0, -0.5, 5e6))
    assert model_grid(where, height=9, width=9, gsd_m=0.505, name='a') is None
    assert model_grid(where, height=9, width=9, gsd_m=0.52, name='a') is not None


CASES: list[tuple[str, dict[str, Any]]] = [
    ('utm', {'crs': 'EPSG:32633', 'transform': Affine(0.5, 0, 4e5, 0, -0.5, 5e6)}),
    ('mercator', {'crs': 'EPSG:3857', 'transform': Affine(1, 0, 1.1e6, 0, -1, 7.2e6)}),
    ('degrees', {'crs': 'EPSG:4326', 'transform': Affine(1e-5, 0, 13, 0, -6e-6, 52)}),
    ('antimeridian', {'crs': 'EPSG:4326', 'transform': Affine(1e-5, 0, 179.999, 0, -1e-5, -16.5)}),
    ('polar', {'crs': 'EPSG:3031', 'transform': Affine(3, 0, -1e5, 0, -3, 2e6)}),
    ('rotated', {'crs': 'EPSG:32633', 'transform': Affine(0.4, 0.3, 4e5, 0.3, -0.4, 5e6)}),
]


@pytest.mark.parametrize(('name', 'options'), CASES, ids=[name for name, _ in CASES])
@pytest.mark.parametrize('factor', [0.6, 1.0, 1.7])
def test_labels_come_back_to_where_they_were_on_the_scenes_own_grid(
    write_scene: Write,
    one_hot: OneHot,
    tmp_path: Path,
    name: str,
    options: dict[str, Any],
    factor: float,
) -> None:
    def nearest_class(images: Tensor) -> Tensor:
        distance = (images * 255 - 20 - 40 * torch.arange(6).reshape(1, 6, 1, 1)).abs()
        return -distance

    ids = patches(320, 350, 16)
    scene = write_scene(20 + 40 * ids, **options)
    with rasterio.open(scene) as dataset:
        own = ground_gsd(Georeference.of(dataset), height=320, width=350, name=name)
    made = predict_scene(
        nearest_class, scene, tmp_path / 'map.tif', tile_px=128, gsd_m=factor * max(own)
    )
    with rasterio.open(scene) as before, rasterio.open(made.path) as after:
        assert (after.crs, after.transform) == (before.crs, before.transform)
    labels = labels_of(made.path)
    assert (labels != 255).all()
    # inside a patch, three pixels and more from another class, every label is right
    inside = np.zeros((320, 350), bool)
    for row in range(0, 320, 16):
        for col in range(0, 350, 16):
            inside[row + 4 : row + 12, col + 4 : col + 12] = True
    assert (labels == ids[0])[inside].mean() == 1.0
    # and elsewhere labels are not shifted: that is what one pixel would cost
    assert (labels == ids[0]).mean() > (0.9 if factor < 1.5 else 0.85)


def test_nodata_comes_back_exactly(write_scene: Write, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(1, 255, (1, 100, 120), np.uint8)
    image[:, 30:61, 17:90] = 0
    made = predict_scene(
        lambda x: torch.cat([x, 1 - x], 1),
        write_scene(image, nodata=0),
        tmp_path / 'map.tif',
        tile_px=64,
        gsd_m=0.9,
        confidence=tmp_path / 'c.tif',
    )
    # the single pixels of a hole's border may lie next to no model pixel with data
    np.testing.assert_array_equal(labels_of(made.path) == 255, image[0] == 0)
    np.testing.assert_array_equal(labels_of(tmp_path / 'c.tif') == 255, image[0] == 0)


def test_parts_of_the_model_grid_give_the_same_bytes(
    write_scene: Write, convolutions: torch.nn.Module, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 300, 2600), np.uint8)
    scene = write_scene(image)
    for name, memory in (('a', None), ('b', 27)):
        made = predict_scene(
            convolutions, scene, tmp_path / f'{name}.tif', tile_px=200, gsd_m=0.7, memory_mb=memory
        )
        assert (made.units > 1) == (name == 'b')
    assert (tmp_path / 'a.tif').read_bytes() == (tmp_path / 'b.tif').read_bytes()


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_scene_that_lies_nowhere_has_no_ground_size(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    scene = write_scene(patches(20, 20, 4), crs=None, transform=None)
    with pytest.raises(
        ConfigError, match='has no CRS, so its pixels have no one size on the ground'
    ):
        predict_scene(one_hot(6), scene, tmp_path / 'map.tif', gsd_m=0.5)
    with pytest.raises(ConfigError, match='gsd_m is -1'):
        predict_scene(one_hot(6), write_scene(patches(9, 9, 3)), tmp_path / 'map.tif', gsd_m=-1)


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_ground_control_points_have_no_ground_size(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    gcps = [GroundControlPoint(r, c, 10 + c, 50 - r) for r in (0, 9) for c in (0, 9)]
    scene = write_scene(patches(9, 9, 3), transform=None, gcps=gcps, crs='EPSG:4326')
    with pytest.raises(ConfigError, match=r'has ground control points .* or warp it first'):
        predict_scene(one_hot(6), scene, tmp_path / 'map.tif', gsd_m=1)
