import pytest
import timm
import torch

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.backbones import convert_dinov2, dinov2_vit


def official(*, registers=0, dim=48, giant=False):
    """Weights as the official files name them: patch 14, 37×37 positions."""
    torch.manual_seed(0)
    vit = timm.create_model(
        'vit_small_patch14_dinov2', img_size=518, depth=2, embed_dim=dim, num_heads=4, num_classes=0
    )
    state = {**vit.state_dict(), 'mask_token': torch.zeros(1, dim)}
    if registers:
        state['register_tokens'] = torch.randn(1, registers, dim)
    if giant:
        state = {k.replace('mlp.fc1', 'mlp.w12'): v for k, v in state.items()}
        state = {k.replace('mlp.fc2', 'mlp.w3'): v for k, v in state.items()}
    return state


def test_equals_the_published_conversion(parity):
    reference = parity('convert_dinov2')
    det = reference.weights.det
    state = {
        'patch_embed.proj.weight': det('patch_embed.proj.weight', (16, 3, 14, 14)),
        'pos_embed': det('pos_embed', (1, 1370, 16)),
    }
    for name, ours in convert_dinov2(state, img_size=512).items():
        assert torch.equal(ours, reference.tensors[f'512/{name}'])


def test_released_rule_multiplies_embeddings_and_the_other_keeps_them():
    state = official()
    flat = torch.full((1, 3, 16, 16), 0.7)
    kernel = state['patch_embed.proj.weight']
    before = (kernel * flat[..., :14, :14]).sum((1, 2, 3))
    for rule, factor in (('released', (16 / 14) ** 2), ('preserving', 1.0)):
        resized = convert_dinov2(state, rule=rule)['patch_embed.proj.weight']
        after = (resized * flat).sum((1, 2, 3))
        torch.testing.assert_close(after, factor * before, rtol=0.1, atol=0.05)


@pytest.mark.parametrize('img_size', [512, (128, 192)])
@pytest.mark.parametrize('rule', ['released', 'preserving'])
def test_converted_weights_load_strictly(img_size, rule):
    vit = timm.create_model(
        'vit_small_patch14_dinov2',
        img_size=img_size, patch_size=16, depth=2, embed_dim=48, num_heads=4, num_classes=0,
    )  # fmt: skip
    vit.load_state_dict(convert_dinov2(official(), img_size=img_size, rule=rule))


def test_registers_take_timms_places():
    vit = timm.create_model(
        'vit_small_patch14_reg4_dinov2',
        img_size=64, patch_size=16, depth=2, embed_dim=48, num_heads=4, num_classes=0,
    )  # fmt: skip
    state = official(registers=4)
    vit.load_state_dict(convert_dinov2(state, img_size=64))
    assert torch.equal(vit.reg_token, state['register_tokens'])
    torch.testing.assert_close(
        vit.cls_token[0, 0], state['cls_token'][0, 0] + state['pos_embed'][0, 0]
    )
    # converting what timm made of it changes nothing more
    again = convert_dinov2(vit.state_dict(), img_size=64)
    assert all(torch.equal(again[name], t) for name, t in vit.state_dict().items())


def test_gated_mlp_of_the_giant_is_renamed():
    converted = convert_dinov2(official(giant=True))
    assert 'blocks.0.mlp.fc1.weight' in converted
    assert not any('w12' in name or 'w3' in name for name in converted)


def test_native_size_is_left_alone():
    state = official()
    converted = convert_dinov2(state, img_size=518, patch_px=14)
    assert all(converted[name] is state[name] for name in converted)


def test_what_is_no_transformer_is_refused():
    with pytest.raises(CheckpointError, match=r"no 'patch_embed.proj.weight'"):
        convert_dinov2({'conv1.weight': torch.zeros(1)})
    odd = {'patch_embed.proj.weight': torch.zeros(1, 3, 14, 14), 'pos_embed': torch.zeros(1, 12, 1)}
    with pytest.raises(CheckpointError, match='12 positions: expected a square grid'):
        convert_dinov2(odd)


def test_image_that_is_no_multiple_of_the_patch_is_refused():
    with pytest.raises(ConfigError, match='500x500 px, expected multiples of the patch, 16 px'):
        convert_dinov2(official(), img_size=500)


def test_file_of_other_bands_loads_into_a_model_of_as_many(tmp_path):
    """Such as one that was pretrained on four bands; into three it does not fit, which is said."""
    source = timm.create_model(
        'vit_small_patch14_dinov2', img_size=28, depth=12, num_classes=0, in_chans=4
    )
    torch.save(source.state_dict(), tmp_path / 'four.pth')
    arguments = {'img_size': 32, 'pretrained': tmp_path / 'four.pth'}
    vit = dinov2_vit('vit_small_patch14_dinov2', in_channels=4, **arguments)
    assert torch.equal(vit.blocks[3].attn.qkv.weight, source.blocks[3].attn.qkv.weight)
    with pytest.raises(CheckpointError, match=r'weight \(384, 4, 16, 16\) for \(384, 3,'):
        dinov2_vit('vit_small_patch14_dinov2', **arguments)


def test_official_backbone_weights_are_converted_on_the_way(tmp_path):
    torch.manual_seed(0)
    official = timm.create_model('vit_small_patch14_dinov2', img_size=518, num_classes=0)
    state = {**official.state_dict(), 'mask_token': torch.zeros(1, 384)}
    torch.save(state, tmp_path / 'dinov2_vits14.pth')
    vit = dinov2_vit(
        'vit_small_patch14_dinov2', img_size=64, pretrained=tmp_path / 'dinov2_vits14.pth'
    )
    assert vit.patch_embed.proj.weight.shape[-1] == 16
    assert torch.equal(vit.blocks[3].attn.qkv.weight, official.blocks[3].attn.qkv.weight)
    with pytest.raises(CheckpointError, match=r"'vit_base_.*' from .* of another shape"):
        dinov2_vit('vit_base_patch14_dinov2', pretrained=tmp_path / 'dinov2_vits14.pth')
    with pytest.raises(CheckpointError, match=r'1 missing \(reg_token\)'):
        dinov2_vit('vit_small_patch14_reg4_dinov2', pretrained=tmp_path / 'dinov2_vits14.pth')


def test_rules_of_resizing_are_two(unchecked):
    with pytest.raises(ConfigError, match="rule is 'preserve': expected one of released"):
        dinov2_vit('vit_small_patch14_dinov2', img_size=64, rule='preserve')
