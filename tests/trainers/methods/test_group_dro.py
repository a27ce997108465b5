import numpy as np
import pytest
import torch

from crossearth.errors import ConfigError
from crossearth.models import MixStyle, adapted_fpn
from crossearth.trainers.methods import (
    Attached,
    DomainAdversarial,
    FisherGating,
    GroupDRO,
    SourceOnly,
    roles,
)
from crossearth.trainers.methods.group_dro import raised_weights
from tests.trainers.methods.small import THREE, make_batch, plain


def group_losses(method, batch, groups):
    return [
        sum(
            value.item()
            for value in method.losses(
                {key: value[batch['domain'] == g] for key, value in batch.items()}
            ).values()
        )
        for g in range(groups)
    ]


def test_weights_and_terms_follow_the_algorithm_over_several_batches():
    method = GroupDRO(plain(), num_domains=3, step_size=0.5)
    q = np.full(3, 1 / 3)
    for _ in range(3):
        batch = make_batch(6, 32, domains=3)
        batch['image'][batch['domain'] == 2] = 0
        each = np.array(group_losses(plain(), batch, 3))
        q = q * np.exp(0.5 * each)
        q /= q.sum()
        found = method.losses(batch)
        assert sum(found.values()).item() == pytest.approx((q * each).sum(), rel=1e-5)
        assert method.q.numpy() == pytest.approx(q, rel=1e-5)
    assert set(found) == {'loss_ce', 'loss_dice'}


def test_a_domain_without_an_image_adds_nothing_and_loses_weight():
    method = GroupDRO(plain(), num_domains=2, step_size=0.5)
    batch = make_batch(2, 32, domains=1)
    alone = sum(plain().losses(batch).values()).item()
    weight = np.exp(0.5 * alone) / (np.exp(0.5 * alone) + 1)
    found = sum(method.losses(batch).values()).item()
    assert found == pytest.approx(weight * alone, rel=1e-5)
    assert method.q[1].item() == pytest.approx(1 - weight, rel=1e-5)


def test_one_domain_alone_has_the_losses_of_the_method_inside():
    batch = make_batch(2, 32, domains=1)
    found, expected = GroupDRO(plain(), num_domains=1).losses(batch), plain().losses(batch)
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in expected.items()}


def test_step_size_0_and_eval_mode_leave_the_weights_equal():
    batch = make_batch(4, 32)
    still, evaluated = (
        GroupDRO(plain(), num_domains=2, step_size=0.0),
        GroupDRO(plain(), num_domains=2, step_size=1.0),
    )
    still.losses(batch)
    evaluated.eval().losses(batch)
    assert still.q.tolist() == pytest.approx([0.5, 0.5], abs=1e-15)
    assert evaluated.q.tolist() == [0.5, 0.5]


def test_training_raises_the_worst_domain_more_than_the_average_does():
    torch.manual_seed(0)
    batch = make_batch(6, 32, domains=1)
    batch['domain'] = torch.tensor([0, 0, 0, 0, 0, 1])
    worst = {}
    for step_size in (0.0, 0.5):
        method = GroupDRO(plain(), num_domains=2, step_size=step_size)
        optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
        for _ in range(60):
            loss = torch.stack(list(method.losses(batch).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        worst[step_size] = max(group_losses(method.method, batch, 2))
    assert worst[0.5] < worst[0.0]


def test_large_losses_do_not_overflow_and_broken_ones_change_nothing():
    q = torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert raised_weights(q, torch.tensor([1e6, 0.0]).double(), 1.0).tolist() == [1, 0]
    assert raised_weights(q, torch.tensor([torch.nan, 0.0]).double(), 1.0) is q


def test_the_weights_are_saved():
    method = GroupDRO(plain(), num_domains=2, step_size=1.0)
    method.losses(make_batch(4, 32))
    other = GroupDRO(plain(), num_domains=2)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.q, method.q)
    assert roles(method)['q'] == 'trains'


def test_what_it_cannot_weigh_is_refused():
    with pytest.raises(ConfigError, match='num_domains=0'):
        GroupDRO(plain(), num_domains=0)
    with pytest.raises(ConfigError, match='MixStyle could not mix domains'):
        GroupDRO(Attached(plain(), 'backbone.stem', MixStyle()), num_domains=2)
    model = adapted_fpn('test_vit', 'gate', num_classes=3, img_size=32, rank=2, width=4)
    gated = FisherGating(SourceOnly(model, THREE), top=5)
    with pytest.raises(ConfigError, match='would measure the first domain alone'):
        GroupDRO(gated, num_domains=2)
    FisherGating(GroupDRO(SourceOnly(model, THREE), num_domains=2), top=5).train().losses(
        make_batch(4, 32)
    )
    method = GroupDRO(plain(), num_domains=2)
    with pytest.raises(ConfigError, match='leave the target out'):
        method.losses({**make_batch(2, 32), 'target_image': torch.rand(1, 3, 32, 32)})
    outside = DomainAdversarial(method, num_domains=2, total_steps=9, width=4)
    with pytest.raises(ConfigError, match='GroupDRO must be the outermost one'):
        outside.losses(make_batch(4, 32))
