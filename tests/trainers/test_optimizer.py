import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models import crossearth_vit_small
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
        ({'total_steps': float('inf'), 'warmup_steps': 0, 'power': 1.0}, 'which has none'),
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
