from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from crossearth.archives import CASID_CLASSES, LOVEDA_CLASSES, RESCUE_CLASSES
from crossearth.archives.isprs import VAIHINGEN_AREAS
from crossearth.datasets import (
    ARCHIVE_DATASETS,
    CASID,
    DeepGlobeRoads,
    LoveDA,
    MassachusettsRoads,
    MillionAID,
    Potsdam,
    RescueNet,
    Vaihingen,
    WHUBuildingAerial,
    WHUBuildingSatellite,
)
from crossearth.datasets.whu import _GRIDS
from crossearth.errors import ConfigError, LabelError, SceneNotFoundError, UnknownLabelWarning
from crossearth.labels import ISPRS
from tests.datasets import archive_trees as trees


def names(data):
    return [Path(path).stem for path in data.paths]


# ---- ISPRS


def test_potsdam_is_read_in_place_with_its_world_files(tmp_path):
    trees.potsdam(tmp_path, ['2_10', '2_11', '2_13'])
    data = Potsdam(tmp_path)
    assert data.layout.name == 'original'
    assert names(data) == ['top_potsdam_2_10_RGB', 'top_potsdam_2_11_RGB']
    assert names(Potsdam(tmp_path, split='test')) == ['top_potsdam_2_13_RGB']
    scene = data.scenes[1]
    assert scene.crs.to_epsg() == 32633
    assert tuple(scene.transform)[:6] == pytest.approx(
        (0.05, 0, 366_976.0, 0, -0.05, 5_808_300.0), abs=1e-9
    )
    sample = data[0]
    assert (sample['image'].numpy() == trees.picture(0, bands=4)[:3]).all()
    assert (sample['mask'][0] == 255).all()
    assert (sample['mask'][1:].numpy() == trees.classes(6)[1:]).all()
    assert data.labels == ISPRS


def test_world_files_are_read_where_gdal_does_not_list_folders(tmp_path):
    trees.potsdam(tmp_path, ['2_10'])
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN='EMPTY_DIR'):
        assert Potsdam(tmp_path).scenes[0].transform.c == pytest.approx(366_676.0, abs=1e-9)


def test_without_a_world_file_no_coordinates_are_invented(tmp_path):
    trees.potsdam(tmp_path, ['2_10'])
    next(tmp_path.rglob('*.tfw')).unlink()
    assert Potsdam(tmp_path).crs is None


@pytest.mark.parametrize(
    ('bands', 'order'), [('rgb', (0, 1, 2)), ('irrg', (3, 0, 1)), ('rgbir', (0, 1, 2, 3))]
)
def test_bands_come_from_the_rgbir_files_where_only_these_are_there(tmp_path, bands, order):
    trees.potsdam(tmp_path, ['2_10'], kinds=('RGBIR',))
    sample = Potsdam(tmp_path, bands=bands)[0]
    assert (sample['image'].numpy() == trees.picture(0, bands=4)[list(order)]).all()
    assert (sample['mask'][1:].numpy() == trees.classes(6)[1:]).all()


def test_infrared_of_zero_is_data_though_the_file_calls_it_alpha(tmp_path):
    trees.potsdam(tmp_path, ['2_10'], kinds=('RGBIR',))
    path = next(tmp_path.rglob('*_RGBIR.tif'))
    with rasterio.open(path, 'r+') as file:
        file.write(np.zeros((trees.SIZE, trees.SIZE), np.uint8), 4)
    assert (Potsdam(tmp_path)[0]['mask'][1:] < 255).all()


def test_each_kind_of_file_is_preferred_where_it_is_there(tmp_path):
    trees.potsdam(tmp_path, ['2_10'], kinds=('RGB', 'IRRG', 'RGBIR'))
    assert names(Potsdam(tmp_path, bands='irrg')) == ['top_potsdam_2_10_IRRG']
    assert names(Potsdam(tmp_path, bands='rgb')) == ['top_potsdam_2_10_RGB']


def test_full_labels_have_no_boundary(tmp_path):
    trees.potsdam(tmp_path, ['2_10'])
    trees.vaihingen(tmp_path, [1])
    for data in (
        Potsdam(tmp_path, label_variant='full'),
        Vaihingen(tmp_path, label_variant='full'),
    ):
        assert (data[0]['mask'][0] == 0).all()
        assert (data[0]['mask'][1:].numpy() == trees.classes(6)[1:]).all()


