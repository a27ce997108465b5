import copy

import pytest
import timm
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.adapters import LoRA, SoMA, add_lora, add_soma, add_toolbox, merge
from crossearth.models.adapters.low_rank import fitting_rank, minor_components


def layers() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        'linear': nn.Linear(12, 8),
        'pointwise': nn.Conv2d(6, 10, 1),
        'kernel': nn.Conv2d(4, 6, 3, stride=2, padding=1),
    }


def images(layer):
    return (
        torch.randn(5, 12)
        if isinstance(layer, nn.Linear)
        else torch.randn(2, layer.in_channels, 7, 9)
    )


@pytest.mark.parametrize('name', list(layers()))
@pytest.mark.parametrize('add', [add_lora, add_soma])
def test_a_change_is_exactly_nothing_at_the_start_and_merges_once_trained(name, add):
    layer = layers()[name]
    x = images(layer)
    before = layer(x)
    weight = layer.weight.detach().clone()
    assert add([layer], rank=3) == [layer]
    assert torch.equal(layer(x), before)
    trained = [n for n, p in layer.named_parameters() if p.requires_grad and 'bias' not in n]
    assert sorted(n.split('.')[-1] for n in trained) == ['a', 'b']
    optimizer = torch.optim.SGD([p for p in layer.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x).square().mean().backward()
        optimizer.step()
    after = layer(x)
    assert (after - before).abs().max() > 1e-2
    assert torch.equal(layer.parametrizations.weight.original, weight)  # the pretrained one stays
    merge(layer)
    assert (layer(x) - after).abs().max() <= 1e-5
    assert sorted(layer.state_dict()) == ['bias', 'weight']
    assert not layer.weight.requires_grad


def test_lora_adds_the_scaled_product_of_its_factors():
    weight = torch.zeros(2, 3)
    change = LoRA(weight, 1, alpha=4)
    with torch.no_grad():
        change.a.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        change.b.copy_(torch.tensor([[1.0], [-1.0]]))
    expected = torch.tensor([[4.0, 8.0, 12.0], [-4.0, -8.0, -12.0]])
    assert torch.equal(change(weight), expected)


@pytest.mark.parametrize('shape', [(8, 12), (12, 8), (9, 9), (6, 4, 3, 3)])
def test_soma_trains_the_smallest_singular_components(shape):
    torch.manual_seed(1)
    weight = torch.randn(shape)
    u, s, vt = torch.linalg.svd(weight.flatten(1), full_matrices=False)
    minor = u[:, -3:] @ torch.diag(s[-3:]) @ vt[-3:]
    change = SoMA(weight, 3)
    torch.testing.assert_close(change.b @ change.a, minor, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # without them, the larger components are left
        change.b.zero_()
    left = torch.linalg.svdvals(change(weight).flatten(1))
    torch.testing.assert_close(left[:-3], s[:-3], rtol=1e-4, atol=1e-5)
    assert left[-3:].abs().max() < 1e-4


def test_factors_of_a_layer_that_loses_rank_are_finite():
    b, a = minor_components(torch.zeros(4, 6), 2)
    assert torch.equal(b @ a, torch.zeros(4, 6))
    assert torch.isfinite(b).all()
    assert torch.isfinite(a).all()


def test_factors_never_hold_as_many_numbers_as_the_layer():
    assert fitting_rank(torch.empty(96, 16, 1, 1), 16) == 13
    assert 13 * (96 + 16) < 96 * 16 <= 14 * (96 + 16)
    tiny, large = nn.Linear(1, 5), nn.Linear(20, 20)
    assert add_lora([tiny, large], rank=4) == [large]
    assert tiny.weight.requires_grad  # left as it was


def test_layers_without_one_matrix_are_refused():
    with pytest.raises(ConfigError, match='a convolution of 4 groups is not one matrix'):
        add_lora([nn.Conv2d(4, 4, 3, groups=4)])
    with pytest.raises(ConfigError, match='BatchNorm2d has no matrix of weights'):
        add_soma([nn.BatchNorm2d(4)])
    with pytest.raises(ConfigError, match='rank is 0: expected at least 1'):
        add_lora([nn.Linear(4, 4)], rank=0)
    with pytest.raises(ConfigError, match='none of 1 layer'):
        add_lora([nn.Linear(1, 4)])
    layer = nn.Linear(8, 8)
    add_lora([layer], rank=2)
    with pytest.raises(ConfigError, match='already has a low-rank change'):
        add_soma([layer], rank=2)


def test_what_does_not_merge_is_refused_and_left_whole():
    with pytest.raises(ConfigError, match='has no layer with LoRA or SoMA'):
        merge(nn.Sequential(nn.Linear(2, 2)))
    vit = timm.create_model('test_vit', num_classes=0).requires_grad_(False)
    add_toolbox(vit, rank=2, width=4)
    keys = list(vit.state_dict())
    with pytest.raises(ConfigError, match='has a _Spatial, which cannot be merged'):
        merge(vit)
    assert list(vit.state_dict()) == keys


def test_a_copy_merges_and_the_original_stays_and_merges_later():
    """torch's copies share a class, from which its own removal would take the weight of both."""
    layer = nn.Linear(12, 8)
    add_lora([layer], rank=2)
    nn.init.normal_(layer.parametrizations.weight[0].b)
    x = torch.rand(3, 12)
    expected = layer(x)
    for one in (merge(copy.deepcopy(layer)), layer, merge(layer)):
        torch.testing.assert_close(one(x), expected, rtol=0, atol=1e-6)
    assert type(layer) is nn.Linear
