import sys
import types

import pytest
import torch
from torch import nn

from crossearth.labels import ROAD
from crossearth.trainers import SourceOnly, TrainingTask, seed_parts

MINE = types.ModuleType('mine_parts')


class Style(nn.Module):
    """Draws when it is built."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(2), requires_grad=False)


class Two(SourceOnly):
    """Has a second model of the same kind."""

    def __init__(self, model: nn.Module, other: nn.Module) -> None:
        super().__init__(model, ROAD)
        self.other = other


def build(width: int = 3) -> nn.Module:
    """A model from a function, as builders are."""
    return nn.Conv2d(width, 2, 1)


@pytest.fixture(autouse=True)
def module(monkeypatch):
    for part in (Style, Two, build):
        part.__module__ = MINE.__name__
        setattr(MINE, part.__name__, part)
    monkeypatch.setitem(sys.modules, MINE.__name__, MINE)


def built(method, seed=0):
    from lightning.pytorch.cli import LightningArgumentParser

    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(TrainingTask, 'model')
    section = {'class_path': 'crossearth.trainers.TrainingTask', 'init_args': {'method': method}}
    config = parser.parse_object({'model': section})
    torch.manual_seed(seed)
    seed_parts(parser, config.as_dict()['model'])
    before = torch.get_rng_state()
    task = parser.instantiate_classes(config).model
    assert torch.equal(torch.get_rng_state(), before)  # what is drawn later is the same, too
    return task.method


LABELS = {
    'name': 'roads',
    'classes': ['background', 'road'],
    'palette': [[0, 0, 0], [255, 255, 255]],
}
MODEL = {'class_path': 'mine_parts.build'}
PLAIN = {
    'class_path': 'crossearth.trainers.SourceOnly',
    'init_args': {'labels': LABELS, 'model': MODEL},
}
STYLED = {
    'class_path': 'crossearth.trainers.SourceOnly',
    'init_args': {'labels': LABELS, 'style': {'class_path': 'mine_parts.Style'}, 'model': MODEL},
}
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')  # lightning's jsonargparse


def test_a_part_has_the_same_weights_whatever_is_built_before_it():
    plain, styled = built(PLAIN), built(STYLED)
    assert torch.equal(plain.model.weight, styled.model.weight)
    assert torch.equal(styled.style.weight, built(STYLED).style.weight)


def test_another_seed_gives_other_weights():
    assert not torch.equal(built(PLAIN).model.weight, built(PLAIN, seed=1).model.weight)


def test_two_parts_of_one_kind_begin_differently():
    two = built({'class_path': 'mine_parts.Two', 'init_args': {'model': MODEL, 'other': MODEL}})
    assert not torch.equal(two.model.weight, two.other.weight)
    assert torch.equal(two.model.weight, built(PLAIN).model.weight)  # the first is as if alone
