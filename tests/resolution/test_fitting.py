import math

import numpy as np
import pytest
import torch

from crossearth.errors import ConfigError, SceneError
from crossearth.resolution import KnownScene, fit_gsd_estimator
from tests.resolution.conftest import write_scene
from tests.resolution.textures import tiny_network


def test_the_distance_of_a_held_out_domain_is_told_within_its_interval(fitted):
    network, report = fitted
    assert report.held_out == '3 domains'
    assert int(network.held_out_domains) == 3
    assert network.error_octaves.tolist() == pytest.approx(
        [report.low_octaves, report.high_octaves]
    )
    middle = {one.name: one for one in report.domains}['1 m']
    assert middle.blocks == 4
    assert abs(middle.bias_octaves) < 0.35
    assert middle.within_half == 1
    assert report.low_octaves <= 0 <= report.high_octaves  # the estimate is in its interval


def test_the_range_reaches_from_enlarged_to_shrunk_images(fitted):
    low, high = fitted[1].gsd_range_m
    assert 0.25 <= low < 0.3
    assert 3.4 < high <= 4.0
    assert fitted[0].imagery.gsd_range_m == (low, high)


def test_a_domain_of_other_structures_shows_as_bias(known_domains, tmp_path):
    big = [write_scene(tmp_path / f'{i}.tif', 1.0, seed=70 + i, structure_m=8.0) for i in range(2)]
    report = fit_gsd_estimator(tiny_network(), known_domains | {'big': big})
    biased = {one.name: one for one in report.domains}['big']
    assert -1.4 < biased.bias_octaves < -0.6  # twice as wide looks twice as near
    assert biased.error_octaves == -biased.bias_octaves  # medians of two blocks, too
    assert biased.within_half == 0
    assert report.high_octaves > 0.6
    assert report.low_octaves <= 0


def test_two_domains_are_judged_by_their_own_images_and_say_so(known_domains):
    two = {name: scenes for name, scenes in known_domains.items() if name != '1 m'}
    two['2 m'] = two['2 m'] + [KnownScene(two['2 m'][0].path, 2.0)] * 2
    network = tiny_network()
    report = fit_gsd_estimator(network, two)
    assert report.held_out == 'images of the same domains'
    assert int(network.held_out_domains) == 0
    assert [one.blocks for one in report.domains] == [4, 6]
    assert all(abs(one.bias_octaves) < 0.3 for one in report.domains)


def test_a_fit_repeats_bit_for_bit(known_domains, fitted):
    again = tiny_network()
    fit_gsd_estimator(again, known_domains)
    assert torch.equal(again.weight, fitted[0].weight)


@pytest.mark.parametrize('gsd_m', [None, 0.0, math.nan])
def test_images_of_no_known_distance_are_refused(write_raster, gsd_m):
    pixels = np.zeros((3, 60, 60), np.uint8)
    scene = KnownScene(str(write_raster('a.tif', pixels, crs=None)), gsd_m)
    with pytest.raises(ConfigError, match=r'a\.tif.*FOLDER=METRES'):
        fit_gsd_estimator(tiny_network(), {'a': [scene]})


def test_a_domain_that_shows_nothing_is_refused_by_name(write_raster):
    flat = KnownScene(str(write_raster('a.tif', np.full((3, 90, 90), 9, np.uint8))))
    with pytest.raises(SceneError, match='lake: none of its images'):
        fit_gsd_estimator(tiny_network(), {'lake': [flat]})


def test_a_handful_of_images_is_refused(known_domains):
    few = {name: scenes[:2] for name, scenes in known_domains.items()}
    with pytest.raises(
        SceneError, match=r'6 blocks of images are usable: expected at least 10, .*--max-windows'
    ):
        fit_gsd_estimator(tiny_network(), few)
