"""The distribution of styles in a set of images: mean and covariance of style embeddings."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from crossearth.describing import arguments_of
from crossearth.errors import CheckpointError, ConfigError
from crossearth.progress import progress_bar
from crossearth.radiometry import to_unit
from crossearth.tensor_files import write_tensors
from crossearth.transforms.style_images import StyleImageFolder

__all__ = [
    'EarthStyle',
    'StyleMoments',
    'module_fingerprint',
    'require_covariance',
    'style_distance',
]

_FORMAT = 'crossearth.earth_style.1'


@dataclass(slots=True)
class StyleMoments:
    """Count, mean and scatter of embeddings seen so far, updated batch by batch.

    Args:
        count: Number of embeddings.
        mean: Mean of the embeddings, float64.
        scatter: Sum of the outer products of their deviations from the mean, float64.

    Source:
        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
        variances", 1979. It avoids differences of large sums, however many embeddings there are.

    Example:
        >>> moments = StyleMoments.empty(2)
        >>> moments.update(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        >>> moments.update(torch.tensor([[5.0, 6.0]]))
        >>> moments.mean, moments.covariance
        (tensor([3., 2.], dtype=torch.float64),
         tensor([[ 4.,  6.], [ 6., 12.]], dtype=torch.float64))
    """

    count: int
    mean: Float64[Tensor, ' d']
    scatter: Float64[Tensor, 'd d']

    @classmethod
    def empty(cls, dim: int) -> 'StyleMoments':
        """Moments before the first embedding."""
        return cls(
            0, torch.zeros(dim, dtype=torch.float64), torch.zeros(dim, dim, dtype=torch.float64)
        )

    def update(self, embeddings: Float[Tensor, 'n d']) -> None:
        """Add a batch."""
        batch = embeddings.detach().to('cpu', torch.float64)
        if not len(batch):
            return
        batch_mean = batch.mean(0)
        deviations = batch - batch_mean
        shift = batch_mean - self.mean
        total = self.count + len(batch)
        scatter = (
            self.scatter
            + deviations.T @ deviations
            + torch.outer(shift, shift) * (self.count * len(batch) / total)
        )
        mean = self.mean + shift * (len(batch) / total)
        # assigned together, so that an interrupted fit never keeps half of a batch
        self.count, self.mean, self.scatter = total, mean, scatter

    @property
    def covariance(self) -> Float64[Tensor, 'd d']:
        """Unbiased covariance; NaN for fewer than two embeddings."""
        # A computed product with the own transpose need not be symmetric to the last bit.
        scatter = (self.scatter + self.scatter.T) / 2
        return scatter / (self.count - 1) if self.count > 1 else torch.full_like(scatter, torch.nan)


@dataclass(frozen=True, eq=False)
class EarthStyle:
    """A normal distribution of style embeddings, fitted to a set of images.

    Args:
        mean: Mean embedding, (d,).
        covariance: Covariance, (d,d), symmetric.
        provenance: Where it comes from: `source`, `num_images`, `predictor` (the class and a
            fingerprint of its weights), and optionally more strings.

    Raises:
        ConfigError: If the shapes do not fit, values are not finite, or the covariance is invalid.

    Source:
        Eqs. 1 and 2. The paper fits it to Million-AID and does not publish the statistics. Any
        folder of images can be used.

    Example:
        >>> style = EarthStyle(torch.zeros(2), torch.tensor([[4.0, 0.0], [0.0, 1.0]]))
        >>> generator = torch.Generator().manual_seed(0)
        >>> samples = style.sample(20_000, generator=generator)
        >>> [round(float(deviation), 1) for deviation in samples.std(0)]
        [2.0, 1.0]
    """

    mean: Float[Tensor, ' d']
    covariance: Float[Tensor, 'k l']
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({arguments_of(self)}: {len(self.mean)} dimensions)'

    def __post_init__(self) -> None:
        dim = len(self.mean) if self.mean.ndim == 1 else 0
        if not dim or tuple(self.covariance.shape) != (dim, dim):
            raise ConfigError(
                f'mean is {tuple(self.mean.shape)} and covariance '
                f'{tuple(self.covariance.shape)}: expected (d,) and (d, d)'
            )
        if not (self.mean.isfinite().all() and self.covariance.isfinite().all()):
            raise ConfigError('mean or covariance is not finite: fit at least two images')
        matrix = self.covariance.double().cpu()
        slack = 1e-5 * float(matrix.abs().max())  # for moments that were stored in float32
        if (matrix - matrix.T).abs().max() > slack or torch.linalg.eigvalsh(matrix)[0] < -slack:
            raise ConfigError(
                'the covariance is not symmetric, or has negative variances: pass the result of '
                'EarthStyle.fit or torch.cov'
            )

    @cached_property
    def _factors(self) -> tuple[Float64[Tensor, 'd d'], Float64[Tensor, ' d']]:
        """Singular vectors U, with defined signs, and singular values S of the covariance."""
        vectors, values, _ = torch.linalg.svd(self.covariance.double().cpu())
        # LAPACK builds differ in the signs, and with other signs a seed would mean other styles.
        largest = vectors.abs().argmax(0, keepdim=True)
        return vectors * vectors.gather(0, largest).sign(), values

    def sample(
        self,
        num_samples: int,
        *,
        generator: torch.Generator | None = None,
        covariance: Literal['full', 'diagonal'] = 'full',
    ) -> Float[Tensor, 'n d']:
        """Embeddings drawn from the distribution.

        Args:
            num_samples: Number of embeddings.
            generator: Source of the draws; None for torch's global one.
            covariance: `'full'` gives mean + U√S z with the singular vectors and values of the
                covariance, so that samples have the fitted covariance. `'diagonal'` gives
                mean + √S z, with the singular values as variances of independent coordinates.

        Returns:
            float32, on the CPU or the generator's device.

        Raises:
            ConfigError: If `covariance` is neither.

        Source:
            Eq. 2, N(Mean, Diag(SVD(Covariance))), can be read either way. The style networks' own
            authors sample as `'full'` does (arXiv 1809.05375), which keeps samples within the
            styles of the images.
        """
        require_covariance(covariance)
        device = torch.device('cpu') if generator is None else generator.device
        normal = torch.randn(num_samples, len(self.mean), generator=generator, device=device)
        vectors, values = self._factors
        spread = values.sqrt()
        if covariance == 'full':
            deviations = normal.double() @ (vectors * spread).T.to(device)
        else:
            deviations = normal.double() * spread.to(device)
        return (deviations + self.mean.double().to(device)).float()

    @classmethod
    def fit(
        cls,
        images: Path | str | Dataset[Any] | Iterable[Any],
        predictor: nn.Module,
        *,
        source: str | None = None,
        batch_size: int = 32,
        workers: int = 0,
        device: torch.device | str = 'cpu',
        checkpoint: Path | str | None = None,
        checkpoint_every: int = 100,
        progress: bool = False,
    ) -> 'EarthStyle':
        """Fit the distribution of the styles of images, in one pass.

        Args:
            images: A folder of pictures (see `StyleImageFolder`); a map-style dataset of images of
                one size; or an iterable of batches, such as a data loader. Items are (c,h,w),
                batches (b,c,h,w) with red, green, blue as `to_unit` takes them, or dictionaries
                that hold them under `'image'`.
            predictor: Style network, (b,3,h,w) in [0, 1] → (b,d). It is put into eval mode and
                moved to `device`.
            source: Name to record as the origin; the folder's name by default.
            batch_size: Images per batch, for a folder or dataset.
            workers: Worker processes that read a folder or dataset.
            device: Where the network runs.
            checkpoint: File that stores the moments so far. If it exists, the images counted in it
                are skipped (without reading them, for a folder or dataset), and the result is that
                of an uninterrupted run. Pictures of a folder that were not yet counted may be
                repaired, removed or added in between.
            checkpoint_every: Number of batches between two writes of the checkpoint. It is also
                written at the end, and when an error or the user stops the run.
            progress: Whether to show a progress bar.

        Raises:
            ConfigError: If there are fewer than two images, or the batch size is below 1.
            CheckpointError: If the checkpoint belongs to other images or another predictor.
            SceneError: If a file of a folder cannot be read.
            SceneNotFoundError: If a folder is empty or does not exist.
        """
        if batch_size < 1:
            raise ConfigError(f'batch_size={batch_size}: expected at least 1')
        if isinstance(images, (str, Path)):
            images = StyleImageFolder(images)
        if source is None:
            source = images.folder.name if isinstance(images, StyleImageFolder) else 'unnamed'
        predictor = predictor.eval().to(device)
        provenance = {
            'format': _FORMAT,
            'source': source,
            'predictor': f'{type(predictor).__name__}:{module_fingerprint(predictor)}',
        }
        listing = _listing(images)
        path = None if checkpoint is None else Path(checkpoint)
        moments = None
        if path is not None and path.exists():
            moments = _resume(path, provenance, listing)
        skip = 0 if moments is None else moments.count
        batches, total = _batches(images, skip, batch_size, workers)
        bar = progress_bar(total=total, initial=skip, unit='image', shown=progress, desc=source)
        try:
            with bar, torch.no_grad():
                for index, batch in enumerate(batches, start=1):
                    embeddings = predictor(to_unit(batch.to(device)))
                    if moments is None:
                        moments = StyleMoments.empty(embeddings.shape[1])
                    moments.update(embeddings)
                    bar.update(len(batch))
                    if path is not None and index % checkpoint_every == 0:
                        _write_moments(path, moments, provenance, listing)
        finally:
            # also if a damaged picture or the user stops the run
            if path is not None and moments is not None:
                _write_moments(path, moments, provenance, listing)
        if moments is None or moments.count < 2:
            raise ConfigError(
                f'{source} has {0 if moments is None else moments.count} image(s): expected at '
                'least two for a covariance'
            )
        del provenance['format']
        return cls(
            moments.mean,
            moments.covariance,
            {**provenance, 'num_images': str(moments.count)},
        )

    def save(self, path: Path | str) -> None:
        """Write the distribution as safetensors, with its provenance, completely or not at all."""
        tensors = {
            'mean': self.mean.double().cpu().contiguous(),
            'covariance': self.covariance.double().cpu().contiguous(),
        }
        _write(Path(path), tensors, {**self.provenance, 'format': _FORMAT})

    @classmethod
    def load(cls, path: Path | str) -> 'EarthStyle':
        """Read what `save` wrote.

        Raises:
            CheckpointError: If the file is damaged or holds something else.
        """
        tensors, metadata = _read(Path(path))
        if metadata.pop('format', None) != _FORMAT or tensors.keys() != {'mean', 'covariance'}:
            raise CheckpointError(
                f'{path} holds {sorted(tensors)}, which is not a distribution of styles: pass a '
                'file that EarthStyle.save wrote'
            )
        try:
            return cls(tensors['mean'], tensors['covariance'], metadata)
        except ConfigError as error:
            raise CheckpointError(f'{path} is damaged: {error}') from error


def require_covariance(covariance: str) -> None:
    """Raise if the name is not a reading of eq. 2.

    Raises:
        ConfigError: If it is neither `'full'` nor `'diagonal'`.
    """
    if covariance not in ('full', 'diagonal'):
        raise ConfigError(f"covariance={covariance!r}: expected 'full' or 'diagonal'")


def style_distance(first: EarthStyle, second: EarthStyle) -> float:
    """Fréchet distance between two distributions of styles, both taken as normal.

    Args:
        first: A distribution.
        second: Another, of embeddings by the same predictor.

    Returns:
        `√(|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½))`, in the units of the embeddings. With fewer images
        than dimensions it is biased upwards: compare sets of equal size.

    Raises:
        ConfigError: If the dimensions differ.

    Source:
        Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982;
        the distance that FID takes between features of another network.

    Example:
        >>> one = EarthStyle(torch.zeros(2), torch.eye(2))
        >>> style_distance(one, EarthStyle(torch.tensor([3.0, 4.0]), torch.eye(2)))
        5.0
    """
    if first.mean.shape != second.mean.shape:
        raise ConfigError(
            f'the styles have {len(first.mean)} and {len(second.mean)} dimensions: fit both with '
            'the same predictor'
        )
    a, b = first.covariance.double().cpu(), second.covariance.double().cpu()
    values, vectors = torch.linalg.eigh(a)
    # Rounding can make the eigenvalues of a covariance slightly negative.
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    # Σ₁Σ₂ has the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, which is symmetric.
    shared = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    shift = (first.mean.double().cpu() - second.mean.double().cpu()).square().sum()
    squared = shift + a.trace() + b.trace() - 2 * shared
    # rounding can make the distance of equal distributions slightly negative
    return float(squared.clamp(min=0).sqrt())


def module_fingerprint(module: nn.Module) -> str:
    """Sixteen hexadecimal digits that identify a module's weights.

    Example:
        >>> first = module_fingerprint(nn.Linear(2, 2))
        >>> len(first), first == module_fingerprint(nn.Linear(2, 2))
        (16, False)
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f'{name}{tuple(value.shape)}'.encode())
        # Flattened, because a scalar cannot be viewed as bytes.
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _batches(
    images: Dataset[Any] | Iterable[Any], skip: int, batch_size: int, workers: int
) -> tuple[Iterator[Tensor], int | None]:
    """Batches after the first `skip` images, and the number of all images if it is known."""
    if isinstance(images, Dataset) and not isinstance(images, IterableDataset):
        total = len(images)  # type: ignore[arg-type]  # a map-style dataset has a length
        # Images before a resumed fit are not even read.
        rest = Subset(images, range(skip, total))
        loader = DataLoader(rest, batch_size, num_workers=workers)
        return (_image(batch) for batch in loader), total
    return _behind((_image(batch) for batch in images), skip), None