def test_damaged_labels_are_recovered_by_threshold_and_ignored_by_exact(tmp_path):
    trees.potsdam(tmp_path, ['4_12', '6_7'])
    blended, cars = sorted(tmp_path.rglob('*_noBoundary.tif'))
    colours = trees.isprs_colours()
    image = trees.picture(0)
    alpha = np.where(image > 128, 0.6, 0.7)
    trees.put(blended, (alpha * colours + (1 - alpha) * image).round().astype(np.uint8))
    off = colours.copy()
    off[0][(colours == np.array([255, 255, 0])[:, None, None]).all(axis=0)] = 252
    trees.put(cars, off)
    data = Potsdam(tmp_path)
    assert (data[0]['mask'][1:].numpy() == trees.classes(6)[1:]).all()
    assert (data[1]['mask'][1:].numpy() == trees.classes(6)[1:]).all()
    exact = Potsdam(tmp_path, label_decode='exact')
    with pytest.warns(UnknownLabelWarning, match=r'4_12_label_noBoundary\.tif'):
        assert (exact[0]['mask'] == 255).float().mean() > 0.9
    with pytest.warns(UnknownLabelWarning, match=r'of 1 colours .*\(252, 255, 0\)'):
        mask = exact[1]['mask']
    assert (
        mask[1:].numpy() == np.where(trees.classes(6)[1:] == 4, 255, trees.classes(6)[1:])
    ).all()


@pytest.mark.parametrize(('low', 'expected'), [('clutter', 4), ('ignore', 255), ('tree', 2)])
def test_potsdam_and_rescuenet_share_five_classes(tmp_path, low, expected):
    trees.potsdam(tmp_path, ['2_10'])
    data = Potsdam(tmp_path, label_space='rescue', low_vegetation=low)
    assert data.labels == RESCUE_CLASSES
    table = np.array([0, 1, expected, 2, 3, 4])
    assert (data[0]['mask'][1:].numpy() == table[trees.classes(6)[1:]]).all()
    trees.rescuenet(tmp_path)
    five = RescueNet(tmp_path, label_space='rescue')
    assert five.labels == RESCUE_CLASSES
    table = np.array([4, 4, 1, 1, 1, 1, 3, 0, 0, 2, 4])
    assert (five[0]['mask'].numpy() == table[trees.classes(11)]).all()


def test_vaihingen_tells_images_from_labels_of_the_same_name(tmp_path):
    trees.vaihingen(tmp_path, [1, 3, 11, 2])
    data = Vaihingen(tmp_path)
    assert names(data) == [f'top_mosaic_09cm_area{i}' for i in (1, 3, 11)]
    assert {Path(path).parent.name for path in data.paths} == {'top'}
    assert (data[2]['image'].numpy() == trees.picture(11)).all()
    assert data.scenes[0].crs.to_epsg() == 32632
    assert data.scenes[0].transform.c == pytest.approx(496_001.0, abs=1e-9)
    assert names(Vaihingen(tmp_path, split='test')) == ['top_mosaic_09cm_area2']


# ---- the reference release's chips


def test_chips_of_the_reference_are_told_apart_from_the_archive(tmp_path):
    trees.chips(tmp_path / 'p', ['2_10_0_0_512_512', '6_7_512_0_1024_512'], count=6)
    trees.chips(tmp_path / 'p', ['2_13_0_0_512_512'], count=6, split='val')
    data = Potsdam(tmp_path / 'p')
    assert data.layout.name == 'chips'
    assert data.crs is None
    assert names(data) == ['2_10_0_0_512_512', '6_7_512_0_1024_512']
    expected = np.where(trees.classes(7) == 0, 255, trees.classes(7).astype(int) - 1)
    assert (data[0]['mask'].numpy() == expected).all()
    assert names(Potsdam(tmp_path / 'p', split='test')) == ['2_13_0_0_512_512']
    trees.potsdam(tmp_path / 'p', ['2_12'])
    assert Potsdam(tmp_path / 'p').layout.name == 'original'


