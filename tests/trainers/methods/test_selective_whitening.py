import numpy as np
import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.trainers.methods import SelectiveWhitening, SourceOnly, roles
from crossearth.trainers.methods.selective_whitening import (
    instance_covariance,
    sensitive_pairs,
    whitening_loss,
)
from tests.trainers.methods.small import THREE, SmallBackbone, make_batch, plain


class Inverted(nn.Module):
    """A transform with a fixed outcome: the first band is turned around."""

    def forward(self, image):
        return torch.cat([1 - image[:, :1], image[:, 1:]], 1)


def whitening(**options):
    return SelectiveWhitening(
        plain(), **({'transform': Inverted(), 'measure_steps': 2, 'clusters': 2} | options)
    )


def test_covariances_are_correlations_of_channels():
    x = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    expected = np.stack([np.corrcoef(image.reshape(4, -1)) for image in x.numpy()])
    assert np.abs(instance_covariance(x).numpy() - expected).max() < 1e-4  # ε of the variance


def test_the_loss_is_the_mean_of_the_chosen_entries():
    x = torch.randn(2, 3, 8, 8)
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[0, 2] = mask[1, 2] = True
    found = [np.corrcoef(image.reshape(3, -1)) for image in x.numpy()]
    expected = np.mean([(abs(r[0, 2]) + abs(r[1, 2])) / 2 for r in found])
    assert whitening_loss(x, mask).item() == pytest.approx(expected, rel=1e-4)
    assert whitening_loss(x, torch.zeros_like(mask)).item() == 0


def test_pairs_are_grouped_as_an_exhaustive_search_would():
    generator = torch.Generator().manual_seed(0)
    variance = torch.rand(6, 6, generator=generator) * 0.05
    high = [(0, 3), (2, 5), (1, 2)]
    for row, col in high:
        variance[row, col] += 1
    chosen = sensitive_pairs(variance, clusters=2, kept=1)
    values = np.sort(variance[torch.ones(6, 6).triu(1).bool()].numpy())
    splits = [values[:i].var() * i + values[i:].var() * (15 - i) for i in range(1, 15)]
    assert np.argmin(splits) + 1 == 12
    assert sorted(map(tuple, chosen.nonzero().tolist())) == sorted(high)


def test_variances_are_measured_between_the_views_and_the_term_begins_afterwards():
    method, expected, found = whitening(weight=0.5), torch.zeros(4, 4), []
    for _ in range(2):
        batch = make_batch()
        with torch.no_grad():
            first = instance_covariance(method.model.encode(batch['image']).maps[0])
            second = instance_covariance(method.model.encode(Inverted()(batch['image'])).maps[0])
        expected += torch.stack([first, second]).var(0, correction=0).mean(0) / 2
        found.append(method.losses(batch)['loss_whitening'].item())
        method.after_step()
    assert found == [0, 0]
    assert torch.allclose(method.variance / method.measured, expected, atol=1e-6)
    assert torch.equal(method.mask, sensitive_pairs(expected, clusters=2, kept=1))
    assert 0 < method.mask.sum() < 6
    features = method.model.encode(batch['image']).maps[0]
    loss = method.losses(batch)['loss_whitening']
    assert loss.item() == pytest.approx(
        0.5 * whitening_loss(features, method.mask).item(), rel=1e-6
    )
    assert int(method.measured) == 2


def test_a_model_of_ones_own_needs_a_backbone_and_nothing_else():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = SmallBackbone()
            self.head = nn.Conv2d(4, 3, 1)

        def forward(self, image):
            maps = self.backbone(image).maps
            return nn.functional.interpolate(self.head(maps[0]), image.shape[-2:])

    method = SelectiveWhitening(
        SourceOnly(Own(), THREE), transform=Inverted(), measure_steps=1, clusters=2
    ).train()
    method.losses(make_batch())
    method.after_step()
    assert method.mask.any()


def test_the_term_lowers_the_chosen_correlations():
    method, batch = whitening(weight=1.0), make_batch()
    for _ in range(2):
        method.losses(batch)
        method.after_step()
    optimizer = torch.optim.SGD(method.model.backbone.parameters(), lr=0.2)
    before = method.losses(batch)['loss_whitening'].item()
    for _ in range(20):
        loss = method.losses(batch)['loss_whitening']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7 * before


def test_measuring_leaves_modes_and_averages_and_weight_0_the_gradients_as_they_are():
    method = whitening(weight=0.0, measure_steps=1)
    norm = nn.BatchNorm2d(4)
    method.model.backbone.stem = nn.Sequential(method.model.backbone.stem, norm)
    frozen = method.model.decoder.eval()
    batch = make_batch()
    method.losses(batch)
    assert int(norm.num_batches_tracked) == 1
    assert norm.training
    assert not frozen.training
    method.after_step()
    method.zero_grad()
    method.losses(batch)['loss_whitening'].backward()
    assert method.mask.any()
    assert not any(p.grad.any() for p in method.model.backbone.parameters())


def test_what_was_measured_is_saved():
    method, other = whitening(), whitening()
    for _ in range(2):
        method.losses(make_batch())
        method.after_step()
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.mask, method.mask)
    assert {roles(method)[name] for name in ('step', 'variance', 'measured', 'mask')} == {'trains'}


def test_arguments_without_a_meaning_are_refused():
    with pytest.raises(ConfigError, match='clusters=2, kept=2: expected'):
        whitening(kept=2)
    frozen = plain()
    frozen.model.backbone.requires_grad_(False)
    with pytest.raises(ConfigError, match='SmallBackbone is frozen'):
        SelectiveWhitening(frozen, transform=Inverted())
