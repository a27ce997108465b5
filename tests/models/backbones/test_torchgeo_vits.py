"""What blocks get here is what they get in torchgeo, wherever torchgeo takes the image at all."""

import pytest
import torch
from torch import nn

from crossearth.models.backbones.torchgeo_vits import (
    CopernicusFMEncoder,
    CROMAEncoder,
    DOFAEncoder,
    PanopticonEncoder,
    ScaleMAEEncoder,
)

WAVES = (0.842, 0.665, 0.56, 0.49)
WIDTHS = (0.115, 0.03, 0.035, 0.065)
SMALL = {'img_size': 32, 'patch_size': 8, 'embed_dim': 32, 'depth': 2, 'num_heads': 2}


def random(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # positions and tokens start at zero
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


def last_tokens(encoder, image):
    with torch.no_grad():
        tokens, arguments = encoder.first_tokens(image)
        for block in encoder.blocks:
            tokens = block(tokens, **arguments)
    return tokens


def theirs(model, last_block, *inputs):
    """What the last block of a model of torchgeo gives."""
    seen = []
    handle = last_block.register_forward_hook(lambda _, __, output: seen.append(output))
    with torch.no_grad():
        model(*inputs)
    handle.remove()
    return seen[0]


def test_dofa_gives_what_torchgeo_gives(tiny_torchgeo):
    model = random(tiny_torchgeo.DOFA(**SMALL, num_classes=0))
    image = torch.rand(2, 4, 32, 32)
    expected = theirs(model, model.blocks[-1], image, list(WAVES))
    torch.testing.assert_close(last_tokens(DOFAEncoder(model, WAVES), image), expected)


@pytest.mark.parametrize('gsd_m', [None, 10.0])
def test_copernicus_fm_gives_what_torchgeo_gives(tiny_torchgeo, gsd_m):
    """It knows the area of a patch, or that it is unknown; place and time never."""
    model = random(tiny_torchgeo.CopernicusFM(**SMALL))
    image = torch.rand(2, 4, 32, 32)
    metadata = torch.full((2, 4), float('nan'))
    if gsd_m is not None:
        metadata[:, 3] = (8 * gsd_m / 1000) ** 2
    nanometres = [[1000 * value for value in values] for values in (WAVES, WIDTHS)]
    expected = theirs(model, model.blocks[-1], image, metadata, *nanometres)
    encoder = CopernicusFMEncoder(model, WAVES, WIDTHS, gsd_m)
    torch.testing.assert_close(last_tokens(encoder, image), expected)


def test_panopticon_gives_what_torchgeo_gives(tiny_torchgeo):
    model = random(tiny_torchgeo.panopticon_vitb14(img_size=56))
    image = torch.rand(2, 4, 56, 56)
    nanometres = torch.tensor([[1000 * wave for wave in WAVES]] * 2)
    given = {'imgs': image, 'chn_ids': nanometres}
    expected = theirs(model, model.model.blocks[-1], given)
    encoder = PanopticonEncoder(model, WAVES)
    torch.testing.assert_close(last_tokens(encoder, image), expected)
    torch.testing.assert_close(last_tokens(encoder, image), expected)  # nothing was rounded


@pytest.mark.parametrize(('modality', 'bands'), [('optical', 12), ('sar', 2)])
def test_croma_gives_what_torchgeo_gives(tiny_torchgeo, modality, bands):
    model = random(tiny_torchgeo.CROMA([modality], 32, 4, image_size=24))
    image = torch.rand(2, bands, 24, 24)
    vit = model.s2_encoder if modality == 'optical' else model.s1_encoder
    with torch.no_grad():
        expected = vit(image, model.attn_bias)
        ours = vit.transformer.norm_out(last_tokens(CROMAEncoder(model), image))
    torch.testing.assert_close(ours, expected)


def test_attention_of_croma_fades_with_the_distance_on_any_grid(tiny_torchgeo):
    encoder = CROMAEncoder(tiny_torchgeo.CROMA(['sar'], 32, 4, image_size=16))
    _, arguments = encoder.first_tokens(torch.rand(1, 2, 16, 24))  # 2 rows, 3 columns
    bias = arguments['relative_position_bias']
    assert bias.shape == (1, 16, 6, 6)
    torch.testing.assert_close(bias[0, :, 0, 5], encoder.slopes * 5**0.5)  # (0, 0) to (1, 2)
    assert encoder.slopes[1] == -0.5


def test_scale_mae_gives_what_torchgeo_gives(tiny_torchgeo):
    model = random(tiny_torchgeo.ScaleMAE(res=0.7, num_classes=0, **SMALL))
    image = torch.rand(2, 3, 32, 32)
    expected = theirs(model, model.blocks[-1], image)
    torch.testing.assert_close(last_tokens(ScaleMAEEncoder(model, 0.7), image), expected)


def test_scale_mae_sees_twice_the_distance_in_pixels_of_twice_the_size(tiny_torchgeo):
    """Patch 2 at 1 m lies where patch 1 lies at 2 m."""
    model = random(tiny_torchgeo.ScaleMAE(num_classes=0, **SMALL))
    image = torch.zeros(1, 3, 8, 32)
    near, far = (ScaleMAEEncoder(model, gsd).first_tokens(image)[0] for gsd in (1.0, 2.0))
    torch.testing.assert_close(near[:, 1 + 2], far[:, 1 + 1])
    assert not torch.allclose(near[:, 1 + 1], far[:, 1 + 1], atol=1e-2)


def test_bands_change_places_with_their_wavelengths(tiny_torchgeo):
    """The order of the bands is not a property of the image; what they are is."""
    for model, encoder in (
        (tiny_torchgeo.DOFA(**SMALL, num_classes=0), DOFAEncoder),
        (tiny_torchgeo.panopticon_vitb14(img_size=28), PanopticonEncoder),
    ):
        random(model)
        image = torch.rand(1, 4, 56, 56)
        tokens = last_tokens(encoder(model, WAVES), image)
        swapped = last_tokens(encoder(model, WAVES[::-1]), image.flip(1))
        torch.testing.assert_close(swapped, tokens, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(last_tokens(encoder(model, WAVES[::-1]), image), tokens)


def test_wavelengths_keep_their_precision_under_autocast(tiny_torchgeo):
    """In bfloat16, 665 nm would be 664, and its sines another band's."""
    encoder = DOFAEncoder(random(tiny_torchgeo.DOFA(**SMALL, num_classes=0)), WAVES)
    image = torch.rand(1, 4, 32, 32)
    with torch.no_grad():
        exact = encoder.first_tokens(image)[0]
        with torch.autocast('cpu', torch.bfloat16):
            rough = encoder.first_tokens(image)[0]
    torch.testing.assert_close(rough.float(), exact, rtol=1e-5, atol=1e-5)