def test_a_merged_tree_of_loveda_is_taken_apart_by_its_numbers(tmp_path):
    trees.chips(tmp_path, ['3', '1365', '1366', '2521'], count=7)
    trees.chips(tmp_path, ['2522', '3514'], count=7, split='val')
    assert names(LoveDA(tmp_path, domain='rural')) == ['3', '1365']
    assert names(LoveDA(tmp_path, domain='urban')) == ['1366', '2521']
    assert names(LoveDA(tmp_path, domain='urban', split='val')) == ['3514']


def test_chips_without_folders_for_splits_are_sorted_by_their_names(tmp_path):
    trees.chips(tmp_path, ['area1_0_0_512_512', 'area2_0_0_512_512'], count=6, split='')
    assert names(Vaihingen(tmp_path)) == ['area1_0_0_512_512']
    assert names(Vaihingen(tmp_path, split='test')) == ['area2_0_0_512_512']


def test_real_chips_of_the_reference_are_read(real_data):
    folder = real_data / 'multiclass'
    rural = LoveDA(folder / 'loveda', domain='rural')
    assert names(rural) == ['0', '1', '2']
    for data, name in (
        (rural, 'loveda'),
        (Potsdam(folder / 'potsdam'), 'potsdam'),
        (Vaihingen(folder / 'vaihingen'), 'vaihingen'),
    ):
        sample = data[0]
        with Image.open(data.scenes[0].mask) as file:
            raw = np.asarray(file).astype(int)
        assert data.layout.name == 'chips', name
        assert (sample['mask'].numpy() == np.where(raw == 0, 255, raw - 1)).all()
        with Image.open(data.paths[0]) as file:
            assert (sample['image'].numpy() == np.asarray(file).transpose(2, 0, 1)).all()


def test_real_grass_is_greener_than_real_roads(real_data):
    """The ids of the reference's chips mean what is said here, in the infrared."""
    sample = Vaihingen(real_data / 'multiclass' / 'vaihingen')[0]
    infrared, red = sample['image'][0].float(), sample['image'][1].float()
    ndvi = (infrared - red) / (infrared + red).clamp(min=1)
    by_class = {name: ndvi[sample['mask'] == i].mean() for i, name in enumerate(ISPRS.classes)}
    for plant in ('low_vegetation', 'tree'):
        for built in ('impervious_surface', 'building'):
            assert by_class[plant] > by_class[built] + 0.1


# ---- LoveDA, roads, RescueNet, WHU, CASID, Million-AID


def test_loveda_ignores_its_zero(tmp_path):
    trees.loveda(tmp_path)
    data = LoveDA(tmp_path, domain='urban')
    assert names(data) == ['1366', '1400']
    expected = np.where(trees.classes(8) == 0, 255, trees.classes(8).astype(int) - 1)
    assert (data[0]['mask'].numpy() == expected).all()
    assert data.labels == LOVEDA_CLASSES
    assert names(LoveDA(tmp_path, domain='rural', split='val')) == ['2522', '2523']
    assert 'mask' not in LoveDA(tmp_path, domain='urban', split='test')[0]


def test_roads_are_binarised_and_images_without_masks_have_none(tmp_path):
    trees.deepglobe(tmp_path)
    data = DeepGlobeRoads(tmp_path)
    assert (data[1]['mask'].numpy() == trees.classes(2)).all()
    assert 'mask' not in DeepGlobeRoads(tmp_path, split='valid')[0]
    (tmp_path / 'train' / '104_mask.png').unlink()
    with pytest.raises(SceneNotFoundError, match=r'104_sat\.jpg: has no mask; expected masks'):
        DeepGlobeRoads(tmp_path)


@pytest.mark.parametrize(('mask_nodata', 'ignored'), [(False, 0.0), (True, 0.5)])
def test_blank_parts_of_massachusetts_are_ignored_if_asked(tmp_path, mask_nodata, ignored):
    trees.massachusetts(tmp_path)
    mask = MassachusettsRoads(tmp_path, mask_nodata=mask_nodata)[0]['mask']
    assert (mask == 255).float().mean() == ignored
    assert (mask[8:].numpy() == trees.classes(2)[8:]).all()


def test_rescuenet_reads_test_unless_told(tmp_path):
    trees.rescuenet(tmp_path)
    data = RescueNet(tmp_path)
    assert names(data) == ['10801']
    assert (data[0]['mask'].numpy() == trees.classes(11)).all()
    assert names(RescueNet(tmp_path, split='val')) == ['10800']


