import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models import crossearth_rvsa_large, crossearth_vit_small, fpn_timm, rein_vit_fpn
from crossearth.models.backbones import dinov2_vit
from crossearth.models.weights.pretrained import create_timm, load_weights
from crossearth.models.weights.reading import read_weights


def vit(depth=4, img_size=32, **arguments):
    return timm.create_model(
        'vit_tiny_patch16_224', depth=depth, img_size=img_size, num_classes=0, **arguments
    )


def test_real_weights_of_another_library_load_by_order(lite0_weights):
    model = create_timm('tf_efficientnet_lite0', pretrained=str(lite0_weights))
    given = read_weights(lite0_weights)
    assert len(given) == len(model.state_dict()) == 296
    for ours, theirs in zip(model.state_dict().values(), given.values(), strict=True):
        assert torch.equal(ours, theirs)


def test_first_convolution_keeps_its_response_with_more_bands(tmp_path):
    source = create_timm('resnet10t')
    save_file(source.state_dict(), tmp_path / 'rgb.safetensors')
    model = create_timm('resnet10t', pretrained=tmp_path / 'rgb.safetensors', in_channels=6)
    grey = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(
        model.conv1[0](grey.expand(1, 6, 8, 8)), source.conv1[0](grey.expand(1, 3, 8, 8))
    )


def test_classifier_of_another_size_is_left_out(tmp_path):
    source = create_timm('resnet10t', num_classes=7)
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'weights.pth')
    model = create_timm('resnet10t')
    assert load_weights(model, tmp_path / 'weights.pth') == ['fc.weight', 'fc.bias']
    assert torch.equal(model.layer4[0].conv1.weight, source.layer4[0].conv1.weight)
    assert model.fc.out_features == 1000
    headless = create_timm('resnet10t', num_classes=0, pretrained=tmp_path / 'weights.pth')
    assert torch.equal(headless.layer4[0].conv1.weight, source.layer4[0].conv1.weight)


def test_a_deeper_resnet_does_not_fit_unless_that_is_asked_for(tmp_path):
    deep, model = create_timm('resnet34'), create_timm('resnet18')
    torch.save(deep.state_dict(), tmp_path / '34.pth')
    before = model.conv1.weight.clone()
    message = r'34\.pth does not fit ResNet: 96 unknown \(layer1\.2\.conv1\.weight .*strict=False'
    with pytest.raises(CheckpointError, match=message):
        load_weights(model, tmp_path / '34.pth')
    assert torch.equal(model.conv1.weight, before)
    unused = load_weights(model, tmp_path / '34.pth', strict=False)
    assert len(unused) == 96
    assert unused[0] == 'layer1.2.conv1.weight'
    assert torch.equal(model.layer1[1].conv2.weight, deep.layer1[1].conv2.weight)


def test_twelve_blocks_do_not_fit_four_nor_four_twelve(tmp_path):
    torch.save(vit(12).state_dict(), tmp_path / '12.pth')
    torch.save(vit(4).state_dict(), tmp_path / '4.pth')
    with pytest.raises(CheckpointError, match=r'96 unknown \(blocks\.4\.norm1\.weight \(192,\)'):
        load_weights(vit(4), tmp_path / '12.pth')
    with pytest.raises(CheckpointError, match=r'96 missing \(blocks\.4\.norm1\.weight, '):
        load_weights(vit(12), tmp_path / '4.pth')
    deep = vit(12)
    assert load_weights(deep, tmp_path / '4.pth', strict=False) == []


def test_weights_of_another_model_are_told_by_name_and_by_shape(tmp_path):
    save_file(create_timm('resnet10t').state_dict(), tmp_path / 'w.safetensors')
    with pytest.raises(CheckpointError, match=r'missing \(conv1.weight, .* unknown \(conv1.1'):
        load_weights(create_timm('resnet18'), tmp_path / 'w.safetensors')
    save_file(create_timm('resnet18').state_dict(), tmp_path / 'w.safetensors')
    for strict in (True, False):
        with pytest.raises(
            CheckpointError, match=r'layer1.0.conv1.weight \(64, 64, 3, 3\) for \(64, 64, 1, 1\)'
        ):
            load_weights(create_timm('resnet50'), tmp_path / 'w.safetensors', strict=strict)


