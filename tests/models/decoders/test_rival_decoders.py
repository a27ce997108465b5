"""DAFormer, SegFormer, UPerNet and DeepLab: what their heads compute, learn and refuse."""

import pytest
import torch
import torch.nn.functional as F

from crossearth.errors import ConfigError
from crossearth.models.decoders import (
    DAFormerDecoder,
    DeepLabV2Decoder,
    DeepLabV3Decoder,
    MLPDecoder,
    UPerNetDecoder,
)
from crossearth.models.features import Features
from crossearth.models.meta import without_weights

CHANNELS = (4, 6, 8, 12)
NARROW = {'width': 8}
DECODERS = [
    (DAFormerDecoder, NARROW),
    (MLPDecoder, NARROW),
    (UPerNetDecoder, NARROW),
    (DeepLabV2Decoder, {}),
    (DeepLabV3Decoder, {}),
]


def pyramid(batch=2, side=32, *, strides=(1, 2, 4, 8)):
    generator = torch.Generator().manual_seed(0)
    return Features(
        tuple(
            torch.randn(batch, c, -(-side // s), -(-side // s), generator=generator)
            for c, s in zip(CHANNELS, strides, strict=True)
        )
    )


@pytest.mark.parametrize(('decoder', 'options'), DECODERS)
def test_every_parameter_learns_from_the_loss(decoder, options):
    torch.manual_seed(0)
    built = decoder(CHANNELS, 3, **options)
    mask = torch.randint(0, 3, (2, 128, 128))
    terms = built.losses(pyramid(), mask)
    assert list(terms) == ['loss_ce']
    terms['loss_ce'].backward()
    still = [name for name, p in built.named_parameters() if p.grad is None]
    assert still == []


@pytest.mark.parametrize(('decoder', 'options'), DECODERS)
def test_ignored_pixels_teach_nothing(decoder, options):
    built = decoder(CHANNELS, 3, **options)
    loss = built.losses(pyramid(), torch.full((2, 64, 64), 255))['loss_ce']
    loss.backward()
    assert loss == 0
    assert all(not p.grad.any() for p in built.parameters())


@pytest.mark.parametrize('decoder', [DAFormerDecoder, MLPDecoder, UPerNetDecoder])
def test_logits_come_at_the_finest_stride_also_of_odd_maps(decoder):
    built = decoder(CHANNELS, 5, width=8).eval()
    assert built(pyramid(1, 31)).shape == (1, 5, 31, 31)
    assert built(pyramid(1, 1, strides=(1, 1, 1, 1))).shape == (1, 5, 1, 1)


def test_deeplab_v2_is_the_sum_of_its_classifiers():
    built = DeepLabV2Decoder(CHANNELS, 3, dilations=(1, 2))
    features = pyramid()
    one, two = built.head
    expected = one(features.maps[3]) + F.conv2d(
        features.maps[3], two.weight, two.bias, padding=2, dilation=2
    )
    assert torch.allclose(built(features), expected, atol=1e-6)


def test_the_mlp_decoder_without_hidden_change_is_one_linear_layer():
    built = MLPDecoder((2, 2, 2, 2), 2, width=2).eval()
    with torch.no_grad():
        for embed in built.embeds:
            embed.weight.copy_(torch.eye(2)[..., None, None])
            embed.bias.zero_()
        built.fuse[0].weight.copy_(torch.eye(2).repeat(1, 4)[..., None, None])  # their sum
        built.classify.weight.copy_(torch.eye(2)[..., None, None])
        built.classify.bias.zero_()
    maps = tuple(torch.full((1, 2, 8 >> i, 8 >> i), float(i + 1)) for i in range(4))
    wanted = 10 / (1 + built.fuse[1].eps) ** 0.5  # 1 + 2 + 3 + 4, through a norm that rests
    assert torch.allclose(built(Features(maps)), torch.tensor(wanted))


def test_daformers_decoder_has_the_published_number_of_parameters():
    # DAFormer has 85.2 M parameters, MiT-B5 without its classifier 81.4 M
    with without_weights():
        decoder = DAFormerDecoder((64, 128, 320, 512), 19)
    assert sum(p.numel() for p in decoder.parameters()) == pytest.approx(3.7e6, rel=0.02)


@pytest.mark.parametrize(('decoder', 'options'), DECODERS)
def test_decoders_of_nothing_are_refused(decoder, options):
    with pytest.raises(ConfigError, match='must be'):
        decoder(CHANNELS, 0, **options)


@pytest.mark.parametrize('decoder', [DAFormerDecoder, MLPDecoder, UPerNetDecoder])
def test_dropout_of_everything_is_refused(decoder):
    with pytest.raises(ConfigError, match='dropout'):
        decoder(CHANNELS, 2, dropout=1.0)
