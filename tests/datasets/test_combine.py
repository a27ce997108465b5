from dataclasses import replace

import numpy as np
import pytest
import torch
from affine import Affine
from pyproj import CRS
from torch.utils.data import DataLoader
from torchgeo.datasets import IntersectionDataset, RasterDataset, UnionDataset, stack_samples
from torchgeo.samplers import GriddedPatchSampler

from crossearth.datasets import SceneDataset, fill_samples, overlay_samples, read_scene
from crossearth.errors import ConfigError, ShapeError, WindowError
from crossearth.labels import ISPRS

# torchgeo drops columns in place, which a later pandas will refuse.
pytestmark = pytest.mark.filterwarnings('ignore:The inplace keyword')
SIZE = 40
BOX = (slice(400_012, 400_022), slice(5_799_985, 5_799_995))  # columns 24 to 43, rows 10 to 29


def picture(bands=3, offset=0):
    rows, cols = np.mgrid[:SIZE, :SIZE]
    return np.stack([1 + offset + (rows + 2 * cols + b) % 120 for b in range(bands)]).astype(
        'uint8'
    )


def mask(class_id):
    return np.full((1, SIZE, SIZE), class_id, np.uint8)


@pytest.fixture
def scene(write_raster):
    def make(name, *, x=400_000.0, class_id=1, bands=3, offset=0, **place):
        place.setdefault('transform', Affine(0.5, 0, x, 0, -0.5, 5_800_000))
        pixels = picture(bands, offset)
        image = write_raster(f'{name}.tif', pixels, photometric='MINISBLACK', **place)
        return read_scene(image, write_raster(f'{name}_mask.tif', mask(class_id), **place))

    return make


def test_an_intersection_has_the_bands_of_both_and_one_of_all_else(scene):
    first = SceneDataset([scene('a', class_id=2)], ISPRS)
    second = SceneDataset([scene('b', class_id=4, bands=1, offset=100)], ISPRS)
    both = first & second
    assert isinstance(both, IntersectionDataset)
    sample = both[400_005:400_015, 5_799_985:5_799_995]
    assert (sample['image'][:3].numpy() == picture()[:, 10:30, 10:30]).all()
    assert (sample['image'][3].numpy() == picture(1, 100)[0, 10:30, 10:30]).all()
    assert (sample['mask'] == 2).all()
    assert sample['transform'].shape == (9,)
    assert sample['transform'][2] == 400_005
    assert sample['index'] == 0


def test_a_union_shows_the_second_where_the_first_ends(scene):
    left = SceneDataset([scene('l', class_id=2)], ISPRS)
    right = SceneDataset([scene('r', x=400_020, class_id=4, offset=100)], ISPRS)
    either = left | right
    assert isinstance(either, UnionDataset)
    sample = either[BOX]
    assert (sample['image'][:, :, :16].numpy() == picture()[:, 10:30, 24:]).all()
    assert (sample['image'][:, :, 16:].numpy() == picture(3, 100)[:, 10:30, :4]).all()
    assert sample['mask'].unique().tolist() == [2, 4]
    assert (sample['mask'][:, 16:] == 4).all()
    assert sample['transform'][2] == 400_012
    far = SceneDataset([scene('f', x=500_000, class_id=5)], ISPRS)
    three = left | right | far  # the rules hold for what is combined again
    assert torch.equal(three[BOX]['mask'], sample['mask'])
    assert (three[500_000:500_010, 5_799_985:5_799_995]['mask'] == 5).all()


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_what_is_filled_in_is_what_is_empty_in_each_range_of_values(scene):
    def ranged(name, low, dtype='native', **options):
        one = scene(name, **options)
        raster = replace(one.raster, value_range=(low, 200.0))
        return SceneDataset([replace(one, raster=raster)], ISPRS, dtype=dtype)

    for dtype in ('native', 'unit'):
        left = ranged('l', 7.0, dtype, class_id=2, offset=9)
        right = ranged('r', 7.0, dtype, x=400_020, class_id=4, offset=100)
        sample = (left | right)[BOX]
        assert (sample['mask'][:, :16] == 2).all()
        assert (sample['mask'][:, 16:] == 4).all()
        nested = ((left | right) | left)[BOX]
        assert torch.equal(nested['image'], sample['image'])
    other = ranged('o', 0.0, x=400_020)
    with pytest.raises(ConfigError, match=r"padding is 0 or 7, depending .* dtype='unit'"):
        ranged('l', 7.0) | other
    assert (other | other).blacks == {0.0}


