import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from crossearth import models
from crossearth.errors import CheckpointError, ConfigError
from crossearth.models import Features, Segmenter, crossearth_rvsa_large
from crossearth.models.backbones import RVSA, load_mtp, resize_mtp, rvsa_vit_base, rvsa_vit_large
from crossearth.models.decoders import FPNDecoder
from crossearth.models.meta import without_weights


def tiny(**arguments):
    torch.manual_seed(0)
    defaults = {'img_size': 128, 'dim': 64, 'depth': 6, 'heads': 4, 'interval': 3}
    return RVSA(**{**defaults, 'indices': (1, 2, 4, 5), **arguments})


@pytest.fixture
def reference(parity):
    return parity('rvsa')


@pytest.fixture
def filled(reference):
    return reference.weights.fill(tiny())


def test_keys_and_shapes_are_those_of_the_reference(reference):
    ours = {name: list(tensor.shape) for name, tensor in tiny().state_dict().items()}
    assert ours == reference.config['sq128']['keys']


@pytest.mark.parametrize(
    ('name', 'block', 'tokens', 'grid'),
    [
        ('rvsa_attn', 0, ('tok128', 2, 64, 64), (8, 8)),
        ('full_attn', 2, ('tok128', 2, 64, 64), (8, 8)),
        ('rvsa_attn_9x20', 0, ('tok_ns', 1, 180, 64), (9, 20)),
    ],
)
def test_attentions_equal_the_reference(reference, filled, name, block, tokens, grid):
    found = filled.blocks[block].attn(reference.weights.rnd(*tokens), grid)
    torch.testing.assert_close(found, reference.tensors[f'sq128/{name}'], rtol=0, atol=1e-5)


def test_pyramid_equals_the_reference(reference, filled):
    maps = filled(reference.weights.rnd('rvsa128', 2, 3, 128, 128)).maps
    for index, level in enumerate(maps):
        if level.shape[-1] > 16:
            level = F.avg_pool2d(level, 4)
        expected = reference.tensors[f'sq128/feats/{index}']
        torch.testing.assert_close(level, expected, rtol=1e-5, atol=1e-5)


def test_resized_tables_equal_the_reference(reference, filled):
    resized = resize_mtp(filled.state_dict(), img_size=256)
    prefix = 'resize_128_to_256/'
    names = [name for name in reference.tensors if name.startswith(prefix)]
    assert len(names) == 5
    for name in names:
        torch.testing.assert_close(
            resized[name.removeprefix(prefix)], reference.tensors[name], rtol=0, atol=1e-6
        )
    tiny(img_size=256).load_state_dict(resized)


def test_large_has_the_published_number_of_parameters():
    with without_weights():
        model = rvsa_vit_large(img_size=512)
        assert rvsa_vit_base().channels == (768,) * 4
    pyramid = sum(p.numel() for n, p in model.named_parameters() if n.startswith('fpn'))
    total = sum(p.numel() for p in model.parameters())
    assert (total - pyramid, total) == (305_905_024, 318_493_056)  # 305.9 M, 318.5 M


def test_new_windows_stay_where_they_are():
    """No offset, scale or angle: keys are the window's own."""
    attention = tiny().blocks[0].attn
    places = attention._places(torch.rand(1, 64, 14, 14), (14, 14))[0]
    y, x = torch.meshgrid(torch.linspace(-1, 1, 14), torch.linspace(-1, 1, 14), indexing='ij')
    torch.testing.assert_close(places, torch.stack([x, y], dim=-1), rtol=0, atol=1e-6)


def test_windows_that_have_not_moved_lie_on_the_centres_of_their_patches():
    windows = tiny().windows(torch.rand(1, 3, 224, 330))  # 14 x 22 patches, padded to 14 x 28
    assert list(windows) == [0, 1, 3, 4]  # blocks 2 and 5 attend to the whole image
    assert windows[0].shape == (1, 4, 2, 4, 7, 7, 2)
    x, y = torch.arange(-3, 25) * 16 + 8.0, torch.arange(14) * 16 + 8.0  # 3 of 6 columns come first
    y, x = torch.meshgrid(y, x, indexing='ij')
    expected = torch.stack([x, y], -1).unfold(0, 7, 7).unfold(1, 7, 7).permute(0, 1, 3, 4, 2)
    for places in windows.values():
        torch.testing.assert_close(places[0, 2], expected, rtol=0, atol=1e-3)


