import pytest
import timm
import torch
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.models import ReinViT
from crossearth.models.backbones.tokens import (
    TokenEncoder,
    first_tokens,
    fixed_size,
    prefix_tokens,
    transformer_blocks,
)
from crossearth.models.meta import without_weights

from .test_rein_vit import tiny_vit

# timm's name, prefix tokens, whether one image size only, names of what each block takes
FAMILIES = [
    ('vit_tiny_patch16_224', 1, False, set()),
    ('deit_tiny_distilled_patch16_224', 2, False, set()),
    ('vit_medium_patch16_gap_240', 0, False, set()),
    ('vit_tiny_patch16_dinov3_qkvb', 5, False, {'rope'}),
    ('vit_small_patch16_rope_mixed_224', 1, False, {'rope'}),
    ('beit_base_patch16_224', 1, True, {'shared_rel_pos_bias'}),
    ('cait_xxs24_224', 0, True, set()),
    ('vit_relpos_small_patch16_224', 0, True, {'shared_rel_pos'}),
    ('vit_relpos_medium_patch16_cls_224', 1, True, {'shared_rel_pos'}),
]


@pytest.mark.parametrize(('name', 'prefix', 'fixed', 'taken'), FAMILIES)
def test_blocks_fed_by_hand_give_what_timm_gives(name, prefix, fixed, taken):
    torch.manual_seed(0)
    free = {} if fixed else {'dynamic_img_size': True}
    vit = timm.create_model(name, depth=3, num_classes=0, img_size=64, **free).eval()
    for parameter in vit.parameters():  # positions of some families start at zero
        torch.nn.init.normal_(parameter, std=0.05)
    image = torch.rand(2, 3, 64, 64 if fixed else 96)
    with torch.no_grad():
        expected = vit.forward_intermediates(image, indices=[2], intermediates_only=True)[0]
        tokens, arguments = first_tokens(vit, image)
        for block, given in zip(transformer_blocks(vit), arguments, strict=True):
            assert set(given) == taken
            tokens = block(tokens, **given)
    assert prefix_tokens(vit) == prefix
    assert fixed_size(vit) == ((64, 64) if fixed else None)
    patches = tokens[:, prefix:].transpose(1, 2).reshape(expected.shape)
    assert torch.equal(patches, expected)


def test_transformer_of_one_size_says_how_to_build_it():
    backbone = ReinViT(tiny_vit(img_size=32, dynamic_img_size=False), None)
    message = r'takes only images of 32x32 px, got 64x64 px: .*dynamic_img_size=True'
    with pytest.raises(ShapeError, match=message):
        backbone(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize(
    'name',
    ['resnet10t', 'hiera_tiny_224', 'twins_pcpvt_small', 'xcit_nano_12_p16_224', 'convit_tiny'],
)
def test_what_has_no_blocks_of_patch_tokens_is_refused(name):
    with without_weights():
        model = timm.create_model(name, num_classes=0)
    with pytest.raises(ConfigError, match='use TimmPyramid'):
        ReinViT(model, None)


def test_layers_of_sam_are_counted_as_those_of_timm():
    sam = VisionTransformerSAM(embed_dim=8, depth=2, num_heads=2, num_classes=0, img_size=32)
    depths = ReinViT(sam, None, frozen=False).layer_depths()
    found = {name: depths[f'vit.{name}'] for name in ('pos_embed', 'patch_embed.proj.weight')}
    assert found == {'pos_embed': 0, 'patch_embed.proj.weight': 0}
    assert [depths[f'vit.blocks.{i}.block.mlp.fc1.weight'] for i in range(2)] == [1, 2]


class OwnEncoder(TokenEncoder):
    """Three bands, patches of 16 px, one block that changes nothing."""

    def __init__(self, **changed):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, stride=16)
        parts = {
            'blocks': nn.ModuleList([nn.Identity()]),
            'embed_dim': 8,
            'patch_px': (16, 16),
            'num_prefix_tokens': 0,
            'in_channels': 3,
        }
        for name, value in {**parts, **changed}.items():
            if value is not None:
                setattr(self, name, value)

    def first_tokens(self, image):
        return self.patches(image).flatten(2).mT, {}


def test_an_own_encoder_is_read_as_it_says():
    maps = ReinViT(OwnEncoder(), None)(torch.rand(1, 3, 32, 48)).maps
    assert [tuple(level.shape[2:]) for level in maps] == [(8, 12), (4, 6), (2, 3), (1, 2)]


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'patch_px': None}, 'OwnEncoder lacks patch_px: a TokenEncoder sets blocks, embed_dim'),
        ({'blocks': None, 'embed_dim': None}, 'lacks blocks, embed_dim'),
        ({'patch_px': 16}, r'patch_px of OwnEncoder is 16: expected height and width in px'),
        ({'blocks': nn.ModuleList()}, 'expected an nn.ModuleList of at least one block'),
    ],
)
def test_an_own_encoder_that_lacks_a_part_is_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        ReinViT(OwnEncoder(**changed), None)


def test_a_subclass_without_first_tokens_is_refused():
    class Unfinished(OwnEncoder):
        first_tokens = TokenEncoder.first_tokens

    with pytest.raises(ConfigError, match='Unfinished lacks first_tokens'):
        ReinViT(Unfinished(), None)


@pytest.mark.parametrize('changed', [{'num_prefix_tokens': 1}, {'patch_px': (8, 16)}])
def test_tokens_that_are_not_those_of_the_patches_are_refused(changed):
    with pytest.raises(ShapeError, match=r'returned 6 tokens, expected .* check num_prefix_tokens'):
        ReinViT(OwnEncoder(**changed), None)(torch.rand(1, 3, 32, 48))
