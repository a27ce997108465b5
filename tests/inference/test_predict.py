from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine
from torch import Tensor, nn

from crossearth.errors import BandError, ConfigError, SceneError, SceneNotFoundError, ShapeError
from crossearth.inference import Outputs, Running, View, Windows, predict_scene
from crossearth.inference.grid import Grid
from crossearth.labels import ISPRS
from crossearth.radiometry import to_unit
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
        return torch.stack([images.mean(1), 1 - images.mean(1)], 1)

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


def test_map_has_colours_names_nodata_and_512_blocks(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    made = predict_scene(
        one_hot(6), write_scene(random_ids(600, 700)), tmp_path / 'map.tif', labels=ISPRS
    )
    with rasterio.open(made.path) as dataset:
        assert dataset.colormap(1)[1] == (0, 0, 255, 255)
        assert dataset.colormap(1)[255] == (0, 0, 0, 0)
        assert dataset.tags()['CLASS_3'] == 'tree'
        assert dataset.nodata == 255
        assert dataset.dtypes == ('uint8',)
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.compression.value == 'DEFLATE'
    assert (made.height, made.width, made.num_classes, made.windows) == (600, 700, 6, 4)


def test_more_than_255_classes_are_written_in_16_bits(write_scene: Write, tmp_path: Path) -> None:
    def last_class(images: Tensor) -> Tensor:
        logits = torch.zeros((images.shape[0], 300, *images.shape[2:]))
        logits[:, 299] = images[:, 0]
        return logits

    scene = write_scene(np.full((1, 5, 5), 9, np.uint8))
    with pytest.raises(ConfigError, match='nodata is 255, but the class ids are 0 to 299'):
        predict_scene(last_class, scene, tmp_path / 'map.tif')
    made = predict_scene(last_class, scene, tmp_path / 'map.tif', outputs=Outputs(nodata=65535))
    assert labels_of(made.path).dtype == np.uint16
    assert (labels_of(made.path) == 299).all()


def test_nodata_of_values_masks_alpha_and_nan_comes_out_as_nodata(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    hole = np.zeros((40, 50), bool)
    hole[5:30, 10:33] = True

    image = random_image(40, 50) // 2 + 1
    image[:, hole] = 0
    image[0, 0, 0] = 0  # one band at its nodata value is still data
    by_value = write_scene(image, 'value.tif', nodata=0)

    rgba = np.concatenate([image, np.where(hole, 0, 200).astype(np.uint8)[None]])
    by_alpha = write_scene(rgba, 'alpha.tif', photometric='rgb', alpha='yes')

    by_mask = write_scene(image, 'mask.tif')
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(by_mask, 'r+') as dataset,
    ):
        dataset.write_mask(~hole)

    floats = (image / 255).astype(np.float32)
    floats[1, hole] = np.nan
    by_nan = write_scene(floats, 'nan.tif')

    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return torch.stack([images[:, 0], images[:, 1]], 1)

    for scene in (by_value, by_alpha, by_mask, by_nan):
        made = predict_scene(model, scene, tmp_path / 'map.tif', windows=Windows(tile_px=64))
        np.testing.assert_array_equal(labels_of(made.path) == 255, hole, scene.name)
        assert (seen[-1][0][:, torch.from_numpy(hole)] == 0).all()
        assert seen[-1].shape[1] == 3


def test_windows_without_data_are_not_run(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    ids = np.full((1, 64, 64), 99, np.uint8)
    ids[:, 40:, 40:] = random_ids(24, 24)
    made = predict_scene(
        one_hot(6),
        write_scene(ids, nodata=99),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=16, overlap=0),
    )
    assert (made.windows, made.windows_run) == (16, 4)
    expected = np.where(ids[0] == 99, 255, ids[0])
    np.testing.assert_array_equal(labels_of(made.path), expected)


def test_scene_without_any_data_becomes_a_map_of_nodata(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    scene = write_scene(np.zeros((1, 30, 40), np.uint8), nodata=0)
    made = predict_scene(one_hot(6), scene, tmp_path / 'map.tif', windows=Windows(tile_px=16))
    assert (labels_of(made.path) == 255).all()
    assert (made.num_classes, made.windows_run) == (6, 0)


def test_panels_batches_and_threads_give_the_same_bytes(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    image = random_image(300, 2300, seed=3)
    image[:, 50:250, 300:900] = 0
    scene = write_scene(image, nodata=0, tiled=True, blockxsize=256, blockysize=256)
    before = torch.get_num_threads()
    made = {}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for batch_size in (1, 3):
                for memory_mb in (None, 70):
                    path = tmp_path / f'{threads}-{batch_size}-{memory_mb}.tif'
                    made[path] = predict_scene(
                        convolutions,
                        scene,
                        path,
                        windows=Windows(tile_px=128),
                        running=Running(
                            batch_size=batch_size,
                            memory_mb=memory_mb if memory_mb is None else least_memory(batch_size),
                        ),
                    )
    finally:
        torch.set_num_threads(before)
    assert min(result.units for result in made.values()) == 1
    assert max(result.units for result in made.values()) >= 3
    assert len({path.read_bytes() for path in made}) == 1


def least_memory(batch_size: int) -> int:
    return 22 + batch_size


def test_memory_that_is_too_little_names_what_is_needed(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r'memory_mb is 10, but 5 classes .* at least \d+'):
        predict_scene(
            convolutions,
            write_scene(random_image(90, 90)),
            tmp_path / 'map.tif',
            running=Running(memory_mb=10),
        )


def test_modes_of_submodules_are_put_back(write_scene: Write, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.9)).train()
    model[1].eval()
    scene = write_scene(random_image(20, 20))
    first = predict_scene(model, scene, tmp_path / 'a.tif')
    second = predict_scene(model, scene, tmp_path / 'b.tif')
    assert first.path.read_bytes() == second.path.read_bytes()
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_values_are_scaled_by_data_type_or_by_the_range_given(
    write_scene: Write, tmp_path: Path
) -> None:
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return images

    def first_values(values: list[float], dtype: str, **options: Any) -> list[float]:
        scene = write_scene(np.array(values, dtype).reshape(1, 1, -1))
        predict_scene(model, scene, tmp_path / 'map.tif', view=View(**options))
        assert seen[-1].dtype == torch.float32
        return seen[-1].flatten().tolist()

    assert first_values([0, 51, 255], 'uint8') == pytest.approx([0, 0.2, 1])
    assert first_values([0, 13107, 65535], 'uint16') == pytest.approx([0, 0.2, 1])
    scaled = first_values([-100, 0, 1000, 4000], 'int16', value_range=(0, 2000))
    assert scaled == pytest.approx([0, 0, 0.5, 1])
    scaled = first_values([200, 300, 400], 'uint16', value_range=(200, 400))
    assert scaled == pytest.approx([0, 0.5, 1])
    assert first_values([0, 0.25, 1], 'float64') == pytest.approx([0, 0.25, 1])
    # as in training
    values = np.array([-100, 0, 8192, 32767], np.int16)
    assert first_values(values.tolist(), 'int16') == to_unit(torch.from_numpy(values)).tolist()
    with pytest.raises(ConfigError, match=r'values from 0 to 3000, expected \[0, 1\]'):
        first_values([0, 3000], 'float32')
    with pytest.raises(ConfigError, match=r'value_range is \(5\.0, 5\.0\)'):
        first_values([0, 1], 'uint8', value_range=(5, 5))


def test_bands_are_chosen_in_the_order_asked(write_scene: Write, tmp_path: Path) -> None:
    image = np.stack([np.full((4, 4), value, np.uint8) for value in (51, 102, 153, 204)])
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return images

    predict_scene(model, write_scene(image), tmp_path / 'map.tif', view=View(bands=(4, 1, 2)))
    assert seen[-1][0, :, 0, 0].tolist() == pytest.approx([0.8, 0.2, 0.4])


def test_bands_are_found_by_their_descriptions_or_colours(
    write_scene: Write, tmp_path: Path
) -> None:
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return images

    def given(bands: tuple[str, ...], titles: tuple[str, ...], count: int) -> list[int]:
        image = np.stack([np.full((4, 4), 50 + band, np.uint8) for band in range(1, count + 1)])
        scene = write_scene(image, photometric='rgb')
        with rasterio.open(scene, 'r+') as dataset:
            for band, title in enumerate(titles, start=1):
                dataset.set_band_description(band, title)
        predict_scene(model, scene, tmp_path / 'map.tif', view=View(bands=bands))
        return (seen[-1][0, :, 0, 0] * 255 - 50).round().int().tolist()

    assert given(('NIR', 'red'), ('', '', '', 'nir'), 4) == [4, 1]
    assert given(('blue', 'green', 'red'), (), 3) == [3, 2, 1]
    assert given(('IR', 'R', 'G'), (), 3) == [1, 2, 3]  # none is known, and they are as many
    with pytest.raises(
        BandError, match='has the bands red, green, blue, but nir, red, green were asked for'
    ):
        given(('nir', 'red', 'green'), (), 3)


def test_wrong_bands_name_the_file_and_the_remedy(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    scene = write_scene(np.zeros((4, 20, 20), np.uint8), photometric='minisblack')
    with pytest.raises(
        BandError, match=r'scene.tif: 4 bands .* takes 3: choose them with View\(bands=\(1, 2, 3\)\)'
    ):
        predict_scene(convolutions, scene, tmp_path / 'map.tif')
    one = write_scene(np.zeros((1, 20, 20), np.uint8), 'one.tif')
    with pytest.raises(BandError, match=r'one.tif: 1 bands are given .* takes 3: map a scene'):
        predict_scene(convolutions, one, tmp_path / 'map.tif')
    predict_scene(convolutions, one, tmp_path / 'map.tif', view=View(bands=(1, 1, 1)))
    with rasterio.open(one, 'r+') as dataset:
        dataset.colorinterp = [ColorInterp.palette]
        dataset.write_colormap(1, {0: (9, 9, 9, 255)})
    with pytest.raises(SceneError, match='numbers of a palette, not colours: expand it'):
        predict_scene(lambda x: x, one, tmp_path / 'map.tif')
    with pytest.raises(
        BandError, match=r'scene.tif: has 4 band\(s\), but bands \(0, 1, 2\) were asked for'
    ):
        predict_scene(convolutions, scene, tmp_path / 'map.tif', view=View(bands=(0, 1, 2)))


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (lambda x: x[:, :, ::2, ::2], r'gave shape \(1, 3, 10, 10\), expected logits \(1, k, 20'),
        (lambda x: x[0], r'gave shape \(3, 20, 20\)'),
        (lambda x: {'out': x}, 'gave dict, expected a tensor'),
    ],
)
def test_outputs_that_are_no_logits_are_errors(
    write_scene: Write, tmp_path: Path, model: Callable[[Tensor], Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        predict_scene(model, write_scene(random_image(20, 20)), tmp_path / 'map.tif')


def test_classes_must_be_those_of_the_label_space(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(ShapeError, match="gave 5 classes, 'isprs' has 6"):
        predict_scene(
            convolutions, write_scene(random_image(20, 20)), tmp_path / 'map.tif', labels=ISPRS
        )


def test_files_that_are_no_scenes_are_named(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(SceneNotFoundError, match=r'none.tif: no such file'):
        predict_scene(convolutions, tmp_path / 'none.tif', tmp_path / 'map.tif')
    text = tmp_path / 'text.tif'
    text.write_text('no raster')
    with pytest.raises(SceneError, match=r'text.tif: not a readable raster'):
        predict_scene(convolutions, text, tmp_path / 'map.tif')
    scene = write_scene(random_image(20, 20))
    for destination, message in (
        (scene, 'is the scene itself'),
        (tmp_path / 'map.png', 'choose a name that ends in .tif'),
        (tmp_path / 'no' / 'map.tif', 'make it first'),
    ):
        with pytest.raises(ConfigError, match=message):
            predict_scene(convolutions, scene, destination)


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


def test_errors_of_the_model_say_where_they_come_from(write_scene: Write, tmp_path: Path) -> None:
    def model(images: Tensor) -> Tensor:
        raise RuntimeError('out of luck')

    with pytest.raises(RuntimeError, match='out of luck') as caught:
        predict_scene(model, write_scene(random_image(20, 20)), tmp_path / 'map.tif')
    assert 'scene.tif, images (1, 3, 20, 20)' in caught.value.__notes__[0]


def test_progress_counts_every_window_once(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    made = predict_scene(
        one_hot(6),
        write_scene(random_ids(100, 100)),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=32),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (made.windows, made.windows)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_bfloat16_autocast_sums_in_float32(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    dtypes = set()
    convolutions.register_forward_hook(lambda _m, _i, output: dtypes.add(output.dtype))
    scene = write_scene(random_image(60, 60))
    exact = labels_of(
        predict_scene(convolutions, scene, tmp_path / 'a.tif', windows=Windows(tile_px=32)).path
    )
    half = predict_scene(
        convolutions,
        scene,
        tmp_path / 'b.tif',
        windows=Windows(tile_px=32),
        running=Running(autocast=torch.bfloat16),
    )
    assert dtypes == {torch.float32, torch.bfloat16}
    assert (labels_of(half.path) == exact).mean() > 0.98


@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')  # deprecated, and in wide use
def test_scripted_models_run(write_scene: Write, convolutions: nn.Module, tmp_path: Path) -> None:
    scene = write_scene(random_image(60, 60))
    traced = torch.jit.trace(convolutions, torch.zeros(1, 3, 8, 8)).train()
    one = predict_scene(traced, scene, tmp_path / 'a.tif', windows=Windows(tile_px=32))
    two = predict_scene(convolutions, scene, tmp_path / 'b.tif', windows=Windows(tile_px=32))
    assert one.path.read_bytes() == two.path.read_bytes()
    assert traced.training


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
