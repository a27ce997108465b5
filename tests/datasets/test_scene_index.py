import copy

import numpy as np
import pandas as pd
import pytest
import shapely
import torch
from affine import Affine
from pyproj import CRS
from rasterio.control import GroundControlPoint
from torchgeo.datasets import (
    random_bbox_assignment,
    random_bbox_splitting,
    random_grid_cell_assignment,
    roi_split,
    time_series_split,
)
from torchgeo.samplers import GriddedPatchSampler, RandomPatchSampler

from crossearth.datasets import (
    GridWindowSampler,
    RandomWindowSampler,
    SceneDataset,
    merge_domains,
    read_scene,
)
from crossearth.errors import ConfigError, SceneNotFoundError, WindowError
from crossearth.geometry import Window
from crossearth.labels import ISPRS

HEIGHT, WIDTH = 41, 53  # odd: cuts into halves run through pixels' middles
UP = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
DEGREES = Affine(7e-6, 0, 13.53, 0, -4.5e-6, 52.34)
PLACES = {
    'one CRS': [('EPSG:32633', UP), ('EPSG:32633', UP @ Affine.translation(WIDTH, 0))],
    'rotated': [('EPSG:32633', UP @ Affine.rotation(27)), ('EPSG:32633', UP)],
    'sheared south up': [('EPSG:32633', Affine(0.5, 0.1, 4e5, 0, 0.5, 58e5))],
    'two CRSs': [('EPSG:4326', DEGREES), ('EPSG:32633', UP @ Affine.translation(300, 9))],
    'a zone further': [
        ('EPSG:32633', UP),
        ('EPSG:32632', Affine(40, 0, 800_000, 0, -40, 5_810_000)),
    ],
}


@pytest.fixture
def make(write_raster):
    """Datasets whose pixels tell their scene and place, from 1."""

    def build(places=PLACES['one CRS'], **options):
        scenes = []
        for i, (crs, transform) in enumerate(places):
            first = 1 + i * HEIGHT * WIDTH
            pixels = first + np.arange(HEIGHT * WIDTH, dtype=np.int32).reshape(1, HEIGHT, WIDTH)
            place = {'crs': crs, 'transform': transform}
            image = write_raster(f'{i}.tif', pixels, **place)
            ids = np.full((1, HEIGHT, WIDTH), i, np.uint8)
            scenes.append(read_scene(image, write_raster(f'{i}_mask.tif', ids, **place)))
        return SceneDataset(scenes, ISPRS, **options)

    return build


def keys_of(data):
    yield 'whole', range(len(data))
    yield 'grid', GridWindowSampler(data, 16, stride_px=11, pad=True)
    yield 'random, pad', RandomWindowSampler(data, 8, length=80, pad=True)
    yield 'random, shift', RandomWindowSampler(data, 8, length=80, pad=True, border='shift')
    yield 'gridded patches', GriddedPatchSampler(data, size=16)
    yield 'random patches', RandomPatchSampler(data, size=8, length=40, generator=0)


def pixels_of(data):
    """Every pixel that a dataset yields, by any sampler; by each, if its mask agrees."""
    seen = {}
    for name, keys in keys_of(data):
        seen[name] = set()
        for key in keys:
            sample = data[key]
            image, mask = sample['image'][0], sample['mask']
            assert torch.equal(image != 0, mask != 255), name
            scene = (image - 1) // (HEIGHT * WIDTH)
            assert (mask[mask != 255] == scene[mask != 255]).all(), name
            seen[name] |= set(image[image != 0].tolist())
    return seen


SPLITS = {
    'roi': lambda data: roi_split(data, list(_halves(data))),
    'cells': lambda data: random_grid_cell_assignment(
        data, [0.5, 0.5], grid_size=3, generator=torch.Generator().manual_seed(1)
    ),
    'boxes': lambda data: random_bbox_splitting(
        data, [0.5, 0.5], generator=torch.Generator().manual_seed(0)
    ),
    'split twice': lambda data: random_bbox_splitting(
        random_grid_cell_assignment(data, [0.6, 0.4], 2, torch.Generator().manual_seed(2))[0],
        [0.3, 0.7],
        generator=torch.Generator().manual_seed(0),
    ),
}


def _halves(data):
    left, bottom, right, top = data.index.total_bounds
    x = left + (right - left) / 3
    yield shapely.Polygon([(left, bottom), (x, bottom), (x + 9 * data.res[0], top), (left, top)])
    yield shapely.Polygon([(x, bottom), (right, bottom), (right, top), (x + 9 * data.res[0], top)])


