import lightning.pytorch as pl
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from crossearth.errors import ConfigError
from crossearth.labels import ISPRS
from crossearth.models import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CrossEarth,
    FPNDecoder,
    MultiStageASPP,
    TimmPyramid,
    crossearth_vit_small,
)
from crossearth.trainers import DomainGeneralizationTask, restoration_losses
from crossearth.transforms import FourierStyle, PatchMask


class HalfInverted(nn.Module):
    """A style for the first half of a batch."""

    def forward(self, image):
        styled = image.clone()
        styled[: len(image) // 2] = 1 - styled[: len(image) // 2]
        return styled


@pytest.fixture
def model():
    torch.manual_seed(0)
    encoder = TimmPyramid(timm.create_model('resnet10t'))
    decoder = FPNDecoder(encoder.channels, 6, width=16)
    restorer = MultiStageASPP(encoder.channels, width=8)
    return CrossEarth(encoder, decoder, restorer, mean=IMAGENET_MEAN, std=IMAGENET_STD).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(4, 3, 64, 64, generator=generator)
    return {'image': image, 'mask': torch.randint(0, 6, (4, 64, 64), generator=generator)}


@pytest.mark.parametrize('norm', ['l1', 'mse'])
@pytest.mark.parametrize('target', ['clean', 'input'])
def test_terms_are_those_of_equation_10(model, batch, norm, target):
    image = batch['image']
    masked, styled = image * 0.5, HalfInverted()(image)
    changed = torch.tensor([True, True, False, False])
    got = restoration_losses(
        model, image, masked=masked, styled=styled, changed=changed, norm=norm, target=target
    )
    distance = {'l1': F.l1_loss, 'mse': F.mse_loss}[norm]
    from_masked, from_styled = model.restore(masked), model.restore(styled[:2])
    goals = (image, image[:2]) if target == 'clean' else (masked, styled[:2])
    mim = distance(from_masked, model.normalize(goals[0]))
    mim = mim + distance(from_styled, model.normalize(goals[1]))
    torch.testing.assert_close(got['loss_mim'], mim)
    torch.testing.assert_close(got['loss_delta'], F.l1_loss(from_masked[:2], from_styled))


def test_without_a_drawn_style_masked_images_alone_are_restored(model, batch):
    image = batch['image']
    nothing = torch.zeros(4, dtype=torch.bool)
    terms = restoration_losses(model, image, masked=image, styled=image, changed=nothing)
    assert list(terms) == ['loss_mim']


def test_the_task_segments_what_was_styled_and_weighs_the_terms(model, batch):
    options = {'labels': ISPRS, 'style': HalfInverted(), 'mask': PatchMask(16, 1.0)}
    full = DomainGeneralizationTask(model, mim_weight=3.0, delta_weight=0.0, **options)
    terms = full.losses(batch['image'], batch['mask'])
    segmented = model.losses(HalfInverted()(batch['image']), batch['mask'])
    torch.testing.assert_close(terms['loss_ce'], segmented['loss_ce'])
    plain = DomainGeneralizationTask(model, **options).losses(batch['image'], batch['mask'])
    torch.testing.assert_close(terms['loss_mim'], 3 * plain['loss_mim'])
    assert terms['loss_delta'] == 0
    assert plain['loss_delta'] > 0
    source_only = DomainGeneralizationTask(model, labels=ISPRS)
    assert set(source_only.losses(batch['image'], batch['mask'])) == set(segmented)


@pytest.mark.filterwarnings('ignore:You defined a `validation_step` but have no')
def test_the_papers_training_steps_every_trainable_part_and_no_frozen_one(batch, tmp_path):
    pl.seed_everything(0, verbose=False)
    model = crossearth_vit_small(6, img_size=64)
    samples = [{name: values[i] for name, values in batch.items()} for i in range(4)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    style = FourierStyle(torch.rand(2, 3, 16, 16), p=1.0)
    mask = PatchMask(16, 0.7, prompt=nn.Parameter(torch.zeros(3, 1, 1)))
    task = DomainGeneralizationTask(model, labels=ISPRS, style=style, mask=mask, lr=1e-3)
    pl.Trainer(
        accelerator='cpu',
        max_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    ).fit(task, DataLoader(samples, batch_size=2))
    trainable = {name for name, value in model.named_parameters() if value.requires_grad}
    moved = {name for name, value in model.named_parameters() if (value != before[name]).any()}
    assert moved == trainable
    assert any(name.startswith('restorer') for name in moved)
    assert (mask.prompt != 0).any()


def test_models_that_cannot_restore_are_refused(model):
    bare = CrossEarth(model.backbone, model.decoder, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    for wrong in (nn.Conv2d(3, 6, 1), bare):
        with pytest.raises(ConfigError, match='expected a CrossEarth model with a restorer'):
            DomainGeneralizationTask(wrong, labels=ISPRS, mask=PatchMask(16, 0.5))