def test_whu_aerial_has_three_splits(tmp_path):
    trees.whu_aerial(tmp_path)
    for split, expected in (('train', ['0', '1']), ('val', ['2']), ('test', ['3'])):
        data = WHUBuildingAerial(tmp_path, split=split)
        assert names(data) == expected
        assert (data[0]['mask'].numpy() == trees.classes(2)).all()


def test_whu_satellite_reads_tiles_with_and_without_buildings(tmp_path):
    trees.whu_satellite(tmp_path)
    data = WHUBuildingSatellite(tmp_path)
    assert names(data) == ['1_165', '2_68', '1_166']
    assert data[2]['mask'].sum() == 0
    assert data.crs is None
    assert names(WHUBuildingSatellite(tmp_path, split='test')) == ['3_1', '3_2']


def test_whu_satellite_tiles_get_their_place_from_their_number(tmp_path):
    trees.whu_satellite(tmp_path)
    corners = {1: (1.3e7, 4e6), 2: (1.31e7, 4e6)}
    data = WHUBuildingSatellite(tmp_path, corners_xy=corners)
    side = 512 * 0.33957
    places = np.array([(scene.transform.c, scene.transform.f) for scene in data.scenes])
    expected = [(1.3e7 + 164 * side, 4e6), (1.31e7, 4e6 - side), (1.3e7 + 165 * side, 4e6)]
    assert places == pytest.approx(np.array(expected), abs=1e-6)
    assert data.scenes[0].crs.to_epsg() == 3395
    with pytest.raises(ConfigError, match='corners_xy has no image 3'):
        WHUBuildingSatellite(tmp_path, split='test', corners_xy=corners)
    (tmp_path / 'test' / 'image' / '3_1.tif').rename(tmp_path / 'test' / 'image' / '3_9999.tif')
    (tmp_path / 'test' / 'label' / '3_1.tif').rename(tmp_path / 'test' / 'label' / '3_9999.tif')
    with pytest.raises(ConfigError, match=r'3_9999\.tif: names no place.*3 with 3726 tiles'):
        WHUBuildingSatellite(tmp_path, split='test', corners_xy={3: (0.0, 0.0)})


def test_whu_satellite_tiles_of_a_copy_that_counts_from_zero(tmp_path):
    mask = trees.classes(2) * 255
    for name in ('1_0', '1_186'):
        trees.put(tmp_path / 'train' / 'image' / f'{name}.tif', trees.picture())
        trees.put(tmp_path / 'train' / 'label' / f'{name}.tif', mask)
    corners = {1: (1.3e7, 4e6)}
    with pytest.raises(ConfigError, match=r'1_0\.tif: names no place.*pass first_number'):
        WHUBuildingSatellite(tmp_path, corners_xy=corners)
    data = WHUBuildingSatellite(tmp_path, corners_xy=corners, first_number=0)
    assert [scene.transform.c for scene in data.scenes] == [1.3e7, 1.3e7]
    assert data.scenes[1].transform.f == pytest.approx(4e6 - 512 * 0.33957)


def test_grids_of_the_whole_images_make_up_the_splits_of_whu_satellite():
    first, second, third = (columns * rows for columns, rows in _GRIDS.values())
    assert (first + second, third) == (13_662, 3_726)


def test_real_tiles_of_whu_east_asia_have_a_place(real_data):
    from crossearth.datasets.whu import tile_place

    tiles = sorted((real_data / 'buildings' / 'whu_east_asia' / 'images').glob('*.webp'))
    assert [tile_place(path)[0] for path in tiles] == [1] * 6
    assert tile_place(tiles[0]) == (1, 0, 0)


@pytest.mark.parametrize('encoding', ['colour', 'zero_based', 'one_based'])
def test_casid_is_read_in_each_of_its_three_encodings(tmp_path, encoding):
    trees.casid(tmp_path, encoding)
    data = CASID(tmp_path, climate='trorf', split='test', label_encoding=encoding)
    assert names(data) == ['1', '2']
    assert (data[0]['mask'].numpy() == trees.classes(5)).all()
    assert data.domains == ('casid_trorf',)
    for other in {'colour', 'zero_based', 'one_based'} - {encoding}:
        with pytest.raises(LabelError, match=rf"not encoded as label_encoding='{other}'"):
            CASID(tmp_path, climate='trorf', split='test', label_encoding=other)


