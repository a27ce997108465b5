from itertools import product

import numpy as np
import pytest
import shapely
from affine import Affine

from crossearth.datasets.cut import footprint_of
from crossearth.datasets.scene import Scene
from crossearth.errors import ConfigError
from crossearth.survey.encoding import guess_encoding
from crossearth.survey.scenes import Look, gather
from crossearth.survey.split import split_by_place

SIDE = 16


@pytest.fixture
def chips(write_raster, tmp_path):
    """A function that writes chips and masks at corners, and looks through them."""

    def written(corners, *, side=SIDE, crs='EPSG:32633', name='{}', labels=None):
        for i, (x, y) in enumerate(corners):
            place = Affine(1, 0, 500_000 + x, 0, -1, 5_000_000 - y)
            mask = np.indices((side, side)).sum(axis=0)[None] % 2 if labels is None else labels(i)
            pixels = np.full((3, side, side), 9, np.uint8)
            file = name.format(i)
            write_raster(f'images/{file}.tif', pixels, crs=crs, transform=place)
            write_raster(f'masks/{file}.tif', mask.astype(np.uint8), crs=crs, transform=place)
        images, masks = str(tmp_path / 'images'), str(tmp_path / 'masks')
        return gather('source', images, masks, progress=False).looks

    return written


def sides(looks: list[Look], window_px: int = SIDE):
    encoding = guess_encoding([look.mask for look in looks])
    split = split_by_place(looks, encoding, window_px=window_px)
    scenes = [Scene(look.raster) for look in looks]
    folder = looks[0].raster.path.removesuffix(looks[0].name)
    both = [split.hold_out.portion(scenes, part, folder=folder) for part in ('rest', 'held_out')]
    return split, *both


def test_chips_are_held_out_in_blocks_and_not_one_by_one(chips):
    looks = chips([(SIDE * col, SIDE * row) for row, col in product(range(12), range(12))])
    split, rest, held = sides(looks)
    assert len(rest) + len(held) == 144
    assert 0.15 <= len(held) / 144 <= 0.25
    assert split.share == pytest.approx(len(held) / 144, abs=0.01)
    # of single chips held out at random, each would have 3.2 of 4 neighbours in training
    ground = shapely.union_all([footprint_of(scene, None) for scene in held])
    assert ground.length / (4 * SIDE * len(held)) < 0.6


def test_overlapping_chips_are_never_on_both_sides(chips):
    looks = chips([(SIDE // 2 * col, SIDE // 2 * row) for row, col in product(range(9), range(9))])
    split, rest, held = sides(looks)
    ground = [shapely.union_all([footprint_of(s, None) for s in part]) for part in (rest, held)]
    assert ground[0].intersection(ground[1]).area == 0
    assert split.left_out == 81 - len(rest) - len(held) > 0
    assert len(rest) > 30


def test_a_large_scene_is_cut_into_blocks(chips):
    looks = chips([(0, 0)], side=600)
    split, rest, held = sides(looks, window_px=32)
    assert not split.hold_out.whole
    assert len(rest) == 1
    pixels = sum(scene.height * scene.width for scene in held)
    assert 0.15 <= pixels / 600**2 <= 0.25
    assert all(min(scene.height, scene.width) >= 32 for scene in held)


def test_images_without_a_place_are_held_out_in_runs_of_their_names(chips):
    looks = chips([(0, 0)] * 25, crs=None)
    split, rest, held = sides(looks)
    names = [int(scene.image.rpartition('/')[2].split('.')[0]) for scene in held]
    assert (len(rest), len(held)) == (20, 5)
    runs = [range(*map(int, (a.split('.')[0], b.split('.')[0]))) for a, b in split.hold_out.names]
    assert sorted(names) == [i for run in sorted(runs, key=min) for i in (*run, run.stop)]


def test_images_whose_names_begin_alike_stay_together(chips, write_raster):
    cities = ('austin', 'bern', 'chennai', 'dakar', 'essen')
    for city in cities:
        looks = chips([(0, 0)] * 6, crs=None, name=f'{city}_{{}}')
    _, rest, held = sides(looks)
    held_cities = {scene.image.rpartition('/')[2].split('_')[0] for scene in held}
    rest_cities = {scene.image.rpartition('/')[2].split('_')[0] for scene in rest}
    assert len(held_cities) == 1
    assert held_cities | rest_cities == set(cities)
    assert not held_cities & rest_cities


def test_a_rare_class_is_on_both_sides(chips):
    def labels(i):
        mask = np.zeros((1, SIDE, SIDE), np.uint8)
        mask[0, :4] = 1
        if i in (5, 40):  # in two of the runs alone
            mask[0, 8:] = 2
        return mask

    looks = chips([(0, 0)] * 60, crs=None, labels=labels)
    split, rest, held = sides(looks)
    assert split.classes[2] > 0
    numbers = [int(scene.image.rpartition('/')[2].split('.')[0]) for scene in held]
    assert len({5, 40} & set(numbers)) == 1
    assert len(rest) > 40


def test_chips_on_one_spot_cannot_be_split(chips):
    looks = chips([(0, 0)] * 12)
    with pytest.raises(ConfigError, match='all images lie within 16 by 16 units'):
        sides(looks)
