import lightning.pytorch as pl
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import ISPRS
from crossearth.models import CrossEarth, crossearth_vit_small
from crossearth.models.backbones import TimmPyramid
from crossearth.models.decoders import FPNDecoder, MultiStageASPP
from crossearth.models.features import Features
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from crossearth.trainers import CrossEarthTraining, SourceOnly, TrainingTask
from crossearth.trainers.restoration import restoration_losses
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


DISTANCES = {'l1': F.l1_loss, 'mse': F.mse_loss}


def test_what_is_learnt_in_the_place_of_masked_patches_does_not_move_the_target():
    prompt = torch.zeros(2, 3, 8, 8, requires_grad=True)
    terms = restoration_losses(
        torch.ones(2, 3, 8, 8, requires_grad=True),
        torch.ones(1, 3, 8, 8, requires_grad=True),
        clean=torch.zeros(2, 3, 8, 8),
        masked=prompt,
        styled=prompt * 2,
        changed=torch.tensor([True, False]),
        target='input',
    )
    sum(terms.values()).backward()
    assert prompt.grad is None


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ({'mim_target': 'Clean'}, "target is 'Clean': expected one of clean, input"),
        ({'mim_norm': 'l2'}, "norm is 'l2': expected one of l1, mse"),
        ({'delta_norm': 'l2'}, "delta_norm is 'l2'"),
    ],
)
def test_words_that_no_loss_knows_are_refused_before_training(unchecked, model, wrong, message):
    with pytest.raises(ConfigError, match=message):
        CrossEarthTraining(model, ISPRS, mask=PatchMask(16, 0.5), **wrong)


@pytest.mark.parametrize('norm', ['l1', 'mse'])
@pytest.mark.parametrize('delta_norm', ['l1', 'mse'])
@pytest.mark.parametrize('target', ['clean', 'input'])
def test_terms_are_those_of_equation_10(model, batch, norm, delta_norm, target):
    image = batch['image']
    style, mask = HalfInverted(), PatchMask(16, 0.5, generator=torch.Generator().manual_seed(2))
    options = {'mim_norm': norm, 'delta_norm': delta_norm, 'mim_target': target}
    method = CrossEarthTraining(model, ISPRS, style=style, mask=mask, **options)
    got = method.losses(batch)
    masked, styled = mask(image, mask._params), style(image)
    from_masked, from_styled = model.restore(masked), model.restore(styled[:2])
    goals = (image, image[:2]) if target == 'clean' else (masked, styled[:2])
    mim = DISTANCES[norm](from_masked, model.normalize(goals[0]))
    mim = mim + DISTANCES[norm](from_styled, model.normalize(goals[1]))
    torch.testing.assert_close(got['loss_mim'], mim)
    delta = DISTANCES[delta_norm](from_masked[:2], from_styled)
    torch.testing.assert_close(got['loss_delta'], delta)


def test_without_a_drawn_style_masked_images_alone_are_restored(model, batch):
    seed = torch.Generator().manual_seed(2)
    mask = PatchMask(16, 0.5, generator=seed)
    terms = CrossEarthTraining(model, ISPRS, style=nn.Identity(), mask=mask).losses(batch)
    masked = mask(batch['image'], mask._params)
    wanted = F.mse_loss(model.restore(masked), model.normalize(batch['image']))
    torch.testing.assert_close(terms['loss_mim'], wanted)
    assert terms['loss_delta'] == 0
    without = CrossEarthTraining(model, ISPRS, mask=mask).losses(batch)
    assert 'loss_delta' not in without


@pytest.fixture
def whole_model():
    """The paper's model, small, with an injector that has learnt to change something."""
    torch.manual_seed(0)
    model = crossearth_vit_small(6, img_size=64)
    nn.init.normal_(model.backbone.injector.out.weight, std=0.05)
    return model


@pytest.mark.parametrize('reuse', [False, True])
def test_one_pass_for_all_gives_what_one_pass_for_each_gives(whole_model, batch, reuse):
    image, labels = batch['image'], batch['mask']
    masked, styled = image * 0.5, HalfInverted()(image)
    changed = torch.tensor([True, True, False, False])
    parts = [masked] if reuse else [masked, styled[:2]]
    features, to_restore = whole_model.encode_flows(styled, parts)
    if reuse:
        fine, second, third, coarse = (level[changed] for level in features.maps)
        to_restore.append(Features((fine, second, third, coarse)))
    terms = whole_model.losses_of(features, labels, generator=torch.Generator().manual_seed(0))
    restored = whole_model.restorations(to_restore, (64, 64))
    alone = whole_model.losses(styled, labels, generator=torch.Generator().manual_seed(0))
    for name, value in alone.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(restored[0], whole_model.restore(masked), rtol=1e-4, atol=1e-5)
    again = whole_model.restore(styled[:2])
    if reuse:  # with the geospatial parts, which take no part in restoring otherwise
        size = tuple(image.shape[-2:])
        features = whole_model.backbone(whole_model.normalize(styled[:2]))
        assert not torch.allclose(restored[1], again, atol=1e-3)
        again = whole_model.restorer(features, size)
    torch.testing.assert_close(restored[1], again, rtol=1e-4, atol=1e-5)