def test_millionaid_has_images_only(tmp_path):
    trees.put(tmp_path / 'train' / 'water' / 'lake' / 'P01.jpg', trees.picture())
    data = MillionAID(tmp_path)
    assert names(data) == ['P01']
    assert 'mask' not in data[0]


# ---- every archive


@pytest.mark.parametrize('dataset', ARCHIVE_DATASETS.values(), ids=lambda d: d.archive.name)
def test_an_empty_root_says_where_the_archive_is_to_be_had(dataset, tmp_path):
    options = {'climate': 'subms', 'label_encoding': 'colour'} if dataset is CASID else {}
    with pytest.raises(SceneNotFoundError) as caught:
        dataset(tmp_path, **options)
    assert dataset.archive.how_to_get in str(caught.value)
    assert dataset.archive.url in str(caught.value)
    with pytest.raises(SceneNotFoundError, match='no such folder'):
        dataset(tmp_path / 'none', **options)
    if not dataset.archive.downloads:
        with pytest.raises(ConfigError, match='has no public link'):
            dataset(tmp_path, download=True, **options)


def test_counts_of_chips_follow_from_the_true_sizes():
    counts = {
        (dataset.archive.name, *part.options.values()): part.chips(dataset.archive.chip_px)
        for dataset in ARCHIVE_DATASETS.values()
        for part in dataset.archive.parts
    }
    assert counts['Potsdam', 'train'] == 3456
    assert counts['Potsdam', 'test'] == 2016
    assert counts['Vaihingen', 'train'] == 344
    assert counts['Vaihingen', 'test'] == 398
    assert counts['LoveDA', 'train', 'urban'] == 1156
    assert counts['LoveDA', 'train', 'rural'] == 1366
    assert counts['LoveDA', 'val', 'rural'] == 992
    assert counts['LoveDA', 'val', 'urban'] == 677
    assert counts['DeepGlobeRoads', 'train'] == 6226
    assert counts['WHUBuildingAerial', 'train'] == 4736
    assert counts['WHUBuildingAerial', 'val'] == 1036
    assert counts['WHUBuildingSatellite', 'train'] == 13662
    assert counts['WHUBuildingSatellite', 'test'] == 3726
    climates = ('subms', 'temms', 'troms', 'trorf')
    assert [counts['CASID', c, 'train'] for c in climates] == [4900, 5025, 3400, 3700]
    assert [counts['CASID', c, 'test'] for c in climates] == [2200, 2075, 1650, 1550]
    assert len(VAIHINGEN_AREAS) == 33


@pytest.mark.slow
def test_samplers_cut_full_size_trees_into_the_chips_of_table_1(tmp_path):
    """Sparse files of the true sizes: headers without pixels."""
    from crossearth.datasets import GridWindowSampler

    cases = []
    for tile in sorted(Potsdam.archive.part(split='train').ids):
        for name in (f'i/top_potsdam_{tile}_RGB.tif', f'm/top_potsdam_{tile}_label_noBoundary.tif'):
            _sparse(tmp_path / 'p' / name, 6000, 6000)
    cases.append((Potsdam(tmp_path / 'p'), 512, 3456))
    for area, (height, width) in VAIHINGEN_AREAS.items():
        _sparse(tmp_path / 'v' / 'top' / f'top_mosaic_09cm_area{area}.tif', height, width)
        _sparse(tmp_path / 'v' / 'm' / f'top_mosaic_09cm_area{area}_noBoundary.tif', height, width)
    cases.append((Vaihingen(tmp_path / 'v'), 512, 344))
    cases.append((Vaihingen(tmp_path / 'v', split='test'), 512, 398))
    for data, size_px, expected in cases:
        sampler = GridWindowSampler(data, size_px)
        assert len(sampler) == expected
        assert torch.equal(
            data[sampler.windows[-1]]['image'], torch.zeros(3, size_px, size_px, dtype=torch.uint8)
        )


def _sparse(path, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, 'w', driver='GTiff', height=height, width=width, count=3, dtype='uint8',
        SPARSE_OK='TRUE', crs='EPSG:32633', transform=rasterio.Affine(0.05, 0, 0, 0, -0.05, 0),
    ):  # fmt: skip
        pass
    assert path.stat().st_size < 200_000


# ---- copies as people have them


