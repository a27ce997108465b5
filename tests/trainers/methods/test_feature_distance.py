import numpy as np
import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError, DataWarning, LabelError
from crossearth.trainers import SelfTraining
from crossearth.trainers.methods import FeatureDistance, roles
from crossearth.trainers.methods.feature_distance import filled_places
from tests.trainers.methods.small import THREE, make_batch, plain


def moved(**options):
    """A method whose backbone has left its pretrained weights."""
    method = FeatureDistance(plain(), **options)
    with torch.no_grad():
        method.model.backbone.stem.weight += torch.linspace(-0.3, 0.5, 12).view(4, 3, 1, 1)
    return method


def plain_distance(method, batch, *, things, ratio):
    """Place by place, in loops; side 32 px of the coarsest map."""
    normal = method.model.normalize(batch['image'])
    with torch.no_grad():
        now = method.model.backbone(normal).maps[3].numpy()
        then = plain().model.backbone(normal).maps[3].numpy()
    mask = batch['mask'].numpy()
    total = count = 0
    for b, row, col in np.ndindex(len(mask), *now.shape[2:]):
        part = mask[b, 32 * row : 32 * row + 32, 32 * col : 32 * col + 32]
        if any((part == thing).sum() / 1024 > ratio for thing in things):
            total += np.sqrt(((now[b, :, row, col] - then[b, :, row, col]) ** 2).sum())
            count += 1
    return total / max(count, 1), count


@pytest.mark.parametrize(
    ('things', 'ids', 'ratio'), [(None, (0, 1, 2), 0.6), (('house', 'tree'), (1, 2), 0.6)]
)
def test_the_term_is_the_mean_distance_over_places_of_the_classes(things, ids, ratio):
    batch = make_batch(6, 96)
    method = moved(things=things, weight=0.3, ratio=ratio)
    expected, count = plain_distance(method, batch, things=ids, ratio=ratio)
    assert 3 < count < 50
    found = method.losses(batch)
    assert found['loss_fd'].item() == pytest.approx(0.3 * expected, rel=1e-5)
    alone = method.method.losses(batch)
    assert all(torch.equal(found[name], value) for name, value in alone.items())


def test_around_a_self_training_it_looks_at_the_source_images():
    inside = plain()
    method = FeatureDistance(SelfTraining(inside.model, THREE), weight=0.3, ratio=0.6)
    with torch.no_grad():
        method.model.backbone.stem.weight += torch.linspace(-0.3, 0.5, 12).view(4, 3, 1, 1)
    batch = make_batch(6, 96)
    expected, _ = plain_distance(method, batch, things=(0, 1, 2), ratio=0.6)
    found = method.losses({**batch, 'target_image': torch.rand(6, 3, 96, 96)})
    assert found['loss_fd'].item() == pytest.approx(0.3 * expected, rel=1e-5)
    assert 'loss_target' in found


def test_images_that_are_padded_count_as_ignored_there():
    batch = make_batch(2, 64)
    smaller = {**batch, 'image': batch['image'][..., :50], 'mask': batch['mask'][..., :50]}
    smaller['mask'][:] = 1
    method = moved(ratio=0.6)
    places = [18 / 32 > 0.6, True]  # right column of the map has 18 px of 32, left all
    assert filled_places(
        torch.nn.functional.pad(smaller['mask'], (0, 14), value=255),
        (2, 2),
        classes=[1],
        ratio=0.6,
    )[0, 0].tolist() == [places[1], places[0]]
    with torch.no_grad():
        image = torch.nn.functional.pad(method.model.normalize(smaller['image']), (0, 14))
        apart = method.model.backbone(image).maps[3] - method.reference(image).maps[3]
    expected = apart[..., 0].norm(dim=1).mean().item()
    assert method.losses(smaller)['loss_fd'].item() == pytest.approx(0.005 * expected, rel=1e-5)


def test_before_the_first_step_the_term_is_0_and_its_gradient_finite():
    method = FeatureDistance(plain(), weight=1.0, ratio=0.0)
    loss = method.losses(make_batch())['loss_fd']
    assert loss.item() == 0
    loss.backward()
    assert method.model.backbone.stem.weight.grad.isfinite().all()


def test_it_pulls_the_features_back_and_weight_0_does_not():
    batch = make_batch()
    for weight in (1.0, 0.0):
        method = moved(weight=weight, ratio=0.0)
        distance = method.losses(batch)['loss_fd']
        stem, reference = method.model.backbone.stem, method.reference.stem.weight.clone()
        before = stem.weight.detach().clone()
        distance.backward()
        with torch.no_grad():
            stem.weight -= stem.weight.grad
        if weight:
            assert method.losses(batch)['loss_fd'] < 0.99 * distance
        else:
            assert torch.equal(stem.weight, before)
        assert torch.equal(method.reference.stem.weight, reference)


def test_nothing_but_ignored_pixels_gives_0():
    batch = make_batch()
    batch['mask'][:] = 255
    assert moved(ratio=0.0).losses(batch)['loss_fd'].item() == 0


def test_a_term_that_is_always_0_is_told_once(recwarn):
    thin = make_batch(2, 96)
    thin['mask'] = torch.zeros_like(thin['mask'])
    thin['mask'][:, ::32] = 1  # a line in every place
    method = moved(things=('house',), weight=1.0)
    for _ in range(49):
        assert method.losses(thin)['loss_fd'] == 0
    assert not recwarn.list
    with pytest.warns(DataWarning, match='50 batches house filled no place .*3 × 3 .* 0.75'):
        method.losses(thin)
    for _ in range(60):
        method.losses(thin)
    assert not recwarn.list


def test_a_place_that_is_filled_once_is_enough(recwarn):
    full, thin = make_batch(2, 96), make_batch(2, 96)
    thin['mask'], full['mask'] = torch.zeros_like(thin['mask']), torch.ones_like(full['mask'])
    method = moved(things=('house',), weight=1.0)
    assert method.losses(full)['loss_fd'] > 0
    for _ in range(60):
        method.losses(thin)
    assert not recwarn.list


def test_the_copy_counts_as_pretrained():
    found = roles(FeatureDistance(plain()))
    assert found['reference.stem.weight'] == 'pretrained'
    assert found['method.model.backbone.stem.weight'] == 'trains'


def test_arguments_without_a_meaning_are_refused():
    frozen = plain()
    frozen.model.backbone.requires_grad_(False)
    with pytest.raises(ConfigError, match='SmallBackbone is frozen'):
        FeatureDistance(frozen)
    with pytest.raises(LabelError, match="things has 'car': expected some of"):
        FeatureDistance(plain(), things=('car',))
    with pytest.raises(ConfigError, match='ratio=1'):
        FeatureDistance(plain(), ratio=1)
    without = plain()
    without.model = nn.Conv2d(3, 3, 1)
    with pytest.raises(ConfigError, match='Conv2d has no backbone'):
        FeatureDistance(without)