def test_batch_norms_in_training_see_their_own_pass_alone_and_average_what_is_segmented(
    model, batch
):
    image, labels = batch['image'], batch['mask']
    masked = image * 0.5
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    features, to_restore = model.encode_flows(image, [masked])
    terms = model.losses_of(features, labels)
    (restored,) = model.restorations(to_restore, (64, 64))
    after = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    alone = model.losses(image, labels)
    torch.testing.assert_close(terms['loss_ce'], alone['loss_ce'])
    first = 'backbone.model.conv1.1.running_mean'
    assert not torch.equal(after[first], state[first])
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, after[name])
    torch.testing.assert_close(restored, model.restore(masked))
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, nn.BatchNorm2d))


def test_images_of_other_sizes_cannot_share_a_pass(model, batch, unchecked):
    with pytest.raises(ShapeError, match='expected the same shape'):
        model.encode_flows(batch['image'], [batch['image'][..., :32]])


def test_styled_images_are_segmented_and_terms_are_weighted(model, batch):
    options = {'style': HalfInverted(), 'mask': PatchMask(16, 1.0)}
    weights = {'mim_weight': 3.0, 'delta_weight': 0.0, 'seg_weight': 0.5}
    terms = CrossEarthTraining(model, ISPRS, **weights, **options).losses(batch)
    segmented = model.losses(HalfInverted()(batch['image']), batch['mask'])
    torch.testing.assert_close(terms['loss_ce'], 0.5 * segmented['loss_ce'])
    plain = CrossEarthTraining(model, ISPRS, **options).losses(batch)
    torch.testing.assert_close(terms['loss_mim'], 3 * plain['loss_mim'])
    assert terms['loss_delta'] == 0
    assert plain['loss_delta'] > 0
    styled_only = SourceOnly(model, ISPRS, style=HalfInverted()).losses(batch)
    torch.testing.assert_close(styled_only, segmented)
    unstyled = model.losses(batch['image'], batch['mask'])
    torch.testing.assert_close(SourceOnly(model, ISPRS).losses(batch), unstyled)


@pytest.mark.filterwarnings('ignore:You defined a `validation_step` but have no')
def test_the_papers_training_steps_every_trainable_part_and_no_frozen_one(batch, tmp_path):
    pl.seed_everything(0, verbose=False)
    model = crossearth_vit_small(6, img_size=64)
    samples = [{name: values[i] for name, values in batch.items()} for i in range(4)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    style = FourierStyle(torch.rand(2, 3, 16, 16), p=1.0)
    mask = PatchMask(16, 0.7, prompt=nn.Parameter(torch.zeros(3, 1, 1)))
    task = TrainingTask(CrossEarthTraining(model, ISPRS, style=style, mask=mask), lr=1e-3)
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
        with pytest.raises(ConfigError, match='build a CrossEarth model with a restorer'):
            CrossEarthTraining(wrong, ISPRS, mask=PatchMask(16, 0.5))


def test_weights_below_zero_are_refused(model):
    with pytest.raises(ConfigError, match='expected weights of at least 0'):
        CrossEarthTraining(model, ISPRS, mask=PatchMask(16, 0.5), seg_weight=-1.0)


def test_every_row_of_the_ablations_is_a_choice_of_arguments(batch):
    """Tables 8 and 9: what each row trains, and which terms it has."""
    images = torch.rand(2, 3, 16, 16)
    style = FourierStyle(images, p=1.0, patch_size=16, ratio=0.5, draw_per='batch')
    rows = [
        ({'geospatial': False, 'restorer': None}, {}),
        ({'restorer': None}, {}),
        ({}, {'mask': PatchMask(16, 0.7)}),
        ({}, {'mask': PatchMask(16, 0.7), 'style': style, 'mim_norm': 'l1'}),
        ({'restorer': 'linear'}, {'mask': PatchMask(16, 0.7), 'style': style}),
    ]
    expected = [set(), set(), {'loss_mim'}, {'loss_mim', 'loss_delta'}, {'loss_mim', 'loss_delta'}]
    for (parts, options), extra in zip(rows, expected, strict=True):
        model = crossearth_vit_small(6, img_size=64, **parts)
        make = CrossEarthTraining if 'mask' in options else SourceOnly
        sample = {name: values[:1] for name, values in batch.items()}
        terms = make(model, ISPRS, **options).losses(sample)
        assert {'loss_mim', 'loss_delta'} & terms.keys() == extra
        assert (model.backbone.injector is not None) == parts.get('geospatial', True)
