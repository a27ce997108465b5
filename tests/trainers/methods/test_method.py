import inspect

import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.labels import ROAD
from crossearth.trainers.methods import Method, roles


class Parts(Method):
    kept = ('teacher',)

    def __init__(self, *, frozen_teacher=True):
        backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).requires_grad_(False)
        super().__init__(nn.Sequential(backbone, nn.Conv2d(4, 2, 1)), ROAD)
        self.teacher = nn.Conv2d(3, 2, 1).requires_grad_(not frozen_teacher)
        self.register_buffer('steps', torch.zeros(()))

    def losses(self, batch):
        return dict(batch)


def test_every_tensor_has_the_role_that_its_declaration_gives_it():
    found = roles(Parts())
    assert found.keys() == Parts().state_dict().keys()
    assert {name for name, role in found.items() if role == 'pretrained'} == {
        'model.0.0.weight',
        'model.0.0.bias',
        'model.0.1.weight',
        'model.0.1.bias',
        'model.0.1.running_mean',
        'model.0.1.running_var',
        'model.0.1.num_batches_tracked',
    }
    assert {name for name, role in found.items() if role == 'kept'} == {
        'teacher.weight',
        'teacher.bias',
    }
    assert found['steps'] == found['model.1.weight'] == 'trains'


def test_a_model_or_classes_that_a_recipe_did_not_build_are_refused(monkeypatch):
    # without the checker of types that tests run under
    monkeypatch.setattr(Method, '__init__', inspect.unwrap(Method.__init__))

    class Plain(Method):
        def losses(self, batch):
            return dict(batch)

    with pytest.raises(ConfigError, match='labels of Plain is of type dict: expected a LabelSpace'):
        Plain(nn.Conv2d(3, 2, 1), {'name': 'two'})
    with pytest.raises(ConfigError, match='model of Plain is of type dict: expected a Module; to'):
        Plain({'class_path': 'torch.nn.Identity'}, ROAD)


def test_wrong_declarations_are_refused():
    with pytest.raises(ConfigError, match=r'teacher.requires_grad_\(False\)'):
        roles(Parts(frozen_teacher=False))

    class Misnamed(Parts):
        kept = ('tutor',)

    with pytest.raises(ConfigError, match="kept names 'tutor', which is not one of its submodules"):
        roles(Misnamed())
