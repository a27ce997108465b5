from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossearth.datasets import FolderDataset, HoldOut, list_rasters
from crossearth.errors import ConfigError, LabelError, SceneNotFoundError
from crossearth.labels import ISPRS, ROAD, ThresholdCodec

rng = np.random.default_rng(0)
PICTURE = rng.integers(0, 255, (3, 32, 24), np.uint8)
LABELS = rng.integers(0, 6, (1, 32, 24), np.uint8)


@pytest.mark.parametrize(
    ('suffix', 'options'),
    [
        ('.tif', {}),
        ('.png', {'crs': None, 'driver': 'PNG'}),
        ('.webp', {'crs': None, 'driver': 'WEBP', 'LOSSLESS': 'YES'}),
    ],
)
def test_lossless_formats_give_their_pixels(write_raster, tmp_path, suffix, options):
    write_raster(f'images/a{suffix}', PICTURE, **options)
    write_raster('masks/a.png', LABELS, crs=None, driver='PNG')
    sample = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)[0]
    assert (sample['image'].numpy() == PICTURE).all()
    assert (sample['mask'].numpy() == LABELS[0]).all()


def test_jpeg_gives_the_pixels_that_pillow_decodes(tmp_path):
    (tmp_path / 'images').mkdir()
    smooth = np.add.outer(np.arange(32), np.arange(24)).astype(np.uint8) * 4
    Image.fromarray(np.stack([smooth] * 3, axis=-1)).save(tmp_path / 'images/a.jpg', quality=95)
    got = FolderDataset(tmp_path / 'images', labels=ISPRS)[0]['image'].numpy()
    with Image.open(tmp_path / 'images/a.jpg') as picture:
        expected = np.asarray(picture).transpose(2, 0, 1).astype(int)
    assert abs(got.astype(int) - expected).max() <= 1


def test_subfolders_and_suffixes_pair_up(write_raster, tmp_path):
    for place in ('x', 'y'):
        write_raster(f'images/{place}/a_sat.tif', PICTURE)
        write_raster(f'masks/{place}/a_mask.tif', LABELS)
    data = FolderDataset(
        tmp_path / 'images',
        tmp_path / 'masks',
        labels=ISPRS,
        image_names='*_sat',
        mask_names='*_mask',
    )
    pairs = [(scene.image, scene.mask) for scene in data.scenes]
    assert [image.replace('_sat', '_mask').replace('images', 'masks') for image, _ in pairs] == [
        mask for _, mask in pairs
    ]


def test_images_without_masks_are_a_dataset_too(write_raster, tmp_path):
    write_raster('a.tif', PICTURE)
    assert 'mask' not in FolderDataset(tmp_path, labels=ISPRS)[0]


def test_a_missing_mask_is_named(write_raster, tmp_path):
    write_raster('images/a.tif', PICTURE)
    write_raster('masks/b.tif', LABELS)
    with pytest.raises(
        SceneNotFoundError, match=r'a\.tif: has no mask; expected one below .*masks'
    ):
        FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)


def test_folders_without_images_are_named(write_raster, tmp_path):
    with pytest.raises(SceneNotFoundError, match='no such folder'):
        FolderDataset(tmp_path / 'none', labels=ISPRS)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SceneNotFoundError, match='holds no images; expected files ending in'):
        FolderDataset(tmp_path / 'empty', labels=ISPRS)
    write_raster('images/a.tif', PICTURE)
    with pytest.raises(SceneNotFoundError, match=r"none of 1 images matches '\*_sat'"):
        FolderDataset(tmp_path / 'images', labels=ISPRS, image_names='*_sat')


def test_real_roads_are_read_as_pillow_reads_them(real_data):
    root = real_data / 'roads' / 'massachusetts' / 'test'
    data = FolderDataset(root / 'images', root / 'masks', labels=ROAD, codec=ThresholdCodec())
    assert len(data) == 11
    for index in (0, 10):
        scene, sample = data.scenes[index], data[index]
        with Image.open(scene.image) as picture:
            assert (sample['image'].numpy() == np.asarray(picture).transpose(2, 0, 1)).all()
        with Image.open(scene.mask) as picture:
            roads = np.asarray(picture.convert('L')) >= 128
        assert (sample['mask'].numpy() == roads).all()


