import pickle

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models import crossearth_rvsa_large, crossearth_vit_small, fpn_timm, rein_vit_fpn
from crossearth.models.backbones import dinov2_vit
from crossearth.models.pretrained import create_timm, load_weights, read_weights


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
    model = create_timm('resnet10t', pretrained=tmp_path / 'weights.pth')
    assert torch.equal(model.layer4[0].conv1.weight, source.layer4[0].conv1.weight)
    assert model.fc.out_features == 1000


def test_weights_of_another_model_name_the_first_difference(tmp_path):
    save_file(create_timm('resnet10t').state_dict(), tmp_path / 'w.safetensors')
    with pytest.raises(CheckpointError, match=r"lacks 'conv1.weight'"):
        load_weights(create_timm('resnet18'), tmp_path / 'w.safetensors')
    save_file(create_timm('resnet18').state_dict(), tmp_path / 'w.safetensors')
    with pytest.raises(CheckpointError, match=r"'layer1.0.conv1.weight' of shape .64, 64, 3, 3."):
        load_weights(create_timm('resnet50'), tmp_path / 'w.safetensors')


def test_pickle_with_code_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath('ran').touch, ())

    (tmp_path / 'bomb.pth').write_bytes(pickle.dumps({'state_dict': Bomb()}, protocol=2))
    with pytest.raises(CheckpointError, match='no torch file of tensors alone'):
        read_weights(tmp_path / 'bomb.pth')
    torch.save({'state_dict': Bomb()}, tmp_path / 'zipped.pth')
    (tmp_path / 'ran').unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match='no torch file of tensors alone'):
        read_weights(tmp_path / 'zipped.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'content', [b'not weights', b'root:x:0:0', b'', b'PK\x03\x04', b'\x80\x02.']
)
@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
def test_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name):
        read_weights(tmp_path / name)


def test_file_without_a_dictionary_of_tensors_is_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='no dictionary of tensors'):
        read_weights(tmp_path / 'list.pth')


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
