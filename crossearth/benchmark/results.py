"""Results of runs, one file each, with everything that led to them."""

import json
import math
import os
import platform
import subprocess
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int64
from torch import Tensor

import crossearth
from crossearth.benchmark.protocol import Protocol
from crossearth.datasets import Coverage
from crossearth.errors import ConfigError
from crossearth.metrics import iou_per_class, mean_iou

__all__ = [
    'RunResult',
    'Selection',
    'hardware',
    'load_results',
    'source_commit',
    'versions',
    'write_whole',
]

Selection = Literal['last', 'oracle']

_FORMAT = 'crossearth-benchmark-result'
_VERSION = 2
_PACKAGES = ('torch', 'torchgeo', 'lightning', 'timm', 'kornia', 'rasterio', 'numpy')


# many arguments: a result must store all that a comparison may depend on.
@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The score of one trained model on one domain.

    Its file is JSON with these values under these names. For readers without this library, the file
    also holds `format`, `version`, `metric`, `score`, `iou` and `partial`, which are computed again
    when it is loaded. `image_names` and `image_counts` are written as `per_image`, with one line
    per image: its name, and its counts row by row.

    Args:
        setting: What was scored: the abbreviation of a published setting, or your own name.
        source: Name of the training domain.
        target: Name of the scored domain.
        method: Name of the method.
        seed: Seed of the training run.
        selection: `'last'` for the model of the last step, or `'oracle'` for the checkpoint that is
            best on the unseen domain, which could not be chosen without labels there.
        step: Training step of the scored model.
        fingerprint: Differs between training runs that learn different things, see `fingerprint`.
        classes: Class names.
        scored: Ids of the classes that are averaged; None for all.
        confusion: Pixel counts with the true class in rows, summed over the images.
        image_names: Paths of the images, relative to their common folder.
        image_counts: Counts of one image after another, row by row.
        images: Number of images scored, or of the chips that they were cut into.
        coverage: For `'train'` and `'test'`, how many images of a complete set existed. A model
            that was not trained here has no `'train'`.
        adaptation: Whether training, or `crossearth adapt` after it, saw unlabelled images of a
            target domain. Such results count as domain adaptation and go into separate tables.
        protocol: How it was scored.
        recipe: Recipe of the training run.
        versions: Versions of this library, of Python and of the packages it uses.
        hardware: The machines of `'training'` and `'evaluation'`.
        commit: Git commit of this library's source; None outside a checkout.
        seconds: Time of `'training'` and `'evaluation'`, in the sessions that finished them.
        memory_bytes: Peak memory of the session that finished training, see `peak_memory_bytes`;
            None if unknown, or if the model was not trained here.
        parameters: Number of model parameters, including frozen ones.
        finished: Time of completion, ISO 8601 in UTC.
        seen: Number of images for each way in which they were seen: the size of their pixels, what
            the model saw, and why. Empty in results from before this was recorded.
        test: The scored images, written as a dataset in a recipe. Empty in results from before this
            was recorded.
    """

    setting: str
    source: str
    target: str
    method: str
    seed: int
    selection: Selection
    step: int
    fingerprint: str
    classes: tuple[str, ...]
    scored: tuple[int, ...] | None
    confusion: tuple[tuple[int, ...], ...]
    image_names: tuple[str, ...]
    image_counts: 'array[int]'
    images: int
    coverage: Mapping[str, Coverage]
    adaptation: bool
    protocol: Protocol
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    hardware: Mapping[str, Mapping[str, str]]
    commit: str | None
    seconds: Mapping[str, float]
    memory_bytes: int | None
    parameters: int
    finished: str
    seen: Mapping[str, int] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)

    @property
    def matrix(self) -> Int64[Tensor, 'k k']:
        """The counts as a tensor."""
        return torch.tensor(self.confusion, dtype=torch.int64)

    @property
    def image_matrices(self) -> Int64[Tensor, 'n k k']:
        """The counts of each image."""
        k = len(self.classes)
        return torch.tensor(self.image_counts, dtype=torch.int64).reshape(-1, k, k)

    @property
    def partial(self) -> str:
        """What was missing, such as `'tested on 2 of 17 images'`; empty for complete sets."""
        verbs = {'train': 'trained', 'test': 'tested'}
        return ', '.join(
            f'{verbs[role]} on {coverage} images'
            for role, coverage in self.coverage.items()
            if not coverage.complete
        )

    @property
    def score(self) -> float:
        """Mean IoU over the scored classes that occur, in percent; NaN if none does."""
        return 100 * mean_iou(self.matrix, scored=self.scored)

    @property
    def per_class(self) -> dict[str, float]:
        """IoU of each class in percent; NaN for a class that does not occur."""
        shares = iou_per_class(self.matrix).tolist()
        return {name: 100 * share for name, share in zip(self.classes, shares, strict=True)}

    @property
    def metric(self) -> str:
        """Name of the score."""
        return 'mIoU' if self.scored is None else 'foreground IoU'

    @property
    def made_with(self) -> str:
        """Versions, commit and training machine, in one line."""
        packages = ', '.join(
            f'{name} {self.versions[name]}'
            for name in ('crossearth', 'torch')
            if name in self.versions
        )
        commit = '' if self.commit is None else f' at {self.commit}'
        machine = self.hardware.get('training')
        return f'{packages}{commit}, ' + (
            'an existing model' if machine is None else f'trained on {machine.get("name")}'
        )

    def scores(self, test: Mapping[str, Any], protocol: Protocol) -> bool:
        """Whether these are the scores of a dataset, as a recipe writes it, by a protocol.

        Where the images were not recorded, only the protocol is compared.
        """
        return self.protocol == protocol and (not self.test or _plain(self.test) == _plain(test))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result as JSON. The file appears under its name only when it is complete."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ('image_names', 'image_counts'):
            del values[name]
        values['protocol'] = self.protocol.to_json()
        values['coverage'] = {role: asdict(part) for role, part in self.coverage.items()}
        shown = {
            'format': _FORMAT,
            'version': _VERSION,
            'metric': self.metric,
            'score': _number(self.score),
            'iou': {name: _number(share) for name, share in self.per_class.items()},
            'partial': self.partial,
        }
        text = json.dumps(shown | values, indent=1, default=str).removesuffix('\n}')
        write_whole(Path(path), f'{text},\n "per_image": {{\n{self._image_lines()}\n }}\n}}\n')

    def _image_lines(self) -> str:
        """One line per image; with the usual indent, a thousand images would take 50,000 lines."""
        counts = self.image_matrices.flatten(1).tolist()
        return ',\n'.join(
            f'  {json.dumps(name)}: {json.dumps(row)}'
            for name, row in zip(self.image_names, counts, strict=True)
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> 'RunResult':
        """Read what `save` wrote.

        Raises:
            ConfigError: If the file is something else, damaged, or from a newer version.
        """
        file = Path(path)
        try:
            values = json.loads(file.read_text(encoding='utf-8'))
            if values.get('format') != _FORMAT or values.get('version') != _VERSION:
                raise ConfigError(
                    f'{file} has format {values.get("format")!r}, version '
                    f'{values.get("version")!r}: expected {_FORMAT!r}, version {_VERSION}; '
                    'remove it and run again'
                )
            per_image = values.pop('per_image')
            values['image_names'] = tuple(per_image)
            values['image_counts'] = array(
                'q', (n for counts in per_image.values() for n in counts)
            )
            values = {'seen': {}, 'test': {}, **values}
            given = {f.name: values[f.name] for f in fields(cls)}
            _check(given)
            scored = given['scored']
            given |= {
                'classes': tuple(given['classes']),
                'scored': None if scored is None else tuple(scored),
                'confusion': tuple(tuple(row) for row in given['confusion']),
                'coverage': {
                    role: Coverage(part['found'], part['expected'], tuple(part['missing']))
                    for role, part in given['coverage'].items()
                },
                'protocol': Protocol(**given['protocol']),
            }
            return cls(**given)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(
                f'{file} is not a complete benchmark result ({type(error).__name__}: {error}): '
                'remove it and run again'
            ) from error


def load_results(folder: str | os.PathLike[str]) -> list[RunResult]:
    """Load every result in a folder and its subfolders, by setting, method, seed and selection.

    Raises:
        ConfigError: If there is none, one is damaged, or two belong to the same run.
    """
    paths = sorted(Path(folder).glob('results/**/*.json'))
    found = [RunResult.load(path) for path in paths]
    seen: dict[tuple[str, ...], Path] = {}
    for path, r in zip(paths, found, strict=True):
        run = (r.setting, r.method, r.fingerprint, str(r.seed), r.selection, str(r.protocol))
        if seen.setdefault(run, path) != path:
            raise ConfigError(
                f'{path} and {seen[run]} are results of the same run, which would count twice: '
                'remove one of them'
            )
    if not found:
        raise ConfigError(
            f'{folder} holds no results: expected the output folder of crossearth benchmark run or '
            'crossearth experiment run'
        )
    return sorted(found, key=lambda r: (r.setting, r.method, r.seed, r.selection))


def _plain(section: Mapping[str, Any]) -> Any:
    """A section of a recipe as it comes back from a file."""
    return json.loads(json.dumps(section, default=str))


def _check(given: Mapping[str, Any]) -> None:
    """Refuse values that no run can have."""
    k, confusion, selection = len(given['classes']), given['confusion'], given['selection']
    if selection not in ('last', 'oracle'):
        raise ValueError(f"selection {selection!r} is neither 'last' nor 'oracle'")
    if not all(isinstance(given[name], int) for name in ('seed', 'step', 'images', 'parameters')):
        raise ValueError('seed, step, images and parameters are not all integers')
    if not isinstance(given['memory_bytes'], int | None):
        raise ValueError(f'memory_bytes is {given["memory_bytes"]!r}, not an integer')
    if [len(row) for row in confusion] != [k] * k or not all(
        isinstance(count, int) and count >= 0 for row in confusion for count in row
    ):
        raise ValueError(f'confusion is not a table of {k} x {k} counts')
    if len(given['image_counts']) != len(given['image_names']) * k * k or [
        sum(given['image_counts'][i :: k * k]) for i in range(k * k)
    ] != [count for row in confusion for count in row]:
        raise ValueError('the counts of the images do not add up to confusion')
    if not set(given['coverage']) <= {'train', 'test'}:
        raise ValueError(f"coverage of {sorted(given['coverage'])}: expected 'train' and 'test'")
    if not all(i in range(k) for i in given['scored'] or ()):
        raise ValueError(f'scored classes {given["scored"]} of {k}')


def versions() -> dict[str, str]:
    """Versions of this library, of Python and of the packages that a result depends on."""
    found = {'crossearth': crossearth.__version__, 'python': platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if torch.version.cuda is not None:
        found['cuda'] = torch.version.cuda
    return found


def hardware(device: torch.device) -> dict[str, str]:
    """The machine that a run uses."""
    name = platform.machine()
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
    return {
        'device': device.type,
        'name': name,
        'system': platform.platform(),
        'cores': str(os.cpu_count()),
        'threads': str(torch.get_num_threads()),
    }


def source_commit() -> str | None:
    """Commit of the checkout from which this library runs, with `-dirty` if it has changes."""
    folder = Path(crossearth.__file__).parents[1]
    if not (folder / '.git').exists():
        return None
    try:
        done = subprocess.run(
            ['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=40'],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def write_whole(path: Path, text: str) -> None:
    """Write a text file that is complete or missing; its folder is created if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes that write the same file must not share a temporary one.
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        beside.write_text(text, encoding='utf-8')
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def mean_and_sd(values: Iterable[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) of the numbers that are not NaN.

    Example:
        >>> mean_and_sd([1.0, 3.0])
        (2.0, 1.4142135623730951)
        >>> mean_and_sd([2.0])
        (2.0, nan)
    """
    known: Sequence[float] = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan, math.nan
    mean = math.fsum(known) / len(known)
    if len(known) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in known) / (len(known) - 1))


def _number(value: float) -> float | None:
    """Replace NaN by None, because JSON has no NaN."""
    return None if math.isnan(value) else round(value, 4)
