import math

import numpy as np
import pytest
import torch

from crossearth.errors import ConfigError
from crossearth.resolution import estimate_gsd
from crossearth.resolution.estimate import interval_of, octaves_of_block, settled
from tests.resolution.textures import texture, tiny_network


def answers(*octaves):
    return [torch.tensor([octave]) for octave in octaves]


def test_views_out_of_the_learnt_range_do_not_count():
    assert octaves_of_block(answers(-3.0, 0.5, 1.25), [1, 2, 4], (0.5, 4.0)) == -0.625


def test_blocks_out_of_the_range_say_on_which_side():
    assert octaves_of_block(answers(2.5, 3.5), [1, 2], (0.5, 4.0)) == math.inf
    assert octaves_of_block(answers(-4.0, -3.0), [1, 2], (0.5, 4.0)) == -math.inf


def test_the_interval_lies_around_the_median_of_the_blocks():
    said = settled([1.0, 0.0, 9.0], (0.5, 8.0), (-1.0, 0.5), held_out_domains=4)
    assert (said.gsd_m, said.low_m, said.windows) == (2.0, 1.0, 3)
    assert said.high_m == pytest.approx(2**1.5)
    assert said.note == ''


def test_an_interval_of_the_same_places_is_marked():
    assert 'too narrow for places' in settled([0.0], (0.5, 8), (0, 0), held_out_domains=0).note


@pytest.mark.parametrize(
    ('octaves', 'words'),
    [
        ([math.inf, math.inf, 0.0], 'coarser than 8 m'),
        # not finer than 0.5 m / 4: a small scene is not seen with larger pixels
        ([-math.inf, -math.inf, 0.0], 'finer than 0.5 m'),
        ([math.inf, -math.inf], 'coarser'),
        ([], 'no usable block'),
    ],
)
def test_no_number_is_given_where_nothing_can_be_told(octaves, words):
    said = settled(octaves, (0.5, 8.0), (-1.0, 1.0), held_out_domains=4)
    assert (said.gsd_m, said.low_m, said.high_m) == (None, None, None)
    assert words in said.note


def test_quantiles_are_of_weights_not_of_numbers():
    errors = [0.0] * 98 + [5.0, 6.0]
    assert interval_of(errors, [1.0] * 100) == (0.0, 0.0)
    assert interval_of(errors, [1.0] * 98 + [98.0, 98.0]) == (0.0, 6.0)


@pytest.mark.parametrize('gsd_m', [0.35, 0.7, 1.4])
def test_a_scene_without_georeferencing_is_told_by_its_structures(fitted, write_raster, gsd_m):
    pixels = (texture(gsd_m, seed=99) * 255).round().byte().numpy()
    scene = write_raster('scene.tif', np.ascontiguousarray(pixels), crs=None)
    said = estimate_gsd(fitted[0], scene)
    assert abs(math.log2(said.gsd_m / gsd_m)) < 0.35
    assert said.low_m <= said.gsd_m <= said.high_m
    assert said.windows == 1


@pytest.mark.parametrize(('side', 'note'), [(160, '160 x 160 px show little'), (300, '')])
def test_small_scenes_are_marked(fitted, write_raster, side, note):
    pixels = (texture(0.7, seed=99, side=side) * 255).round().byte().numpy()
    said = estimate_gsd(fitted[0], write_raster('scene.tif', np.ascontiguousarray(pixels)))
    assert said.gsd_m is not None
    assert said.note.partition(':')[0] == note


def test_a_uniform_scene_gives_no_number(fitted, write_raster):
    water = write_raster('water.tif', np.full((3, 100, 100), 40, np.uint8))
    assert estimate_gsd(fitted[0], water).gsd_m is None
    assert 'of little contrast' in estimate_gsd(fitted[0], water).note


def test_values_of_another_type_are_scaled_by_the_given_range(fitted, write_raster):
    pixels = (texture(1.0, seed=5) * 255).round()
    plain = write_raster('plain.tif', pixels.byte().numpy())
    wide = write_raster('wide.tif', (1000 + 10 * pixels).numpy().astype(np.uint16))
    limits = (1000.0, 3550.0)
    said = [estimate_gsd(fitted[0], plain), estimate_gsd(fitted[0], wide, value_range=limits)]
    assert said[0].gsd_m == pytest.approx(said[1].gsd_m, rel=1e-4)


def test_unfitted_networks_are_refused():
    with pytest.raises(ConfigError, match='fit_gsd_estimator'):
        estimate_gsd(tiny_network(), 'a.tif')
