import pytest
from torch import nn

from crossearth.trainers import parameter_groups, poly_factor


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


def test_warm_up_rises_linearly_to_the_decay():
    assert poly_factor(0, total_steps=100, warmup_steps=10) == pytest.approx(0.1)
    assert poly_factor(4, total_steps=100, warmup_steps=10) == pytest.approx(0.5 * 0.96**0.9)
    assert poly_factor(10, total_steps=100, warmup_steps=10) == poly_factor(10, total_steps=100)