@pytest.mark.parametrize(
    ('split', 'place'),
    [
        *((split, place) for split in ('roi', 'cells') for place in PLACES),
        ('boxes', 'rotated'),
        ('split twice', 'two CRSs'),
    ],
)
def test_no_sampler_yields_a_pixel_of_two_splits(make, place, split):
    first, second = (pixels_of(part) for part in SPLITS[split](make(PLACES[place])))
    assert not set().union(*first.values()) & set().union(*second.values())
    for seen in (first, second):
        # torchgeo's random patches need parts larger than those of some splits
        assert all(pixels for name, pixels in seen.items() if name != 'random patches')
        assert seen['whole'] == seen['grid']
        assert set().union(*seen.values()) == seen['whole']


@pytest.mark.parametrize('split', ['cells', 'boxes'])
def test_rectangles_of_one_crs_lose_no_pixel(make, split):
    parts = SPLITS[split](make())
    seen = set().union(*(pixels_of(part)['grid'] for part in parts))
    assert seen == set(range(1, 1 + 2 * HEIGHT * WIDTH))


def test_borders_across_pixels_belong_to_the_side_of_the_centre(make):
    left, right = roi_split(make(), list(_halves(make())))
    seen = pixels_of(left)['grid'] | pixels_of(right)['grid']
    assert len(seen) > 2 * HEIGHT * WIDTH - 3  # but for centres on the border itself


def test_resampled_scenes_are_split_in_their_own_pixels(make):
    data = make(PLACES['rotated'], gsd_m=0.75)
    parts = random_grid_cell_assignment(
        data, [0.5, 0.5], grid_size=3, generator=torch.Generator().manual_seed(1)
    )
    counted = np.zeros((2, *data[0]['mask'].shape), int)
    for counts, part in zip(counted, parts, strict=True):
        for i, scene in enumerate(part.scenes):
            if scene.image.endswith('0.tif'):
                row, col = scene.part.row, scene.part.col
                labelled = part[i]['mask'].numpy() != 255
                counts[row : row + scene.height, col : col + scene.width] += labelled
    whole = data[0]['mask'].numpy() != 255
    assert (counted.sum(axis=0) <= whole).all()
    assert counted.sum() > 0.98 * whole.sum()


def test_a_split_counts_its_parts_and_leaves_the_dataset_alone(make):
    data = make()
    parts = random_grid_cell_assignment(data, [0.25, 0.75], grid_size=2)
    assert [len(part) for part in parts] == [2, 6]
    assert [len(part.index) for part in parts] == [2, 6]
    assert [len(part.scenes) for part in parts] == [2, 6]
    assert parts[1].index['scene'].tolist() == list(range(6))
    assert list(parts[1].index.columns) == list(data.index.columns)
    assert len(data) == 2
    assert data[0]['image'].shape == (1, HEIGHT, WIDTH)
    kept, other = random_bbox_assignment(data, [1, 1])
    assert sorted(scene.image for part in (kept, other) for scene in part.scenes) == data.paths
    assert kept.paths != other.paths


def test_a_part_has_the_transform_and_bounds_of_its_pixels(make):
    data = make()
    (part,) = roi_split(data, [shapely.box(400_005.2, 5_799_980, 400_020, 5_799_990)])
    assert (part.scenes[0].height, part.scenes[0].width) == (20, 30)
    sample, there = part[Window(0, 2, 3, 4, 5)], Window(0, 22, 13, 4, 5)
    for key in sample:
        assert torch.equal(sample[key], data[there][key]), key
    slices = slice(400_000, 400_040), slice(5_799_970, 5_800_000)
    assert (part[slices]['mask'] != 255).sum() == 20 * 30
    with pytest.raises(WindowError, match='lies outside'):
        part[Window(0, -5, 0, 5, 5)]


def test_a_part_keeps_to_itself_where_datasets_are_merged_copied_or_shown_elsewhere(make):
    data = make()
    parts = SPLITS['cells'](data)
    wanted = [part_pixels['whole'] for part_pixels in map(pixels_of, parts)]
    merged = merge_domains({'a': parts[0], 'b': parts[1]})
    assert len(merged) == sum(map(len, parts))
    assert pixels_of(merged)['grid'] == wanted[0] | wanted[1]
    again = copy.deepcopy(parts[0])
    assert pixels_of(again)['whole'] == wanted[0]
    parts[0].crs = CRS.from_epsg(4326)
    assert pixels_of(parts[0])['gridded patches'] <= wanted[0]
    assert pixels_of(parts[0])['whole'] == wanted[0]
    assert len(parts[0].index) == len(parts[0])


def test_rows_taken_out_by_hand_take_their_scenes_along(make):
    data = make()
    data.index = data.index.iloc[1:]
    assert len(data) == 1
    assert data[0]['mask'].unique().tolist() == [1]
    assert data[0]['index'] == 0