def test_files_of_the_system_are_passed_over_and_twins_are_named(write_raster, tmp_path):
    write_raster('images/a.tif', PICTURE)
    (tmp_path / 'images/._a.tif').write_text('not an image')
    write_raster('masks/a.tif', LABELS)
    assert len(FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)) == 1
    write_raster('masks/a.png', LABELS, crs=None, driver='PNG')
    with pytest.raises(LabelError, match=r'a\.tif: .*a\.png is a mask of the same name'):
        FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)


def test_grey_webp_masks_hold_ids(write_raster, tmp_path):
    write_raster('images/a.tif', PICTURE)
    lossless = {'crs': None, 'driver': 'WEBP', 'LOSSLESS': 'YES'}
    write_raster('masks/a.webp', np.repeat(LABELS, 3, axis=0), **lossless)
    sample = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)[0]
    assert (sample['mask'].numpy() == LABELS[0]).all()


def test_linked_folders_and_hidden_files(write_raster, tmp_path):
    path = write_raster('there/a.tif', np.ones((3, 8, 8), np.uint8))
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x' / 'sub').symlink_to(path.parent)
    (tmp_path / 'x' / '._a.tif').write_bytes(b'Mac OS X')
    (path.parent / 'circle').symlink_to(tmp_path / 'x')
    assert list_rasters(tmp_path / 'x') == [tmp_path / 'x' / 'sub' / 'a.tif']


def pairs(data: FolderDataset) -> list[tuple[str, str]]:
    return [(Path(scene.image).name, Path(scene.mask or '').name) for scene in data.scenes]


def test_names_that_begin_differently_pair_by_patterns(write_raster, tmp_path):
    for i in (1, 2):
        write_raster(f'img/IMG_{i}.tif', PICTURE)
        write_raster(f'msk/MSK_{i}.PNG', LABELS, crs=None, driver='PNG')
    folders = tmp_path / 'img', tmp_path / 'msk'
    data = FolderDataset(*folders, labels=ISPRS, image_names='IMG_*', mask_names='MSK_*')
    assert pairs(data) == [('IMG_1.tif', 'MSK_1.PNG'), ('IMG_2.tif', 'MSK_2.PNG')]
    wanted = r"pair by image_names='IMG_\*', mask_names='MSK_\*'"
    with pytest.raises(SceneNotFoundError, match=wanted):
        FolderDataset(*folders, labels=ISPRS)


def test_images_and_masks_of_one_folder_pair_by_patterns(write_raster, tmp_path):
    for i in (104, 999):
        write_raster(f'{i}.tif', PICTURE)
        write_raster(f'{i}_mask.tif', LABELS)
    data = FolderDataset(tmp_path, tmp_path, labels=ISPRS, mask_names='*_mask')
    assert pairs(data) == [('104.tif', '104_mask.tif'), ('999.tif', '999_mask.tif')]


def test_patterns_with_a_slash_describe_folders(write_raster, tmp_path):
    for city in ('austin', 'wien'):
        write_raster(f'{city}/images/1.tif', PICTURE)
        write_raster(f'{city}/masks/1.tif', LABELS)
    data = FolderDataset(
        tmp_path,
        tmp_path,
        labels=ISPRS,
        image_names='*/images/*',
        mask_names='*/masks/*',
        domains_from_folders=True,
    )
    assert [Path(scene.mask).parts[-3] for scene in data.scenes] == ['austin', 'wien']
    assert data.domains == ('austin', 'wien')


def test_images_without_a_mask_are_left_out_and_told_where_that_is_asked_for(
    write_raster, tmp_path
):
    for name in ('a', 'b', 'c'):
        write_raster(f'images/{name}.tif', PICTURE)
    write_raster('masks/b.tif', LABELS)
    folders = tmp_path / 'images', tmp_path / 'masks'
    data = FolderDataset(*folders, labels=ISPRS, unpaired='skip')
    assert pairs(data) == [('b.tif', 'b.tif')]
    assert [Path(path).name for path in data.unpaired] == ['a.tif', 'c.tif']
    with pytest.raises(SceneNotFoundError, match=r'a\.tif: has no mask, nor has 1 other of 3'):
        FolderDataset(*folders, labels=ISPRS)


