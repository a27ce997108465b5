from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine
from torch import Tensor, nn

from crossearth.errors import ConfigError, SceneError
from crossearth.inference import Running, View, Windows, predict_scene, sieve_map, vectorize
from crossearth.inference.grid import Grid
from crossearth.mosaic import mosaic_maps
from tests.inference.test_grid import most_at_once
from tests.rounding import rounding_error

type Write = Callable[..., Path]
type OneHot = Callable[[int], Callable[[Tensor], Tensor]]

HAS_ONE_HOT = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def labels_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def random_ids(height: int, width: int, *, classes: int = 6, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, classes, (1, height, width), np.uint8)


def random_image(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), np.uint8)


def brute_force(
    model: Callable[[Tensor], Tensor], image: np.ndarray, grid: Grid, combine: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Labels in float64, how far the best class leads, and how much of that float32 may round off.

    Both classes may be off. A logit is exact; a term is rounded once for each weight of its window,
    their product, the product with the score, and by the sum over windows. Softmax in addition
    rounds an exponential to two units, a sum over classes and a quotient; differences are exact.
    """
    scene = torch.from_numpy(image).float() / 255
    height, width = grid.tile_hw
    profile = {
        'hann': lambda n: np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2,
        'gaussian': lambda n: np.exp(-0.5 * (((np.arange(n) + 0.5) / n - 0.5) / 0.125) ** 2),
        'mean': np.ones,
    }[grid.blend]
    weight = torch.from_numpy(np.outer(profile(height), profile(width)))
    total: Tensor | None = None
    largest = 0.0
    counts = torch.zeros((grid.height, grid.width), dtype=torch.float64)
    for row in grid.row_starts:
        for col in grid.col_starts:
            part = slice(row, row + height), slice(col, col + width)
            logits = model(scene[None, :, *part])[0].double()
            scores = logits.softmax(0) if combine == 'softmax' else logits
            largest = max(largest, float(logits.abs().max()))
            if total is None:
                total = torch.zeros((scores.shape[0], grid.height, grid.width)).double()
            total[:, *part] += scores * weight
            counts[part] += weight
    assert total is not None
    best = (total / counts).topk(2, dim=0).values
    roundings = most_at_once(grid) + 4
    if combine == 'softmax':
        roundings += 3 + len(total)
        largest = 1.0
    lost = 2 * rounding_error(roundings, largest)
    return total.argmax(0).numpy(), (best[0] - best[1]).numpy(), lost


@HAS_ONE_HOT
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.integers(1, 48),
    overlap=st.floats(0, 0.9),
    blend=st.sampled_from(['hann', 'gaussian', 'mean', 'crop']),
    combine=st.sampled_from(['softmax', 'logits']),
)
def test_model_that_gives_back_its_image_is_stitched_into_the_scene(
    write_scene: Write,
    one_hot: OneHot,
    tmp_path: Path,
    height: int,
    width: int,
    tile: int,
    overlap: float,
    blend: Any,
    combine: Any,
) -> None:
    ids = random_ids(height, width)
    made = predict_scene(
        one_hot(6),
        write_scene(ids),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=tile, overlap=overlap, blend=blend, combine=combine),
    )
    np.testing.assert_array_equal(labels_of(made.path), ids[0])


class Integers(nn.Module):
    """Images in [0, 1] as the bytes that they were read from."""

    def forward(self, images: Tensor) -> Tensor:
        return (images * 255).round()


@pytest.fixture
def exact_convolutions() -> nn.Module:
    """A net whose logits depend on a neighbourhood and are the same bits in whatever batch.

    Its numbers are integers below 2²⁴ and, at the end, a power of two times such: float32 holds
    all of them, so that no sum is rounded.
    """
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        Integers(),
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 5, 3, padding=1),
    ).eval()
    for layer, scale in ((net[1], 1.0), (net[3], 2.0**-13)):
        for parameter in layer.parameters():
            whole = torch.randint(-4, 5, parameter.shape, generator=generator)
            parameter.data = whole * scale
    return net


@HAS_ONE_HOT
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.integers(3, 40),
    stride=st.integers(1, 40),
    blend=st.sampled_from(['hann', 'gaussian', 'mean']),
    combine=st.sampled_from(['softmax', 'logits']),
    seed=st.integers(0, 1000),
)
def test_map_equals_brute_force_in_float64(
    write_scene: Write,
    exact_convolutions: nn.Module,
    tmp_path: Path,
    height: int,
    width: int,
    tile: int,
    stride: int,
    blend: Any,
    combine: Any,
    seed: int,
) -> None:
    stride = min(max(stride, tile // 4), tile)
    image = random_image(height, width, seed=seed)
    made = predict_scene(
        exact_convolutions,
        write_scene(image),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=tile, stride_px=stride, blend=blend, combine=combine),
    )
    grid = Grid(height, width, tile_px=tile, stride_px=stride, blend=blend)
    with torch.inference_mode():
        expected, lead, lost = brute_force(exact_convolutions, image, grid, combine)
    differs = labels_of(made.path) != expected
    assert not (differs & (lead > lost)).any()


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')  # one case
def test_georeferencing_equals_that_of_the_scene(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    cases: list[dict[str, Any]] = [
        {'crs': 'EPSG:32633', 'transform': Affine(0.3, 0, 399_999.7, 0, -0.3, 5_000_000.1)},
        {'crs': 'EPSG:4326', 'transform': Affine(1e-5, 0, -71.123456789, 0, -1e-5, 42.987654321)},
        {'crs': 'EPSG:3031', 'transform': Affine(12.5, 0, -1e6, 0, -12.5, 2e6)},
        {'crs': 'EPSG:32633', 'transform': Affine(0.4, 0.3, 4e5, 0.3, -0.4, 5e6)},
        {'crs': 'EPSG:32633', 'transform': Affine(0.5, 0, 4e5, 0, 0.5, 5e6)},
        {'crs': '+proj=laea +lat_0=52.3 +lon_0=13.1', 'transform': Affine(1, 0, 50, 0, -1, 50)},
        {'crs': None, 'transform': Affine(2, 0, 10, 0, -2, 10)},
        {'crs': None, 'transform': None},
    ]
    for case in cases:
        scene = write_scene(random_ids(20, 30), **case)
        made = predict_scene(one_hot(6), scene, tmp_path / 'map.tif', windows=Windows(tile_px=16))
        with rasterio.open(scene) as before, rasterio.open(made.path) as after:
            assert after.crs == before.crs
            assert after.transform == before.transform
            assert after.shape == before.shape


def test_custom_geostationary_crs_survives(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    crs = '+proj=geos +h=35785831 +lon_0=9.5 +sweep=y +ellps=WGS84'
    scene = write_scene(random_ids(20, 30), crs=crs, transform=Affine(3000, 0, -4e5, 0, -3000, 4e6))
    made = predict_scene(one_hot(6), scene, tmp_path / 'map.tif', windows=Windows(tile_px=16))
    with rasterio.open(scene) as before, rasterio.open(made.path) as after:
        assert after.crs == before.crs
        assert after.transform == before.transform


def test_ground_control_points_and_rational_polynomials_are_copied(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    gcps = [
        GroundControlPoint(row, col, 10 + col / 100, 50 - row / 100, 7.0, f'{row}-{col}', 'info')
        for row in (0, 10, 20)
        for col in (0, 15, 30.5)
    ]
    scene = write_scene(random_ids(20, 30), 'g.tif', transform=None, gcps=gcps, crs='EPSG:4326')
    made = predict_scene(one_hot(6), scene, tmp_path / 'map.tif', windows=Windows(tile_px=16))
    with rasterio.open(scene) as before, rasterio.open(made.path) as after:
        assert [point.asdict() for point in after.gcps[0]] == [
            point.asdict() for point in before.gcps[0]
        ]
        assert len(after.gcps[0]) == 9
        assert after.gcps[1] == before.gcps[1] == 'EPSG:4326'

    rpcs = RPC(
        height_off=100, height_scale=50, lat_off=50, lat_scale=0.1, line_off=10, line_scale=10,
        long_off=10, long_scale=0.1, samp_off=15, samp_scale=15,
        line_den_coeff=[1.0] + [0.0] * 19, line_num_coeff=[0.0, 0.0, -1.0] + [0.0] * 17,
        samp_den_coeff=[1.0] + [0.0] * 19, samp_num_coeff=[0.0, 1.0] + [0.0] * 18,
        err_bias=1.5, err_rand=0.5,
    )  # fmt: skip
    scene = write_scene(random_ids(20, 30), 'r.tif', transform=None, crs=None, rpcs=rpcs)
    made = predict_scene(one_hot(6), scene, tmp_path / 'map.tif', windows=Windows(tile_px=16))
    with rasterio.open(scene) as before, rasterio.open(made.path) as after:
        assert after.rpcs == before.rpcs
        assert after.rpcs.line_off == 10


def test_area_or_point_is_kept_and_the_transform_does_not_move(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    scene = write_scene(random_ids(20, 30))
    with rasterio.open(scene, 'r+') as dataset:
        dataset.update_tags(AREA_OR_POINT='Point')
    made = predict_scene(one_hot(6), scene, tmp_path / 'map.tif', windows=Windows(tile_px=16))
    with rasterio.open(scene) as before, rasterio.open(made.path) as after:
        assert after.tags()['AREA_OR_POINT'] == before.tags()['AREA_OR_POINT'] == 'Point'
        assert after.transform == before.transform


def test_every_real_grid_goes_in_and_comes_out(real_data: Path, tmp_path: Path) -> None:
    def brighter_or_darker(images: Tensor) -> Tensor:
        return torch.stack([images.mean(1), 1 - images.mean(1)], 1) - 0.5

    files = sorted((real_data / 'georef').glob('*.tif'))
    assert len(files) >= 15
    for file in files:
        with rasterio.open(file) as before:
            value_range = (0, 100) if before.dtypes[0].startswith('float') else None
            expected_nodata = before.dataset_mask() == 0
            if before.dtypes[0].startswith('float'):
                expected_nodata |= ~np.isfinite(before.read(1))
            made = predict_scene(
                brighter_or_darker,
                file,
                tmp_path / 'map.tif',
                windows=Windows(tile_px=256),
                view=View(value_range=value_range),
            )
            with rasterio.open(made.path) as after:
                assert after.crs == before.crs, file.name
                assert after.transform == before.transform, file.name
                assert after.gcps == before.gcps, file.name
                assert after.rpcs == before.rpcs, file.name
                assert after.shape == before.shape, file.name
                np.testing.assert_array_equal(after.read(1) == 255, expected_nodata, file.name)


@pytest.mark.parametrize('memory_mb', [None, 24])
def test_damaged_blocks_are_named_and_leave_nothing(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path, memory_mb: int | None
) -> None:
    scene = write_scene(
        random_image(300, 1200), tiled=True, blockxsize=128, blockysize=128, compress='deflate'
    )
    scene.write_bytes(scene.read_bytes()[: scene.stat().st_size // 2])
    with pytest.raises(SceneError, match=r'scene.tif: rows 128-255, columns \d+-\d+ cannot'):
        predict_scene(
            convolutions,
            scene,
            tmp_path / 'map.tif',
            windows=Windows(tile_px=64),
            running=Running(memory_mb=memory_mb, batch_size=1),
        )
    assert [path.name for path in tmp_path.iterdir()] == ['scene.tif']


@pytest.mark.parametrize('memory_mb', [None, 24])
def test_breaking_off_leaves_the_former_map(
    write_scene: Write, one_hot: OneHot, tmp_path: Path, memory_mb: int | None
) -> None:
    scene = write_scene(random_ids(300, 1200))
    (tmp_path / 'map.tif').write_text('former')
    calls = 0

    def breaks(images: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return one_hot(6)(images)

    with pytest.raises(KeyboardInterrupt):
        predict_scene(
            breaks,
            scene,
            tmp_path / 'map.tif',
            windows=Windows(tile_px=64),
            running=Running(memory_mb=memory_mb, batch_size=1),
        )
    assert {path.name for path in tmp_path.iterdir()} == {'scene.tif', 'map.tif'}
    assert (tmp_path / 'map.tif').read_text() == 'former'


def test_a_map_replaces_a_map_and_no_other_raster(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    scene, other = write_scene(random_ids(30, 40)), write_scene(random_ids(9, 9), 'other.tif')
    before = other.read_bytes()
    with pytest.raises(ConfigError, match=r'other.tif is a raster and has no mark'):
        predict_scene(one_hot(6), scene, other)
    assert other.read_bytes() == before
    made = predict_scene(one_hot(6), scene, tmp_path / 'map.tif').path
    first = made.read_bytes()
    predict_scene(one_hot(6), scene, made, windows=Windows(tile_px=16))
    assert made.read_bytes() == first  # each pixel is a class by itself
    predict_scene(one_hot(6), other, made)
    assert made.read_bytes() != first
    with pytest.raises(ConfigError, match=r'other.tif is a raster and has no mark'):
        sieve_map(made, other, min_area_m2=1)
    for name in ('other.tif', 'other.vrt', 'other.gpkg'):
        if name != other.name:
            rasterio.shutil.copy(other, tmp_path / name)
        with pytest.raises(ConfigError, match=rf'{name} is a raster and has no mark'):
            if name.endswith('gpkg'):
                vectorize(made, tmp_path / name)
            else:
                mosaic_maps([made], tmp_path / name, rule='first')
    for _ in range(2):  # what the commands themselves made is replaced
        mosaic_maps([made], tmp_path / 'mosaic.vrt', rule='first')
        vectorize(made, tmp_path / 'shapes.gpkg')


def test_maps_without_a_place_are_replaced_without_a_warning(
    tmp_path: Path, one_hot: OneHot, recwarn: pytest.WarningsRecorder
) -> None:
    with rasterio.open(
        tmp_path / 'scene.tif', 'w', driver='GTiff', count=1, height=9, width=9, dtype='uint8'
    ) as file:
        file.write(random_ids(9, 9))
    recwarn.clear()
    for _ in range(2):
        predict_scene(one_hot(6), tmp_path / 'scene.tif', tmp_path / 'map.tif')
    assert not [str(one.message) for one in recwarn if 'geotransform' in str(one.message)]


def test_scores_that_are_no_numbers_end_the_run(write_scene: Write, tmp_path: Path) -> None:
    def model(images: Tensor) -> Tensor:
        return images * float('nan')

    with pytest.raises(ConfigError, match='scores that are not finite'):
        predict_scene(
            model,
            write_scene(random_image(100, 100)),
            tmp_path / 'map.tif',
            windows=Windows(tile_px=16),
        )
    assert [path.name for path in tmp_path.iterdir()] == ['scene.tif']
