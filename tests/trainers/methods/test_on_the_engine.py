import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from crossearth.datasets import FolderDataset, ShiftDataModule, merge_domains
from crossearth.errors import CheckpointError, ConfigError
from crossearth.models import MixStyle, adapted_fpn
from crossearth.trainers import (
    Attached,
    DomainAdversarial,
    FeatureDistance,
    FisherGating,
    GroupDRO,
    SelectiveWhitening,
    SelfTraining,
    SourceOnly,
    TrainingTask,
    build_training,
)
from crossearth.transforms import PhotometricDistortion, RandConv
from tests.trainers.methods.small import THREE, plain


def mixed():
    mix = MixStyle(p=0.7, alpha=1.0, generator=torch.Generator().manual_seed(3))
    return Attached(plain(), 'backbone.stem', mix)


def styled():
    method = plain()
    method.style = RandConv(generator=torch.Generator().manual_seed(4))
    return method


METHODS = {
    'MixStyle': mixed,
    'RandConv': styled,
    'DANN': lambda: DomainAdversarial(plain(), num_domains=2, total_steps=4, width=4),
    'feature distance': lambda: FeatureDistance(plain(), weight=1.0, ratio=0.4),
    'GroupDRO': lambda: GroupDRO(plain(), num_domains=2, step_size=0.5),
    'whitening': lambda: SelectiveWhitening(
        plain(), transform=PhotometricDistortion(), measure_steps=3, clusters=2
    ),
    'two in one': lambda: GroupDRO(FeatureDistance(plain()), num_domains=2),
    'three in one': lambda: FeatureDistance(
        DomainAdversarial(mixed(), num_domains=2, total_steps=4, width=4)
    ),
}


@pytest.fixture
def data(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    sources = {}
    for name, light in (('dark', 0), ('bright', 100)):
        mask = rng.integers(0, 3, (1, 4, 4), np.uint8).repeat(16, 1).repeat(16, 2)
        image = 30 * mask + light + rng.integers(0, 40, (3, 64, 64), np.uint8)
        write_raster(f'{name}/images/a.tif', image.astype(np.uint8))
        write_raster(f'{name}/masks/a.tif', mask)
        folders = (tmp_path / name / kind for kind in ('images', 'masks'))
        sources[name] = FolderDataset(*folders, labels=THREE)
    both = merge_domains(sources)
    return ShiftDataModule(both, val=both, size_px=32, windows_per_epoch=16, batch_size=8)


def fit(data, tmp_path, method, *, steps, ckpt=None):
    pl.seed_everything(0, verbose=False)
    task = TrainingTask(method, lr=0.01, decay_steps=10)
    trainer = pl.Trainer(
        accelerator='cpu',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        use_distributed_sampler=False,
        max_steps=steps,
    )
    trainer.fit(task, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return task, trainer


@pytest.mark.parametrize('name', METHODS)
def test_a_training_that_stops_and_resumes_ends_with_the_same_bits(name, data, tmp_path):
    check_resuming(METHODS[name], data, tmp_path)


def test_a_gate_resumes_between_two_choices_with_the_same_bits(data, tmp_path):
    def build():
        torch.manual_seed(0)
        model = adapted_fpn('test_vit', 'gate', num_classes=3, img_size=32, rank=2, width=4)
        return FisherGating(SourceOnly(model, THREE), interval=3, top=4)

    check_resuming(build, data, tmp_path)


@pytest.mark.usefixtures('data')
def test_a_recipe_names_the_adapter_and_the_rates_of_layers(tmp_path):
    def recipe(adapter, method, **task):
        build = {
            'class_path': 'crossearth.models.adapted_fpn',
            'init_args': {'name': 'test_vit', 'adapter': adapter, 'num_classes': 3, 'img_size': 32},
        }
        labels = {'name': 'three', 'classes': THREE.classes, 'palette': THREE.palette}
        source = {'class_path': 'crossearth.trainers.SourceOnly'}
        source['init_args'] = {'model': build, 'labels': labels}
        if method is not None:
            source = {'class_path': method, 'init_args': {'method': source, 'top': 3}}
        images = {'images': str(tmp_path / 'dark/images'), 'masks': str(tmp_path / 'dark/masks')}
        scenes = {'class_path': 'crossearth.datasets.FolderDataset'}
        scenes['init_args'] = {**images, 'labels': labels}
        return {
            'model': {
                'class_path': 'crossearth.trainers.TrainingTask',
                'init_args': {'method': source, **task},
            },
            'data': {
                'class_path': 'crossearth.datasets.ShiftDataModule',
                'init_args': {'train': scenes, 'size_px': 32},
            },
            'trainer': {'accelerator': 'cpu', 'logger': False},
        }

    full = build_training(recipe('full', None, layer_decay=0.75)).task
    assert full.layer_decay == 0.75
    assert full.model.blueprint.arguments['adapter'] == 'full'
    gate = build_training(recipe('gate', 'crossearth.trainers.FisherGating')).task
    assert gate.method.top == 3
    with pytest.raises(ConfigError, match='dora'):
        build_training(recipe('dora', None))


def test_a_teacher_inside_of_another_method_resumes_with_the_same_bits(data, tmp_path):
    def build():
        inside = plain()
        teaching = SelfTraining(inside.model, THREE, threshold=0.1)
        return FeatureDistance(teaching, weight=1.0, ratio=0.4)

    target = FolderDataset(tmp_path / 'dark' / 'images', labels=THREE)
    options = {'size_px': 32, 'windows_per_epoch': 16, 'batch_size': 8}
    check_resuming(
        build, ShiftDataModule(data.train, val=data.val, target=target, **options), tmp_path
    )


def check_resuming(build, data, tmp_path):
    whole, trainer = fit(data, tmp_path, build(), steps=4)
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())
    _, trainer = fit(data, tmp_path, build(), steps=2)
    trainer.save_checkpoint(tmp_path / 'half.ckpt')
    resumed, _ = fit(data, tmp_path, build(), steps=4, ckpt=tmp_path / 'half.ckpt')
    expected, found = whole.state_dict(), resumed.state_dict()
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    untrained = build().state_dict()
    weight = next(key for key in untrained if key.endswith('model.decoder.classify.weight'))
    assert not torch.equal(found[f'method.{weight}'], untrained[weight])


def test_the_pretrained_copy_is_not_in_checkpoints_and_another_one_is_refused(data, tmp_path):
    _, trainer = fit(data, tmp_path, FeatureDistance(plain()), steps=1)
    path = tmp_path / 'one.ckpt'
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    assert not [key for key in content['state_dict'] if 'reference' in key]
    with pytest.raises(CheckpointError, match=r'first method\.reference\.stem'):
        fit(data, tmp_path, FeatureDistance(plain(seed=1)), steps=2, ckpt=path)
