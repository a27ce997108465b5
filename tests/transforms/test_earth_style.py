import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from crossearth.errors import CheckpointError, ConfigError, SceneError
from crossearth.transforms import EarthStyle, StyleImageFolder, StyleMoments, style_distance
from tests.rounding import rounding_error

DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))
PARITY = DATA.parent / 'parity'


class Colours(nn.Module):
    """Means and deviations of the bands: a style that can be computed by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = 0

    def forward(self, image: Tensor) -> Tensor:
        self.seen += len(image)
        return torch.cat([image.mean((2, 3)), image.std((2, 3))], 1) * self.weight


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of different sizes and kinds, in subfolders."""
    generator = np.random.default_rng(0)
    root = tmp_path / 'field'
    for index in range(23):
        height, width = generator.integers(20, 60, 2)
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        suffix = ('png', 'jpg', 'webp', 'tif')[index % 4]
        path = root / f'part{index % 2}' / f'{index:03d}.{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (root / 'readme.txt').write_text('not a picture')
    return root


def embedded(folder: Path, side: int) -> np.ndarray:
    images = StyleImageFolder(folder, side_px=side)
    stacked = torch.stack([images[index] for index in range(len(images))]) / 255
    with torch.no_grad():
        return Colours()(stacked).double().numpy()


