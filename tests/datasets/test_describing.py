import numpy as np
import pytest

from crossearth.datasets import (
    FolderDataset,
    GridWindowSampler,
    RandomWindowSampler,
    SceneDataset,
    ShiftDataModule,
    read_scene,
)
from crossearth.labels import ISPRS, LabelSpace


@pytest.fixture
def scenes(write_raster, tmp_path):
    for i in range(2):
        write_raster(f'images/{i}.tif', np.ones((3, 40, 50), np.uint8))
        write_raster(f'masks/{i}.tif', np.zeros((1, 40, 50), np.uint8))
    return FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS, domain='berlin')


def test_a_dataset_says_what_it_holds(scenes):
    assert (
        repr(scenes)
        == str(scenes)
        == (
            'FolderDataset(2 scenes, berlin, 3 bands (1 2 3), uint8, 6 classes of isprs, 0.5 m, '
            'EPSG:32633)'
        )
    )


def test_a_dataset_without_a_place_or_labels_says_so(write_raster):
    image = write_raster('a.png', np.ones((1, 8, 8), np.uint16), crs=None)
    assert repr(SceneDataset([read_scene(image)], ISPRS)) == (
        'SceneDataset(1 scene, 1 band (1), uint16, 6 classes of isprs, 1 without labels, '
        'pixels of unknown size on the ground, no CRS)'
    )


def test_a_dataset_is_a_table_with_escaped_names_in_a_notebook(write_raster):
    labels = LabelSpace('<x>', ('<a>', 'b'), ((1, 2, 3), (255, 255, 255)))
    scene = read_scene(write_raster('a.tif', np.ones((1, 8, 8), np.uint8)), domain='<img src=x>')
    shown = SceneDataset([scene], labels)._repr_html_()
    assert '<img' not in shown
    assert '&lt;img src=x&gt;' in shown
    assert 'background:#010203"></span>&lt;a&gt;' in shown
    assert '0.5 m' in shown


def test_a_data_module_names_its_datasets_and_sizes_without_opening_a_loader(scenes, monkeypatch):
    data = ShiftDataModule(
        scenes, unseen={'x<y': scenes}, size_px=16, windows_per_epoch=8, gsd_m=(0.4, 0.8)
    )
    monkeypatch.setattr(ShiftDataModule, 'train_dataloader', None)
    text = repr(data)
    assert str(data) == text
    assert text.startswith('ShiftDataModule(train=FolderDataset(2 scenes, berlin')
    assert "tests={'x<y': 2 scenes}" in text
    assert 'size_px=16, test_size_px=16, windows_per_epoch=8, batch_size=4' in text
    assert 'gsd_m=(0.4, 0.8)' in text
    assert '8 of 16 px per epoch, 4 per batch' in data._repr_html_()
    assert 'test x&lt;y' in data._repr_html_()


def test_samplers_say_their_windows(scenes):
    assert repr(GridWindowSampler(scenes, 10)) == 'GridWindowSampler(40 windows)'
    assert repr(RandomWindowSampler(scenes, 10, length=7, seed=2)) == (
        "RandomWindowSampler(size_px=10, length=7, seed=2, border='pad', shard=0, num_shards=1)"
    )
