"""Published weights are read from torch's cache as they would lie there; nothing is downloaded."""

from urllib.error import URLError

import pytest
import timm
import torch

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.backbones import torchgeo_swin, torchgeo_vit
from crossearth.models.weights.pretrained import create_timm
from crossearth.models.weights.torchgeo_weights import find_weights, is_weights_name

RGB = (0.665, 0.56, 0.49)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Puts a state where torch would keep the download of some weights."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))

    def put(name, state):
        path = tmp_path / 'hub' / 'checkpoints' / find_weights(name).url.rpartition('/')[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path)
        return path

    return put


def random_state(model):
    torch.manual_seed(1)
    return {
        name: torch.rand_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }


@pytest.mark.parametrize('pretrained', [True, 'DOFABase16_Weights.DOFA_MAE'])
def test_published_weights_of_dofa_are_loaded(tiny_torchgeo, cache, pretrained):
    state = random_state(tiny_torchgeo.dofa_base_patch16_224(num_classes=45))
    cache('DOFABase16_Weights.DOFA_MAE', state)
    vit = torchgeo_vit('dofa_base_patch16_224', wavelengths_um=RGB, pretrained=pretrained)
    loaded = vit.state_dict()
    assert set(state) - set(loaded) == {
        *('head.weight', 'head.bias', 'fc_norm.weight', 'fc_norm.bias')
    }
    assert all(torch.equal(loaded[name], state[name]) for name in loaded)


@pytest.mark.parametrize(('bands', 'branch'), [(12, 's2_encoder'), (2, 's1_encoder')])
def test_published_weights_of_croma_are_those_of_the_sensor(tiny_torchgeo, cache, bands, branch):
    both = tiny_torchgeo.CROMA(('sar', 'optical'), 32, 4, image_size=16)
    state = {part: random_state(getattr(both, part)) for part in ('s1_encoder', 's2_encoder')}
    state['s2_GAP_FFN'] = random_state(both.s2_GAP_FFN)
    path = cache('CROMABase_Weights.CROMA_VIT', state)
    for pretrained in (True, path):
        vit = torchgeo_vit('croma_base', in_channels=bands, depth=1, pretrained=pretrained)
        assert torch.equal(vit.linear_input.weight, state[branch]['linear_input.weight'])
        attention, feed_forward = vit.blocks[0]
        layers = state[branch]
        assert torch.equal(attention.to_qkv.weight, layers['transformer.layers.0.0.to_qkv.weight'])
        assert torch.equal(feed_forward.net[0].bias, layers['transformer.layers.0.1.net.0.bias'])


def test_published_weights_of_the_others_are_loaded(tiny_torchgeo, cache):
    panopticon = tiny_torchgeo.panopticon_vitb14(img_size=518).model
    scale_mae = tiny_torchgeo.scalemae_large_patch16(img_size=224, in_chans=3, num_classes=0)
    copernicus = tiny_torchgeo.copernicusfm_base()
    bands = {'wavelengths_um': RGB}
    for name, weights, model, told in (
        ('panopticon_vitb14', 'Panopticon_Weights.VIT_BASE14', panopticon, bands),
        ('scalemae_large_patch16', 'ScaleMAELarge16_Weights.FMOW_RGB', scale_mae, {'gsd_m': 1.0}),
        (
            'copernicusfm_base',
            'CopernicusFM_Base_Weights.CopernicusFM_ViT',
            copernicus,
            {'bandwidths_um': RGB, **bands},
        ),
    ):
        state = random_state(model)
        cache(weights, state | {'mask_token': torch.zeros(1, 32)})
        loaded = torchgeo_vit(name, pretrained=True, **told).state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in loaded)


def test_weights_of_swins_are_for_their_bands(tiny_torchgeo, cache):
    swin = tiny_torchgeo.swin_v2_t()
    swin.features[0][0] = torch.nn.Conv2d(9, 24, 4, 4)
    whole = random_state(swin)
    cache('Swin_V2_T_Weights.SENTINEL2_SI_MS_SATLAS', whole)
    name = 'Swin_V2_T_Weights.SENTINEL2_SI_MS_SATLAS'
    loaded = torchgeo_swin('swin_v2_t', in_channels=9, pretrained=name).state_dict()
    assert all(torch.equal(loaded[name], whole[name]) for name in loaded)
    message = r'are weights for 9 bands \(B04, B03, B02, .*\), got 3: use images of those bands'
    with pytest.raises(ConfigError, match=message):
        torchgeo_swin('swin_v2_t', pretrained=name)


def test_transformers_of_timm_take_weights_of_torchgeo(cache):
    source = timm.create_model('vit_small_patch16_224', in_chans=13, depth=1, num_classes=0)
    state = {n: t for n, t in random_state(source).items() if not n.startswith('norm.')}
    name = 'ViTSmall16_Weights.SENTINEL2_ALL_DINO'
    cache(name, state)
    given = {'depth': 1, 'num_classes': 0, 'pretrained': name}
    vit = create_timm('vit_small_patch16_224', in_channels=13, **given)
    assert all(torch.equal(vit.state_dict()[name], state[name]) for name in state)
    with pytest.raises(ConfigError, match=r'for 13 bands \(B1, B2, .*\), got 3'):
        create_timm('vit_small_patch16_224', **given)


def test_weights_that_cannot_be_downloaded_say_where_they_are(tiny_torchgeo, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise URLError('no network')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    message = (
        r'cannot be downloaded: fetch https://hf.co/torchgeo/dofa/.*-a0275954.pth on a machine'
    )
    with pytest.raises(CheckpointError, match=message):
        torchgeo_vit('dofa_base_patch16_224', wavelengths_um=RGB, pretrained=True)


@pytest.mark.parametrize(
    ('name', 'given', 'message'),
    [
        ('dofa_small_patch16_224', True, r'torchgeo publishes no weights for dofa_small'),
        ('dofa_base_patch16_224', 'CROMABase_Weights.CROMA_VIT', r'expected one of DOFABase16_W'),
        ('dofa_base_patch16_224', 'DOFABase16_Weights.OTHER', r'does not name weights of dofa_b'),
        ('dofa_base_patch16_224', None, r'pretrained=None: expected True'),
    ],
)
def test_other_weights_are_refused(tiny_torchgeo, unchecked, name, given, message):
    with pytest.raises(ConfigError, match=message):
        torchgeo_vit(name, wavelengths_um=RGB, pretrained=given)


def test_several_published_weights_have_to_be_chosen_from(tiny_torchgeo):
    with pytest.raises(ConfigError, match=r'expected one of Swin_V2_B_Weights.NAIP_RGB_MI_SATLAS,'):
        torchgeo_swin('swin_v2_b', pretrained=True)


def test_a_file_of_another_encoder_is_refused(tiny_torchgeo, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(random_state(tiny_torchgeo.copernicusfm_base()), path)
    with pytest.raises(CheckpointError, match=r'does not fit DOFAEncoder: .* missing'):
        torchgeo_vit('dofa_base_patch16_224', wavelengths_um=RGB, pretrained=path)


def test_names_of_weights_are_no_paths():
    assert is_weights_name('ViTSmall16_Weights.SENTINEL2_ALL_DINO')
    assert not any(map(is_weights_name, ('a/ViTSmall16_Weights.X', 'weights.pth', True, None)))
    with pytest.raises(ConfigError, match=r"no weights 'Os_Weights.system': expected a member of"):
        find_weights('Os_Weights.system')
    with pytest.raises(ConfigError, match=r'ViTBase16_Weights has SENTINEL2_ALL_MAE'):
        find_weights('ViTBase16_Weights.NONE')
