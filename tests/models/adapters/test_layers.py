import pytest
import timm
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.adapters import dense_layers, layer_depths, pyramid_stages
from crossearth.models.meta import without_weights

PLACES = ('blocks.1', 'blocks.2', 'blocks.3', 'blocks.4')


def test_stages_are_what_timm_calls_them():
    with without_weights():
        stages = pyramid_stages(timm.create_model('test_efficientnet'))
        swin = pyramid_stages(timm.create_model('swin_tiny_patch4_window7_224'))
    assert [stage.name for stage in stages] == list(PLACES)
    assert [stage.channels for stage in stages] == [24, 32, 48, 64]
    assert not any(stage.channels_last for stage in stages)
    assert all(stage.channels_last for stage in swin)


def test_networks_that_do_not_tell_are_refused():
    with pytest.raises(ConfigError, match='Linear does not say which of its modules end at'):
        pyramid_stages(nn.Linear(2, 2))


def test_dense_layers_leave_out_depthwise_kernels_the_stem_and_what_nobody_reads():
    network = timm.create_model('test_efficientnet')
    found = dense_layers(network, PLACES)
    names = {layer.name for layer in found}
    assert 'conv_stem' not in names
    assert not any(name.startswith(('conv_head', 'classifier')) for name in names)
    assert all(getattr(layer.layer, 'groups', 1) == 1 for layer in found)
    dense = {
        name
        for name, module in network.blocks.named_modules(prefix='blocks')
        if isinstance(module, nn.Conv2d) and module.groups == 1
    }
    assert names == dense
    assert {layer.place for layer in found if layer.name.startswith('blocks.0.')} == {0}
    assert {layer.place for layer in found if layer.name.startswith('blocks.4.')} == {3}


def test_early_places_can_be_left_out():
    network = timm.create_model('test_efficientnet')
    late = dense_layers(network, PLACES, first=2)
    assert late
    assert all(layer.name.startswith(('blocks.3.', 'blocks.4.')) for layer in late)
    with pytest.raises(ConfigError, match='first is 4: expected 0 to 3'):
        dense_layers(network, PLACES, first=4)


def test_a_network_without_named_stages_is_one_place():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(4, 4, 3, groups=4)))
    assert [(layer.name, layer.place) for layer in dense_layers(network)] == [('0', 0)]
    with pytest.raises(ConfigError, match='first is 1: expected 0 to 0'):
        dense_layers(network, first=1)


def test_names_of_places_that_are_not_there_are_refused():
    with pytest.raises(ConfigError, match=r"EfficientNet has no module 'layer1': expected names"):
        dense_layers(timm.create_model('test_efficientnet'), ('blocks.1', 'layer1'))


def test_depths_of_parameters_rise_from_the_stem():
    depths = layer_depths(timm.create_model('test_vit', num_classes=0))
    assert depths['patch_embed.proj.weight'] == 0
    assert [depths[f'blocks.{i}.attn.qkv.weight'] for i in range(6)] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ConfigError, match='Linear does not state how deep its layers are'):
        layer_depths(nn.Linear(2, 2))
