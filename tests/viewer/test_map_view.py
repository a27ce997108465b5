import io

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from crossearth.errors import BandError, ConfigError, SceneError, SceneNotFoundError
from crossearth.labels import LabelSpace
from crossearth.viewer import open_map_view

from .conftest import PLACE, quarters, write


def layers(path, **options):
    with open_map_view(path, **options) as view:
        return {layer.name: layer.overview(4096) for layer in view.layers}


def test_layers_have_the_colours_of_classes_and_values(files):
    shown = layers(
        files / 'map.tif', scene=files / 'scene.tif', confidence=files / 'confidence.tif'
    )
    assert list(shown) == ['scene', 'map', 'confidence']
    assert shown['scene'][7, 9].tolist() == [7, 9, 248, 255]
    assert shown['map'][0, 119].tolist() == [255, 0, 0, 255]
    assert shown['map'][79, 0].tolist() == [0, 200, 0, 255]
    assert shown['map'][0, 0, 3] == shown['map'][79, 119, 3] == 0  # background, no data
    assert shown['confidence'][0, 0].tolist() == [33, 145, 140, 255]  # viridis at a half
    assert shown['confidence'][79, 119, 3] == 0


def test_the_legend_has_names_colours_shares_and_areas(files):
    with open_map_view(files / 'map.tif') as view:
        found = [(one.name, one.colour, one.share, one.area) for one in view.legend]
        assert (view.title, view.width, view.height) == ('map.tif', 120, 80)
        assert view.gsd_m == pytest.approx((0.5, 0.5), rel=2e-3)
        assert view.transform == tuple(PLACE)[:6]
        assert view.crs == 'EPSG:32633'
    assert found[0][:3] == ('background', None, '25.4%')
    assert found[1][:3] == ('<b>roof</b>', '#ff0000', '25.4%')
    assert found[3][:3] == ('car', '#0000ff', '23.8%')
    assert found[1][3].startswith('600.') or found[1][3].startswith('599.')


def test_maps_without_names_get_colours_that_differ_or_those_of_labels(tmp_path):
    path = write(tmp_path / 'plain.tif', quarters(16, 16).astype(np.uint16))
    with open_map_view(path) as view:
        colours = [one.colour for one in view.legend]
        assert [one.name for one in view.legend][:4] == [f'class {index}' for index in range(4)]
        assert len(set(colours[:4])) == 4
    labels = LabelSpace('l', ('a', 'b', 'c', 'd'), ((1, 2, 3), (4, 5, 6), (7, 8, 9), (9, 9, 9)))
    shown = layers(path, labels=labels)['map']
    assert shown[0, 0].tolist() == [1, 2, 3, 255]
    with open_map_view(path, labels=labels) as view:
        assert view.legend[1].name == 'b'


def test_a_scene_on_another_grid_is_brought_to_that_of_the_map(files, tmp_path):
    fine = np.zeros((3, 160, 240), np.uint8)
    fine[0, :80] = 200  # the upper half, in pixels of half the size
    scene = write(tmp_path / 'fine.tif', fine, transform=PLACE @ Affine.scale(0.5))
    shown = layers(files / 'map.tif', scene=scene)['scene']
    assert shown.shape == (80, 120, 4)
    assert shown[10, 60].tolist() == [200, 0, 0, 255]
    assert shown[70, 60].tolist() == [0, 0, 0, 255]
    part = write(tmp_path / 'part.tif', fine[:, :80, :100] + np.uint8(9), transform=PLACE)
    shown = layers(files / 'map.tif', scene=part)['scene']
    assert shown[0, 99, 3] == 255
    assert shown[0, 101, 3] == 0  # where the scene ends, nothing is drawn


def test_a_scene_of_palette_numbers_keeps_its_colours_on_another_grid(files, tmp_path):
    numbers = np.zeros((1, 80, 120), np.uint8)
    numbers[0, :, 61:] = 2  # numbers 0 and 2 touch, and 1 lies between them
    scene = write(tmp_path / 'palette.tif', numbers, transform=PLACE @ Affine.translation(0.3, 0))
    with rasterio.open(scene, 'r+') as file:
        file.write_colormap(1, {0: (9, 0, 0, 255), 1: (0, 255, 0, 255), 2: (0, 0, 9, 255)})
    shown = layers(files / 'map.tif', scene=scene)['scene']
    known = shown[shown[..., 3] == 255][:, :3]
    assert {tuple(colour) for colour in known.tolist()} == {(9, 0, 0), (0, 0, 9)}


def test_pixels_in_degrees_have_two_sides_in_metres(tmp_path):
    north = Affine(1e-5, 0, 10, 0, -1e-5, 60)
    path = write(tmp_path / 'north.tif', quarters(16, 16), crs='EPSG:4326', transform=north)
    with open_map_view(path) as view:
        assert view.gsd_m == pytest.approx((0.558, 1.114), abs=1e-3)