def test_what_a_mac_leaves_behind_is_not_read(tmp_path):
    trees.massachusetts(tmp_path)
    for folder in ('tiff/train', '__MACOSX/tiff/train'):
        path = tmp_path / folder / '._10078660_15.tiff'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'Mac OS X')
    (tmp_path / '__MACOSX' / 'tiff' / 'train' / 'a.tiff').write_bytes(b'Mac OS X')
    assert names(MassachusettsRoads(tmp_path)) == ['10078660_15']


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    trees.whu_aerial(tmp_path / 'elsewhere')
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root' / 'a').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere' / 'back').symlink_to(tmp_path / 'root')
    (tmp_path / 'elsewhere' / 'again').symlink_to(tmp_path / 'elsewhere')
    assert names(WHUBuildingAerial(tmp_path / 'root')) == ['0', '1']


def test_every_image_without_a_mask_is_named(tmp_path):
    trees.deepglobe(tmp_path)
    for number in (104, 999):
        (tmp_path / 'train' / f'{number}_mask.png').unlink()
    with pytest.raises(SceneNotFoundError, match=r'nor has 1 other .*\(999_sat\.jpg\)'):
        DeepGlobeRoads(tmp_path)


@pytest.mark.parametrize('folder', ['casid_subms', 'subms', 'sub'])
def test_chips_of_casid_are_not_taken_for_the_archive(tmp_path, folder):
    trees.chips(tmp_path / folder, ['1_0_0', '1_1024_0'], count=5)
    data = CASID(tmp_path, climate='subms', label_encoding='one_based')
    assert data.layout.name == 'chips'
    assert names(data) == ['1_0_0', '1_1024_0']
    expected = np.where(trees.classes(6) == 0, 255, trees.classes(6).astype(int) - 1)
    assert (data[0]['mask'].numpy() == expected).all()


@pytest.mark.parametrize(
    'folder',
    ['Train/TroMs', 'Tropical monsoon/Train', 'CASID_Tms/images/train', 'train_troms', 'tms-train'],
)
def test_casid_is_found_by_climate_and_split_in_either_order(tmp_path, folder):
    trees.put(tmp_path / folder / '7.png', trees.picture(7))
    trees.put(tmp_path / folder / '7-label.png', trees.classes(5))
    for other in ('Subtropical monsoon/Train', 'troms/test', 'train/trorf'):
        trees.put(tmp_path / other / '8.png', trees.picture(8))
        trees.put(tmp_path / other / '8-label.png', trees.classes(5))
    assert names(CASID(tmp_path, climate='troms', label_encoding='zero_based')) == ['7']


def test_casid_in_colours_of_a_palette_is_in_colour(tmp_path):
    trees.casid(tmp_path, 'zero_based')
    for path in tmp_path.rglob('*-label.png'):
        coloured = Image.fromarray(trees.classes(5))
        coloured.putpalette([part for colour in CASID_CLASSES.palette for part in colour])
        coloured.save(path)
    data = CASID(tmp_path, climate='subms', label_encoding='colour')
    assert (data[0]['mask'].numpy() == trees.classes(5)).all()


# ---- what the archives are said to hold


def test_the_splits_of_the_isprs_cities_are_those_of_the_benchmark():
    train = '2_10 2_11 2_12 3_10 3_11 3_12 4_10 4_11 4_12 5_10 5_11 5_12 6_7 6_8 6_9 6_10 6_11 6_12'
    train += ' 7_7 7_8 7_9 7_10 7_11 7_12'
    test = '2_13 2_14 3_13 3_14 4_13 4_14 4_15 5_13 5_14 5_15 6_13 6_14 6_15 7_13'
    assert Potsdam.archive.part(split='train').ids == set(train.split())
    assert Potsdam.archive.part(split='test').ids == set(test.split())
    train = '1 3 5 7 11 13 15 17 21 23 26 28 30 32 34 37'
    test = '2 4 6 8 10 12 14 16 20 22 24 27 29 31 33 35 38'
    assert Vaihingen.archive.part(split='train').ids == set(train.split())
    assert Vaihingen.archive.part(split='test').ids == set(test.split())