def _behind(batches: Iterable[Tensor], skip: int) -> Iterator[Tensor]:
    for batch in batches:
        if skip >= len(batch):
            skip -= len(batch)
        else:
            yield batch[skip:]
            skip = 0


def _image(batch: Any) -> Tensor:
    image = batch['image'] if isinstance(batch, Mapping) else batch
    if not isinstance(image, Tensor) or image.ndim != 4:
        raise ConfigError(
            f'images are {type(image).__name__}: expected batches (b, 3, h, w), or dictionaries '
            "that hold them under 'image'"
        )
    return image


def _listing(images: Dataset[Any] | Iterable[Any]) -> Callable[[int], str]:
    """A function that identifies the first n images, as far as possible without reading them."""
    if isinstance(images, StyleImageFolder):
        side_px = images.side_px
        names = [path.relative_to(images.folder).as_posix() for path in images.paths]

        def listed(count: int) -> str:
            text = '\n'.join([str(count), *names[:count]])
            return f'{side_px}:{hashlib.sha256(text.encode()).hexdigest()[:16]}'

        return listed
    known = 'iterable'
    if isinstance(images, Dataset) and not isinstance(images, IterableDataset):
        known = f'{type(images).__name__}:{len(images)}'  # type: ignore[arg-type]  # map-style
    return lambda _count: known


