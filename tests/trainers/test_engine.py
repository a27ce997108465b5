import copy
import math

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import BandError, CheckpointError, ConfigError, LabelError, ShapeError
from crossearth.labels import ISPRS, LabelSpace
from crossearth.metrics import confusion_matrix, mean_iou
from crossearth.models import fpn_timm
from crossearth.trainers import AverageWeights, SourceOnly, TrainingTask

TWO = LabelSpace('two', ('dark', 'bright'), ((0, 0, 0), (255, 255, 255)))


class Threshold(nn.Module):
    """Two classes by the brightness of the first band; learns where to cut."""

    def __init__(self, classes=2):
        super().__init__()
        self.head = nn.Conv2d(1, classes, 1)
        self.frozen = nn.Conv2d(1, 1, 1).requires_grad_(False)

    def forward(self, image):
        return self.head(image[:, :1] * 4 - 2)


@pytest.fixture
def folder(write_raster, tmp_path):
    """Scenes whose mask is where the image is bright, with a few pixels ignored."""

    def write(name, *, seed, shift=0, scenes=2):
        rng = np.random.default_rng(seed)
        for i in range(scenes):
            ids = rng.integers(0, 2, (1, 40, 44), np.uint8)
            pixels = np.where(ids == 1, 200, 60) + rng.integers(-50, 50, ids.shape) + shift
            ids[0, :2] = 255
            write_raster(f'{name}/images/{i}.tif', np.clip(pixels, 0, 255).astype(np.uint8))
            write_raster(f'{name}/masks/{i}.tif', ids)
        return FolderDataset(tmp_path / name / 'images', tmp_path / name / 'masks', labels=TWO)

    return write


@pytest.fixture
def data(folder):
    return ShiftDataModule(
        folder('source', seed=0),
        val=folder('val', seed=1),
        unseen={'darker': folder('darker', seed=2, shift=-60), 'same': folder('same', seed=3)},
        size_px=16,
        windows_per_epoch=64,
        batch_size=8,
        seed=5,
    )


def trainer(tmp_path, **options):
    return pl.Trainer(
        accelerator='cpu',
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        use_distributed_sampler=False,
        **options,
    )


def fit(tmp_path, data, *, steps=30, seed=0, style=None, **options):
    pl.seed_everything(seed, verbose=False)
    task = TrainingTask(SourceOnly(Threshold(), TWO, style=style), lr=0.05, **options)
    run = trainer(tmp_path, max_steps=steps, enable_checkpointing=False)
    run.fit(task, datamodule=data)
    return task, run


def test_training_learns_and_each_domain_is_scored_from_one_matrix(tmp_path, data):
    task, run = fit(tmp_path, data)
    run.test(task, datamodule=data, verbose=False)
    scores = {name: float(value) for name, value in run.callback_metrics.items()}
    assert list(task.confusion) == ['source', 'darker', 'same']
    assert scores['test/source/mIoU'] > 0.9
    assert scores['test/same/mIoU'] > 0.9
    assert scores['test/darker/mIoU'] < scores['test/source/mIoU']
    unseen = [scores['test/darker/mIoU'], scores['test/same/mIoU']]
    assert scores['test/unseen/mIoU'] == pytest.approx(sum(unseen) / 2)
    for (name, loader), matrix in zip(
        zip(data.domains, data.test_dataloader(), strict=True), task.confusion.values(), strict=True
    ):
        expected = torch.zeros(2, 2, dtype=torch.int64)
        for batch in loader:
            logits = task(batch['image'].float() / 255)
            expected += confusion_matrix(logits.argmax(1), batch['mask'], num_classes=2)
        assert torch.equal(matrix, expected), name
        assert scores[f'test/{name}/mIoU'] == pytest.approx(mean_iou(expected))


def test_a_seed_repeats_a_training_bit_for_bit(tmp_path, data):
    first, _ = fit(tmp_path, data)
    second, _ = fit(tmp_path, data)
    other, _ = fit(tmp_path, data, seed=1)
    assert torch.equal(first.model.head.weight, second.model.head.weight)
    assert not torch.equal(first.model.head.weight, other.model.head.weight)


