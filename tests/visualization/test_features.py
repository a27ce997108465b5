"""Features as points and as colours: which points, where they are put, and what is refused."""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import ISPRS, LabelSpace
from crossearth.models import Features
from crossearth.visualization import (
    FeaturePoints,
    draw_feature_maps,
    draw_features,
    project_features,
    sample_features,
)
from crossearth.visualization.features import Projection

TWO = LabelSpace('two', ('a', 'b'), ((10, 20, 30), (200, 100, 0)))


class Means(nn.Module):
    """Features are the mean colours of cells, so that a test knows them."""

    def encode(self, image: Tensor) -> Features:
        assert not self.training
        down = [-image.shape[2] % 32, -image.shape[3] % 32]
        image = nn.functional.pad(image, (0, down[1], 0, down[0]))
        return Features(tuple(nn.functional.avg_pool2d(image, size) for size in (4, 8, 16, 32)))


def halves(height: int = 64, width: int = 64) -> dict[str, Tensor]:
    """Left half red and class 0, right half blue and class 1."""
    mask = torch.zeros(1, height, width, dtype=torch.int64)
    mask[:, :, width // 2 :] = 1
    image = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    image[:, 0], image[:, 2] = 255 * (1 - mask), 255 * mask
    return {'image': image, 'mask': mask}


@pytest.mark.parametrize('level', [0, 1, 2, 3, -1])
def test_each_point_has_the_class_of_the_ground_its_feature_saw(level: int) -> None:
    points = sample_features(Means().train(), [halves()], level=level, per_image=8)
    expected = np.array([[1, 0, 0], [0, 0, 1]], np.float32)[points.classes]
    np.testing.assert_array_equal(points.values, expected)


def test_points_are_chosen_with_equal_chances_per_class_and_never_twice() -> None:
    batch = halves(128, 128)
    batch['mask'][:] = 0
    batch['mask'][:, :32] = 1  # a quarter
    batch['image'][0, 0] = torch.arange(128 * 128).view(128, 128) % 251
    classes = sample_features(Means(), [batch], level=0, per_image=200).classes
    assert len(classes) == 200
    assert 80 < (classes == 1).sum() < 120  # a fair draw of 200 has a standard deviation of 7
    every = sample_features(Means(), [batch], level=0, per_image=10**6)
    assert len(every.classes) == 32 * 32
    assert (every.classes == 1).sum() == 8 * 32


def test_unlabelled_and_padded_cells_give_no_points() -> None:
    batch = halves(50, 50)  # padded to 64
    batch['mask'][:, :25] = 255
    found = sample_features(Means(), [batch], level=0, per_image=10**6)
    assert len(found.classes) == 6 * 12  # middles at 26, 30, … 46 and at 2, 6, … 46
    nothing = {**batch, 'mask': torch.full_like(batch['mask'], 255)}
    with pytest.raises(ConfigError, match='no labelled points'):
        sample_features(Means(), [nothing], level=0)


def test_the_seed_decides_the_points() -> None:
    batch = halves(128, 128)
    batch['image'] = torch.arange(128 * 128 * 3).remainder(256).view(1, 3, 128, 128).byte()
    first, again, other = (
        sample_features(Means(), [batch], level=0, per_image=20, seed=seed).values
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_principal_components_keep_the_distances_of_points_that_lie_in_a_plane() -> None:
    generator = np.random.default_rng(0)
    flat = generator.normal(size=(40, 2))
    turn, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    points = (flat @ turn[:2] + 3).astype(np.float32)
    here, there = project_features([points[:10], points[10:]])
    found = np.concatenate([here, there])

    def distances(rows: np.ndarray) -> np.ndarray:
        return np.linalg.norm(rows[:, None] - rows[None], axis=-1)

    np.testing.assert_allclose(distances(found), distances(flat), atol=1e-5)
    assert found[:, 0].var() >= found[:, 1].var()


def test_features_of_one_channel_lie_on_a_line() -> None:
    (found,) = project_features([np.array([[0.0], [1.0], [3.0]], np.float32)])
    assert np.ptp(found[:, 0]) == pytest.approx(3)
    assert not found[:, 1].any()


@pytest.mark.slow  # compiles UMAP's functions
def test_umap_keeps_two_clouds_apart_the_same_way_each_time() -> None:
    pytest.importorskip('umap')
    generator = np.random.default_rng(0)
    clouds = [generator.normal(size=(30, 8)) + shift for shift in (0, 50)]
    first, second = project_features(clouds, 'umap', seed=3)
    reach = max(np.ptp(first, axis=0).max(), np.ptp(second, axis=0).max())
    assert np.linalg.norm(first.mean(0) - second.mean(0)) > reach
    again = project_features(clouds, 'umap', seed=3)
    assert np.array_equal(first, again[0])


def test_without_umap_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'umap', None)
    with pytest.raises(ConfigError, match=r'crossearth\[viz\]'):
        project_features([np.eye(4, dtype=np.float32)], 'umap')


def test_points_have_the_colours_of_their_classes_or_of_their_group() -> None:
    values = np.eye(4, dtype=np.float32)
    groups = {
        'here': FeaturePoints(values, np.array([0, 0, 1, 1])),
        'there': FeaturePoints(values[:1], np.array([1])),
    }
    by_class = draw_features(groups, TWO).axes[0].collections
    assert (by_class[0].get_facecolors()[:, :3] * 255).round().tolist() == [
        *[[10, 20, 30]] * 2,
        *[[200, 100, 0]] * 2,
    ]
    assert len(by_class[0].get_paths()[0].vertices) != len(by_class[1].get_paths()[0].vertices)
    by_group = draw_features(groups, TWO, by='group')
    assert len(by_group.axes[0].collections[0].get_facecolors()) == 1
    assert [text.get_text() for text in by_group.legends[0].get_texts()] == ['here', 'there']


def test_feature_maps_share_their_colours() -> None:
    batch = halves()
    images = torch.cat([batch['image'], batch['image'].flip(3)])
    figure = draw_feature_maps(Means(), images, level=0, names=['one', 'mirrored'])
    above, mirrored_above, below, mirrored_below = figure.axes
    assert above.get_title() == 'one'
    np.testing.assert_array_equal(
        below.images[0].get_array(), mirrored_below.images[0].get_array()[:, ::-1]
    )
    colours = np.unique(np.asarray(below.images[0].get_array()).reshape(-1, 3), axis=0)
    assert len(colours) == 2  # one per half
    assert above.images[0].get_array().shape == (64, 64, 3)
    assert mirrored_above.get_title() == 'mirrored'


@pytest.mark.parametrize(
    ('call', 'error', 'match'),
    [
        (lambda: sample_features(Means(), [{'image': halves()['image']}]), ConfigError, 'no mask'),
        (lambda: sample_features(Means(), [halves()], per_image=0), ConfigError, 'at least 1'),
        (lambda: sample_features(Means(), [halves()], level=4), ShapeError, '4 maps'),
        (lambda: sample_features(nn.Identity(), [halves()]), ConfigError, 'no encode'),
        (lambda: project_features([np.eye(2, dtype=np.float32)]), ConfigError, '2 points'),
        (
            lambda: project_features([np.zeros((3, 2), np.float32), np.zeros((3, 1), np.float32)]),
            ShapeError,
            'channels',
        ),
        (lambda: project_features([np.full((4, 2), np.nan)]), ConfigError, 'not finite'),
        (lambda: draw_feature_maps(Means(), halves()['image'], names=['a', 'b']), ConfigError, '2'),
        (
            lambda: draw_features(
                {'a': FeaturePoints(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 3]))}, TWO
            ),
            ConfigError,
            'class 2',
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()


@pytest.mark.usefixtures('unchecked')
def test_an_unknown_word_is_refused() -> None:
    points = {'a': FeaturePoints(np.eye(4, dtype=np.float32), np.arange(4))}
    wrong: Projection = 'tsne'  # type: ignore[assignment]
    with pytest.raises(ConfigError, match='pca'):
        draw_features(points, ISPRS, method=wrong)
    with pytest.raises(ConfigError, match='group'):
        draw_features(points, ISPRS, by='domain')  # type: ignore[arg-type]
