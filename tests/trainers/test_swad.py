# ruff: noqa: ARG002 -- lightning's signatures

import itertools
import math

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import CheckpointError, ConfigError
from crossearth.labels import LabelSpace
from crossearth.trainers import SWAD, AverageWeights, SourceOnly, TrainingTask
from crossearth.trainers.swad import LossValley, Segment

TWO = LabelSpace('two', ('dark', 'bright'), ((0, 0, 0), (255, 255, 255)))


def window(losses, patience, tolerance, ratio):
    """First and last validation (counted from 0) of the paper's algorithm 1, with whole lists."""
    start = end = None
    threshold = math.inf
    for i, _ in enumerate(losses):
        if start is None:
            recent = losses[i - patience + 1 : i + 1]
            if i >= patience - 1 and recent[0] == min(recent):
                start, threshold = i - patience + 1, ratio * sum(recent) / patience
        elif i - tolerance >= start and threshold < min(losses[i - tolerance + 1 : i + 1]):
            end = i - tolerance
            break
    return start, (len(losses) - 1 if start is not None and end is None else end)


def averaged(losses, patience, tolerance, ratio, steps):
    valley = LossValley(patience=patience, tolerance=tolerance, ratio=ratio)
    for i, (loss, n) in enumerate(zip(losses, steps, strict=True)):
        valley.add(Segment({'w': torch.tensor([float(i) ** 2])}, n, i, loss))
    return valley


@pytest.mark.usefixtures('unchecked')
def test_unknown_words_are_refused():
    with pytest.raises(ConfigError, match="mode is 'up'"):
        SWAD(mode='up')


@pytest.mark.parametrize(('patience', 'tolerance'), [(1, 1), (3, 6), (4, 2), (2, 3)])
def test_the_average_is_over_the_window_of_the_published_algorithm(patience, tolerance):
    rng = np.random.default_rng(patience)
    ended = 0
    for _ in range(60):
        fall = np.linspace(rng.uniform(0.3, 2), 0.3, 12) ** 2
        rise = np.linspace(0.1, rng.uniform(0, 4), 13)
        losses = (np.concatenate([fall, rise]) * rng.uniform(0.7, 1.3, 25)).tolist()
        steps = rng.integers(1, 5, 25).tolist()
        start, end = window(losses, patience, tolerance, 1.3)
        valley = averaged(losses, patience, tolerance, 1.3, steps)
        assert valley.started == (start is not None)
        if start is None:
            assert valley.average() is None
            continue
        ended += valley.ended
        part = slice(start, end + 1)
        expected = np.average(np.arange(25)[part] ** 2, weights=steps[part])
        assert valley.average()['w'].item() == pytest.approx(expected, rel=1e-5)
    assert ended > 5


def test_a_window_resumes_wherever_it_is_saved():
    losses = [3.0, 2.0, 1.0, 1.1, 1.2, 1.0, 3.0, 3.0, 3.0, 0.5]
    whole = averaged(losses, 3, 2, 1.3, [1] * 10)
    for cut in range(10):
        valley = averaged(losses[:cut], 3, 2, 1.3, [1] * cut)
        again = LossValley(patience=3, tolerance=2, ratio=1.3)
        again.load_state_dict(valley.state_dict())
        for i, loss in itertools.islice(enumerate(losses), cut, None):
            again.add(Segment({'w': torch.tensor([float(i) ** 2])}, 1, i, loss))
        assert torch.equal(again.average()['w'], whole.average()['w'])
        assert again.ended == whole.ended
    assert whole.ended


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.frozen = nn.Conv2d(1, 4, 1).requires_grad_(False)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image):
        return self.head(self.frozen(image))


class Watch(pl.Callback):
    """The weights after each step, and a loss that is made up at each validation."""

    def __init__(self, losses):
        self.losses, self.weights = losses, []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights.append(pl_module.model.head.weight.detach().clone())

    def on_validation_epoch_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            at = trainer.global_step // 2 - 1
            pl_module.log('val/loss', torch.tensor(self.losses[at]))


@pytest.fixture
def data(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(0, 255, (1, 32, 32), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 2, (1, 32, 32), np.uint8))
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=TWO)
    return ShiftDataModule(scenes, val=scenes, size_px=16, windows_per_epoch=4, batch_size=2)


