"""Results of runs: one file each, with everything that led to it."""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int64
from torch import Tensor

import crossearth
from crossearth.benchmark.evaluation import Protocol
from crossearth.benchmark.settings import SETTINGS
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
_VERSION = 1
_PACKAGES = ('torch', 'torchgeo', 'lightning', 'timm', 'kornia', 'rasterio', 'numpy')


# many arguments: a result file, which has to tell all that a comparison may depend on
@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The score of one trained model on one setting.

    Args:
        setting: Abbreviation of the setting.
        method: Name of the method.
        seed: Seed of its training.
        selection: `'last'`, the model of the last step; `'oracle'`, the checkpoint that is best on
            the unseen domain, which nobody who has no labels there could choose.
        step: Step of the model that was scored.
        fingerprint: Tells trainings apart that learn different things, see `fingerprint`.
        classes: Names of the classes.
        scored: Ids of the classes that are averaged; None for all.
        confusion: Counts, rows the true class.
        images: Images or chips that were scored.
        protocol: How.
        recipe: The recipe of the training.
        versions: Of this library, Python and the packages under it.
        hardware: What `'training'` and `'evaluation'` ran on.
        commit: Git commit of the source of this library; None outside of a checkout.
        seconds: By what: `'training'` and `'evaluation'`, of the sessions that finished them.
        finished: Time of the end, ISO 8601 in UTC.
    """

    setting: str
    method: str
    seed: int
    selection: Selection
    step: int
    fingerprint: str
    classes: tuple[str, ...]
    scored: tuple[int, ...] | None
    confusion: tuple[tuple[int, ...], ...]
    images: int
    protocol: Protocol
    recipe: Mapping[str, Any]
    versions: Mapping[str, str]
    hardware: Mapping[str, Mapping[str, str]]
    commit: str | None
    seconds: Mapping[str, float]
    finished: str

    @property
    def matrix(self) -> Int64[Tensor, 'k k']:
        """The counts as a tensor."""
        return torch.tensor(self.confusion, dtype=torch.int64)

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
        values = asdict(self)
        values['protocol'] = self.protocol.to_json()
        shown = {
            'format': _FORMAT,
            'version': _VERSION,
            'metric': self.metric,
            'score': _number(self.score),
            'iou': {name: _number(share) for name, share in self.per_class.items()},
        }
        write_whole(Path(path), json.dumps(shown | values, indent=1, default=str))

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
                    f'{values.get("version")!r}: expected {_FORMAT!r}, version {_VERSION}'
                )
            fields = {name: values[name] for name in cls.__slots__}
            _check(fields)
            scored = fields['scored']
            fields |= {
                'classes': tuple(fields['classes']),
                'scored': None if scored is None else tuple(scored),
                'confusion': tuple(tuple(row) for row in fields['confusion']),
                'protocol': Protocol(**fields['protocol']),
            }
            return cls(**fields)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
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


def _check(fields: Mapping[str, Any]) -> None:
    """Refuse values that no run has."""
    k, confusion, selection = len(fields['classes']), fields['confusion'], fields['selection']
    if fields['setting'] not in SETTINGS:
        raise ValueError(f'there is no setting {fields["setting"]!r}')
    if selection not in ('last', 'oracle'):
        raise ValueError(f"selection {selection!r} is neither 'last' nor 'oracle'")
    if not all(isinstance(fields[name], int) for name in ('seed', 'step', 'images')):
        raise ValueError('seed, step and images are no integers')
    if [len(row) for row in confusion] != [k] * k or not all(
        isinstance(count, int) and count >= 0 for row in confusion for count in row
    ):
        raise ValueError(f'confusion is no table of {k} x {k} counts')
    if not all(i in range(k) for i in fields['scored'] or ()):
        raise ValueError(f'scored classes {fields["scored"]} of {k}')


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
