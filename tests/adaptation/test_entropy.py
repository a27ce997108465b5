import pytest
import torch
from torch import nn

from crossearth.adaptation.change import measure_change
from crossearth.adaptation.entropy import Tent
from crossearth.adaptation.norms import Norms
from crossearth.errors import ConfigError


def test_entropy_falls_and_nothing_but_norms_changes(model, windows):
    tent = Tent(alpha=1.0, steps=10, lr=1e-2)
    with_statistics = Norms(1.0).adapt(model, windows)
    adapted = tent.adapt(model, windows, seed=0)
    change = measure_change(with_statistics, adapted, windows)
    assert change.after.entropy < change.before.entropy - 0.005
    state = with_statistics.state_dict()
    changed = {
        name for name, value in adapted.state_dict().items() if not torch.equal(state[name], value)
    }
    assert changed == {'1.weight', '1.bias'}


def test_the_same_seed_gives_the_same_bits(model, windows):
    first, again, other = (Tent(steps=3).adapt(model, windows, seed=s)[1] for s in (0, 0, 1))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


@pytest.mark.parametrize('norm', [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True)])
def test_norms_without_statistics_are_adapted_by_their_weights(norm, windows):
    model = nn.Sequential(nn.Conv2d(1, 4, 1), norm, nn.Conv2d(4, 2, 1)).eval()
    before = norm.weight.clone()
    adapted = Tent(steps=2).adapt(model, windows)
    assert not torch.equal(adapted[1].weight, before)
    assert torch.equal(norm.weight, before)


def test_what_trained_before_trains_after_and_gradients_are_gone(model, windows):
    model[0].requires_grad_(False)
    adapted = Tent(steps=1).adapt(model, windows)
    assert [p.requires_grad for p in adapted.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]
    assert all(p.grad is None for p in adapted.parameters())


def test_it_works_where_gradients_are_off(model, windows):
    with torch.no_grad():
        adapted = Tent(steps=1).adapt(model, windows)
    assert not torch.equal(adapted[1].weight, model[1].weight)


def test_models_without_weights_of_norms_and_numbers_out_of_range_are_refused(windows):
    with pytest.raises(ConfigError, match='the model has no norm with weights'):
        Tent().adapt(nn.Conv2d(1, 2, 1), windows)
    with pytest.raises(ConfigError, match='at least 1 step'):
        Tent(steps=0)
    with pytest.raises(ConfigError, match='at least 1 step'):
        Tent(lr=0)
