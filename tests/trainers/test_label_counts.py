import warnings

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError, DataWarning, LabelError
from crossearth.labels import LabelSpace
from crossearth.trainers.label_counts import CheckLabels, Seen, check_seen, count_seen

# lightning's notices of a data module without validation scenes
pytestmark = pytest.mark.filterwarnings('ignore:Total length of .list. across ranks')

TWO = LabelSpace('two', ('ground', 'road'), ((0, 0, 0), (255, 255, 255)))
THREE = LabelSpace('three', ('a', 'b', 'c'), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


class Task(pl.LightningModule):
    def __init__(self, labels=TWO):
        super().__init__()
        self.labels = labels
        self.model = nn.Conv2d(3, labels.num_classes, 1)
        self.steps = 0

    def training_step(self, batch, batch_idx):  # noqa: ARG002 -- lightning's signature
        self.steps += 1
        logits = self.model(batch['image'])
        return F.cross_entropy(logits, batch['mask'], ignore_index=255, reduction='sum')

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-6)


@pytest.fixture
def write(write_raster, tmp_path):
    """A function that writes one scene with a mask and opens it."""

    def make(name, ids, pixels=None, labels=TWO):
        rng = np.random.default_rng(0)
        image = rng.integers(1, 255, (3, *ids.shape), np.uint8) if pixels is None else pixels
        write_raster(f'{name}/images/a.tif', image)
        write_raster(f'{name}/masks/a.tif', ids[None])
        return FolderDataset(tmp_path / name / 'images', tmp_path / name / 'masks', labels=labels)

    return make


def mixed(classes=2):
    return np.random.default_rng(1).integers(0, classes, (32, 32), np.uint8)


def test_a_lost_pixel_does_not_hide_an_image():
    image = torch.rand(2, 3, 4, 4)
    image[0, :, 1, 2] = torch.nan
    image[1] = torch.nan
    batch = {'image': image, 'mask': torch.zeros(2, 4, 4, dtype=torch.int64)}
    *_, lit, varied, _ = count_seen(batch, 2).tolist()
    assert (lit, varied) == (1, 1)


def fit(tmp_path, data, labels=TWO, task=None, **options):
    task = task or Task(labels)
    trainer = pl.Trainer(
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[CheckLabels()],
        **{'max_steps': 6, **options},
    )
    trainer.fit(task, datamodule=data)


def module(train, **options):
    return ShiftDataModule(train, size_px=16, windows_per_epoch=6, batch_size=2, **options)


def test_counts_are_those_of_the_pixels():
    mask = torch.tensor([[[0, 1], [1, 255]], [[2, 2], [2, 255]]])
    image = torch.zeros(2, 3, 2, 2)
    image[1, 2, 0, 0] = 0.1  # one value of one band
    batch = {'image': image, 'mask': mask}
    assert count_seen(batch, 3).tolist() == [1, 2, 3, 2, 1, 1, 0]
    valid = torch.tensor([[[True, False, True]]])
    assert count_seen({**batch, 'target_valid': valid}, 3).tolist() == [1, 2, 3, 2, 1, 1, 2]
    seen = Seen.of(count_seen(batch, 3), THREE, target=False)
    assert str(seen) == 'pixels: a 1, b 2, c 3, ignored 2'
    assert seen.target is None


def test_labels_that_are_all_ignored_stop_training(tmp_path, write):
    nothing = np.full((32, 32), 255, np.uint8)
    with pytest.raises(LabelError, match=r'first 3 training batches: all 1536 labels are 255'):
        fit(tmp_path, module(write('x', nothing)))


def test_labels_that_are_all_ignored_in_validation_stop_it(tmp_path, write):
    nothing = np.full((32, 32), 255, np.uint8)
    data = module(write('x', mixed()), val=write('val', nothing))
    with pytest.raises(LabelError, match=r'validation: all 1024 labels are 255'):
        fit(tmp_path, data)


def test_masks_of_0_and_255_that_are_read_as_ids_are_refused_with_the_codec_that_they_need(
    tmp_path, write
):
    data = ShiftDataModule(
        write('x', mixed() * np.uint8(255)), size_px=16, windows_per_epoch=40, batch_size=2
    )
    message = (
        r"first 20 training batches: no pixel of 'road' \(pixels: ground \d+, road 0, ignored "
        r'\d+\): nothing can be learnt from a single class; .*IdCodec\(\{0: 0, 255: 1\}\)'
    )
    with pytest.raises(LabelError, match=message):
        fit(tmp_path, data, max_steps=20)