@pytest.mark.parametrize('prefix', ['module.', 'model.', 'module.encoder.', '_orig_mod.backbone.'])
def test_prefixes_of_wrappers_are_removed(tmp_path, prefix):
    source = create_timm('resnet10t')
    state = {f'{prefix}{name}': tensor for name, tensor in source.state_dict().items()}
    torch.save({'model': state}, tmp_path / 'w.pth')
    model = create_timm('resnet10t', pretrained=tmp_path / 'w.pth')
    assert torch.equal(model.layer3[0].conv2.weight, source.layer3[0].conv2.weight)
    torch.save({'model': {**state, 'decoder.weight': torch.ones(3)}}, tmp_path / 'w.pth')
    with pytest.raises(CheckpointError, match=r'1 unknown \(decoder\.weight \(3,\)\)'):
        load_weights(model, tmp_path / 'w.pth')


def test_published_files_are_renamed_and_resized_as_timm_does(tmp_path):
    swin = timm.create_model('swin_tiny_patch4_window7_224', img_size=64, window_size=2)
    extra = {'layers.0.blocks.0.attn.relative_position_index': torch.zeros(4, 4)}
    torch.save({**swin.state_dict(), **extra}, tmp_path / 'swin.pth')
    again = timm.create_model('swin_tiny_patch4_window7_224', img_size=64, window_size=2)
    assert load_weights(again, tmp_path / 'swin.pth') == []
    assert torch.equal(again.norm.weight, swin.norm.weight)

    source = vit(img_size=64)
    torch.save(source.state_dict(), tmp_path / 'vit.pth')
    larger = vit(img_size=96)
    load_weights(larger, tmp_path / 'vit.pth')
    expected = timm.layers.resample_abs_pos_embed(source.pos_embed, [6, 6], [4, 4])
    assert torch.equal(larger.pos_embed, expected)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    state = create_timm('resnet10t').state_dict()
    for bad in (float('nan'), float('inf')):
        state['layer1.0.conv1.weight'].view(-1)[-1] = bad
        torch.save(state, tmp_path / 'w.pth')
        with pytest.raises(
            CheckpointError, match=r"NaN or infinite .* in 1 tensors, first 'layer1\.0\.conv1"
        ):
            create_timm('resnet10t', pretrained=tmp_path / 'w.pth')


def test_quantised_weights_are_not_taken_for_fractions(tmp_path):
    state = create_timm('resnet10t').state_dict()
    state['layer1.0.conv1.weight'] = state['layer1.0.conv1.weight'].mul(127).to(torch.int8)
    torch.save(state, tmp_path / 'w.pth')
    message = r'1 of another kind of number \(layer1.0.conv1.weight torch.int8 for torch.float32\)'
    with pytest.raises(CheckpointError, match=message):
        create_timm('resnet10t', pretrained=tmp_path / 'w.pth')


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'no weights file at .*gone.pth'):
        create_timm('resnet10t', pretrained=tmp_path / 'gone.pth')


def test_without_network_the_error_says_what_to_fetch_and_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    with pytest.raises(CheckpointError, match=r'model.safetensors from .*/timm/resnet18'):
        create_timm('resnet18', pretrained=True)


@pytest.mark.usefixtures('unchecked')
@pytest.mark.parametrize(
    'build',
    [
        lambda: create_timm('resnet10t', pretrained=None),
        lambda: dinov2_vit('vit_small_patch14_dinov2', pretrained=None),
        lambda: fpn_timm(num_classes=2, pretrained=None),
        lambda: rein_vit_fpn('vit_tiny_patch16_224', num_classes=2, pretrained=None),
        lambda: crossearth_vit_small(2, pretrained=None),
        lambda: crossearth_rvsa_large(2, pretrained=None),
    ],
)
def test_none_is_no_choice_of_weights(build):
    with pytest.raises(ConfigError, match='pretrained=None: expected True for published weights'):
        build()
