import copy

import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.trainers.methods import (
    DomainAdversarial,
    FeatureDistance,
    Method,
    SelectiveWhitening,
    roles,
)
from crossearth.trainers.methods.wrapping import SeenDomains, Wrapping, first_pass, recorded_passes
from tests.trainers.methods.small import make_batch, plain


class Teaching(Method):
    kept = ('teacher',)

    def __init__(self, model, labels):
        super().__init__(model, labels)
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.steps = 0

    def losses(self, batch):
        with torch.no_grad():
            self.model(batch['image'])
        return {'loss': self.model(batch['image']).mean()}

    def after_step(self):
        self.steps += 1

    @property
    def scored(self):
        return self.teacher


class Bare(Wrapping):
    def losses(self, batch):
        with recorded_passes(self.model) as self.passes:
            return self.method.losses(batch)


@pytest.fixture
def teaching():
    inside = plain()
    return Teaching(inside.model, inside.labels)


def test_weights_have_one_name_and_parts_keep_their_roles(teaching):
    outer = Bare(Bare(teaching))
    inner_roles = roles(teaching)
    assert roles(outer) == {f'method.method.{name}': role for name, role in inner_roles.items()}
    assert {'trains', 'kept'} == set(inner_roles.values())


def test_what_the_method_inside_scores_and_does_after_a_step_stays(teaching):
    outer = Bare(Bare(teaching))
    outer.after_step()
    assert teaching.steps == 1
    assert outer.scored is teaching.teacher
    assert outer.model is teaching.model
    assert outer.labels == teaching.labels


def test_passes_without_gradients_are_not_recorded_and_hooks_are_removed(teaching):
    outer, batch = Bare(teaching), make_batch()
    outer.losses(batch)
    assert len(outer.passes) == 1
    image, features = outer.passes[0]
    assert torch.equal(image, teaching.model.normalize(batch['image']))
    assert torch.equal(features.maps[3], teaching.model.backbone(image).maps[3])
    assert len(outer.passes) == 1


def test_a_pass_that_cannot_be_used_is_refused():
    with pytest.raises(ConfigError, match=r'made no usable pass through model\.backbone'):
        first_pass([], 4)
    outer = Bare(plain())
    outer.losses(make_batch(2))
    with pytest.raises(ConfigError, match='2 images first, the batch has 4'):
        first_pass(outer.passes, 4)


def test_models_without_a_backbone_and_batches_without_domains_are_refused():
    method = Bare(Teaching(nn.Conv2d(3, 3, 1), plain().labels))
    with pytest.raises(ConfigError, match='Conv2d has no backbone'):
        method.losses(make_batch())
    with pytest.raises(ConfigError, match=r"has \['image'\], but no 'domain'"):
        SeenDomains(2, 'DRO')({'image': torch.zeros(1)})
    with pytest.raises(ConfigError, match='domain 2, expected 0 to 1'):
        SeenDomains(2, 'DRO')({'domain': torch.tensor([0, 2])})


def test_a_source_of_one_domain_is_noticed_and_one_of_two_is_not():
    seen, single = SeenDomains(2, 'DRO'), SeenDomains(1, 'DRO')
    for _ in range(100):
        assert seen({'domain': torch.tensor([1, 1])}).tolist() == [1, 1]
        single({'domain': torch.tensor([0])})
    with pytest.raises(ConfigError, match='all 202 images in 101 batches are of domain 1: DRO'):
        seen({'domain': torch.tensor([1, 1])})
    again = SeenDomains(2, 'DRO')
    again.load_state_dict(seen.state_dict())
    assert again({'domain': torch.tensor([0])}).tolist() == [0]
    again.eval()({'domain': torch.tensor([0])})
    assert again.images.tolist() == [1, 202]
    single({'domain': torch.tensor([0])})


@pytest.mark.parametrize(
    ('around', 'name'),
    [
        (lambda method: FeatureDistance(method), 'loss_fd'),
        (lambda method: SelectiveWhitening(method, transform=nn.Identity()), 'loss_whitening'),
        (lambda method: DomainAdversarial(method, num_domains=2, total_steps=9), 'loss_domain'),
    ],
)
def test_no_term_is_lost_when_a_method_goes_around_itself(around, name):
    batch = make_batch(4, 32)
    assert name in around(plain()).losses(batch)
    with pytest.raises(ConfigError, match=f"has a term '{name}', and one of the two would be"):
        around(around(plain())).losses(batch)