def test_files_that_are_left_out_are_not_opened(write_raster, tmp_path):
    write_raster('images/a.tif', PICTURE)
    (tmp_path / 'images' / 'x').mkdir()
    (tmp_path / 'images' / 'x' / 'broken.tif').write_bytes(b'')
    data = FolderDataset(tmp_path / 'images', labels=ISPRS, leave_out=['x/broken.tif'])
    assert [Path(path).name for path in data.paths] == ['a.tif']


def test_endings_in_capitals_are_images(write_raster, tmp_path):
    write_raster('images/A.TIF', PICTURE)
    write_raster('masks/A.TIF', LABELS)
    assert len(FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)) == 1


def test_a_zip_in_place_of_a_folder_gets_the_command_that_unpacks_it(tmp_path):
    (tmp_path / 'roads.zip').write_bytes(b'PK')
    with pytest.raises(SceneNotFoundError, match=r"unzip -q '.*roads\.zip' -d '.*roads'"):
        FolderDataset(tmp_path / 'roads.zip', labels=ISPRS)
    with pytest.raises(SceneNotFoundError, match=r"unzip -q '.*roads\.zip' -d '.*roads'"):
        FolderDataset(tmp_path, labels=ISPRS)


def test_the_portions_of_a_folder_share_no_scene(write_raster, tmp_path):
    for i in range(4):
        write_raster(f'images/{i}.tif', PICTURE, crs=None)
    rule = HoldOut(names=[('1.tif', '2.tif')])
    options = {'labels': ISPRS, 'hold_out': rule}
    kept = FolderDataset(tmp_path / 'images', portion='rest', **options)
    held = FolderDataset(tmp_path / 'images', portion='held_out', **options)
    assert [Path(path).stem for path in kept.paths] == ['0', '3']
    assert [Path(path).stem for path in held.paths] == ['1', '2']
    with pytest.raises(ConfigError, match='without hold_out'):
        FolderDataset(tmp_path / 'images', labels=ISPRS, portion='rest')


def test_what_to_do_with_unpaired_images_is_one_of_two_words(write_raster, tmp_path, unchecked):
    for name in ('a', 'b'):
        write_raster(f'images/{name}.tif', PICTURE)
    write_raster('masks/b.tif', LABELS)
    with pytest.raises(ConfigError, match="unpaired is 'Skip': expected one of error, skip"):
        FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS, unpaired='Skip')


@pytest.mark.parametrize('pattern', ['images/a.tif', 'A.TIF', './a.tif', 'b*'])
def test_a_pattern_that_leaves_nothing_out_is_refused(write_raster, tmp_path, pattern):
    write_raster('images/a.tif', PICTURE)
    write_raster('images/x/c.tif', PICTURE)
    with pytest.raises(ConfigError, match=r'leave_out: no image .* expected paths .* \'a\.tif\''):
        FolderDataset(tmp_path / 'images', labels=ISPRS, leave_out=['x/*', pattern])
    data = FolderDataset(tmp_path / 'images', labels=ISPRS, leave_out=['x/*', '*c.tif'])
    assert [Path(path).name for path in data.paths] == ['a.tif']


def test_a_range_of_values_is_for_types_that_there_are(write_raster, tmp_path):
    write_raster('images/a.tif', PICTURE)
    with pytest.raises(ConfigError, match=r"value_range: 'UInt16' is not a pixel type: .* uint16"):
        FolderDataset(tmp_path / 'images', labels=ISPRS, value_range={'UInt16': (0, 3000)})
    ranges = {'uint8': (0, 200), 'uint16': (0, 3000)}  # no image of uint16 is needed
    data = FolderDataset(tmp_path / 'images', labels=ISPRS, value_range=ranges)
    assert data.scenes[0].raster.value_range == (0, 200)
