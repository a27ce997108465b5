import pytest
import torch

from crossearth.errors import CheckpointError, ConfigError
from crossearth.imagery import Imagery
from crossearth.models import fpn_timm, save_model
from crossearth.resolution import gsd_network, load_gsd_estimator, save_gsd_estimator
from tests.resolution.textures import texture, tiny_network

SMALL = 'mobilenetv3_small_050'


@pytest.fixture
def network():
    made = gsd_network(SMALL)
    draws = torch.Generator().manual_seed(0)
    made.weight.copy_(0.01 * torch.randn(made.weight.shape, generator=draws))
    made.bias.fill_(-1.0)
    made.error_octaves.copy_(torch.tensor([-0.5, 1.0]))
    made.imagery = Imagery(gsd_range_m=(0.25, 4.0), value_range=(0.0, 200.0))
    return made


def test_colour_exposure_and_the_number_of_bands_do_not_count():
    image = texture(1.0, seed=0)[None]
    network = tiny_network()
    brighter = 0.1 + 0.8 * image[:, :1]
    assert torch.allclose(network.features(image), network.features(brighter), atol=0.1)
    assert network.features(texture(2.0, seed=0)[None])[0, 0] > network.features(image)[0, 0] + 0.5


def test_one_feature_far_off_moves_the_answer_by_four_deviations_at_most():
    network = tiny_network()
    network.weight[0] = 1.0
    network.bias.fill_(2.0)
    assert network.octaves(torch.tensor([[1e6, 0, 0, 0, 0.0]])).tolist() == [6.0]


def test_a_file_gives_the_same_answers(network, tmp_path):
    path = save_gsd_estimator(network, tmp_path / 'gsd.safetensors')
    again = load_gsd_estimator(path)
    image = texture(1.0, seed=0)[None]
    assert torch.equal(again(image), network(image))
    assert again.error_octaves.tolist() == [-0.5, 1.0]
    assert again.imagery.gsd_range_m == (0.25, 4.0)
    assert again.imagery.value_range == (0.0, 200.0)


def test_an_unfitted_network_is_not_written(tmp_path):
    with pytest.raises(ConfigError, match='not fitted'):
        save_gsd_estimator(gsd_network(SMALL), tmp_path / 'gsd.safetensors')


def test_files_of_other_models_are_refused(tmp_path):
    path = save_model(fpn_timm(SMALL, num_classes=2, width=8), tmp_path / 'm.safetensors')
    with pytest.raises(CheckpointError, match='not an estimator'):
        load_gsd_estimator(path)


def test_impossible_numbers_are_refused(network, tmp_path):
    network.scale[3] = 0
    with pytest.raises(CheckpointError, match='impossible numbers'):
        load_gsd_estimator(save_gsd_estimator(network, tmp_path / 'gsd.safetensors'))


def test_networks_of_one_image_size_are_refused():
    with pytest.raises(ConfigError, match='only takes images of one size'):
        gsd_network('swin_tiny_patch4_window7_224')