def test_datasets_of_torchgeo_come_second_or_with_our_rule(scene, tmp_path):
    ours = SceneDataset([scene('a', class_id=2)], ISPRS)

    class Raster(RasterDataset):
        filename_glob = 'a.tif'

    sample = (ours & Raster(tmp_path))[400_005:400_015, 5_799_985:5_799_995]
    assert (sample['image'][3:] == sample['image'][:3]).all()
    assert (sample['mask'] == 2).all()
    theirs = IntersectionDataset(Raster(tmp_path), ours, collate_fn=overlay_samples)
    sample = theirs[400_005:400_015, 5_799_985:5_799_995]
    assert sample['image'].shape == (6, 20, 20)
    assert (sample['mask'] == 2).all()
    batches = DataLoader(
        ours | Raster(tmp_path),
        sampler=GriddedPatchSampler(ours, size=8),
        batch_size=5,
        collate_fn=stack_samples,
    )
    assert torch.cat([batch['image'] for batch in batches]).shape == (25, 3, 8, 8)


def test_combined_datasets_share_a_crs_and_a_pixel_size(scene):
    first = SceneDataset([scene('a')], ISPRS)
    other = SceneDataset(
        [scene('o', crs='EPSG:32632', transform=Affine(0.5, 0, 8.1e5, 0, -0.5, 5.8e6))], ISPRS
    )
    either = first | other
    assert len(either.index) == 2
    assert other.crs == first.crs
    assert other.res == pytest.approx((0.5, 0.5), rel=2e-3)
    coarse = Affine(2, 0, 400_000, 0, -2, 5_800_000)
    with pytest.raises(ConfigError, match=r'res is set to \(0\.5, 0\.5\).*scenes have \(2\.0'):
        first | SceneDataset([scene('c', transform=coarse)], ISPRS)


def test_what_has_no_place_is_not_combined(write_raster, scene):
    placed = SceneDataset([scene('a')], ISPRS)
    image = write_raster('p.png', picture(), crs=None, driver='PNG')
    with pytest.raises(ConfigError, match='cannot be combined by place'):
        placed & SceneDataset([read_scene(image)], ISPRS)


def test_pixels_have_the_size_of_the_crs_that_the_dataset_is_shown_in(scene):
    data = SceneDataset([scene('a')], ISPRS)
    data.crs = CRS.from_epsg(4326)
    metre_x, metre_y = 1 / (111_320 * np.cos(np.deg2rad(52.34))), 1 / 111_270
    assert data.res == pytest.approx((0.5 * metre_x, 0.5 * metre_y), rel=3e-3)
    x0, y0, x1, y1 = data.index.total_bounds
    assert data[x0:x1, y0:y1]['image'].shape[1:] == pytest.approx((SIZE, SIZE), abs=2)
    data.crs = CRS.from_epsg(32633)
    assert data.res == (0.5, 0.5)
    assert data.index.total_bounds.tolist() == [400_000, 5_799_980, 400_020, 5_800_000]


def test_samples_of_other_sizes_or_bands_do_not_combine():
    here = {'image': torch.zeros(3, 4, 4)}
    with pytest.raises(ShapeError, match=r'windows have \[\(4, 4\), \(4, 5\)\] pixels'):
        overlay_samples([here, {'image': torch.zeros(3, 4, 5)}])
    with pytest.raises(ShapeError, match=r'images have \[1, 3\] bands'):
        fill_samples([here, {'image': torch.zeros(1, 4, 4)}])


