import copy

import pytest
import timm
import torch
from timm.models.tiny_vit import TinyVit
from torch import nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.models import fpn_timm
from crossearth.models.backbones import TimmPyramid


@pytest.mark.parametrize(
    'name', ['resnet10t', 'mobilenetv3_small_050', 'convnext_atto', 'pvt_v2_b0', 'hrnet_w18_small']
)
def test_pyramids_of_timm_keep_the_contract(name):
    backbone = TimmPyramid(timm.create_model(name))
    maps = backbone(torch.rand(1, 3, 64, 96)).maps
    for stride, width, level in zip((4, 8, 16, 32), backbone.channels, maps, strict=True):
        assert level.shape == (1, width, 64 // stride, 96 // stride)


def test_plain_transformer_is_no_pyramid():
    with pytest.raises(ConfigError, match=r'strides \[16\], expected at least two of 4, 8, 16'):
        TimmPyramid(timm.create_model('vit_tiny_patch16_224'))


def test_foreign_module_is_no_pyramid():
    with pytest.raises(ConfigError, match='Linear has no forward_intermediates'):
        TimmPyramid(nn.Linear(1, 1))


@pytest.mark.parametrize(
    ('name', 'shallow'),
    [
        ('swin_tiny_patch4_window7_224', {'depths': (1, 1, 1, 1)}),
        ('hiera_tiny_224', {}),
        ('coatnet_nano_rw_224', {}),
        ('gcvit_xxtiny', {}),
    ],
)
def test_backbone_of_one_size_says_how_to_build_it_for_another(name, shallow):
    """Some families of timm assert the size, others fail inside a product."""
    backbone = TimmPyramid(timm.create_model(name, **shallow)).eval()
    message = r'takes only images of 224x224 px, got 64x96 px: .*img_size=\(64, 96\) of fpn_timm'
    with pytest.raises(ShapeError, match=message):
        backbone(torch.rand(1, 3, 64, 96))


@pytest.mark.parametrize(
    'name', ['hiera_tiny_224', 'swin_tiny_patch4_window7_224', 'maxvit_nano_rw_256']
)
def test_built_for_a_size_it_takes_images_of_that_size(name):
    """What the error says works; 50 px are padded to the 64 that the backbone is built for."""
    model = fpn_timm(name, num_classes=2, img_size=(50, 96), width=8).eval()
    assert model(torch.rand(1, 3, 50, 96)).shape == (1, 2, 50, 96)
    with pytest.raises(ShapeError, match='takes only images of 64x96 px, got 96x96 px'):
        model(torch.rand(1, 3, 96, 96))


def test_other_errors_are_not_taken_for_the_size():
    backbone = TimmPyramid(timm.create_model('resnet10t'))
    with pytest.raises(RuntimeError, match='to have 3 channels, but got 4'):
        backbone(torch.rand(1, 4, 64, 64))
    hiera = TimmPyramid(timm.create_model('hiera_tiny_224'))
    with pytest.raises(RuntimeError, match='to have 3 channels, but got 4'):
        hiera(torch.rand(1, 4, 224, 224))


def test_backbone_of_any_size_has_no_size_to_be_built_for():
    with pytest.raises(ConfigError, match=r"'resnet10t' takes no img_size.*leave img_size out"):
        fpn_timm('resnet10t', num_classes=2, img_size=64)
    assert TimmPyramid(timm.create_model('tiny_vit_5m_224')).channels == (64, 128, 160, 320)


@pytest.mark.parametrize('img_size', [(64,), (64, 64, 3), 0])
def test_size_that_is_none_is_refused(img_size):
    with pytest.raises(ConfigError, match=r'expected one side or \(height, width\) in px'):
        fpn_timm('hiera_tiny_224', num_classes=2, img_size=img_size)


@pytest.mark.parametrize(
    ('name', 'own', 'like'),
    [
        ('efficientvit_m0', (16, 32), (64 // 16, 96 // 16)),
        ('shvit_s1', (16, 32), (64 // 16, 96 // 16)),
    ],
)
def test_a_stride_that_a_hierarchy_lacks_is_resized_from_the_nearest(name, own, like):
    torch.manual_seed(0)
    backbone = TimmPyramid(timm.create_model(name)).eval()
    assert backbone.strides == own
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 64, 96)).maps
    for stride, width, level in zip((4, 8, 16, 32), backbone.channels, maps, strict=True):
        assert level.shape == (1, width, 64 // stride, 96 // stride)
    assert maps[2].shape[2:] == like
    for level, factor in ((maps[0], 4), (maps[1], 2)):  # bilinear, of the same ground
        enlarged = torch.nn.functional.interpolate(maps[2], scale_factor=factor, mode='bilinear')
        torch.testing.assert_close(level, enlarged)


def test_maps_that_do_not_cover_the_image_are_refused():
    """PiT's patches of 16 px at a stride of 8, without padding, leave out the last of each row."""
    backbone = TimmPyramid(timm.create_model('pit_ti_224')).eval()
    message = r'a map of 27x27 at stride 8 for an image of 224x224 px, expected 28x28: .*borders'
    with pytest.raises(ShapeError, match=message):
        backbone(torch.rand(1, 3, 224, 224))


def test_sizes_that_a_family_cannot_be_built_for_are_refused():
    with pytest.raises(ConfigError, match=r"'nest_tiny' cannot be built for 64x96 px"):
        fpn_timm('nest_tiny', num_classes=2, img_size=(64, 96))
    with pytest.raises(ConfigError, match=r'got img_size 64x64, but attends over 7x7 cells'):
        fpn_timm('efficientformer_l1', num_classes=2, img_size=64)


def test_windows_that_are_too_small_for_a_network_are_refused():
    backbone = TimmPyramid(timm.create_model('inception_v3', aux_logits=False)).eval()
    with pytest.raises(ShapeError, match='64x64 px are too small for InceptionV3: use larger'):
        backbone(torch.rand(1, 3, 64, 64))


def test_lookup_tables_of_eval_mode_follow_the_weights():
    """timm keeps the attention biases that it looked up, which a moving average changes."""
    torch.manual_seed(0)
    network = TinyVit(
        embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2),
        window_sizes=(2, 2, 2, 2),
    )  # fmt: skip
    backbone = TimmPyramid(network).eval()
    x = torch.rand(1, 3, 64, 64)
    before = backbone(x).maps[3]
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if 'attention_biases' in name:
                parameter.copy_(torch.randn_like(parameter))
    after = backbone(x).maps[3]
    assert not torch.equal(after, before)
    assert torch.equal(after, backbone.train().eval()(x).maps[3])
    copied = copy.deepcopy(backbone)  # which tensors with a graph do not allow
    for _ in range(2):
        copied(x).maps[3].sum().backward()