def test_style_changes_training_images_only(tmp_path, data):
    seen = []

    class Style(nn.Module):
        def forward(self, image):
            seen.append(image.detach().clone())
            return 1 - image

    task, run = fit(tmp_path, data, style=Style(), steps=3)
    assert len(seen) == 3
    assert all(image.min() >= 0 and image.max() <= 1 for image in seen)
    run.test(task, datamodule=data, verbose=False)
    assert len(seen) == 3


def test_frozen_weights_stay_as_they_are_and_out_of_the_checkpoint(tmp_path, data):
    pl.seed_everything(0, verbose=False)
    model = Threshold()
    before = model.frozen.weight.clone()
    task = TrainingTask(SourceOnly(model, TWO), lr=0.05)
    run = trainer(tmp_path, max_steps=3)
    run.fit(task, datamodule=data)
    path = tmp_path / 'last.ckpt'
    run.save_checkpoint(path)
    assert torch.equal(model.frozen.weight, before)
    content = torch.load(path, weights_only=True)
    assert sorted(content['state_dict']) == [
        'method.model.head.bias',
        'method.model.head.weight',
    ]
    again = TrainingTask(SourceOnly(Threshold(), TWO))
    again.model.frozen.load_state_dict(model.frozen.state_dict())
    trainer(tmp_path).test(again, datamodule=data, ckpt_path=path, verbose=False, weights_only=True)
    assert torch.equal(again.model.head.weight, model.head.weight)


def test_a_checkpoint_of_another_model_is_refused_by_name(tmp_path, data):
    _, run = fit(tmp_path, data, steps=1)
    path = tmp_path / 'last.ckpt'
    run.save_checkpoint(path)
    other = TrainingTask(SourceOnly(Threshold(classes=3), TWO))
    with pytest.raises(
        CheckpointError, match=r'2 have another shape; first method\.model\.head\.bias'
    ):
        trainer(tmp_path).test(other, datamodule=data, ckpt_path=path, weights_only=True)


@pytest.mark.parametrize(
    ('model', 'error', 'message'),
    [
        (Threshold(classes=3), LabelError, 'build it with num_classes=2'),
        (nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2)), ShapeError, "input's height"),
    ],
)
def test_models_with_other_outputs_are_refused(tmp_path, data, model, error, message):
    task = TrainingTask(SourceOnly(model, TWO))
    with pytest.raises(error, match=message):
        trainer(tmp_path, max_steps=1, enable_checkpointing=False).fit(task, datamodule=data)


def test_images_of_other_bands_than_the_model_takes_are_named(tmp_path, data):
    model = fpn_timm('resnet10t', num_classes=2, width=8)
    task = TrainingTask(SourceOnly(model, TWO))
    message = r'1 bands .*source/images/0\.tif.*, the model takes 3.*in_channels=1'
    with pytest.raises(BandError, match=message):
        trainer(tmp_path, max_steps=1, enable_checkpointing=False).fit(task, datamodule=data)


def test_a_model_without_trainable_parameters_is_refused(tmp_path, data):
    task = TrainingTask(SourceOnly(Threshold().requires_grad_(False), TWO))
    with pytest.raises(ConfigError, match='nothing to train'):
        trainer(tmp_path, max_steps=1, enable_checkpointing=False).fit(task, datamodule=data)


def test_plain_loaders_are_scored_by_position(tmp_path, folder):
    scenes = folder('x', seed=0)

    def collate(samples):
        image = torch.stack([sample['image'] for sample in samples]).float() / 255
        return {'image': image, 'mask': torch.stack([sample['mask'] for sample in samples])}

    loader = DataLoader(scenes, batch_size=2, collate_fn=collate)
    task = TrainingTask(SourceOnly(Threshold(), TWO))
    trainer(tmp_path).test(task, [loader, loader], verbose=False)
    assert list(task.confusion) == ['domain_0', 'domain_1']
    assert task.confusion['domain_0'].sum() == 2 * 38 * 44


