import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.inference import Outputs, Running, View, Windows, predict_scene
from crossearth.rasters import Georeference, ground_gsd
from tests.inference.test_predict import Write, labels_of

type OneHot = Callable[[int], Callable[[Tensor], Tensor]]


def patches(height: int, width: int, side: int) -> np.ndarray:
    """Class patches of `side` pixels, so that most pixels are far from another class."""
    ids = np.random.default_rng(4).integers(0, 6, (-(-height // side), -(-width // side)))
    whole = np.repeat(np.repeat(ids, side, 0), side, 1)[:height, :width]
    return whole[None].astype(np.uint8)


CASES: list[tuple[str, dict[str, Any]]] = [
    ('utm', {'crs': 'EPSG:32633', 'transform': Affine(0.5, 0, 4e5, 0, -0.5, 5e6)}),
    ('mercator', {'crs': 'EPSG:3857', 'transform': Affine(1, 0, 1.1e6, 0, -1, 7.2e6)}),
    ('degrees', {'crs': 'EPSG:4326', 'transform': Affine(1e-5, 0, 13, 0, -6e-6, 52)}),
    ('antimeridian', {'crs': 'EPSG:4326', 'transform': Affine(1e-5, 0, 179.999, 0, -1e-5, -16.5)}),
    ('0 to 360', {'crs': 'EPSG:4326', 'transform': Affine(1e-5, 0, 230, 0, -1e-5, 45)}),
    ('another datum', {'crs': 'EPSG:4267', 'transform': Affine(1e-5, 0, 230, 0, -1e-5, 45)}),
    ('mercator across', {'crs': 'EPSG:3857', 'transform': Affine(1, 0, 20_037_350, 0, -1, -2e6)}),
    ('mercator beyond', {'crs': 'EPSG:3857', 'transform': Affine(1, 0, 21e6, 0, -1, -2e6)}),
    ('another mercator', {'crs': 'EPSG:3395', 'transform': Affine(1, 0, 20_037_350, 0, -1, 2e6)}),
    ('polar', {'crs': 'EPSG:3031', 'transform': Affine(3, 0, -1e5, 0, -3, 2e6)}),
    ('pole', {'crs': 'EPSG:3413', 'transform': Affine(3, 0, -500, 0, -3, 500)}),
    ('rotated', {'crs': 'EPSG:32633', 'transform': Affine(0.4, 0.3, 4e5, 0.3, -0.4, 5e6)}),
    # pixels that differ on the ground, which are seen in a local projection
    ('sheared', {'crs': 'EPSG:32633', 'transform': Affine(0.4, 0.27, 4e5, 0.3, -0.4, 5e6)}),
    ('near a pole', {'crs': 'EPSG:4326', 'transform': Affine(1e-3, 0, 179.9, 0, -6e-5, 86.5)}),
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
        nearest_class,
        scene,
        tmp_path / 'map.tif',
        windows=Windows(tile_px=128),
        view=View(gsd_m=factor * max(own)),
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


@pytest.mark.parametrize('wrapped', [True, False])
def test_ground_control_points_run_on_across_the_antimeridian(
    write_scene: Write, tmp_path: Path, wrapped: bool
) -> None:
    def nearest_class(images: Tensor) -> Tensor:
        return -(images * 255 - 20 - 40 * torch.arange(6).reshape(1, 6, 1, 1)).abs()

    ids = patches(160, 176, 16)
    points = [
        GroundControlPoint(row=row, col=col, x=179.999 + col * 1e-5, y=-16.5 - row * 1e-5)
        for row in (0, 80, 160)
        for col in (0, 60, 120, 176)
    ]
    for point in points:
        if wrapped and point.x > 180:
            point.x -= 360
    scene = write_scene(20 + 40 * ids, crs='EPSG:4326', transform=None, gcps=points)
    made = predict_scene(
        nearest_class,
        scene,
        tmp_path / 'map.tif',
        windows=Windows(tile_px=128),
        view=View(gsd_m=0.6),
    )
    with rasterio.open(scene) as before, rasterio.open(made.path) as after:
        assert [(p.x, p.y) for p in after.gcps[0]] == [(p.x, p.y) for p in before.gcps[0]]
    assert (labels_of(made.path) == ids[0]).mean() > 0.9


def test_nodata_comes_back_exactly(write_scene: Write, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(1, 255, (1, 100, 120), np.uint8)
    image[:, 30:61, 17:90] = 0
    made = predict_scene(
        lambda x: torch.cat([x, 0.9 - x], 1),
        write_scene(image, nodata=0),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=64),
        view=View(gsd_m=0.9),
        outputs=Outputs(confidence=tmp_path / 'c.tif'),
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
            convolutions,
            scene,
            tmp_path / f'{name}.tif',
            windows=Windows(tile_px=200),
            view=View(gsd_m=0.7),
            running=Running(memory_mb=memory),
        )
        assert (made.units > 1) == (name == 'b')
    assert (tmp_path / 'a.tif').read_bytes() == (tmp_path / 'b.tif').read_bytes()


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_scene_that_lies_nowhere_has_no_ground_size(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    scene = write_scene(patches(20, 20, 4), crs=None, transform=None)
    with pytest.raises(ConfigError, match='its pixels have no size on the ground'):
        predict_scene(one_hot(6), scene, tmp_path / 'map.tif', view=View(gsd_m=0.5))
    with pytest.raises(ConfigError, match='gsd_m is -1'):
        predict_scene(
            one_hot(6), write_scene(patches(9, 9, 3)), tmp_path / 'map.tif', view=View(gsd_m=-1)
        )
    with pytest.raises(ConfigError, match=r'pixels of .* are 0.5\d* by 0.5\d* m, more than 50'):
        predict_scene(
            one_hot(6), write_scene(patches(9, 9, 3)), tmp_path / 'map.tif', view=View(gsd_m=1e-3)
        )
    scene = write_scene(patches(9, 9, 3), crs='LOCAL_CS["site",UNIT["metre",1]]')
    with pytest.raises(ConfigError, match='its CRS, site, is not tied to the globe'):
        predict_scene(one_hot(6), scene, tmp_path / 'map.tif', view=View(gsd_m=1))


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
@pytest.mark.parametrize('hidden', ['nothing', 'nodata', 'alpha'])
def test_ground_control_points_on_a_transform_give_the_map_of_the_transform(
    write_scene: Write, tmp_path: Path, hidden: str
) -> None:
    # sheared, so that one is not seen along its own axes, and the other in a local projection
    turned = Affine.translation(4e5, 5e6) @ Affine.rotation(20) @ Affine.shear(4)
    transform = turned @ Affine.scale(1, -1)
    gcps = [
        GroundControlPoint(row, col, *(transform @ (col, row)))
        for row in (0, 100, 200)
        for col in (0, 150, 300)
    ]
    bands = 4 if hidden == 'alpha' else 3
    image = np.random.default_rng(1).integers(1, 256, (bands, 200, 300)).astype(np.uint8)
    image[:, 60:90, 100:170] = 0
    options: dict[str, Any] = {'nodata': 0} if hidden == 'nodata' else {}
    if hidden == 'alpha':
        image[3] = np.where(image[3] == 0, 0, 255)
        options = {'photometric': 'rgb', 'alpha': 'yes'}
    maps = [
        labels_of(
            predict_scene(
                lambda x: torch.cat([x, x.mean(1, keepdim=True)], 1),
                write_scene(image, name, crs='EPSG:32633', **(options | tie)),
                tmp_path / f'map_{name}',
                windows=Windows(tile_px=128),
                view=View(gsd_m=0.8),
            ).path
        )
        for name, tie in (
            ('a.tif', {'transform': transform}),
            ('b.tif', {'transform': None, 'gcps': gcps}),
        )
    ]
    assert (maps[0] == maps[1]).mean() > 0.999  # coordinates differ in the last digits
    np.testing.assert_array_equal(maps[0] == 255, maps[1] == 255)
    assert (maps[0] == 255).any() == (hidden != 'nothing')
    with rasterio.open(tmp_path / 'map_b.tif') as made:
        assert len(made.gcps[0]) == 9


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_labels_of_scenes_with_rational_polynomials_come_back_to_where_they_were(
    write_scene: Write, tmp_path: Path
) -> None:
    def linear(*terms: float) -> list[float]:
        return [*terms, *[0.0] * (20 - len(terms))]

    # 300 × 200 pixels over 0.004° × 0.002° at 50° north, leaning, at a height of 800 m
    rpcs = RPC(
        height_off=800.0, height_scale=100.0, lat_off=50.0, lat_scale=0.001, long_off=10.0,
        long_scale=0.002, line_off=100.0, line_scale=100.0, samp_off=150.0, samp_scale=150.0,
        line_num_coeff=linear(0, 0.05, -1, 0.3), line_den_coeff=linear(1),
        samp_num_coeff=linear(0, 1, 0.1, 0.2), samp_den_coeff=linear(1),
    )  # fmt: skip
    ids = patches(200, 300, 20)

    def nearest_class(images: Tensor) -> Tensor:
        return -(images * 255 - 20 - 40 * torch.arange(6).reshape(1, 6, 1, 1)).abs()

    scene = write_scene(20 + 40 * ids, crs=None, transform=None, rpcs=rpcs)
    with rasterio.open(scene) as dataset:
        where = Georeference.of(dataset)
    across, down = ground_gsd(where, height=200, width=300, name='a')
    # 2.2 m along the lines, and 0.004° of longitude over 300 columns across
    assert across == pytest.approx(0.004 / 300 * 111_320 * math.cos(math.radians(50)), rel=0.02)
    assert down == pytest.approx(0.002 / 200 * 111_230, rel=0.02)
    made = predict_scene(
        nearest_class,
        scene,
        tmp_path / 'map.tif',
        windows=Windows(tile_px=128),
        view=View(gsd_m=0.7),
    )
    labels = labels_of(made.path)
    inside = np.zeros((200, 300), bool)
    for row in range(0, 200, 20):
        for col in range(0, 300, 20):
            inside[row + 3 : row + 17, col + 3 : col + 17] = True
    assert (labels == ids[0])[inside].all()
    assert (labels == ids[0]).mean() > 0.95
    with rasterio.open(made.path) as after:
        assert after.rpcs.line_num_coeff == rpcs.line_num_coeff
        assert after.rpcs.height_off == 800


def brighter_than_half(images: Tensor) -> Tensor:
    return torch.cat([images - 1, -images], 1)


def test_interpolated_scores_put_borders_between_the_pixels_that_the_model_saw(
    write_scene: Write, tmp_path: Path
) -> None:
    # brightness rises to the right: the border is where it passes 0.5, at column 148.2
    columns = np.arange(400, dtype=np.float32) + 0.5
    image = np.broadcast_to(0.5 + (columns - 148.2) / 1000, (1, 300, 400)).astype(np.float32)
    expected = np.broadcast_to((image[0] < 0.5).astype(np.uint8), (300, 400))
    scene = write_scene(image)  # pixels of 0.5 m, seen in pixels of 2.6 m
    maps = {
        by: labels_of(
            predict_scene(
                brighter_than_half,
                scene,
                tmp_path / f'{by}.tif',
                windows=Windows(tile_px=32, combine='logits'),
                view=View(gsd_m=2.6, return_by=by),
            ).path
        )
        for by in ('nearest', 'bilinear')
    }
    np.testing.assert_array_equal(maps['bilinear'], expected)
    assert (maps['nearest'] != expected).any()


def test_interpolated_maps_have_the_nodata_and_the_rasters_of_the_scene(
    write_scene: Write, convolutions: torch.nn.Module, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(1, 255, (3, 100, 120), np.uint8)
    image[:, 30:61, 17:90] = 0
    image[:, :, 100:] = 0
    image[:, 50, 110] = 7  # a single pixel of data
    predict_scene(
        convolutions,
        write_scene(image, nodata=0),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=64),
        view=View(gsd_m=0.9, return_by='bilinear'),
        outputs=Outputs(probabilities=tmp_path / 'p.tif', confidence=tmp_path / 'c.tif', cog=True),
    )
    with rasterio.open(tmp_path / 'p.tif') as file:
        probabilities = file.read()
    labels, confidence = labels_of(tmp_path / 'map.tif'), labels_of(tmp_path / 'c.tif')
    hidden = image[0] == 0
    np.testing.assert_array_equal(labels == 255, hidden)
    np.testing.assert_array_equal(confidence == 255, hidden)
    np.testing.assert_array_equal(probabilities[:, hidden], 255)
    best = np.take_along_axis(probabilities, labels[None] * (labels != 255), 0)[0]
    np.testing.assert_array_equal(best[~hidden], confidence[~hidden])
    assert abs(probabilities[:, ~hidden].sum(0, dtype=int) - 254).max() <= 3  # of rounding


def test_interpolated_parts_give_the_same_bytes(
    write_scene: Write, convolutions: torch.nn.Module, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 255, (3, 700, 800), np.uint8)
    scene = write_scene(image)
    seen: dict[str, Any] = {
        'windows': Windows(tile_px=200),
        'view': View(gsd_m=0.4, return_by='bilinear'),
    }
    whole = predict_scene(convolutions, scene, tmp_path / 'a.tif', **seen)
    for index in (1, 2):
        share = Running(shard_px=512, shard=(index, 2))
        predict_scene(convolutions, scene, tmp_path / 'b.tif', **seen, running=share)
    kept = Running(shard_px=512, resume=True)
    parts = predict_scene(convolutions, scene, tmp_path / 'b.tif', **seen, running=kept)
    assert parts.units == 4
    assert whole.path.read_bytes() == parts.path.read_bytes()
