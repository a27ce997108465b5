"""One line says what a scene's pixels measure, what the model sees, and why."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from torch import nn

from crossearth.errors import ConfigError
from crossearth.imagery import Imagery
from crossearth.inference import View, Windows, predict_scene, summarise_map
from crossearth.inference.seeing import see_scene

type Write = Callable[..., Path]
CHIP = Affine(0.21, 0, 400_000, 0, -0.21, 5_800_000)
PIXELS = np.ones((1, 100, 80), np.uint8)
ONE, RANGE = Imagery(gsd_m=1.0), Imagery(gsd_m=0.6, gsd_range_m=(0.3, 1.2))


@pytest.mark.parametrize(
    ('known', 'view', 'line'),
    [
        (ONE, View(), '(georeference), seen at 1 m: the model was trained at 1 m'),
        (ONE, View(gsd_m=0.5), '(georeference), seen at 0.5 m: as asked'),
        (ONE, View(gsd_m='native'), '(georeference), seen as they are: as asked'),
        (RANGE, View(), 'seen at 0.6 m: the middle of the 0.3 to 1.2 m that the model was'),
        (Imagery(), View(), 'seen as they are: what the model was trained at is not known'),
    ],
)
def test_a_georeferenced_scene_is_seen_as_the_model_learnt(
    write_raster: Write, known: Imagery, view: View, line: str
) -> None:
    said = str(see_scene(write_raster('a.tif', PIXELS, transform=CHIP), known, view))
    assert said.startswith('own pixels 0.21 m (georeference), seen ')
    assert line in said


def test_scenes_without_a_place_say_so(write_raster: Write) -> None:
    plain = write_raster('a.png', PIXELS, crs=None, driver='PNG')
    assert str(see_scene(plain, RANGE, View(scene_gsd_m=0.5))) == (
        'own pixels 0.5 m (stated), seen as they are: within the 0.3 to 1.2 m that the model was '
        'trained across'
    )
    assert str(see_scene(plain, Imagery(), View(), scales=(1, 0.5))) == (
        'own pixels of unknown size (nothing ties them to the ground), seen as they are: what the '
        'model was trained at is not known; at scales 1, 0.5'
    )


def test_a_transform_without_a_crs_is_said_to_lack_it(write_raster: Write) -> None:
    scene = write_raster('a.png', PIXELS, crs=None, driver='PNG')
    scene.with_suffix('.pgw').write_text('0.21\n0\n0\n-0.21\n400000\n5800000\n')
    with pytest.raises(ConfigError, match=r'a\.png \(its transform has no CRS\): the model was'):
        see_scene(scene, ONE, View())


def test_a_local_crs_says_nothing_of_the_ground_and_is_mapped_in_its_own_pixels(
    write_raster: Write,
) -> None:
    local = rasterio.CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    scene = write_raster('a.tif', PIXELS, crs=local, transform=CHIP)
    for known, view in ((Imagery(), View()), (ONE, View(gsd_m='native'))):
        seeing = see_scene(scene, known, view)
        assert seeing.is_native
        assert 'unknown size (the georeference has no place on the globe), seen' in str(seeing)
    assert 'own pixels 0.5 m (stated), seen at 1 m' in str(
        see_scene(scene, ONE, View(scene_gsd_m=0.5))
    )
    with pytest.raises(ConfigError, match=r'a\.tif .*: the model was trained at 1 m .*--gsd 0.21'):
        see_scene(scene, ONE, View())


@pytest.mark.parametrize(
    ('crs', 'transform'),
    [('EPSG:4326', CHIP), ('EPSG:32633', Affine(np.nan, 0, 4e5, 0, -1, 5e6))],
)
def test_pixels_off_the_globe_have_no_size(
    write_raster: Write, crs: str, transform: Affine
) -> None:
    scene = write_raster('a.tif', PIXELS, crs=crs, transform=transform)
    said = str(see_scene(scene, ONE, View(gsd_m='native')))
    assert said.startswith(
        'own pixels of unknown size (the georeference has no place on the globe)'
    )
    with pytest.raises(ConfigError, match=r'no place on the globe\): the model .*--gsd 0\.21'):
        see_scene(scene, RANGE, View())
    assert 'own pixels 0.5 m (stated)' in str(see_scene(scene, RANGE, View(scene_gsd_m=0.5)))


def test_scenes_that_cannot_be_seen_as_learnt_say_which_options_there_are(
    write_raster: Write,
) -> None:
    coarse = write_raster('a.tif', PIXELS, transform=Affine(100, 0, 4e5, 0, -100, 58e5))
    with pytest.raises(
        ConfigError,
        match=r'should see it at 1 m: the model was trained at 1 m. .*--seen-at nat',
    ):
        see_scene(coarse, ONE, View())


@pytest.mark.parametrize(
    ('known', 'line'),
    [
        (ONE, 'the model was trained at 1 m. Its pixels are 3 times as large as any in training'),
        (RANGE, 'trained across. Its pixels are 2.5 times as large as any in training, so what'),
    ],
)
def test_pixels_far_coarser_than_any_in_training_are_told(
    write_raster: Write, known: Imagery, line: str
) -> None:
    coarse = write_raster('a.tif', PIXELS, transform=Affine(3, 0, 4e5, 0, -3, 58e5))
    assert line in str(see_scene(coarse, known, View()))
    less = write_raster('b.tif', PIXELS, transform=Affine(1.9, 0, 4e5, 0, -1.9, 58e5))
    assert 'times as large' not in str(see_scene(less, known, View()))


def test_too_few_control_points_give_no_size_and_stop_no_map(
    write_raster: Write, tmp_path: Path
) -> None:
    points = [GroundControlPoint(at, at, 4e5 + at, 58e5 - at) for at in (0, 40, 80)]
    scenes = {
        'line': write_raster('line.tif', PIXELS, transform=None, gcps=points),
        'one': write_raster('one.tif', PIXELS, transform=None, gcps=points[:1]),
    }
    for scene in scenes.values():
        with pytest.raises(ConfigError, match=r'control points do not place it.*--gsd 0\.21'):
            see_scene(scene, ONE, View())
        with pytest.raises(ConfigError, match=r'ground control points do not say where .*three'):
            see_scene(scene, ONE, View(gsd_m=0.5))
        model = nn.Conv2d(1, 2, 1)
        made = predict_scene(
            model,
            scene,
            tmp_path / 'm.tif',
            windows=Windows(tile_px=16),
            view=View(scene_gsd_m=0.5),
        )
        assert summarise_map(made.path).classes[0].area_m2 is None
        with rasterio.open(made.path) as after, rasterio.open(scene) as before:
            assert len(after.gcps[0]) == len(before.gcps[0])


def test_the_line_is_logged_and_returned(
    write_raster: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = nn.Conv2d(1, 2, 1)
    model.imagery = ONE  # type: ignore[assignment]  # as of load_model
    scene = write_raster('a.tif', PIXELS, transform=CHIP)
    with caplog.at_level(logging.INFO, logger='crossearth'):
        made = predict_scene(model, scene, tmp_path / 'm.tif', windows=Windows(tile_px=16))
    assert made.seen.startswith('own pixels 0.21 m (georeference), seen at 1 m: the model')
    assert [record.getMessage() for record in caplog.records] == [f'{scene}: {made.seen}']