def test_roads_of_massachusetts_get_a_crs_only_with_a_transform(tmp_path):
    trees.massachusetts(tmp_path)
    assert MassachusettsRoads(tmp_path).crs is None
    trees.world(tmp_path / 'tiff' / 'train' / '10078660_15.tiff', pixel=1.0, x=2e5, y=9e5)
    scene = MassachusettsRoads(tmp_path).scenes[0]
    assert scene.crs.to_epsg() == 26986
    assert (scene.transform.c, scene.transform.f) == (2e5, 9e5)


def test_blank_chips_of_massachusetts_are_ignored_if_asked(tmp_path):
    white = trees.picture(0)
    white[:, :4] = 255
    trees.put(tmp_path / 'img_dir' / 'train' / '0.png', white)
    trees.put(tmp_path / 'ann_dir' / 'train' / '0.png', trees.classes(2))
    mask = MassachusettsRoads(tmp_path, mask_nodata=True)[0]['mask']
    assert (mask[:4] == 255).all()
    assert (mask[4:].numpy() == trees.classes(2)[4:]).all()


@pytest.mark.parametrize('label_space', ['rescuenet', 'rescue'])
def test_rescuenet_may_ignore_pixels_in_both_label_spaces(tmp_path, label_space):
    trees.rescuenet(tmp_path)
    path = next(tmp_path.rglob('10801_lab.png'))
    ignored = trees.classes(11)
    ignored[:2] = 255
    trees.put(path, ignored)
    assert (RescueNet(tmp_path, label_space=label_space)[0]['mask'][:2] == 255).all()


def test_copies_with_other_cases_and_formats_are_read(tmp_path):
    trees.whu_aerial(tmp_path / 'tif')
    for path in (tmp_path / 'tif').rglob('*.tif'):
        path.rename(path.with_suffix('.TIF'))
    assert len(WHUBuildingAerial(tmp_path / 'tif', split='train')) == 2
    for split in ('train', 'test'):
        for name in ('1_165', '2_68'):
            trees.put(tmp_path / 'png' / split / 'image' / f'{name}.png', trees.picture(1))
            trees.put(tmp_path / 'png' / split / 'label' / f'{name}.png', trees.classes(2) * 255)
    data = WHUBuildingSatellite(tmp_path / 'png', split='train', corners_xy={1: (0, 0), 2: (9, 9)})
    assert len(data) == 2
    assert data.scenes[0].crs is not None
    trees.deepglobe(tmp_path / 'deepglobe')
    (tmp_path / 'deepglobe' / 'train').rename(tmp_path / 'deepglobe' / 'Train')
    assert len(DeepGlobeRoads(tmp_path / 'deepglobe')) == 2


def test_a_zip_gets_the_command_that_unpacks_it(tmp_path):
    (tmp_path / 'deepglobe.zip').write_bytes(b'PK')
    command = r"unzip -q '.*deepglobe\.zip' -d '.*deepglobe'"
    with pytest.raises(SceneNotFoundError, match=command):
        DeepGlobeRoads(tmp_path / 'deepglobe.zip')
    with pytest.raises(SceneNotFoundError, match=command):
        DeepGlobeRoads(tmp_path)


@pytest.mark.parametrize(
    ('dataset', 'options', 'message'),
    [
        (Potsdam, {'bands': 'rgbi'}, "bands is 'rgbi': expected one of rgb, irrg, rgbir"),
        (Potsdam, {'label_variant': 'noBoundary'}, 'expected one of no_boundary, full'),
        (Potsdam, {'label_decode': 'treshold'}, 'expected one of threshold, exact'),
        (Potsdam, {'label_space': 'ISPRS'}, 'expected one of isprs, rescue'),
        (
            Potsdam,
            {'label_space': 'rescue', 'low_vegetation': 'grass'},
            'expected one of clutter, ignore, tree',
        ),
        (Vaihingen, {'label_variant': 'noBoundary'}, 'expected one of no_boundary, full'),
        (Vaihingen, {'label_decode': 'treshold'}, 'expected one of threshold, exact'),
        (RescueNet, {'label_space': 'Rescue'}, 'expected one of rescuenet, rescue'),
        (
            CASID,
            {'climate': 'subms', 'label_encoding': 'color'},
            'expected one of colour, zero_based, one_based',
        ),
    ],
)
def test_words_that_mean_nothing_to_an_archive_are_refused(
    tmp_path, unchecked, dataset, options, message
):
    with pytest.raises(ConfigError, match=message):
        dataset(tmp_path, **options)