def test_what_cannot_be_split_is_an_error(make, write_raster):
    data = make()
    with pytest.raises(SceneNotFoundError, match='this part of it contains no pixel'):
        roi_split(data, [shapely.box(0, 0, 1, 1)])
    assert len(data) == 2
    with pytest.raises(ConfigError, match='expected rows of the index'):
        data.index = data.index.drop(columns='scene')
    with pytest.raises(ConfigError, match=r'rows of scenes \[7\]'):
        data.index = data.index.assign(scene=7)
    assert len(data) == 2
    nowhere = read_scene(write_raster('p.png', np.ones((1, 9, 9), np.uint8), crs=None))
    mixed = SceneDataset([*data.scenes, nowhere], ISPRS)
    with pytest.raises(ConfigError, match=r'p\.png: is not georeferenced.*cannot be split'):
        roi_split(mixed, [shapely.box(400_000, 5_799_980, 400_020, 5_800_000)])


def test_domains_without_a_scene_left_get_no_windows(make):
    data = make()
    both = merge_domains({'a': data, 'b': data}, weights={'a': 1, 'b': 0})
    both.index = both.index[both.index['scene'] > 1]
    with pytest.raises(ConfigError, match='none of the scenes'):
        RandomWindowSampler(both, 8, length=4).windows(0)


DAYS = {f'{i}.tif': f'2021-06-0{i + 1}' for i in range(4)}


def test_a_split_in_time_has_each_scene_once(make):
    data = make([('EPSG:32633', UP)] * 4, time=DAYS)
    early, late = time_series_split(data, [0.5, 0.5])
    assert [scene.image[-5:] for scene in early.scenes] == ['0.tif', '1.tif']
    assert [scene.image[-5:] for scene in late.scenes] == ['2.tif', '3.tif']
    first, second = pixels_of(early), pixels_of(late)
    assert not set().union(*first.values()) & set().union(*second.values())


def test_a_scene_that_a_split_in_time_cuts_goes_where_its_middle_is(make):
    spans = {'0.tif': '2021', '1.tif': ('2020-12', '2021-03'), '2.tif': ('2020', '2021')}
    data = make([('EPSG:32633', UP)] * 3, time=spans)
    cut = pd.Timestamp('2021-02-01')
    taken = data.bounds[2]
    early, late = time_series_split(
        data, [pd.Interval(taken.start, cut), pd.Interval(cut, taken.stop)]
    )
    assert [scene.image[-5:] for scene in early.scenes] == ['1.tif', '2.tif']
    assert [scene.image[-5:] for scene in late.scenes] == ['0.tif']
    assert early.index.index.closed == 'both'
    assert len(early) == 2


def test_slices_in_time_read_only_what_was_taken_then(make):
    data = make([('EPSG:32633', UP)] * 4, time=DAYS)
    x, y = slice(400_000, 400_010), slice(5_799_990, 5_800_000)
    for day in range(4):
        moment = f'2021-06-0{day + 1}'
        assert (data[x, y, moment:moment]['mask'] == day).all()
        start = pd.Timestamp(moment)
        assert (data[x, y, start : start + pd.Timedelta(hours=3)]['mask'] == day).all()
    assert (data[x, y, '2021-06-03':]['mask'] == 2).all()
    assert (data[:, :, :'2021-06-01T12']['mask'] == 0).all()
    with pytest.raises(WindowError, match=r'2022.* touches no scene.*2021-06-01 00:00:00 to 2021'):
        data[x, y, '2022':'2023']
    with pytest.raises(ConfigError, match='leave the step out'):
        data[x, y, '2021':'2022':2]


def test_scenes_that_nobody_dated_were_taken_at_any_time(make):
    data = make()
    bounds = data[0]['bounds']
    assert bounds[6] == pd.Timestamp.min.timestamp()
    assert (data[:, :, '1999':'2001']['mask'] != 255).any()


def test_scenes_with_control_points_are_split_once_they_are_resampled(write_raster):
    points = [
        GroundControlPoint(row=row, col=col, x=4e5 + col, y=58e5 - row)
        for row in (0, HEIGHT)
        for col in (0, WIDTH)
    ]
    pixels = np.ones((1, HEIGHT, WIDTH), np.uint8)
    path = write_raster('g.tif', pixels, gcps=points, transform=None)
    with pytest.raises(ConfigError, match=r'no scene is georeferenced by a transform.*gsd_m'):
        random_grid_cell_assignment(SceneDataset([read_scene(path)], ISPRS), [0.5, 0.5])
    parts = random_grid_cell_assignment(
        SceneDataset([read_scene(path)], ISPRS, gsd_m=2.0), [0.5, 0.5], grid_size=2
    )
    assert [len(part) for part in parts] == [2, 2]