@torch.no_grad()
def test_windows_say_where_an_image_is_read():
    """What is read at a place of the windows is what attention reads."""
    backbone = tiny()
    for name, parameter in backbone.named_parameters():
        if 'sampling' in name:
            nn.init.normal_(parameter, std=0.3)
    image = torch.rand(1, 3, 224, 256)
    given = []
    attention = backbone.blocks[3].attn
    attention.register_forward_pre_hook(lambda _, arguments: given.append(arguments[0]))
    backbone(image)
    places = backbone.windows(image)[3][0, 1, 1, 0, 2, 5]  # second head, lower left window
    assert (places - torch.tensor([56, 152])).abs().max() > 4  # it has moved from its patch
    key = attention.qkv(given[0])[0].reshape(14, 16, 3, 4, 16)[:, :, 1, 1]
    x, y = (places / 16 - 0.5).tolist()
    left, top = math.floor(x), math.floor(y)
    rows = (1 - (y - top), y - top)
    cols = (1 - (x - left), x - left)
    expected = sum(rows[i] * cols[j] * key[top + i, left + j] for i in range(2) for j in range(2))
    read = []
    sample = F.grid_sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, 'grid_sample', lambda *a, **k: read.append(sample(*a, **k)) or read[-1])
        attention(given[0], (14, 16))
    torch.testing.assert_close(read[0][1, :, 7 + 2, 5], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('grid', [(7, 9), (16, 8), (4, 9), (2, 2)])
@torch.no_grad()
def test_window_attention_equals_the_equations_in_double_precision(grid):
    """Written once more, pixel by pixel, with nothing in common but the weights."""
    attention = tiny().double().blocks[0].attn
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.2)
    rows, cols = grid
    tokens = torch.randn(1, rows * cols, 64, dtype=torch.float64)
    heads, width = attention.heads, 64 // attention.heads
    tall, wide = -(-rows // 7) * 7, -(-cols // 7) * 7
    top, left = (tall - rows) // 2, (wide - cols) // 2

    def padded(values):
        canvas = torch.zeros(tall, wide, values.shape[-1], dtype=torch.float64)
        canvas[top : top + rows, left : left + cols] = values.view(rows, cols, -1)
        return canvas

    image = padded(tokens[0])
    query, key, value = (padded(part) for part in attention.qkv(tokens[0]).chunk(3, dim=-1))
    found = torch.zeros(tall, wide, 64, dtype=torch.float64)
    pixels = [(y, x) for y in range(7) for x in range(7)]
    for y0 in range(0, tall, 7):
        for x0 in range(0, wide, 7):
            mean = F.leaky_relu(image[y0 : y0 + 7, x0 : x0 + 7].mean((0, 1)))[:, None, None]
            offset, scale, angle = (
                getattr(attention, f'sampling_{name}')[2](mean).flatten()
                for name in ('offsets', 'scales', 'angles')
            )
            for head in range(heads):
                own = slice(head * width, (head + 1) * width)
                places = []
                for y, x in pixels:
                    move_x = (x - 3) * 2 / (wide - 1) * (1 + scale[2 * head])
                    move_y = (y - 3) * 2 / (tall - 1) * (1 + scale[2 * head + 1])
                    cos, sin = angle[head].cos(), angle[head].sin()
                    centre_x, centre_y = (
                        (x0 + 3) * 2 / (wide - 1) - 1,
                        (y0 + 3) * 2 / (tall - 1) - 1,
                    )
                    places.append(
                        torch.stack(
                            [
                                centre_x
                                + move_x * cos
                                - move_y * sin
                                + offset[2 * head] / max(rows // 7, 1),
                                centre_y
                                + move_x * sin
                                + move_y * cos
                                + offset[2 * head + 1] / max(cols // 7, 1),
                            ]
                        )
                    )
                where = torch.stack(places)[None, None]
                keys, values = (
                    F.grid_sample(
                        part[None, ..., own].permute(0, 3, 1, 2), where, align_corners=True
                    )
                    for part in (key, value)
                )
                v, u = torch.tensor(pixels).T
                for y, x in pixels:
                    q = query[y0 + y, x0 + x, own]
                    logits = (
                        keys[0, :, 0].T @ q / width**0.5
                        + attention.rel_pos_h[y - v + 6] @ q
                        + attention.rel_pos_w[x - u + 6] @ q
                        + attention.relative_position_bias_table[(y - v + 6) * 13 + x - u + 6, head]
                    )
                    found[y0 + y, x0 + x, own] = values[0, :, 0] @ logits.softmax(0)
    expected = attention.proj(found[top : top + rows, left : left + cols].reshape(1, -1, 64))
    torch.testing.assert_close(attention(tokens, grid), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_half_precision_reads_the_right_patches():
    """Places of a wide image, rounded to bfloat16, would be up to half a patch off."""
    torch.manual_seed(0)
    attention = tiny().blocks[0].attn
    nn.init.normal_(attention.qkv.weight)
    tokens, grid = torch.randn(1, 7 * 196, 64), (7, 196)
    expected = attention(tokens, grid)
    with torch.autocast('cpu', torch.bfloat16):
        found = attention(tokens, grid).float()
    assert (found - expected).norm() < 0.05 * expected.norm()


def test_quirk_offsets_are_divided_by_the_other_sides_windows():
    attention = tiny().blocks[0].attn
    image = torch.rand(1, 64, 14, 28)
    before = attention._places(image, (14, 28))[0]
    with torch.no_grad():
        attention.sampling_offsets[2].bias.fill_(1)
    moved = attention._places(image, (14, 28))[0] - before
    torch.testing.assert_close(moved[..., 0], torch.full((14, 28), 1 / 2))  # x by 14 // 7 rows
    torch.testing.assert_close(moved[..., 1], torch.full((14, 28), 1 / 4))  # y by 28 // 7 columns


@pytest.mark.parametrize('hw', [(112, 112), (130, 200), (256, 128), (90, 200), (1, 33)])
def test_other_sizes_give_maps_of_the_rounded_up_size(hw):
    maps = tiny()(torch.rand(1, 3, *hw)).maps
    for stride, level in zip((4, 8, 16, 32), maps, strict=True):
        assert level.shape[-2:] == tuple(-(-side // stride) for side in hw)


@torch.no_grad()
def test_a_layout_that_is_not_square_is_used_as_it_is_and_read_from_its_file(tmp_path):
    wide = tiny(img_size=(64, 160))
    for parameter in wide.parameters():
        nn.init.normal_(parameter, std=0.1)
    assert wide.blocks[2].attn.full_attn_rel_pos_h.shape[0] == 7
    assert wide.blocks[2].attn.full_attn_rel_pos_w.shape[0] == 19
    image = torch.rand(1, 3, 64, 160)
    tokens = []
    wide.blocks[0].register_forward_pre_hook(lambda _, given: tokens.append(given[0]))
    expected = wide(image).maps
    patches = wide.patch_embed.proj(image).flatten(2).transpose(1, 2)
    assert torch.equal(tokens[0], patches + wide.pos_embed)  # not resized
    torch.save(wide.state_dict(), tmp_path / 'wide.pth')
    again = tiny(img_size=(64, 160))
    assert load_mtp(again, tmp_path / 'wide.pth') == []
    for level, other in zip(again(image).maps, expected, strict=True):
        assert torch.equal(level, other)
    square = tiny(img_size=128)
    load_mtp(square, tmp_path / 'wide.pth')
    assert torch.isfinite(square(image).maps[2]).all()


@pytest.mark.parametrize('name', ['crossearth_rvsa_large', 'mtp_rvsa_large'])
def test_builders_lay_tables_out_for_what_is_not_square(name):
    with without_weights():
        model = getattr(models, name)(2, img_size=(256, 512))
    assert model.backbone.pos_embed.shape == (1, 16 * 32, 1024)


def test_every_parameter_gets_a_gradient_also_when_checkpointed():
    gradients = []
    for checkpointing in (False, True):
        model = tiny(checkpointing=checkpointing)
        torch.manual_seed(1)
        for name, parameter in model.named_parameters():
            if 'sampling' in name or 'rel_pos' in name:
                nn.init.normal_(parameter, std=0.02)
        image = torch.rand(1, 3, 128, 128)
        sum(level.square().mean() for level in model(image).maps).backward()
        assert [n for n, p in model.named_parameters() if p.grad is None] == []
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.parametrize('prefix', ['', 'encoder.'])
def test_mtp_files_load_and_what_is_unused_is_named(tmp_path, prefix):
    source = tiny(img_size=256)
    nn.init.normal_(source.blocks[2].attn.full_attn_rel_pos_h)
    state = {f'{prefix}{n}': t for n, t in source.state_dict().items() if not n.startswith('fpn')}
    state[f'{prefix}norm.weight'] = torch.ones(64)
    torch.save({'state_dict': state}, tmp_path / 'mtp.pth')
    model = tiny()
    assert load_mtp(model, tmp_path / 'mtp.pth') == ['norm.weight']
    expected = resize_mtp(source.state_dict(), img_size=128)
    for name in ('pos_embed', 'blocks.2.attn.full_attn_rel_pos_h', 'blocks.4.mlp.fc1.weight'):
        assert torch.equal(model.state_dict()[name], expected[name])
    with pytest.raises(CheckpointError, match=r'of another shape .*Choose the MTP encoder'):
        load_mtp(tiny(dim=32), tmp_path / 'mtp.pth')
    with pytest.raises(CheckpointError, match=r'missing \(blocks\.6\.'):
        load_mtp(tiny(depth=7), tmp_path / 'mtp.pth')


@pytest.mark.parametrize('bands', [1, 2, 12])
def test_mtp_files_load_for_other_bands(tmp_path, bands):
    source = tiny()
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'mtp.pth')
    model = tiny(in_channels=bands)
    load_mtp(model, tmp_path / 'mtp.pth')
    red, green, blue = source.patch_embed.proj.weight.unbind(1)
    expected = {
        1: [red + green + blue],
        2: [1.5 * red, 1.5 * green],
        12: [part / 4 for part in (red, green, blue)] * 4,
    }
    torch.testing.assert_close(model.patch_embed.proj.weight, torch.stack(expected[bands], 1))


def test_backbones_swap_and_a_users_own_fits_too():
    class Mine(nn.Module):
        channels = (4, 4, 4, 4)

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 4, stride=4)

        def forward(self, image):
            fine = self.stem(image)
            return Features(tuple(F.avg_pool2d(fine, 2**i) if i else fine for i in range(4)))

    for backbone in (Mine(), tiny()):
        decoder = FPNDecoder(backbone.channels, 2, width=16)
        model = Segmenter(backbone, decoder, mean=[0.5] * 3, std=[0.5] * 3)
        assert model(torch.rand(1, 3, 120, 150)).shape == (1, 2, 120, 150)


def test_builder_of_table_10_keeps_the_training_and_swaps_the_backbone():
    with without_weights():
        model = crossearth_rvsa_large(2, img_size=224)
    assert isinstance(model.backbone, RVSA)
    assert all(p.requires_grad for p in model.parameters())
    assert model.restorer is not None
    with pytest.raises(ConfigError, match='pass its path'):
        crossearth_rvsa_large(2, pretrained=True)


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        ({'img_size': 100}, 'multiples of 16'),
        ({'img_size': (128, 8)}, 'in multiples of 16 px'),
        ({'img_size': (128,)}, 'height and width, in multiples of 16 px'),
        ({'heads': 5}, 'multiple of the 5 heads'),
        ({'drop_path': -1.0}, r'drop_path is -1\.0: expected a probability below 1'),
        ({'indices': (0, 1, 2, 6)}, 'of 0 to 5'),
    ],
)
def test_sizes_that_do_not_fit_are_refused(bad, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**bad)
