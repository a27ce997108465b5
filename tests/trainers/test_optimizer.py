import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models import Segmenter, adapted_fpn, crossearth_vit_small, rivals
from crossearth.models.backbones import RVSA
from crossearth.models.decoders import UPerNetDecoder
from crossearth.trainers import check_schedule, parameter_groups, poly_factor
from crossearth.transforms import PatchMask


def test_norms_biases_and_scalars_do_not_decay_and_frozen_weights_are_absent():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 2))
    module[2].requires_grad_(False)
    decay, keep = parameter_groups(module, weight_decay=0.05)
    assert (decay['weight_decay'], keep['weight_decay']) == (0.05, 0.0)
    assert [id(p) for p in decay['params']] == [id(module[0].weight)]
    assert {id(p) for p in keep['params']} == {
        id(module[0].bias),
        id(module[1].weight),
        id(module[1].bias),
    }


def test_biases_decay_as_in_the_release_where_that_is_asked_for():
    module = nn.ModuleDict({'conv': nn.Conv2d(3, 4, 3), 'norm': nn.GroupNorm(2, 4)})
    module.scale = nn.Parameter(torch.ones(1))
    decay, keep = parameter_groups(module, weight_decay=0.05, decay_biases=True)
    assert [id(p) for p in decay['params']] == [id(p) for p in module['conv'].parameters()]
    assert {id(p) for p in keep['params']} == {
        id(module.scale),
        *(id(p) for p in module['norm'].parameters()),
    }


def test_each_earlier_layer_learns_at_a_share_of_the_next_ones_rate():
    model = adapted_fpn('test_vit', 'full', num_classes=2, img_size=32, width=8)
    groups = parameter_groups(model, weight_decay=0.05, layer_decay=0.5)
    scales = {id(p): group['lr_scale'] for group in groups for p in group['params']}
    assert len(scales) == sum(p.requires_grad for p in model.parameters())
    rates = [scales[id(model.backbone.vit.blocks[i].mlp.fc1.weight)] for i in range(6)]
    assert rates == [0.5**6, 0.5**5, 0.5**4, 0.5**3, 0.5**2, 0.5]
    assert scales[id(model.backbone.vit.patch_embed.proj.weight)] == 0.5**7
    assert scales[id(model.decoder.classify.weight)] == 1
    decays = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    assert decays[id(model.backbone.vit.blocks[0].mlp.fc1.weight)] == 0.05
    assert decays[id(model.backbone.vit.blocks[0].norm1.weight)] == 0
    plain = parameter_groups(model, weight_decay=0.05)
    assert len(plain) == 2
    assert 'lr_scale' not in plain[0]


def test_layer_wise_rates_without_layers_that_train_are_refused():
    with pytest.raises(ConfigError, match='layer_decay is 0: expected a share above 0'):
        parameter_groups(nn.Linear(2, 2), weight_decay=0.05, layer_decay=0)
    frozen = adapted_fpn('test_resnet', 'frozen', num_classes=2, width=8)
    after_stages = adapted_fpn('test_resnet', 'rein', num_classes=2, width=8)
    for module in (nn.Linear(2, 2), frozen, after_stages):
        with pytest.raises(ConfigError, match=r'no backbone trains and counts its layers'):
            parameter_groups(module, weight_decay=0.05, layer_decay=0.9)


def scales_of(model, **given):
    groups = parameter_groups(model, weight_decay=0.05, **given)
    scales = {id(p): group['lr_scale'] for group in groups for p in group['params']}
    return {name: scales[id(p)] for name, p in model.named_parameters() if p.requires_grad}


def test_layers_of_rvsa_learn_as_mtp_counts_them_and_its_pyramid_as_the_decoder():
    backbone = RVSA(img_size=112, dim=16, depth=4, heads=2, interval=2, indices=(0, 1, 2, 3))
    model = Segmenter(
        backbone, UPerNetDecoder(backbone.channels, 2, width=8), mean=[0.5] * 3, std=[0.25] * 3
    )
    scales = scales_of(model, layer_decay=0.9)
    for name, expected in (('pos_embed', 5), ('patch_embed.proj.weight', 5), ('fpn1.0.weight', 0)):
        assert scales[f'backbone.{name}'] == pytest.approx(0.9**expected)
    blocks = [scales[f'backbone.blocks.{i}.attn.qkv.weight'] for i in range(4)]
    assert blocks == pytest.approx([0.9**4, 0.9**3, 0.9**2, 0.9])
    assert scales['decoder.classify.weight'] == 1


