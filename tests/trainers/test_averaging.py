# ruff: noqa: ARG002 -- lightning's signatures

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import CheckpointError, ConfigError
from crossearth.labels import LabelSpace
from crossearth.trainers import AverageWeights, SourceOnly, TrainingTask

TWO = LabelSpace('two', ('dark', 'bright'), ((0, 0, 0), (255, 255, 255)))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.frozen = nn.Conv2d(1, 4, 1).requires_grad_(False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image):
        return self.head(self.norm(self.frozen(image)))


@pytest.fixture
def data(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(0, 255, (1, 32, 32), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 2, (1, 32, 32), np.uint8))
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=TWO)
    return ShiftDataModule(scenes, val=scenes, size_px=16, windows_per_epoch=8, batch_size=2)


class Watch(pl.Callback):
    """What the weights are after each batch, and while validating."""

    def __init__(self):
        self.trained, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.trained.append(pl_module.model.head.weight.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        self.validated.append(pl_module.model.head.weight.detach().clone())


def fit(data, tmp_path, *callbacks, ckpt=None, accelerator='cpu', **options):
    pl.seed_everything(0, verbose=False)
    task = TrainingTask(SourceOnly(Model(), TWO), lr=0.05, decay_steps=100)
    trainer = pl.Trainer(
        accelerator=accelerator,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        **({'enable_checkpointing': False} | options),
    )
    trainer.fit(task, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return task, trainer


def test_the_average_is_validated_and_kept_and_training_goes_on_without_it(data, tmp_path):
    watch, plain = Watch(), Watch()
    task, _ = fit(data, tmp_path, AverageWeights(0.8), watch, max_steps=6)
    fit(data, tmp_path, plain, max_steps=6)
    for one, other in zip(watch.trained, plain.trained, strict=True):
        assert torch.equal(one, other)
    pl.seed_everything(0, verbose=False)
    average = Model().head.weight.detach()
    averages = []
    for weight in watch.trained:
        average = 0.8 * average + 0.2 * weight
        averages.append(average)
    torch.testing.assert_close(watch.validated[0], averages[3])
    torch.testing.assert_close(task.model.head.weight.detach(), averages[5])


def test_until_its_first_step_the_average_is_the_weights(data, tmp_path):
    watch = Watch()
    task, _ = fit(data, tmp_path, AverageWeights(0.8, start_step=5), watch, max_steps=6)
    expected = 0.8 * watch.trained[4] + 0.2 * watch.trained[5]
    torch.testing.assert_close(task.model.head.weight.detach(), expected)


def test_batches_whose_gradients_are_accumulated_do_not_move_the_average(data, tmp_path):
    watch = Watch()
    task, _ = fit(
        data, tmp_path, AverageWeights(0.8), watch, max_steps=3, accumulate_grad_batches=2
    )
    assert torch.equal(watch.trained[1], watch.trained[2])
    assert len(watch.trained) == 6
    pl.seed_everything(0, verbose=False)
    average = Model().head.weight.detach()
    for weight in watch.trained[1::2]:
        average = 0.8 * average + 0.2 * weight
    torch.testing.assert_close(task.model.head.weight.detach(), average)


def test_checkpoints_hold_the_average_without_frozen_weights(data, tmp_path):
    task, trainer = fit(data, tmp_path, AverageWeights(0.8), max_steps=3)
    path = tmp_path / 'end.ckpt'
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    assert torch.equal(content['state_dict']['method.model.head.weight'], task.model.head.weight)
    assert not [name for name in content['online_weights'] if 'frozen' in name]
    assert not [name for name in content['state_dict'] if 'frozen' in name]
    fresh = TrainingTask(SourceOnly(Model(), TWO))
    fresh.model.frozen.load_state_dict(task.model.frozen.state_dict())
    trainer = pl.Trainer(
        accelerator='cpu',
        logger=False,
        enable_progress_bar=False,
        callbacks=[AverageWeights(0.8)],
    )
    trainer.test(fresh, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
    assert torch.equal(fresh.model.head.weight, task.model.head.weight)


def test_a_training_resumes_from_the_weights_and_not_from_their_average(data, tmp_path):
    whole, _ = fit(data, tmp_path, AverageWeights(0.8), max_steps=7)
    _, trainer = fit(data, tmp_path, AverageWeights(0.8), max_steps=3)
    path = tmp_path / 'part.ckpt'
    trainer.save_checkpoint(path)
    resumed, _ = fit(data, tmp_path, AverageWeights(0.8), ckpt=path, max_steps=7)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_checkpoints_that_would_hold_the_weights_instead_are_refused(data, tmp_path):
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path / 'kept', save_weights_only=True)
    with pytest.raises(ConfigError, match='save_weights_only=True'):
        fit(data, tmp_path, AverageWeights(0.8), checkpoint, enable_checkpointing=True, max_steps=1)


def test_an_average_of_other_weights_is_refused(data, tmp_path):
    _, trainer = fit(data, tmp_path, AverageWeights(0.8), max_steps=1)
    path = tmp_path / 'part.ckpt'
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    del content['online_weights']['method.model.head.bias']
    torch.save(content, path)
    with pytest.raises(CheckpointError, match='averages other weights'):
        fit(data, tmp_path, AverageWeights(0.8), ckpt=path, max_steps=2)


def test_shares_out_of_range_are_refused():
    with pytest.raises(ConfigError, match='from 0 to below 1'):
        AverageWeights(1.0)


@pytest.mark.parametrize(
    'precision',
    ['32-true', 'bf16-mixed', 'bf16-true', pytest.param('16-mixed', marks=pytest.mark.gpu)],
)
def test_every_precision_trains_with_clipping_averaging_and_accumulation(data, tmp_path, precision):
    task, trainer = fit(
        data,
        tmp_path,
        AverageWeights(0.5),
        max_steps=4,
        precision=precision,
        accelerator='gpu' if precision == '16-mixed' else 'cpu',
        accumulate_grad_batches=2,
        gradient_clip_val=1.0,
    )
    assert trainer.global_step == 4
    assert all(value.isfinite().all() for value in task.state_dict().values())
    trainer.test(task, datamodule=data, verbose=False)
    assert task.confusion['source'].sum() == 32 * 32


def test_a_loss_that_is_no_number_stops_the_training(data, tmp_path):
    class Blind(Model):
        def forward(self, image):
            return super().forward(image) * torch.inf

    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        use_distributed_sampler=False,
        max_steps=2,
    )
    task = TrainingTask(SourceOnly(Blind(), TWO))
    with pytest.raises(ConfigError, match=r'step 0: loss is nan, .*lower lr'):
        trainer.fit(task, datamodule=data)


class SumOfPixels(SourceOnly):
    """Cross entropy alone, whose mean over halves of a batch is its mean over the whole."""

    def losses(self, batch):
        logits = self.model(batch['image'])
        return {'loss_ce': nn.functional.cross_entropy(logits, batch['mask'])}


def test_two_accumulated_batches_are_one_of_twice_the_size(data, tmp_path):
    weights = []
    for batch, accumulate in ((4, 1), (2, 2)):
        pl.seed_everything(0, verbose=False)
        data.batch_size = batch
        model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 2, 1))
        task = TrainingTask(SumOfPixels(model, TWO), lr=0.05)
        pl.Trainer(
            accelerator='cpu',
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            max_steps=4,
            accumulate_grad_batches=accumulate,
        ).fit(task, datamodule=data)
        weights.append(task.model[0].weight.detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_a_training_that_was_complete_keeps_its_average_when_it_is_resumed(data, tmp_path):
    """Lightning then leaves the loop out, and the end of the training with it."""
    whole, trainer = fit(data, tmp_path, AverageWeights(0.8), max_steps=3)
    path = tmp_path / 'end.ckpt'
    trainer.save_checkpoint(path)
    resumed, _ = fit(data, tmp_path, AverageWeights(0.8), ckpt=path, max_steps=3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_second_training_with_the_same_callback_is_that_of_a_new_one(data, tmp_path):
    average = AverageWeights(0.5)
    fit(data, tmp_path, average, max_steps=4)
    again, _ = fit(data, tmp_path, average, max_steps=3, val_check_interval=2)
    fresh, _ = fit(data, tmp_path, AverageWeights(0.5), max_steps=3, val_check_interval=2)
    assert torch.equal(again.model.head.weight, fresh.model.head.weight)