def test_a_sample_without_labels_leaves_what_it_shows_unlabelled():
    here = {'image': torch.tensor([[[5, 0]]])}
    there = {'image': torch.tensor([[[7, 7]]]), 'mask': torch.tensor([[1, 2]])}
    assert fill_samples([here, there])['mask'].tolist() == [[255, 2]]
    assert fill_samples([there, here])['mask'].tolist() == [[1, 2]]


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_datasets_of_torchgeo_that_come_first_are_told_what_to_write(scene, tmp_path):
    ours = SceneDataset([scene('a', class_id=2)], ISPRS)

    class Raster(RasterDataset):
        filename_glob = 'a.tif'

    with pytest.raises(ConfigError, match=r'theirs & ours.*write ours & theirs, or Intersection'):
        (Raster(tmp_path) & ours)[BOX]
    with pytest.raises(ConfigError, match=r'theirs \| ours.*write ours \| theirs, or UnionDataset'):
        (Raster(tmp_path) | ours)[BOX]
    either = UnionDataset(Raster(tmp_path), ours, collate_fn=fill_samples)
    assert either[BOX]['image'].shape == (3, 20, 20)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_samples_of_slices_make_batches_of_plain_tensors(scene, num_workers):
    data = SceneDataset([scene('a')], ISPRS)
    sampler = GriddedPatchSampler(data, size=16)
    for collate in (stack_samples, None):
        batches = list(
            DataLoader(
                data, sampler=sampler, batch_size=9, num_workers=num_workers, collate_fn=collate
            )
        )
        assert batches[0]['index'].tolist() == [0] * 9
        assert type(batches[0]['index'] + 1) is torch.Tensor
        assert batches[0]['bounds'].shape == (9, 9)
        assert batches[0]['bounds'].dtype == torch.float64


def test_an_intersection_pairs_scenes_of_one_time(scene):
    images = SceneDataset(
        [scene('a', offset=0), scene('b', offset=100)], ISPRS, time={'a*': '2020', 'b*': '2021'}
    )
    labels = SceneDataset([scene('c', bands=1, class_id=4)], ISPRS, time='2021-07')
    both = images & labels
    assert len(both.index) == 1
    sample = both[BOX]
    assert (sample['image'][:3, :, :16].numpy() == picture(3, 100)[:, 10:30, 24:]).all()
    assert torch.equal(both[(*BOX, slice('2021-07-03', '2021-07-04'))]['image'], sample['image'])
    with pytest.raises(WindowError, match='touches no scene'):
        both[(*BOX, slice('2020-03', '2020-04'))]
    early = SceneDataset([scene('d')], ISPRS, time='2019')
    with pytest.raises(RuntimeError, match='no temporal intersection'):
        early & labels
    either = images | early
    assert torch.equal(either[(*BOX, slice('2019-03', '2019-04'))]['image'], early[BOX]['image'])


def test_a_labelled_black_pixel_keeps_its_label_next_to_padding():
    black = {'image': torch.zeros(1, 1, 3, dtype=torch.uint8), 'mask': torch.tensor([[3, 3, 255]])}
    padding = {'image': torch.tensor([[[0, 7, 0]]]), 'mask': torch.tensor([[255, 4, 255]])}
    assert fill_samples([black, padding])['mask'].tolist() == [[3, 4, 255]]
    assert fill_samples([padding, black])['mask'].tolist() == [[3, 4, 255]]


def test_a_union_keeps_the_labels_of_a_scene_that_is_black(scene, write_raster):
    place = {'transform': Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)}
    dark = np.zeros((3, SIZE, SIZE), np.uint8)
    here = read_scene(
        write_raster('d.tif', dark, **place), write_raster('dm.tif', mask(2), **place)
    )
    there = SceneDataset([scene('r', x=400_020, class_id=4)], ISPRS)
    sample = (SceneDataset([here], ISPRS) | there)[BOX]
    assert (sample['mask'][:, :16] == 2).all()
    assert (sample['mask'][:, 16:] == 4).all()


@pytest.mark.parametrize('wide', [np.uint16, np.uint32, np.int16, np.float32])
def test_images_of_two_types_are_overlaid_in_one_that_holds_both(wide):
    narrow = torch.full((2, 4, 4), 255, dtype=torch.uint8)
    other = torch.from_numpy(np.full((1, 4, 4), 30_000, wide))
    both = overlay_samples([{'image': narrow}, {'image': other}])['image']
    assert both.numpy().dtype == wide
    assert both[:, 0, 0].tolist() == [255, 255, 30_000]