@pytest.mark.parametrize('name', ['daformer_mit_b5', 'hrda_mit_b5'])
def test_a_decoder_and_an_attention_learn_ten_times_as_fast_as_the_encoder(name):
    model = getattr(rivals, name)(2, encoder='mit_b0', width=8)
    scales = scales_of(model, decoder_lr_scale=10.0)
    assert {scale for n, scale in scales.items() if n.startswith('backbone.')} == {1.0}
    assert {scale for n, scale in scales.items() if not n.startswith('backbone.')} == {10.0}


def test_both_rates_hold_together():
    model = adapted_fpn('test_vit', 'full', num_classes=2, img_size=32, width=8)
    scales = scales_of(model, layer_decay=0.5, decoder_lr_scale=3.0)
    assert scales['backbone.vit.blocks.5.mlp.fc1.weight'] == 0.5
    assert scales['decoder.classify.weight'] == 3


def test_the_rate_of_a_decoder_needs_one():
    with pytest.raises(ConfigError, match='decoder_lr_scale is 0: expected a number above 0'):
        parameter_groups(nn.Linear(2, 2), weight_decay=0.05, decoder_lr_scale=0)
    with pytest.raises(ConfigError, match='but the model is not a Segmenter'):
        parameter_groups(nn.Linear(2, 2), weight_decay=0.05, decoder_lr_scale=10)


def test_poly_follows_its_formula_and_stays_at_zero():
    assert poly_factor(10_000, total_steps=40_000) == pytest.approx(0.75**0.9)
    assert poly_factor(40_000, total_steps=40_000) == 0
    assert poly_factor(50_000, total_steps=40_000) == 0


def test_the_decay_begins_where_the_warm_up_ends():
    """Schedule of the 1024 px runs: 10 000 steps up, then down until 40 000."""
    factor = [
        poly_factor(step, total_steps=40_000, warmup_steps=10_000)
        for step in (0, 4_999, 9_999, 10_000, 25_000, 40_000)
    ]
    assert factor == pytest.approx([1e-4, 0.5, 1, 1, 0.5**0.9, 0])


@pytest.mark.parametrize(
    ('schedule', 'message'),
    [
        ({'total_steps': 10, 'warmup_steps': 10, 'power': 0.9}, 'within the 10 steps of warm-up'),
        ({'total_steps': 0, 'warmup_steps': 0, 'power': 0.9}, 'reaches 0 at step 0'),
        ({'total_steps': 10, 'warmup_steps': -1, 'power': 0.9}, 'at least 0 steps'),
        ({'total_steps': 10, 'warmup_steps': 0, 'power': 0.0}, 'power above 0'),
        ({'total_steps': float('inf'), 'warmup_steps': 0, 'power': 1.0}, 'the run has no end'),
    ],
)
def test_schedules_without_a_meaning_are_refused(schedule, message):
    with pytest.raises(ConfigError, match=message):
        check_schedule(**schedule)


def test_the_parts_of_the_paper_decay_as_in_the_release():
    task = nn.ModuleDict(
        {
            'model': crossearth_vit_small(2, img_size=64),
            'mask': PatchMask(16, 0.5, prompt=nn.Parameter(torch.zeros(3, 1, 1))),
        }
    )
    decay, keep = parameter_groups(task, weight_decay=0.05)
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    decaying = {names[id(parameter)] for parameter in decay['params']}
    kept = {names[id(parameter)] for parameter in keep['params']}
    assert decaying | kept == {name for name, p in task.named_parameters() if p.requires_grad}
    assert not decaying & kept
    for part in ('learnable_tokens_a', 'learnable_tokens_b', 'scale', 'level_embed.weight'):
        assert any(name.endswith(part) for name in kept), part
    assert 'model.decoder.pixel_decoder.encoder.level_encoding.weight' not in decaying
    assert 'mask.prompt' in kept
    wrong = ('bias', 'token', 'prompt', 'norm', '.gn.', 'embed.weight', 'level_enc')
    allowed = {  # linear layers
        'model.decoder.cls_embed.weight',
        'model.backbone.adapter.mlp_token2feat.weight',
    }
    assert {n for n in decaying if any(part in n for part in wrong)} <= allowed
    assert 'model.backbone.adapter.mlp_delta_f.weight' in decaying
    assert 'model.decoder.mask_embed.0.weight' in decaying
