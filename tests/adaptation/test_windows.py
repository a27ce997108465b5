import numpy as np
import pytest
import torch
from rasterio.transform import Affine
from torch import nn

from crossearth.adaptation.windows import read_windows
from crossearth.errors import BandError, ConfigError, SceneError, SceneNotFoundError
from crossearth.imagery import Imagery
from crossearth.inference import Outputs, View, Windows, predict_scene


def noise(bands, height, width, *, seed=0):
    return np.random.default_rng(seed).integers(1, 255, (bands, height, width), np.uint8)


class Recorder(nn.Module):
    """Keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, image):
        self.seen.append(image.clone())
        return torch.cat([image[:, :1], -image[:, :1]], 1)


@pytest.mark.parametrize(
    'view',
    [
        View(),
        View(bands=(3, 1)),
        View(value_range=(50, 200)),
        View(gsd_m=1.0),
    ],
)
def test_windows_are_what_a_map_shows_to_the_model(write_raster, view, tmp_path):
    pixels = noise(3, 64, 96)
    pixels[:, :10, :10] = 0
    path = write_raster('a.tif', pixels, nodata=0)
    tile_px = 16
    recorder = Recorder()
    made = predict_scene(
        recorder, path, tmp_path / 'map.tif', view=view, outputs=Outputs(),
        windows=Windows(tile_px=tile_px, stride_px=tile_px),
    )  # fmt: skip
    shown = {one.numpy().tobytes() for one in recorder.seen}
    windows = read_windows([path], Imagery(), view=view, tile_px=tile_px)
    assert len(windows) == made.windows
    assert all(image[None].numpy().tobytes() in shown for image, _ in windows)


def test_the_ground_sampling_distance_of_the_model_is_used_and_said(write_raster):
    path = write_raster('a.tif', noise(3, 64, 64), transform=Affine(0.5, 0, 4e5, 0, -0.5, 5.8e6))
    windows = read_windows([path], Imagery(gsd_m=1.0), tile_px=512)
    assert windows[0][0].shape[1] in (32, 33)
    (scene,) = windows.scenes
    assert scene.name == 'a.tif'
    assert scene.gsd_m == pytest.approx(0.5, rel=0.01)
    assert scene.seen_gsd_m == pytest.approx(1.0, rel=0.01)


def test_windows_without_data_in_half_of_their_pixels_are_left_out(write_raster):
    pixels = noise(1, 32, 64)
    pixels[:, :, :23] = 0
    path = write_raster('a.tif', pixels, nodata=0)
    windows = read_windows([path], Imagery(), tile_px=16)
    assert len(windows) == 6  # of columns 0, 16, 32 and 48, 16 has data in 9 of 16
    assert {int(valid.sum()) for _, valid in windows} == {16 * 9, 16 * 16}
    for image, valid in windows:
        assert not bool(image[:, ~valid].any())


def test_the_same_seed_draws_the_same_windows_of_all_scenes(write_raster):
    paths = [write_raster(f'{i}.tif', noise(1, 64, 64, seed=i)) for i in range(2)]
    first, again, other = (
        read_windows(paths, Imagery(), tile_px=16, max_windows=5, seed=seed) for seed in (0, 0, 1)
    )
    assert len(first) == 5
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))


def test_scenes_without_data_and_numbers_without_meaning_are_refused(write_raster, tmp_path):
    empty = write_raster('a.tif', np.zeros((1, 40, 40), np.uint8), nodata=0)
    with pytest.raises(SceneError, match='none of 9 windows of 16 px has data in half'):
        read_windows([empty], Imagery(), tile_px=16)
    with pytest.raises(ConfigError, match='0 scenes'):
        read_windows([], Imagery())
    with pytest.raises(ConfigError, match='max_windows=0'):
        read_windows([empty], Imagery(), max_windows=0)
    with pytest.raises(SceneNotFoundError):
        read_windows([tmp_path / 'missing.tif'], Imagery())


def test_scenes_with_other_numbers_of_bands_are_refused_whichever_windows_are_drawn(write_raster):
    first, other = (
        write_raster(f'{bands}.tif', np.ones((bands, 16, 16), np.uint8)) for bands in (3, 1)
    )
    with pytest.raises(BandError, match=r'1.tif has 1 bands, but \S*3.tif has 3: choose bands'):
        read_windows([first, first, first, other], Imagery(), tile_px=16, max_windows=1)
