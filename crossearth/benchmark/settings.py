"""The settings of the RSDG benchmark, and what has been published on them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from crossearth.benchmark.domains import DOMAINS, Domain

__all__ = [
    'ABLATIONS',
    'OTHER_PAPERS',
    'SETTINGS',
    'SWEEPS',
    'Masking',
    'Result',
    'Setting',
    'Sweep',
    'Table',
]

MimLoss = Literal['mse', 'l1']


@dataclass(frozen=True, slots=True)
class Masking:
    """How images are masked by patches.

    Args:
        tau: Share of the patches that are masked.
        patch_px: Side of a patch, B in the paper.
    """

    tau: float
    patch_px: int


@dataclass(frozen=True, slots=True)
class Result:
    """A published score, in percent as printed.

    Args:
        miou: Mean IoU; for one-class tasks, the IoU of that class.
        per_class: IoU by class; empty if none is printed.
    """

    miou: float
    per_class: Mapping[str, float]

    @property
    def mean_of_classes(self) -> float | None:
        """Mean of the printed classes, which may differ from the printed mean; None without any."""
        if not self.per_class:
            return None
        return sum(self.per_class.values()) / len(self.per_class)


@dataclass(frozen=True, slots=True)
class Setting:
    """A pair of domains: models are trained on the first and tested on the second.

    Args:
        name: Abbreviation of the paper.
        gap: What differs between the domains: `'region'`, `'spectral'`, `'platform'`,
            `'climate'`, several joined by `+`, or `'in_domain'`.
        source: Training domain.
        target: Test domain.
        chip_px: Side of the chips.
        styled: Masking of the styled image.
        masked: Masking of the masked image.
        mim_loss: Loss of the masked flow.
        checkpoints: Files of the reference release; empty if none was released.
        notes: Where publications contradict their data, or themselves.
        reported: Published results, by method.
        adapted: Published results of domain adaptation, by method. These methods also trained on
            unlabelled images of the target, and are compared with nothing else.

    Source:
        Tables 1 (chips), 3 to 7 (results; adaptation in 3 and 6), 13 (loss) and 14 (masking).
    """

    name: str
    gap: str
    source: Domain
    target: Domain
    chip_px: int
    styled: Masking
    masked: Masking
    mim_loss: MimLoss
    checkpoints: tuple[str, ...]
    notes: tuple[str, ...]
    reported: Mapping[str, Result]
    adapted: Mapping[str, Result] = MappingProxyType({})

    @property
    def crosses_domains(self) -> bool:
        """Whether source and target differ; otherwise it is one of the source-only settings."""
        return self.source != self.target

    @property
    def n_train(self) -> int:
        """Number of chips to train on."""
        return self.source.count('train', chip_px=self.chip_px)

    @property
    def n_test(self) -> int:
        """Number of images to test on."""
        return self.target.count('test', chip_px=self.chip_px)

    @property
    def metric(self) -> str:
        """Name of the score; for one-class tasks, the IoU of that class."""
        return 'mIoU' if self.source.labels.scored is None else 'foreground IoU'


@dataclass(frozen=True, slots=True)
class Table:
    """Published numbers other than those of the settings.

    Args:
        title: Where they come from.
        note: Their conditions, or what is wrong with them.
        rows: Score by row and setting, in percent.
    """

    title: str
    note: str
    rows: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Published scores by the share and the side of masked patches.

    Args:
        title: Where they come from.
        which: Image whose patches vary.
        note: What is wrong with them.
        scores: Setting → masking → score in percent.
    """

    title: str
    which: Literal['styled', 'masked']
    note: str
    scores: Mapping[str, Mapping[Masking, float]]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files('crossearth.benchmark').joinpath(name).read_text(encoding='utf-8'))


def _settings(reported: Mapping[str, Any], adapted: Mapping[str, Any]) -> Mapping[str, Setting]:
    settings = {}
    for entry in _read('settings.toml')['setting']:
        settings[entry['name']] = Setting(
            name=entry['name'],
            gap=entry['gap'],
            source=DOMAINS[entry['source']],
            target=DOMAINS[entry['target']],
            chip_px=entry['chip_px'],
            styled=Masking(**entry['styled']),
            masked=Masking(**entry['masked']),
            mim_loss=entry['mim_loss'],
            checkpoints=tuple(entry.get('checkpoints', ())),
            notes=tuple(entry.get('notes', ())),
            reported=_results(reported[entry['name']]),
            adapted=_results(adapted.get(entry['name'], {})),
        )
    return MappingProxyType(settings)


def _results(rows: Mapping[str, Any]) -> Mapping[str, Result]:
    return MappingProxyType(
        {
            method: Result(row['miou'], MappingProxyType(row.get('per_class', {})))
            for method, row in rows.items()
        }
    )


def _table(title: str, note: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    return Table(title, note, MappingProxyType({k: MappingProxyType(v) for k, v in rows.items()}))


def _sweep(entry: Mapping[str, Any]) -> Sweep:
    scores = {
        setting: MappingProxyType(
            {
                Masking(tau, patch_px): score
                for tau, line in zip(entry['taus'], rows, strict=True)
                for patch_px, score in zip(entry['patches_px'], line, strict=True)
            }
        )
        for setting, rows in entry['rows'].items()
    }
    return Sweep(entry['title'], entry['of'], entry['note'], MappingProxyType(scores))


_REPORTED = _read('reported.toml')

SETTINGS: Mapping[str, Setting] = _settings(_REPORTED['result'], _REPORTED['adaptation'])
"""The 29 settings by their abbreviation: 25 across domains, 4 within.

The paper counts 28, because its Table 1 lacks P(r)2Res, which is in its Tables 6 and 14.
"""

ABLATIONS = tuple(_table(t['title'], t['note'], t['rows']) for t in _REPORTED['ablation'])
"""Tables 8, 9, 10 and 13 of the paper."""

SWEEPS: Mapping[str, Sweep] = MappingProxyType(
    {entry['of']: _sweep(entry) for entry in _REPORTED['sweep']}
)
"""Tables 11 (`'styled'`) and 12 (`'masked'`) of the paper."""

OTHER_PAPERS = tuple(_table(t['paper'], t['protocol'], t['rows']) for t in _REPORTED['other'])
"""Results of other papers on some of the settings, under their own protocols."""
