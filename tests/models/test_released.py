import pytest
import torch

from crossearth.errors import CheckpointError
from crossearth.models import (
    CrossEarth_Weights,
    crossearth_vit_small,
    load_model,
    rein_vit_large,
    save_model,
)
from crossearth.models.meta import without_weights


def test_released_weights_load_and_geospatial_parts_change_no_bit(tmp_path):
    torch.manual_seed(0)
    plain = crossearth_vit_small(2, img_size=64, geospatial=False, restorer=None).eval()
    path = save_model(plain, tmp_path / 'converted.safetensors')
    model = crossearth_vit_small(2, img_size=64, weights=str(path)).eval()
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(image), plain(image))
    with pytest.raises(CheckpointError, match=r'of another shape .*cls_embed.* \(3.* for \(4'):
        crossearth_vit_small(3, img_size=64, weights=str(path))


def test_released_file_that_is_not_converted_says_how_to(tmp_path):
    (tmp_path / 'Vaihingen-source.pth').touch()
    with pytest.raises(CheckpointError, match=r'run `crossearth weights convert .*Vaihingen'):
        crossearth_vit_small(6, img_size=64, weights=str(tmp_path / 'Vaihingen-source.pth'))


def test_released_weights_load_for_other_bands(tmp_path):
    released = crossearth_vit_small(6, img_size=64, geospatial=False, restorer=None)
    path = save_model(released, tmp_path / 'converted.safetensors')
    model = crossearth_vit_small(6, img_size=64, in_channels=4, weights=str(path), mean=[0.3] * 4)
    red, green, blue = released.backbone.vit.patch_embed.proj.weight.unbind(1)
    expected = torch.stack([red, green, blue, red], 1) * 0.75
    torch.testing.assert_close(model.backbone.vit.patch_embed.proj.weight, expected)
    assert torch.equal(model.decoder.cls_embed.weight, released.decoder.cls_embed.weight)
    assert model.mean.tolist() == pytest.approx([0.3] * 4)  # the model's, for its bands
    image = torch.rand(1, 4, 40, 64)
    again = load_model(save_model(model.eval(), tmp_path / 'mine.safetensors'))
    assert torch.equal(again(image), model(image))


def test_weights_that_are_not_here_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    weights = CrossEarth_Weights.CASID_SUB
    with (
        pytest.raises(CheckpointError, match=r'casid-sub-source\.pth.*weights convert'),
        without_weights(),
    ):
        rein_vit_large(5, weights=weights)
    assert weights.url.endswith('Cusyoung/CrossEarth/resolve/main/casid-sub-source.pth')
    assert weights.meta['img_size'] == 1024


def test_every_released_file_is_listed_once():
    files = [weights.value.file for weights in CrossEarth_Weights]
    assert len(set(files)) == len(files) == 12
    assert CrossEarth_Weights.VAIHINGEN.meta['bands'] == ('nir', 'red', 'green')
    assert CrossEarth_Weights.POTSDAM_IRRG_RESCUENET.meta['num_classes'] == 5
