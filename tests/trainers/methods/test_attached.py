import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models import MixStyle
from crossearth.models.mix_style import mix_statistics
from crossearth.trainers.methods import Attached, roles, segmentation_losses
from crossearth.trainers.random_state import generators_of
from tests.trainers.methods.small import make_batch, plain


class Reversed(nn.Module):
    """Mixing with fixed draws: every image takes the statistics of the next."""

    def forward(self, features):
        order = torch.arange(1, len(features) + 1) % len(features)
        return mix_statistics(features, order, torch.zeros(len(features)))


def test_losses_are_those_of_a_model_whose_stage_is_mixed():
    batch = make_batch()
    method = Attached(plain(), 'backbone.stem', Reversed())
    model = plain().model
    model.backbone.stem = nn.Sequential(model.backbone.stem, Reversed())
    expected = segmentation_losses(model, batch['image'], batch['mask'], method.labels)
    found = method.losses(batch)
    unmixed = plain().losses(batch)
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-6)
        assert (found[name] - unmixed[name]).abs() > 1e-5


def test_with_p_0_losses_are_those_of_the_method_inside():
    batch = make_batch()
    found = Attached(plain(), 'backbone.stem', MixStyle(p=0.0)).losses(batch)
    expected = plain().losses(batch)
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in expected.items()}


def test_outside_of_the_losses_and_in_eval_mode_the_model_is_untouched():
    batch = make_batch()
    method = Attached(plain(), 'backbone.stem', Reversed())
    before = method.model(batch['image'])
    method.losses(batch)
    assert torch.equal(method.model(batch['image']), before)
    evaluated = method.eval().losses(batch)
    expected = plain().losses(batch)
    assert all(torch.equal(evaluated[name], expected[name]) for name in expected)


def test_its_generator_is_part_of_resuming_and_it_adds_nothing_to_the_state():
    generator = torch.Generator()
    method = Attached(plain(), 'backbone.stem', MixStyle(generator=generator))
    assert generators_of([method]) == [generator]
    assert list(roles(method)) == [f'method.{name}' for name in plain().state_dict()]


def test_stages_that_are_not_there_or_not_used_are_refused():
    with pytest.raises(ConfigError, match=r"backbone has no 'layer1', expected one of \['stem'\]"):
        Attached(plain(), 'backbone.layer1', MixStyle())
    method = plain()
    method.model.add_module('spare', nn.Identity())
    with pytest.raises(ConfigError, match='spare took no part in the losses: attach MixStyle'):
        Attached(method, 'spare', MixStyle()).losses(make_batch())
