import numpy as np
import pytest
from PIL import Image

from crossearth.datasets import FolderDataset, list_rasters
from crossearth.errors import LabelError, SceneNotFoundError
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
        image_suffix='_sat',
        mask_suffix='_mask',
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
    with pytest.raises(SceneNotFoundError, match=r'a\.tif: has no mask; expected .*masks.a\.\*'):
        FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)


def test_folders_without_images_are_named(write_raster, tmp_path):
    with pytest.raises(SceneNotFoundError, match='no such folder'):
        FolderDataset(tmp_path / 'none', labels=ISPRS)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(SceneNotFoundError, match='holds no images; expected files ending in'):
        FolderDataset(tmp_path / 'empty', labels=ISPRS)
    write_raster('images/a.tif', PICTURE)
    with pytest.raises(SceneNotFoundError, match="no image ends in '_sat'"):
        FolderDataset(tmp_path / 'images', labels=ISPRS, image_suffix='_sat')


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
