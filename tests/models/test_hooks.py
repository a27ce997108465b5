import copy

import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.hooks import attach, stage_at


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.fixture
def model():
    stages = nn.Sequential(nn.Identity(), nn.Sequential(nn.Identity()))
    return nn.Sequential(stages, nn.Identity())


def test_an_attached_module_acts_until_it_is_removed(model):
    one = torch.ones(3)
    with attach(model, '0.1.0', Doubled()):
        assert model(one).tolist() == [2, 2, 2]
        assert model.eval()(one).tolist() == [1, 1, 1]
        model.train()
    assert model(one).tolist() == [1, 1, 1]


def test_a_copy_of_the_model_does_not_have_it(model):
    with attach(model, '0.1', Doubled()):
        teacher = copy.deepcopy(model)
        assert teacher(torch.ones(1)).item() == 1
        assert model(torch.ones(1)).item() == 2


def test_a_wrong_path_is_refused_with_the_names_that_there_are(model):
    with pytest.raises(ConfigError, match=r"'0.2' is not a stage.*: 0 has no '2', .*\['0', '1'\]"):
        stage_at(model, '0.2')
    with pytest.raises(
        ConfigError, match=r"Sequential has no 'layer1', expected one of \['0', '1'"
    ):
        attach(model, 'layer1', Doubled())


def test_a_stage_that_returns_no_tensor_is_refused():
    model = nn.Sequential(Pair())
    with (
        attach(model, '0', Doubled()),
        pytest.raises(ConfigError, match='0 returns tuple, expected a tensor'),
    ):
        model(torch.ones(1))


def test_models_that_compute_activations_twice_are_refused(model):
    model[0].checkpointing = True
    with pytest.raises(ConfigError, match=r'0 recomputes its activations .* switch'):
        attach(model, '0.1', Doubled())