def test_short_epochs_add_up_until_one_class_is_refused(tmp_path, write):
    masks = np.where(mixed() == 1, 255, 0).astype(np.uint8)
    data = ShiftDataModule(write('x', masks), size_px=16, windows_per_epoch=8, batch_size=1)
    with (
        pytest.warns(DataWarning, match=r"the first 8 training batches: no pixel of 'road'"),
        pytest.raises(LabelError, match=r"the first 24 training batches: no pixel of 'road'"),
    ):
        fit(tmp_path, data, max_steps=100)


def test_one_class_in_a_trial_run_of_a_few_batches_is_a_warning(tmp_path, write):
    with pytest.warns(DataWarning, match="first 3 training batches: no pixel of 'road' "):
        fit(tmp_path, module(write('x', np.zeros((32, 32), np.uint8))))


def test_a_score_of_one_class_is_not_silent(tmp_path, write):
    data = module(write('x', mixed()), val=write('val', mixed() * np.uint8(255)))
    with pytest.warns(DataWarning, match="validation: no pixel of 'road' .*only about ground"):
        fit(tmp_path, data)


def test_a_class_that_never_occurs_is_named_with_the_counts_once(tmp_path, write):
    data = module(write('x', mixed(2), labels=THREE), val=write('val', mixed(3), labels=THREE))
    with pytest.warns(DataWarning) as caught:
        fit(tmp_path, data, THREE, max_steps=-1, max_epochs=3)
    (warning,) = [w for w in caught if issubclass(w.category, DataWarning)]
    assert "first 3 training batches: no pixel of 'c' (pixels: a " in str(warning.message)
    assert 'c 0, ignored 0' in str(warning.message)


@pytest.mark.parametrize(
    'pixels', [np.full((3, 32, 32), np.nan, np.float32), np.zeros((3, 32, 32), np.uint8)]
)
def test_images_without_data_stop_training(tmp_path, write, pixels):
    train = write('x', mixed(), pixels)
    train.ignore_nodata = False  # labels are there
    with pytest.raises(ConfigError, match='first 3 training batches: every image is black'):
        fit(tmp_path, module(train))


def test_images_of_one_colour_are_warned_of(tmp_path, write):
    train = write('x', mixed(), np.full((3, 32, 32), 7, np.uint8))
    with pytest.warns(DataWarning, match='training batches: every image has one colour'):
        fit(tmp_path, module(train))


def test_a_target_without_data_stops_training(tmp_path, write, write_raster):
    write_raster('far/a.tif', np.full((3, 32, 32), np.nan, np.float32))
    far = FolderDataset(tmp_path / 'far', labels=TWO)
    with pytest.raises(ConfigError, match='no pixel of the target holds data'):
        fit(tmp_path, module(write('x', mixed()), target=far))


def test_nothing_is_said_of_data_that_show_all_and_of_runs_too_short_to_tell(tmp_path, write):
    with warnings.catch_warnings():
        warnings.simplefilter('error', DataWarning)
        fit(tmp_path, module(write('x', mixed()), val=write('val', mixed())))
        fit(tmp_path, module(write('y', np.zeros((32, 32), np.uint8))), max_steps=2)


def test_the_first_look_is_after_a_hundred_batches(tmp_path, write):
    data = ShiftDataModule(
        write('x', np.full((32, 32), 255, np.uint8)), size_px=8, windows_per_epoch=200, batch_size=1
    )
    task = Task()
    with pytest.raises(LabelError, match='first 100 training batches'):
        fit(tmp_path, data, task=task, max_steps=150)
    assert task.steps == 100


def test_what_is_enough_to_tell_classes_is_for_the_caller_to_say():
    seen = Seen(THREE, (5, 0, 0), 3, lit=1, varied=1)
    check_seen(seen, 'here', enough=False, refuse=True)
    with pytest.raises(LabelError, match="here: no pixel of 'b', 'c' "):
        check_seen(seen, 'here', enough=True, refuse=True)
    with pytest.warns(DataWarning, match="here: no pixel of 'b', 'c' "):
        check_seen(seen, 'here', enough=True)