def test_data_of_other_classes_bands_or_without_masks_are_refused(folder, tmp_path):
    source = folder('source', seed=0)
    images = tmp_path / 'source' / 'images'
    six = FolderDataset(images, tmp_path / 'source' / 'masks', labels=ISPRS)
    with pytest.raises(LabelError, match='far: classes are'):
        ShiftDataModule(source, unseen={'far': six})
    with pytest.raises(LabelError, match='has no mask'):
        ShiftDataModule(source, unseen={'far': FolderDataset(images, labels=TWO)})
    with pytest.raises(ConfigError, match='choose another name'):
        ShiftDataModule(source, unseen={'source': source})
    with pytest.raises(ConfigError, match='windows_per_epoch >= batch_size'):
        ShiftDataModule(source, windows_per_epoch=2, batch_size=4)


def test_a_frozen_backbone_with_batch_norms_does_not_drift(tmp_path, data):
    class Normed(Threshold):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(1).requires_grad_(False)

        def forward(self, image):
            return super().forward(self.norm(image))

    model = Normed().eval()
    task = TrainingTask(SourceOnly(model, TWO), lr=0.05)
    trainer(tmp_path, max_steps=3, enable_checkpointing=False).fit(task, datamodule=data)
    assert model.norm.running_mean.item() == 0
    assert model.norm.num_batches_tracked == 0


def test_a_checkpoint_over_other_frozen_weights_is_refused(tmp_path, data):
    task, run = fit(tmp_path, data, steps=1)
    path = tmp_path / 'last.ckpt'
    run.save_checkpoint(path)
    other = TrainingTask(SourceOnly(Threshold(), TWO))
    other.model.frozen.weight.data += 3
    with pytest.raises(
        CheckpointError, match=r'other frozen weights .* first method\.model\.frozen'
    ):
        trainer(tmp_path).test(other, datamodule=data, ckpt_path=path, weights_only=True)
    same = TrainingTask(SourceOnly(Threshold(), TWO))
    same.model.frozen.load_state_dict(task.model.frozen.state_dict())
    trainer(tmp_path).test(same, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)


def test_a_model_in_half_precision_trains_and_tests(tmp_path, data):
    task = TrainingTask(SourceOnly(Threshold(), TWO), lr=0.05)
    run = trainer(tmp_path, max_steps=2, enable_checkpointing=False, precision='bf16-true')
    run.fit(task, datamodule=data)
    run.test(task, datamodule=data, verbose=False)
    assert task.confusion['source'].sum() == 2 * 38 * 44


def test_a_domain_without_the_scored_class_does_not_spoil_the_mean(tmp_path, folder, write_raster):
    space = LabelSpace('one', ('dark', 'bright'), ((0, 0, 0), (255, 255, 255)), scored=(1,))
    for name, value in (('some', 1), ('none', 0)):
        write_raster(f'{name}/images/a.tif', np.full((1, 16, 16), 10, np.uint8))
        write_raster(f'{name}/masks/a.tif', np.full((1, 16, 16), value, np.uint8))
    some, none = (
        FolderDataset(tmp_path / name / 'images', tmp_path / name / 'masks', labels=space)
        for name in ('some', 'none')
    )
    model = nn.Conv2d(1, 2, 1)
    nn.init.zeros_(model.weight)
    nn.init.constant_(model.bias, 0)
    model.bias.data[0] = 1  # everything is dark: no bright pixel is predicted
    task = TrainingTask(SourceOnly(model, space))
    data = ShiftDataModule(some, unseen={'none': none, 'some': some}, size_px=16, batch_size=1)
    run = trainer(tmp_path)
    run.test(task, datamodule=data, verbose=False)
    assert math.isnan(run.callback_metrics['test/none/mIoU'])
    assert run.callback_metrics['test/unseen/mIoU'] == 0


