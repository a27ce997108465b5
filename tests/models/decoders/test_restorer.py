import pytest
import torch
import torch.nn.functional as F

from crossearth.errors import ConfigError
from crossearth.models import Features
from crossearth.models.decoders import MultiStageASPP, SharedASPP


def pyramid(channels=8):
    torch.manual_seed(0)
    return Features(tuple(torch.randn(2, channels, 16 >> i, 24 >> i) for i in range(4)))


def test_stage_restorer_is_equations_8_and_9():
    """One dilation a stage, concatenated at full size, one linear layer."""
    restorer = MultiStageASPP((8, 8, 8, 8), width=5)
    features = pyramid()
    enlarged = []
    for conv, level, dilation in zip(restorer.convs, features.maps, (1, 6, 12, 18), strict=True):
        dilated = F.conv2d(level, conv.weight, conv.bias, padding=dilation, dilation=dilation)
        enlarged.append(F.interpolate(dilated, (64, 96), mode='bilinear', align_corners=False))
    pixels = torch.cat(enlarged, dim=1).permute(0, 2, 3, 1)
    weight = restorer.linear.weight.flatten(1)
    expected = F.linear(pixels, weight, restorer.linear.bias).permute(0, 3, 1, 2)
    torch.testing.assert_close(restorer(features, (64, 96)), expected, rtol=0, atol=1e-6)


def test_shared_restorer_equals_the_release(parity):
    reference = parity('multitask_release')
    det, rnd = reference.weights.det, reference.weights.rnd
    restorer = SharedASPP((1024,) * 4)
    keys = reference.config['dino']['keys']
    unused = {key for key in keys if key.startswith(('LN.', 'MLP.'))}
    assert set(restorer.state_dict()) == set(keys) - unused
    with torch.no_grad():
        for key, parameter in restorer.named_parameters():
            parameter.copy_(det(f'task_head.{key}', keys[key]))
        masked, styled = (
            restorer(
                Features(tuple(rnd(f'{n}{i}', 1, 1024, 32 >> i, 32 >> i) for i in range(4))),
                (512, 512),
            )
            for n in 'fg'
        )
    tensors = reference.tensors
    torch.testing.assert_close(F.avg_pool2d(masked, 4), tensors['dino/pred'], rtol=0, atol=1e-5)
    image = F.interpolate(rnd('img', 1, 3, 128, 128), (512, 512), mode='bilinear')
    of_masked = F.l1_loss(masked, image)
    with_style = of_masked + F.l1_loss(styled, image) + F.l1_loss(styled, masked)
    torch.testing.assert_close(of_masked, tensors['dino/loss_masked_only'], rtol=1e-5, atol=0)
    torch.testing.assert_close(with_style, tensors['dino/loss_with_style'], rtol=1e-5, atol=0)


@pytest.mark.parametrize('kind', [MultiStageASPP, SharedASPP])
def test_every_parameter_gets_a_gradient(kind):
    restorer = kind((8,) * 4, width=4)
    restorer(pyramid(), (30, 50)).square().mean().backward()
    assert all(p.grad is not None for p in restorer.parameters())


def test_sizes_without_meaning_are_refused():
    with pytest.raises(ConfigError, match='must be positive'):
        MultiStageASPP((8, 8, 8, 8), width=0)
    with pytest.raises(ConfigError, match='all channels equal'):
        SharedASPP((8, 8, 8, 16))