def _resume(
    path: Path, provenance: Mapping[str, str], listing: Callable[[int], str]
) -> StyleMoments:
    tensors, metadata = _read(path)
    dim = tensors['mean'].shape if 'mean' in tensors else ()
    if (
        tensors.keys() != {'mean', 'scatter'}
        or tensors['scatter'].shape != (*dim, *dim)
        or not metadata.get('count', '').isdecimal()
    ):
        raise CheckpointError(f'{path} holds no moments of styles: remove it, or name another file')
    count = int(metadata.pop('count'))
    expected = {**provenance, 'images': listing(count)}
    other = [key for key, value in expected.items() if metadata.get(key) != value]
    if other:
        raise CheckpointError(
            f'{path} was begun with another {" and ".join(other)}: remove it to start again, or '
            'name another file'
        )
    return StyleMoments(count, tensors['mean'], tensors['scatter'])


def _write_moments(
    path: Path,
    moments: StyleMoments,
    provenance: Mapping[str, str],
    listing: Callable[[int], str],
) -> None:
    tensors = {'mean': moments.mean, 'scatter': moments.scatter}
    seen = {'images': listing(moments.count), 'count': str(moments.count)}
    _write(path, tensors, {**provenance, **seen})


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    # joined to one entry, because the file format stores several in no fixed order
    write_tensors(path, tensors, {'crossearth': json.dumps(metadata, sort_keys=True)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework='pt') as file:
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
            metadata = json.loads((file.metadata() or {}).get('crossearth', '{}'))
    except FileNotFoundError as error:
        raise CheckpointError(f'{path} is not there') from error
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f'{path} is damaged or not a safetensors file: {error}') from error
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise CheckpointError(f'{path} is damaged: its provenance is not text')
    return tensors, metadata
