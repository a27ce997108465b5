"""Several scales: the streamed map is what whole arrays give, however it is cut into parts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from pyproj import Transformer
from torch import nn

from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.imagery import Imagery
from crossearth.inference import (
    Outputs,
    Running,
    View,
    Windows,
    estimate_scene,
    predict_scene,
)
from crossearth.inference.merging import merge_scores
from crossearth.inference.seeing import see_scene
from crossearth.labels import LabelSpace
from crossearth.rasters import Raster, RasterReader, open_raster

type Write = Callable[..., Path]
THREE = LabelSpace('three', ('land', 'road', 'water'), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))
PLACES: dict[str, tuple[str | None, Affine, View]] = {
    'own pixels': ('EPSG:32633', Affine(0.5, 0, 4e5, 0, -0.5, 5.8e6), View()),
    'resampled': ('EPSG:32633', Affine(0.5, 0, 4e5, 0, -0.5, 5.8e6), View(gsd_m=0.7)),
    'degrees': ('EPSG:4326', Affine(1e-5, 0, 13, 0, -7e-6, 52), View(gsd_m=1.1)),
    'stated': (None, Affine.identity(), View(scene_gsd_m=0.2, gsd_m=0.3)),
    'nothing known': (None, Affine.identity(), View()),
}


def pixelwise() -> nn.Conv2d:
    """Each pixel by its own values, so that windows leave no trace."""
    model = nn.Conv2d(1, 3, 1)
    model.weight.data = torch.tensor([-4.0, 0.0, 4.0]).reshape(3, 1, 1, 1)
    model.bias.data = torch.tensor([2.0, 0.4, -2.0])
    return model


def smooth(height: int, width: int) -> np.ndarray:
    rows, cols = np.mgrid[:height, :width]
    waves = 128 + 60 * np.sin(rows / 3.1) + 60 * np.cos(cols / 4.3 + rows / 9)
    pixels = waves.astype(np.uint8)[None]
    pixels[:, 10:19, 20:37] = 0  # no data
    return pixels


def whole(raster: Raster) -> Window:
    return Window(0, 0, 0, raster.height, raster.width)


def places_in(grid: Raster, native: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Where the centres of the scene's pixels lie in a grid, from PROJ alone."""
    rows, cols = np.mgrid[: native.height, : native.width] + 0.5
    if grid.native is None:
        return cols, rows
    if grid.steps_px is not None:
        return cols / grid.steps_px[1], rows / grid.steps_px[0]
    x, y = native.transform @ (cols, rows)
    x, y = Transformer.from_crs(native.crs, grid.crs, always_xy=True).transform(x, y)
    there: tuple[np.ndarray, np.ndarray] = ~grid.transform @ (x, y)
    return there


