import copy

import pytest
import timm
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.labels import ROAD
from crossearth.models import fpn_timm, load_model, save_model
from crossearth.models.backbones.instance_norms import InstanceBatchNorm, add_instance_norms


def instance_norm(x, weight, bias, eps):
    """Each channel of each image by its own mean and population variance."""
    mean = x.mean((2, 3), keepdim=True)
    var = ((x - mean) ** 2).mean((2, 3), keepdim=True)
    return (x - mean) / (var + eps).sqrt() * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def trained_norm(channels):
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    norm(torch.randn(8, channels, 4, 4) * 2 + 1)
    return norm.eval()


def test_half_of_the_channels_keep_their_norm_and_half_are_normalised_by_image():
    norm, x = trained_norm(7), torch.randn(3, 7, 5, 6)
    both = InstanceBatchNorm(norm).eval()
    expected = instance_norm(x[:, :3], norm.weight[:3], norm.bias[:3], 1e-3)
    assert torch.allclose(both(x)[:, :3], expected, atol=1e-6)
    assert torch.allclose(both(x)[:, 3:], norm(x)[:, 3:], atol=1e-6)
    assert both.batch.momentum == 0.3
    assert int(both.batch.num_batches_tracked) == 1
    frozen = InstanceBatchNorm(trained_norm(4).requires_grad_(False))
    assert not any(p.requires_grad for p in frozen.parameters())


@pytest.mark.parametrize('name', ['resnet18', 'resnet26'])
def test_ibn_a_replaces_the_first_norm_of_the_blocks_of_three_stages_and_keeps_weights(name):
    plain = timm.create_model(name)
    changed = add_instance_norms(copy.deepcopy(plain), 'a')
    found = [key for key, part in changed.named_modules() if isinstance(part, InstanceBatchNorm)]
    blocks = [2, 2, 2]
    assert found == [f'layer{s + 1}.{b}.bn1' for s in range(3) for b in range(blocks[s])]
    norm, other = plain.layer2[1].bn1, changed.layer2[1].bn1
    half = norm.num_features // 2
    assert torch.equal(other.instance.weight, norm.weight[:half])
    assert torch.equal(other.batch.running_var, norm.running_var[half:])
    assert torch.equal(changed.layer3[0].conv1.weight, plain.layer3[0].conv1.weight)


@pytest.mark.parametrize(('name', 'act'), [('resnet18', 'act2'), ('resnet26', 'act3')])
def test_ibn_b_normalises_the_stem_and_the_sum_at_the_end_of_two_stages(name, act):
    plain = timm.create_model(name).eval()
    changed = add_instance_norms(copy.deepcopy(plain), 'b').eval()
    found = [key for key, part in changed.named_modules() if isinstance(part, nn.InstanceNorm2d)]
    assert found == ['bn1', f'layer1.1.{act}.0', f'layer2.1.{act}.0']
    image = torch.rand(2, 3, 64, 64)
    stem = plain.conv1(image)
    expected = instance_norm(stem, plain.bn1.weight, plain.bn1.bias, plain.bn1.eps)
    assert torch.allclose(changed.bn1(changed.conv1(image)), expected, atol=1e-5)
    x = torch.randn(2, plain.layer1[1].conv1.in_channels, 6, 6)
    sums = []
    handle = getattr(plain.layer1[1], act).register_forward_pre_hook(
        lambda _, given: sums.append(given[0].clone())
    )
    plain.layer1[1](x)
    handle.remove()
    one = torch.ones(sums[0].shape[1])
    expected = instance_norm(sums[0], one, 0 * one, 1e-5).relu()
    assert torch.allclose(changed.layer1[1](x), expected, atol=1e-5)


@pytest.mark.parametrize('kind', ['a', 'b'])
def test_a_model_with_instance_norms_is_saved_and_read(kind, tmp_path):
    model = fpn_timm('resnet18', num_classes=2, width=8, instance_norms=kind).eval()
    save_model(model, tmp_path / 'model.safetensors', labels=ROAD)
    image = torch.rand(1, 3, 64, 64)
    again = load_model(tmp_path / 'model.safetensors').eval()
    assert torch.equal(again(image), model(image))
    # the style of an image, a gain and an offset, is gone after the stem of IBN-b
    if kind == 'b':
        stem = model.backbone.model
        first, second = (stem.bn1(stem.conv1(x)) for x in (100 * image, 30 * image))
        assert torch.allclose(first, second, atol=1e-3)


def test_backbones_without_such_norms_are_refused():
    with pytest.raises(ConfigError, match='ConvNeXt has no batch norms that IBN-Net replaces'):
        fpn_timm('convnext_atto', num_classes=2, width=8, instance_norms='a')
    with pytest.raises(ConfigError, match='a block is a BasicBlock with GroupNorm first'):
        add_instance_norms(timm.create_model('resnet18', norm_layer='groupnorm'), 'a')