class Teacher(SourceOnly):
    """A mean teacher: an average of the model that is scored in its place."""

    kept = ('teacher',)

    def __init__(self, model, labels):
        super().__init__(model, labels)
        self.teacher = copy.deepcopy(model).requires_grad_(False)

    @property
    def scored(self):
        return self.teacher

    @torch.no_grad()
    def after_step(self):
        for own, other in zip(self.teacher.parameters(), self.model.parameters(), strict=True):
            own.lerp_(other, 0.3)


def fit_teacher(data, tmp_path, *, steps, resume=None):
    pl.seed_everything(3, verbose=False)
    task = TrainingTask(Teacher(Threshold(), TWO), lr=0.05, decay_steps=20)
    run = trainer(tmp_path, max_steps=steps, enable_checkpointing=False)
    run.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    return task, run


def test_a_part_that_changes_without_gradients_is_saved_and_resumed_exactly(tmp_path, data):
    whole, _ = fit_teacher(data, tmp_path, steps=8)
    half, run = fit_teacher(data, tmp_path, steps=5)
    path = tmp_path / 'half.ckpt'
    run.save_checkpoint(path)
    saved = torch.load(path, weights_only=True)
    tensors = set(saved['state_dict'])
    assert {'method.teacher.head.weight', 'method.model.head.weight'} <= tensors
    assert 'method.model.frozen.weight' in saved['frozen_marks']
    resumed, _ = fit_teacher(data, tmp_path, steps=8, resume=path)
    assert not torch.equal(half.model.head.weight, whole.model.head.weight)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_scored_model_is_the_one_that_is_tested_and_it_stays_in_eval_mode(tmp_path, data):
    task, run = fit_teacher(data, tmp_path, steps=3)
    assert task.model is task.method.teacher
    assert not torch.equal(task.method.teacher.head.weight, task.method.model.head.weight)
    task.train()
    assert task.method.model.training
    assert not task.method.teacher.training
    optimised = {id(p) for group in run.optimizers[0].param_groups for p in group['params']}
    assert not optimised & {id(p) for p in task.method.teacher.parameters()}
    image = torch.rand(1, 1, 8, 8)
    assert torch.equal(task(image), task.method.teacher(image))


def test_averaging_weights_that_are_not_scored_is_refused(tmp_path, data):
    task = TrainingTask(Teacher(Threshold(), TWO), lr=0.05)
    run = trainer(tmp_path, max_steps=1, callbacks=[AverageWeights()])
    with pytest.raises(ConfigError, match='such as a teacher: leave AverageWeights out'):
        run.fit(task, datamodule=data)


def test_the_teacher_moves_once_a_step_of_the_optimiser(tmp_path, data):
    moves = []

    class Counted(Teacher):
        def after_step(self):
            moves.append(self.model.head.weight.detach().clone())

    task = TrainingTask(Counted(Threshold(), TWO), lr=0.05)
    run = trainer(tmp_path, max_steps=3, enable_checkpointing=False, accumulate_grad_batches=2)
    run.fit(task, datamodule=data)
    assert len(moves) == 3
    assert torch.equal(moves[-1], task.method.model.head.weight)  # after the step, not before


def test_terms_that_come_and_go_are_refused(tmp_path, data):
    class Fickle(SourceOnly):
        steps = 0

        def losses(self, batch):
            terms = super().losses(batch)
            return terms if self.steps == 0 else {'loss_ce': terms['loss_ce']}

        def after_step(self):
            self.steps += 1

    with pytest.raises(
        ConfigError, match=r"returned the terms \['loss_ce'\], expected \['loss_ce'"
    ):
        trainer(tmp_path, max_steps=3, enable_checkpointing=False).fit(
            TrainingTask(Fickle(Threshold(), TWO)), datamodule=data
        )


def test_a_method_without_terms_is_refused(tmp_path, data):
    class Silent(SourceOnly):
        def losses(self, batch):
            return {name: term for name, term in super().losses(batch).items() if not name}

    with pytest.raises(ConfigError, match='expected at least one'):
        trainer(tmp_path, max_steps=3, enable_checkpointing=False).fit(
            TrainingTask(Silent(Threshold(), TWO)), datamodule=data
        )
