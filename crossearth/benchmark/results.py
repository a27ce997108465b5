"""Results of runs: one file each, with everything that led to it."""

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


# many arguments: a result file, which has to tell all that a comparison may depend on
@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The score of one trained model on one domain.

    Its file is JSON with these values under these names; `format`, `version`, `metric`, `score`,
    `iou` and `partial` are written in addition, for readers without this library, and are
    calculated again when the file is loaded. `image_names` and `image_counts` are written as
    `per_image`, one line per image: its name, and its counts row by row.

    Args:
        setting: What was scored: the abbreviation of a published setting, or a name of the user's.
        source: Name of the domain that was trained on.
        target: Name of the domain that was scored.
        method: Name of the method.
        seed: Seed of its training.
        selection: `'last'`, the model of the last step; `'oracle'`, the checkpoint that is best on
            the unseen domain, which nobody who has no labels there could choose.
        step: Step of the model that was scored.
        fingerprint: Tells trainings apart that learn different things, see `fingerprint`.
        classes: Names of the classes.
        scored: Ids of the classes that are averaged; None for all.
        confusion: Counts, rows the true class: the sum over the images.
        image_names: The images, by their paths below their common folder.
        image_counts: Their counts, one image after another, row by row.
        images: Images that were scored, or chips that they were cut into.
        coverage: By `'train'` and `'test'`, the images that were there of those that a complete
            set has. A model that was there already has no `'train'`.
        adaptation: Whether training, or `crossearth adapt` after it, saw unlabelled images of a
            target domain. Such results are of domain adaptation and stand in tables of their own.
        protocol: How it was scored.
        recipe: The recipe of the training.
        versions: Of this library, Python and the packages under it.
        hardware: What `'training'` and `'evaluation'` ran on.
        commit: Git commit of the source of this library; None outside of a checkout.
        seconds: By what: `'training'` and `'evaluation'`, of the sessions that finished them.
        memory_bytes: Peak memory of the session that finished training, see `peak_memory_bytes`;
            None if it is not known, or the model was there already.
        parameters: Parameters of the model, frozen ones included.
        finished: Time of the end, ISO 8601 in UTC.
        seen: Number of images by how they were seen: what their pixels measure on the ground, what
            the model saw, and why. Empty in results from before this was noted.
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
        """What was lacking, such as `'tested on 2 of 17 images'`; empty for complete sets."""
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
        """IoU of each class in percent; NaN of one that does not occur."""
        shares = iou_per_class(self.matrix).tolist()
        return {name: 100 * share for name, share in zip(self.classes, shares, strict=True)}

    @property
    def metric(self) -> str:
        """What the score is."""
        return 'mIoU' if self.scored is None else 'foreground IoU'

    @property
    def made_with(self) -> str:
        """Versions, commit and the machine of the training, in a line."""
        packages = ', '.join(
            f'{name} {self.versions[name]}'
            for name in ('crossearth', 'torch')
            if name in self.versions
        )
        commit = '' if self.commit is None else f' at {self.commit}'
        machine = self.hardware.get('training')
        return f'{packages}{commit}, ' + (
            'a model that was there' if machine is None else f'trained on {machine.get("name")}'
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON; the file appears whole or not at all."""
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
        """One line per image: indented as the rest, a thousand images would be 50,000 lines."""
        counts = self.image_matrices.flatten(1).tolist()
        return ',\n'.join(
            f'  {json.dumps(name)}: {json.dumps(row)}'
            for name, row in zip(self.image_names, counts, strict=True)
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> 'RunResult':
        """Read what `save` wrote.

        Raises:
            ConfigError: If it is something else, damaged, or of a newer version.
        """
        file = Path(path)
        try:
            values = json.loads(file.read_text(encoding='utf-8'))
            if values.get('format') != _FORMAT or values.get('version') != _VERSION:
                raise ConfigError(
                    f'{file}: says format {values.get("format")!r}, version '
                    f'{values.get("version")!r}: expected {_FORMAT!r}, version {_VERSION}; '
                    'remove it and run again'
                )
            per_image = values.pop('per_image')
            values['image_names'] = tuple(per_image)
            values['image_counts'] = array(
                'q', (n for counts in per_image.values() for n in counts)
            )
            values.setdefault('seen', {})
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
                f'{file}: is no whole result of the benchmark ({type(error).__name__}: {error}); '
                'remove it and run again'
            ) from error


def load_results(folder: str | os.PathLike[str]) -> list[RunResult]:
    """Every result below a folder, by setting, method, seed and selection.

    Raises:
        ConfigError: If there is none, one is damaged, or two are of the same run.
    """
    paths = sorted(Path(folder).glob('results/**/*.json'))
    found = [RunResult.load(path) for path in paths]
    seen: dict[tuple[str, ...], Path] = {}
    for path, r in zip(paths, found, strict=True):
        run = (r.setting, r.method, r.fingerprint, str(r.seed), r.selection, str(r.protocol))
        if seen.setdefault(run, path) != path:
            raise ConfigError(
                f'{path}: is of the same run as {seen[run]}, and would count twice; remove one'
            )
    if not found:
        raise ConfigError(
            f'{folder}: holds no results; expected the output folder of crossearth benchmark run'
        )
    return sorted(found, key=lambda r: (r.setting, r.method, r.seed, r.selection))


def _check(given: Mapping[str, Any]) -> None:
    """Refuse values that no run has."""
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
        raise ValueError(f'confusion is no table of {k} x {k} counts')
    if len(given['image_counts']) != len(given['image_names']) * k * k or [
        sum(given['image_counts'][i :: k * k]) for i in range(k * k)
    ] != [count for row in confusion for count in row]:
        raise ValueError('the counts of the images do not add up to confusion')
    if not set(given['coverage']) <= {'train', 'test'}:
        raise ValueError(f"coverage of {sorted(given['coverage'])}: expected 'train' and 'test'")
    if not all(i in range(k) for i in given['scored'] or ()):
        raise ValueError(f'scored classes {given["scored"]} of {k}')


def versions() -> dict[str, str]:
    """Of this library, Python and the packages that a result depends on."""
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
    """What a run is on."""
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
    """Commit of the checkout that this library is run from, with `-dirty` if it was changed."""
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
    """Write a text file that appears whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        beside.write_text(text, encoding='utf-8')
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def mean_and_sd(values: Iterable[float]) -> tuple[float, float]:
    """Mean, and standard deviation of the sample (n - 1), of the numbers that are none of NaN.

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
    """JSON has no NaN."""
    return None if math.isnan(value) else round(value, 4)
