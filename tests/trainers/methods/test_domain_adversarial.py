import math

import pytest
import torch
import torch.nn.functional as F

from crossearth.errors import ConfigError
from crossearth.trainers.methods import DomainAdversarial, roles
from crossearth.trainers.methods.domain_adversarial import reversal_strength
from tests.trainers.methods.small import make_batch, plain


def adversarial(**options):
    method = plain()
    torch.manual_seed(1)
    return DomainAdversarial(method, num_domains=2, total_steps=10, width=8, **options)


def gradients(method, batch):
    method.zero_grad()
    torch.stack(list(method.losses(batch).values())).sum().backward()
    return {name: p.grad.clone() for name, p in method.named_parameters()}


def test_the_strength_follows_the_published_schedule():
    for progress in (0.0, 0.25, 0.5, 1.0):
        expected = 2 / (1 + math.exp(-10 * progress)) - 1
        assert reversal_strength(progress) == pytest.approx(expected, abs=1e-12)
    assert reversal_strength(3.0) == reversal_strength(1.0)
    assert reversal_strength(1.0, gamma=0.0) == 0


def test_the_backbone_gets_the_classifiers_gradient_times_minus_lambda():
    batch = make_batch()
    method = adversarial(weight=0.7)
    for _ in range(4):
        method.after_step()
    found = gradients(method, batch)
    alone = gradients(plain(), batch)

    # the classifier's loss, without reversal, by plain means
    reference = adversarial()
    features = reference.model.backbone(reference.model.normalize(batch['image'])).maps[3]
    logits = reference.classifier(features)
    target = batch['domain'][:, None, None].expand(4, 2, 2)
    loss = F.cross_entropy(logits, target)
    loss.backward()
    assert method.losses(batch)['loss_domain'].item() == pytest.approx(0.7 * loss.item(), rel=1e-6)

    strength = reversal_strength(0.4)
    stem = alone['model.backbone.stem.weight']
    forward = reference.model.backbone.stem.weight.grad
    expected = stem - strength * 0.7 * forward
    assert torch.allclose(found['method.model.backbone.stem.weight'], expected, atol=1e-7)
    assert (expected - stem).abs().max() > 1e-4
    for name, p in reference.classifier.named_parameters():
        assert torch.allclose(found[f'classifier.{name}'], 0.7 * p.grad, atol=1e-7)


@pytest.mark.parametrize('options', [{}, {'weight': 0.0}])
def test_at_the_first_step_and_with_weight_0_the_model_learns_as_without_it(options):
    batch = make_batch()
    method = adversarial(**options)
    if options:
        method.after_step()
    found, alone = gradients(method, batch), gradients(plain(), batch)
    for name, gradient in alone.items():
        assert torch.equal(found[f'method.{name}'], gradient)


def test_the_classifier_learns_and_the_features_hide_the_domain():
    batch = make_batch(8)
    batch['image'][batch['domain'] == 1] *= 0.5  # one domain is darker
    method = adversarial(gamma=0.0)  # λ = 0: the classifier alone
    optimizer = torch.optim.SGD(method.classifier.parameters(), lr=0.5)
    losses = []
    for _ in range(30):
        loss = method.losses(batch)['loss_domain']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    method.gamma, method.step = 10.0, torch.tensor(10)
    optimizer = torch.optim.SGD(method.model.backbone.parameters(), lr=0.02)
    before = method.losses(batch)['loss_domain']
    before.backward()
    optimizer.step()
    assert method.losses(batch)['loss_domain'].item() > 1.01 * before.item()


def test_the_step_and_the_domains_seen_are_saved():
    method = adversarial()
    method.losses(make_batch(3))
    method.after_step()
    state = method.state_dict()
    assert int(state['step']) == 1
    assert state['seen.images'].tolist() == [2, 1]
    assert {roles(method)[name] for name in ('step', 'seen.images', 'classifier.0.weight')} == {
        'trains'
    }


def test_a_single_domain_is_refused():
    with pytest.raises(ConfigError, match='num_domains=1: expected at least 2'):
        DomainAdversarial(plain(), num_domains=1, total_steps=10)
    method = adversarial()
    batch = make_batch(1, 32, domains=1)
    for _ in range(100):
        method.losses(batch)
    with pytest.raises(ConfigError, match='are of domain 0: DomainAdversarial needs several'):
        method.losses(batch)
    with pytest.raises(ConfigError, match='total_steps=0'):
        DomainAdversarial(plain(), num_domains=2, total_steps=0)


def test_a_frozen_backbone_is_refused():
    method = plain()
    method.model.backbone.requires_grad_(False)
    with pytest.raises(ConfigError, match='is frozen, so it cannot learn to mislead'):
        DomainAdversarial(method, num_domains=2, total_steps=10)