def fit(data, tmp_path, *callbacks, ckpt=None, **options):
    pl.seed_everything(0, verbose=False)
    task = TrainingTask(SourceOnly(Model(), TWO), lr=0.05, decay_steps=100)
    trainer = pl.Trainer(
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(task, datamodule=data, ckpt_path=ckpt, weights_only=ckpt is not None)
    return task, trainer


LOSSES = [3.0, 1.0, 2.0, 1.2, 9.0, 9.0, 9.0]  # window: validations 1 to 3, steps 2 to 7


def swad(**options):
    chosen = {'patience': 2, 'tolerance': 2, 'monitor': 'val/loss', 'mode': 'min'}
    return SWAD(**(chosen | options))


def test_the_model_ends_with_the_mean_over_the_steps_of_the_window(data, tmp_path):
    watch = Watch(LOSSES)
    task, _ = fit(data, tmp_path, watch, swad(), max_steps=14)
    assert len(watch.weights) == 14
    expected = torch.stack(watch.weights[2:8]).mean(0)
    assert torch.allclose(task.model.head.weight, expected, atol=1e-6)
    assert not torch.allclose(task.model.head.weight, watch.weights[-1], atol=1e-3)


class Stop(pl.Callback):
    """Writes a checkpoint after a step, or after the validation of that step if there is one."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)

    def on_validation_end(self, trainer, pl_module):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def test_a_training_that_is_resumed_ends_with_the_same_bits(data, tmp_path):
    whole, _ = fit(data, tmp_path, Watch(LOSSES), swad(), max_steps=14)
    for steps in (5, 6, 14):
        stop = Stop(steps, tmp_path / f'{steps}.ckpt')
        fit(data, tmp_path, Watch(LOSSES), swad(), stop, max_steps=14)
        resumed, _ = fit(
            data, tmp_path, Watch(LOSSES), swad(), ckpt=tmp_path / f'{steps}.ckpt', max_steps=14
        )
        assert torch.equal(resumed.model.head.weight, whole.model.head.weight), steps


def test_without_a_window_the_last_weights_stay_and_a_warning_says_so(data, tmp_path):
    watch = Watch([9.0 - i for i in range(7)])
    with pytest.warns(UserWarning, match='SWAD found no window: val/loss improved until'):
        task, _ = fit(data, tmp_path, watch, swad(), max_steps=6)
    assert torch.equal(task.model.head.weight, watch.weights[-1])


def test_scores_count_as_what_is_missing_to_1(data, tmp_path):
    callback = SWAD(patience=1, tolerance=1, ratio=1.5)
    _, trainer = fit(data, tmp_path, callback, max_steps=2)
    score = float(trainer.callback_metrics['val/mIoU'])
    assert callback.valley.threshold == pytest.approx(1.5 * (1 - score))


def test_what_cannot_be_averaged_is_refused(data, tmp_path):
    with pytest.raises(ConfigError, match=r'ratio=0\.5: expected'):
        SWAD(ratio=0.5)
    with pytest.raises(ConfigError, match='both average the weights'):
        fit(data, tmp_path, swad(), AverageWeights(), max_steps=1)
    with pytest.raises(ConfigError, match=r"SWAD needs 'val/los', but validation logged \['train"):
        fit(data, tmp_path, SWAD(monitor='val/los'), max_steps=2)
    _, trainer = fit(data, tmp_path, Watch(LOSSES), swad(), max_steps=14)
    path = tmp_path / 'other.ckpt'
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content['callbacks']['SWAD']['mean'] = {'w': torch.zeros(2)}
    torch.save(content, path)
    with pytest.raises(CheckpointError, match='averages other weights than this model trains'):
        fit(data, tmp_path, swad(), ckpt=path, max_steps=15)


def test_a_second_training_with_the_same_callback_is_that_of_a_new_one(data, tmp_path):
    callback = swad()
    fit(data, tmp_path, Watch(LOSSES), callback, max_steps=14)
    again, _ = fit(data, tmp_path, Watch([*LOSSES[1:], 0.0]), callback, max_steps=14)
    fresh, _ = fit(data, tmp_path, Watch([*LOSSES[1:], 0.0]), swad(), max_steps=14)
    assert torch.equal(again.model.head.weight, fresh.model.head.weight)