def between(
    scores: np.ndarray, shown: np.ndarray, cols: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores between four pixels, those without data left out; and where there is any."""
    left, top = np.floor(cols - 0.5).astype(int), np.floor(rows - 0.5).astype(int)
    total, sums = np.zeros(cols.shape), np.zeros((len(scores), *cols.shape))
    for down in (0, 1):
        for right in (0, 1):
            weight = (1 - abs(cols - 0.5 - left - right)) * (1 - abs(rows - 0.5 - top - down))
            i = np.clip(top + down, 0, shown.shape[0] - 1)
            j = np.clip(left + right, 0, shown.shape[1] - 1)
            share = weight * shown[i, j]
            total += share
            sums += share * scores[:, i, j]
    return sums / np.maximum(total, 1e-9), total > 0.05


def naive(path: Path, view: View, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (k, h, w) from whole arrays, and where they are sure to be known."""
    seeing = see_scene(path, Imagery(), view, scales=windows.scales)
    reader, model = RasterReader(), pixelwise()
    found, everywhere = [], None
    for grid in seeing.grids:
        pixels, valid = reader.read(grid, whole(grid))
        shown = np.ones(pixels.shape[1:], bool) if valid is None else valid
        with torch.no_grad():
            logits = model(torch.from_numpy(pixels / np.float32(255))[None])[0]
        scores = logits if windows.combine == 'logits' else logits.softmax(0)
        back, known = between(scores.double().numpy(), shown, *places_in(grid, seeing.native))
        found.append(back)
        everywhere = known if everywhere is None else everywhere & known
    stack = np.stack(found)
    if windows.merge == 'mean':
        merged = stack.mean(axis=0)
    elif windows.merge_class is not None:
        sure = np.exp(stack) / np.exp(stack).sum(1, keepdims=True)
        sure = (sure if windows.combine == 'logits' else stack)[:, 1]
        order = np.argsort(sure, axis=0)[::-1]
        taken = order[: 2 if windows.merge == 'top2' else 1, None]
        merged = np.take_along_axis(stack, taken, axis=0).mean(axis=0)
        ranked = np.take_along_axis(sure, order, axis=0)
        edge = ranked[len(taken) - 1] - ranked[len(taken)]
        everywhere &= edge > 0.003  # elsewhere, roundings choose the scale
    else:
        merged = np.sort(stack, axis=0)[-2 if windows.merge == 'top2' else -1 :].mean(axis=0)
    if windows.combine == 'logits':
        merged = np.exp(merged)
    assert everywhere is not None
    _, valid = reader.read(seeing.native, whole(seeing.native))
    assert valid is not None
    return merged / np.maximum(merged.sum(axis=0), 1e-9), everywhere & valid


@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize(
    'windows',
    [
        Windows(tile_px=16, scales=(1, 0.5)),
        Windows(tile_px=16, scales=(0.6, 1.7, 1), merge='max'),
        Windows(tile_px=16, scales=(1, 0.35), merge='max', merge_class='road', combine='logits'),
        Windows(tile_px=16, scales=(1, 0.7, 0.5), merge='top2'),
        Windows(tile_px=16, scales=(1, 0.7, 0.5), merge='top2', merge_class='road'),
    ],
    ids=['mean', 'max', 'max of road', 'top2', 'top2 of road'],
)
def test_streamed_maps_equal_whole_arrays(
    write_raster: Write, tmp_path: Path, place: str, windows: Windows
) -> None:
    crs, transform, view = PLACES[place]
    scene = write_raster('a.tif', smooth(61, 75), crs=crs, transform=transform, nodata=0)
    sure = tmp_path / 'p.tif'
    predict_scene(
        pixelwise(), scene, tmp_path / 'map.tif', labels=THREE, windows=windows, view=view,
        outputs=Outputs(probabilities=sure),
    )  # fmt: skip
    expected, known = naive(scene, view, windows)
    assert known.mean() > 0.4
    with open_raster(sure) as result, open_raster(tmp_path / 'map.tif') as labels:
        probabilities, ids = result.read(), labels.read(1)
    np.testing.assert_allclose(probabilities[:, known] / 254, expected[:, known], atol=0.011)
    best = np.sort(expected, axis=0)
    clear = known & (best[-1] - best[-2] > 0.02)
    np.testing.assert_array_equal(ids[clear], expected.argmax(axis=0)[clear])
    assert (ids[10:19, 20:37] == 255).all()


@pytest.mark.parametrize('class_id', [None, 1])
def test_two_scales_count_of_those_that_have_data(class_id: int | None) -> None:
    """Four pixels where three, two, one and none of the scales have data."""
    road = np.float32([[0.9] * 4, [0.5] * 4, [0.1] * 4])
    scores = [np.stack((1 - row, row))[:, None] for row in road]
    known = [np.array([[True, False, False, False]])]
    known += [np.array([[True, True, False, False]]), np.array([[True, True, True, False]])]
    merged, anywhere = merge_scores(scores, known, 'top2', class_id=class_id)
    expected = [0.7, 0.3, 0.1, 0]
    if class_id is None:  # of the two classes by themselves: (.7, .7), (.7, .3), (.9, .1)
        expected[0] = 0.5
    np.testing.assert_allclose(merged[1, 0], expected, atol=1e-6)
    assert anywhere.tolist() == [[True, True, True, False]]
    np.testing.assert_allclose(merged.sum(0), anywhere, atol=1e-6)


def test_one_scale_is_the_scene_at_that_size(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('a.tif', smooth(61, 75))  # 0.5 m
    windows = Windows(tile_px=16)
    predict_scene(pixelwise(), scene, tmp_path / 'a-map.tif', windows=windows)
    for name, half, view in (
        ('half', Windows(tile_px=16, scales=(0.5,)), View(return_by='bilinear')),
        ('gsd', windows, View(scene_gsd_m=0.5, gsd_m=1.0, return_by='bilinear')),
        ('one', Windows(tile_px=16, scales=(1,), merge='max'), View()),
    ):
        predict_scene(pixelwise(), scene, tmp_path / f'{name}.tif', windows=half, view=view)
    one, plain = tmp_path / 'one.tif', tmp_path / 'a-map.tif'
    assert one.read_bytes() == plain.read_bytes()
    assert (tmp_path / 'half.tif').read_bytes() == (tmp_path / 'gsd.tif').read_bytes()
    assert (tmp_path / 'half.tif').read_bytes() != plain.read_bytes()


def test_parts_of_several_scales_make_the_same_map(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('a.tif', smooth(530, 900))
    windows = Windows(tile_px=256, scales=(1, 0.5))
    made = predict_scene(pixelwise(), scene, tmp_path / 'whole.tif', windows=windows)
    estimate = estimate_scene(pixelwise(), scene, windows=windows)
    assert (estimate.windows, estimate.units) == (made.windows, made.units)
    assert made.units == 2
    path = tmp_path / 'map.tif'
    for share in (1, 2):
        part = Running(shard=(share, 2), shard_px=512)
        assert not predict_scene(pixelwise(), scene, path, windows=windows, running=part).complete
    other = Windows(tile_px=256, scales=(1, 0.4))
    again = Running(resume=True, shard_px=512)
    with pytest.raises(ConfigError, match=r'parts of another run \(scales was \[1\.0, 0\.5\], is'):
        predict_scene(pixelwise(), scene, path, windows=other, running=again)
    with pytest.raises(ConfigError, match='merge was mean, is max'):
        predict_scene(
            pixelwise(), scene, path, running=again,
            windows=Windows(tile_px=256, scales=(1, 0.5), merge='max'),
        )  # fmt: skip
    joined = predict_scene(pixelwise(), scene, path, windows=windows, running=again)
    assert joined.units == 5  # four of the scene, one of half of it
    assert path.read_bytes() == (tmp_path / 'whole.tif').read_bytes()


def test_blocks_that_are_lost_are_listed(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('a.tif', smooth(530, 600), tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(scene) as file:
        offset = int(file.get_tag_item('BLOCK_OFFSET_1_1', 'TIFF', bidx=1))
    scene.write_bytes(scene.read_bytes()[:offset])
    made = predict_scene(
        pixelwise(), scene, tmp_path / 'map.tif',
        windows=Windows(tile_px=256, scales=(1, 0.5)),
        running=Running(on_read_error='nodata'),
    )  # fmt: skip
    assert made.lost


def test_what_has_no_meaning_is_refused(write_raster: Write, tmp_path: Path) -> None:
    for scales in ((), (0,), (1, 1.0), (-1,), (float('nan'),)):
        with pytest.raises(ConfigError, match=r'scales are .*expected factors of the sides'):
            Windows(scales=scales)
    with pytest.raises(ConfigError, match=r"merge_class is 'road', but merge is 'mean'"):
        Windows(merge_class='road')
    scene = write_raster('a.tif', smooth(61, 75))
    bridge = Windows(tile_px=16, scales=(1, 0.5), merge='max', merge_class='bridge')
    with pytest.raises(ConfigError, match="'bridge', but the classes are land, road, water"):
        predict_scene(pixelwise(), scene, tmp_path / 'm.tif', labels=THREE, windows=bridge)
    with pytest.raises(ConfigError, match=r'the classes are unknown: .* or pass labels'):
        predict_scene(pixelwise(), scene, tmp_path / 'm.tif', windows=bridge)