@given(st.lists(st.integers(1, 9), min_size=2, max_size=8), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_moments_of_batches_are_those_of_all_at_once(sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    batches = [torch.randn(size, 4, generator=generator) + 100 for size in sizes]
    moments = StyleMoments.empty(4)
    for batch in batches:
        moments.update(batch)
    together = torch.cat(batches).double().numpy()
    assert moments.count == sum(sizes)
    # a mean is a sum over all; each of the two compared, and each update rounds four times
    roundings = 2 * sum(sizes) + 4 * len(sizes)
    off = rounding_error(roundings, float(np.abs(together).max()), torch.float64)
    assert np.allclose(moments.mean, together.mean(0), rtol=0, atol=off)
    # means that are off shift every factor of the products, which are rounded and summed as well
    largest = float(np.abs(together - together.mean(0)).max())
    atol = 2 * (2 * largest * off + rounding_error(roundings, largest**2, torch.float64))
    assert np.allclose(moments.covariance, np.cov(together.T), rtol=0, atol=atol)


def test_moments_stay_exact_far_from_zero() -> None:
    near, far = StyleMoments.empty(3), StyleMoments.empty(3)
    for seed in range(50):
        batch = torch.randn(20, 3, generator=torch.Generator().manual_seed(seed)).double()
        near.update(batch)
        far.update(batch + 1e7)  # a sum of squares would have lost every digit
    assert torch.allclose(near.covariance, far.covariance, atol=1e-7)


def test_a_folder_is_fitted_to_the_mean_and_covariance_of_its_pictures(folder: Path) -> None:
    style = EarthStyle.fit(folder, Colours(), batch_size=5)
    expected = embedded(folder, 256)
    assert np.allclose(style.mean, expected.mean(0), atol=1e-6)
    assert np.allclose(style.covariance, np.cov(expected.T), atol=1e-8)
    assert style.provenance['source'] == 'field'
    assert style.provenance['num_images'] == '23'
    assert style.provenance['predictor'].startswith('Colours:')


def test_datasets_and_batches_of_any_type_are_fitted_alike(folder: Path) -> None:
    images = StyleImageFolder(folder, side_px=32)

    class Samples(Dataset[dict[str, Tensor]]):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            return {'image': images[index].float() / 255}

    stacked = torch.stack([images[index] for index in range(len(images))])
    expected = EarthStyle.fit(images, Colours())

    class Stream(IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            yield from stacked.split(5)

    parts = ({'image': part} for part in stacked.split(4))
    for source in (Samples(), Stream(), stacked.split(7), parts):
        style = EarthStyle.fit(source, Colours(), batch_size=3)
        assert torch.allclose(style.mean, expected.mean, atol=1e-7)
        assert torch.allclose(style.covariance, expected.covariance, atol=1e-9)
        assert style.provenance['source'] == 'unnamed'


class Interrupted(Colours):
    """Stops like a machine that is switched off."""

    def forward(self, image: Tensor) -> Tensor:
        if self.seen >= 12:
            raise KeyboardInterrupt
        return super().forward(image)


Interrupted.__name__ = Colours.__name__


def test_an_interrupted_fit_resumes_to_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, checkpoint = StyleImageFolder(folder, side_px=32), tmp_path / 'seen.safetensors'
    expected = EarthStyle.fit(images, Colours(), batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        EarthStyle.fit(
            images, Interrupted(), batch_size=4, checkpoint=checkpoint, checkpoint_every=1
        )
    read: list[int] = []
    whole = StyleImageFolder.__getitem__
    monkeypatch.setattr(
        StyleImageFolder,
        '__getitem__',
        lambda self, index: read.append(index) or whole(self, index),
    )
    predictor = Colours()
    style = EarthStyle.fit(images, predictor, batch_size=4, checkpoint=checkpoint)
    assert predictor.seen == 23 - 12
    assert read == list(range(12, 23))
    assert torch.equal(style.mean, expected.mean)
    assert torch.equal(style.covariance, expected.covariance)


def test_batches_that_were_seen_are_skipped_on_resuming(folder: Path, tmp_path: Path) -> None:
    images, checkpoint = StyleImageFolder(folder, side_px=32), tmp_path / 'seen.safetensors'
    stacked = torch.stack([images[index] for index in range(len(images))])
    EarthStyle.fit(iter(stacked[:10].split(4)), Colours(), checkpoint=checkpoint)
    predictor = Colours()
    other_batches = iter([stacked[:7], stacked[7:]])
    with pytest.raises(CheckpointError, match='was begun with another source: remove it'):
        EarthStyle.fit(other_batches, predictor, checkpoint=checkpoint, source='other')
    with pytest.raises(CheckpointError, match='was begun with another images: remove it'):
        EarthStyle.fit(images, predictor, checkpoint=checkpoint, source='unnamed')
    style = EarthStyle.fit(other_batches, predictor, checkpoint=checkpoint)
    assert predictor.seen == 23 - 10
    assert torch.allclose(style.mean, EarthStyle.fit(images, Colours()).mean, atol=1e-9)


def test_a_checkpoint_of_another_predictor_is_refused(folder: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / 'seen.safetensors'
    EarthStyle.fit(folder, Colours(), checkpoint=checkpoint)
    other = Colours()
    nn.init.constant_(other.weight, 2.0)
    with pytest.raises(CheckpointError, match='was begun with another predictor: remove it'):
        EarthStyle.fit(folder, other, checkpoint=checkpoint)
    save_file({'x': torch.zeros(1)}, checkpoint)
    with pytest.raises(CheckpointError, match='holds no moments of styles'):
        EarthStyle.fit(folder, other, checkpoint=checkpoint)


def test_a_damaged_picture_may_be_removed_before_resuming(folder: Path, tmp_path: Path) -> None:
    checkpoint, options = tmp_path / 'seen.safetensors', {'batch_size': 4}
    damaged = StyleImageFolder(folder).paths[14]
    damaged.write_bytes(damaged.read_bytes()[:70])
    with pytest.raises(SceneError, match='is damaged'):
        EarthStyle.fit(folder, Colours(), checkpoint=checkpoint, **options)
    damaged.unlink()
    predictor = Colours()
    style = EarthStyle.fit(folder, predictor, checkpoint=checkpoint, **options)
    assert predictor.seen == 22 - 12
    expected = EarthStyle.fit(folder, Colours(), **options)
    assert torch.allclose(style.covariance, expected.covariance, rtol=0, atol=1e-12)
    StyleImageFolder(folder).paths[3].unlink()  # one that was counted
    with pytest.raises(CheckpointError, match='was begun with another images: remove it'):
        EarthStyle.fit(folder, Colours(), checkpoint=checkpoint, **options)


def test_moments_never_hold_half_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = StyleMoments.empty(2)
    moments.update(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
    scatter, mean = moments.scatter, moments.mean
    multiplied = Tensor.__mul__

    def interrupted(self: Tensor, other: object) -> Tensor:
        if self.shape == (2,):  # the step of the mean
            raise KeyboardInterrupt
        return multiplied(self, other)

    monkeypatch.setattr(Tensor, '__mul__', interrupted)
    with pytest.raises(KeyboardInterrupt):
        moments.update(torch.tensor([[5.0, 6.0]]))
    assert moments.count == 2
    assert moments.scatter is scatter
    assert moments.mean is mean


def test_one_image_has_no_covariance() -> None:
    with pytest.raises(ConfigError, match=r'has 1 image\(s\): expected at least two'):
        EarthStyle.fit([torch.rand(1, 3, 8, 8)], Colours())
    with pytest.raises(ConfigError, match=r'has 0 image\(s\): expected at least two'):
        EarthStyle.fit([], Colours())
    with pytest.raises(ConfigError, match='batch_size=0: expected at least 1'):
        EarthStyle.fit([], Colours(), batch_size=0)


def test_images_without_a_batch_dimension_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'expected batches \(b, 3, h, w\)'):
        EarthStyle.fit([torch.rand(3, 8, 8)], Colours())


def some_style() -> EarthStyle:
    root = torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double()
    return EarthStyle(torch.arange(5.0).double(), root @ root.T, {'source': 'here'})


def test_full_samples_have_the_mean_and_covariance_that_were_fitted() -> None:
    style = some_style()
    samples = style.sample(40_000, generator=torch.Generator().manual_seed(1)).double()
    scale = style.covariance.diagonal().sqrt()
    assert ((samples.mean(0) - style.mean) / scale).abs().max() < 0.02
    error = (torch.cov(samples.T) - style.covariance) / torch.outer(scale, scale)
    assert error.abs().max() < 0.03


def test_diagonal_samples_have_the_singular_values_as_variances() -> None:
    style = some_style()
    samples = style.sample(
        40_000, generator=torch.Generator().manual_seed(1), covariance='diagonal'
    ).double()
    values = torch.linalg.svdvals(style.covariance)
    assert (samples.var(0) / values - 1).abs().max() < 0.03
    correlation = torch.corrcoef(samples.T) - torch.eye(5)
    assert correlation.abs().max() < 0.03


def test_samples_repeat_with_their_generator_and_with_the_global_seed() -> None:
    style = some_style()
    first = style.sample(3, generator=torch.Generator().manual_seed(2))
    assert torch.equal(first, style.sample(3, generator=torch.Generator().manual_seed(2)))
    torch.manual_seed(2)
    assert torch.equal(first, style.sample(3))
    assert first.dtype == torch.float32


def test_signs_of_singular_vectors_do_not_decide_what_a_seed_means(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = some_style().sample(3, generator=torch.Generator().manual_seed(2))
    svd = torch.linalg.svd

    def other_build(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        vectors, values, rows = svd(matrix)
        signs = torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0]).double()
        return vectors * signs, values, rows * signs[:, None]

    monkeypatch.setattr(torch.linalg, 'svd', other_build)
    assert torch.allclose(
        some_style().sample(3, generator=torch.Generator().manual_seed(2)), first, atol=1e-6
    )


@pytest.mark.skipif(not PARITY.exists(), reason='the reference outputs are not at hand')
def test_samples_are_the_recorded_ones_up_to_signs_of_singular_vectors() -> None:
    recorded = load_file(PARITY / 'style.safetensors')
    moments = torch.load(
        DATA / 'weights/style/jackson_checkpoint_embeddings.pth', weights_only=True
    )
    style = EarthStyle(moments['pbn_embedding_mean'], moments['pbn_embedding_covariance'])
    vectors, values = style._factors
    white = (recorded['sampled'].double() - style.mean) @ vectors / values.sqrt()
    assert (white.abs() - recorded['z'].abs()).abs().max() < 1e-4


def test_a_style_survives_a_file_with_its_provenance(tmp_path: Path) -> None:
    style = some_style()
    style.save(tmp_path / 'style.safetensors')
    read = EarthStyle.load(tmp_path / 'style.safetensors')
    assert torch.equal(read.mean, style.mean)
    assert torch.equal(read.covariance, style.covariance)
    assert read.provenance == {'source': 'here'}
    assert [path.name for path in tmp_path.iterdir()] == ['style.safetensors']


def test_files_that_are_no_style_are_refused(tmp_path: Path) -> None:
    path = tmp_path / 'x.safetensors'
    with pytest.raises(CheckpointError, match=r'x\.safetensors is not there'):
        EarthStyle.load(path)
    path.write_bytes(b'nonsense')
    with pytest.raises(CheckpointError, match=r'damaged or not a safetensors file'):
        EarthStyle.load(path)
    save_file({'weight': torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"holds \['weight'\], which is not a distribution"):
        EarthStyle.load(path)


def test_tampered_files_are_refused(tmp_path: Path) -> None:
    path, style = tmp_path / 'x.safetensors', some_style()
    style.save(path)
    with safe_open(path, framework='pt') as file:
        metadata = file.metadata()
    tensors = {'mean': style.mean, 'covariance': style.covariance}
    save_file({**tensors, 'covariance': -style.covariance}, path, metadata)
    with pytest.raises(CheckpointError, match=r'x\.safetensors is damaged: the covariance is not'):
        EarthStyle.load(path)
    for provenance in ('[1]', '{"source": 3}', '"text"'):
        save_file(tensors, path, {'crossearth': provenance})
        with pytest.raises(CheckpointError, match='its provenance is not text'):
            EarthStyle.load(path)


@pytest.mark.parametrize(('count', 'side'), [('many', 6), ('-3', 6), ('4', 5)])
def test_tampered_checkpoints_are_refused(
    folder: Path, tmp_path: Path, count: str, side: int
) -> None:
    checkpoint = tmp_path / 'seen.safetensors'
    moments = {'mean': torch.zeros(6), 'scatter': torch.zeros(6, side)}
    save_file(moments, checkpoint, {'crossearth': json.dumps({'count': count})})
    with pytest.raises(CheckpointError, match='holds no moments of styles'):
        EarthStyle.fit(folder, Colours(), checkpoint=checkpoint)


@pytest.mark.parametrize(
    ('mean', 'covariance', 'message'),
    [
        (torch.zeros(2), torch.zeros(3, 3), r'mean is \(2,\) and covariance \(3, 3\)'),
        (torch.zeros(2), torch.full((2, 2), torch.nan), 'is not finite: fit at least two images'),
        (torch.zeros(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]]), 'is not symmetric, or has'),
        (torch.zeros(2), torch.diag(torch.tensor([1.0, -0.5])), 'negative variances: pass the'),
    ],
)
def test_moments_that_make_no_distribution_are_refused(
    mean: Tensor, covariance: Tensor, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        EarthStyle(mean, covariance)


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_style().save(tmp_path / 'style.safetensors')
    before = (tmp_path / 'style.safetensors').read_bytes()

    def full_disk(self: Path, target: Path) -> Iterator[None]:
        raise OSError('No space left on device')

    monkeypatch.setattr(Path, 'replace', full_disk)
    with pytest.raises(OSError, match='No space left'):
        EarthStyle(torch.ones(5), torch.eye(5)).save(tmp_path / 'style.safetensors')
    assert [path.name for path in tmp_path.iterdir()] == ['style.safetensors']
    assert (tmp_path / 'style.safetensors').read_bytes() == before


def test_the_distance_of_styles_is_that_of_their_normal_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(2, 4, 4, generator=generator).double()
    means = torch.randn(2, 4, generator=generator).double()
    covariances = roots @ roots.mT
    one, two = (EarthStyle(m, c) for m, c in zip(means, covariances, strict=True))
    cross = sqrtm((covariances[0] @ covariances[1]).numpy()).real
    expected = float((means[0] - means[1]).square().sum()) + np.trace(
        (covariances[0] + covariances[1]).numpy() - 2 * cross
    )
    assert style_distance(one, two) == pytest.approx(expected**0.5, rel=1e-9)
    assert style_distance(two, one) == pytest.approx(expected**0.5, rel=1e-9)
    assert style_distance(one, one) == pytest.approx(0, abs=1e-6)


def test_styles_of_different_dimensions_have_no_distance() -> None:
    with pytest.raises(ConfigError, match='have 5 and 2 dimensions: fit both with the same'):
        style_distance(some_style(), EarthStyle(torch.zeros(2), torch.eye(2)))
