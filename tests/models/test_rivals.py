"""Models that CrossEarth is compared with: they build, learn, save, load and take weights."""

import pytest
import torch
from safetensors.torch import save_file

from crossearth.errors import CheckpointError, ConfigError
from crossearth.labels import ISPRS
from crossearth.models import load_model, rivals, save_model
from crossearth.models.meta import without_weights

SMALL = {
    'daformer_mit_b5': {'encoder': 'mit_b0', 'width': 8},
    'hrda_mit_b5': {'encoder': 'mit_b0', 'width': 8, 'img_size': 64},
    'deeplabv2_resnet101': {'name': 'resnet10t'},
    'deeplabv3_resnet101': {'name': 'resnet10t'},
}


@pytest.mark.parametrize('name', sorted(SMALL))
def test_a_rival_learns_and_comes_back_from_its_file(name, tmp_path):
    torch.manual_seed(0)
    model = getattr(rivals, name)(6, **SMALL[name])
    image, mask = torch.rand(2, 3, 90, 70), torch.randint(0, 6, (2, 90, 70))
    sum(model.losses(image, mask).values()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []
    model.eval()
    save_model(model, tmp_path / 'model.safetensors', labels=ISPRS)
    again = load_model(tmp_path / 'model.safetensors').eval()
    with torch.no_grad():
        assert torch.equal(again(image), model(image))


def test_large_ones_have_their_published_sizes():
    with without_weights():
        sizes = {
            name: sum(p.numel() for p in getattr(rivals, name)(19).parameters()) / 1e6
            for name in rivals.__all__
        }
    assert sizes['daformer_mit_b5'] == pytest.approx(85.15, abs=0.1)
    assert sizes['deeplabv3_resnet101'] == pytest.approx(58.6, abs=0.2)  # without its helper head
    assert sizes['deeplabv2_resnet101'] == pytest.approx(43.9, abs=0.2)
    assert sizes['mtp_rvsa_large'] > 318


def test_an_encoder_takes_the_weights_of_a_file(tmp_path):
    source = rivals.daformer_mit_b5(2, encoder='mit_b0', width=8).backbone.encoder
    file = tmp_path / 'mit.safetensors'
    save_file(source.state_dict() | {'head.weight': torch.zeros(1000, 256)}, file)
    small = {'encoder': 'mit_b0', 'width': 8, 'pretrained': str(file)}
    model = rivals.daformer_mit_b5(2, in_channels=4, **small)
    expected = source.patch_embed1.proj.weight
    found = model.backbone.encoder.patch_embed1.proj.weight
    assert torch.allclose(found[:, :3], expected * 3 / 4)
    with pytest.raises(CheckpointError, match='does not fit'):
        rivals.daformer_mit_b5(2, **(small | {'encoder': 'mit_b1'}))


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ConfigError, match=r"encoder is 'mit_b9': expected one of mit_b0"):
        rivals.daformer_mit_b5(2, encoder='mit_b9')
    with pytest.raises(ConfigError, match='multiple of 64'):
        rivals.hrda_mit_b5(2, encoder='mit_b0', img_size=96)
    for name in ('pvt_v2_b0', 'vgg11'):
        with pytest.raises(ConfigError, match='cannot be dilated'):
            rivals.deeplabv2_resnet101(2, name=name)
    with pytest.raises(ConfigError, match='no file that can be fetched'):
        rivals.mtp_rvsa_large(2, pretrained=True)