def test_a_scene_on_another_grid_may_have_an_alpha_band(files, tmp_path):
    values = np.full((4, 160, 240), 255, np.uint8)
    values[:3] = 90
    values[3, :, :120] = 0  # the left half is clear
    fine = PLACE @ Affine.scale(0.5)
    scene = write(tmp_path / 'rgba.tif', values, transform=fine, photometric='rgb', alpha='yes')
    shown = layers(files / 'map.tif', scene=scene)['scene']
    assert shown[40, 100].tolist() == [90, 90, 90, 255]
    assert shown[40, 20, 3] == 0
    part = write(tmp_path / 'part.tif', values, transform=PLACE @ Affine.translation(-200, -100))
    shown = layers(files / 'map.tif', scene=part)['scene']
    assert shown[59, 39, 3] == 255
    assert shown[61, 41, 3] == 0  # where the scene ends, nothing is drawn


def test_wide_values_are_stretched_as_a_whole_and_nodata_is_clear(files, tmp_path):
    values = np.linspace(1000, 3000, 80 * 120).reshape(1, 80, 120).astype(np.uint16)
    values[0, 0, 0] = 0
    shown = layers(files / 'map.tif', scene=write(tmp_path / 'b.tif', values, nodata=0))['scene']
    assert shown[0, 0, 3] == 0
    assert shown[0, 1].tolist() == [0, 0, 0, 255]
    assert shown[79, 119].tolist() == [255, 255, 255, 255]
    with open_map_view(files / 'map.tif', scene=tmp_path / 'b.tif') as view:
        left, right = (view.layers[0].dataset.window(*bounds) for bounds in (
            (400_000, 5_799_960, 400_030, 5_800_000), (400_030, 5_799_960, 400_060, 5_800_000),
        ))  # fmt: skip
        halves = [view.layers[0].colours(window, 80, 60) for window in (left, right)]
    assert (np.concatenate(halves, axis=1) == shown).all()  # one stretch for all tiles


def test_bands_are_those_called_red_green_and_blue_or_those_asked_for(files, tmp_path):
    values = np.arange(1, 5, dtype=np.uint8)[:, None, None] * np.ones((1, 80, 120), np.uint8)
    path = write(tmp_path / 'four.tif', values)
    with rasterio.open(path, 'r+') as file:
        kinds = rasterio.enums.ColorInterp
        file.colorinterp = (kinds.undefined, kinds.blue, kinds.green, kinds.red)
    assert layers(files / 'map.tif', scene=path)['scene'][0, 0].tolist() == [4, 3, 2, 255]
    shown = layers(files / 'map.tif', scene=path, bands=(1,))['scene']
    assert shown[0, 0].tolist() == [1, 1, 1, 255]
    with pytest.raises(BandError, match=r'four\.tif has 4 bands, but \(1, 2, 5\) were asked for'):
        layers(files / 'map.tif', scene=path, bands=(1, 2, 5))
    with pytest.raises(BandError, match='expected one, or three'):
        layers(files / 'map.tif', scene=path, bands=(1, 2))


def test_what_does_not_fit_together_is_an_error(files, tmp_path, write_raster):
    far = write(
        tmp_path / 'far.tif',
        np.ones((3, 80, 120), np.uint8),
        transform=Affine(0.5, 0, 0, 0, -0.5, 0),
    )
    with pytest.raises(ConfigError, match=r'far\.tif has no data where the map is'):
        layers(files / 'map.tif', scene=far)
    bare = write_raster('bare.png', np.ones((3, 8, 9), np.uint8), crs=None, driver='PNG')
    with pytest.raises(ConfigError, match=r'bare\.png has 9 × 8 px .*map\.tif has 120 × 80, and'):
        layers(files / 'map.tif', scene=bare)
    with pytest.raises(SceneError, match=r'expected a map, one band of class ids'):
        layers(files / 'scene.tif')
    with pytest.raises(ConfigError, match='expected the same grid'):
        layers(files / 'map.tif', confidence=write(tmp_path / 'c.tif', quarters(8, 8)))
    with pytest.raises(SceneNotFoundError, match=r'none\.tif'):
        layers(files / 'map.tif', scene=tmp_path / 'none.tif')


def test_tiles_are_the_pixels_of_the_raster_at_their_level(tmp_path):
    path = write(tmp_path / 'wide.tif', quarters(300, 700), names=('a', 'b', 'c', 'd'), nodata=255)
    with open_map_view(path) as view:
        (layer,) = view.layers
        whole = layer.overview(4096)

        def pixels(level, col, row):
            return np.asarray(Image.open(io.BytesIO(layer.tile(level, col, row))).convert('RGBA'))

        tile = pixels(0, 2, 1)
        assert tile.shape == (256, 256, 4)
        assert (tile[:44, :188] == whole[256:, 512:])[whole[256:, 512:, 3] > 0].all()
        assert (tile[44:, :, 3] == 0).all()
        assert (tile[:, 188:, 3] == 0).all()
        half = pixels(1, 0, 0)
        assert half[10, 10].tolist() == whole[20, 20].tolist()
        assert half[140, 200].tolist() == whole[280, 400].tolist()
        assert layer.tile(0, 3, 0) is None
        assert layer.tile(1, 0, 1) is None
