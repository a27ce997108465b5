"""Results of many seeds as rows: mean, spread, and what they stand beside."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossearth.benchmark.evaluation import Protocol
from crossearth.benchmark.methods import METHODS
from crossearth.benchmark.results import RunResult, Selection, mean_and_sd
from crossearth.benchmark.settings import ABLATIONS, SETTINGS

__all__ = ['Row', 'published_score', 'summarise']


# many arguments: the columns of a report
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method on one setting, over its seeds; numbers in percent, NaN where there is none.

    Args:
        setting: Abbreviation of the setting.
        method: Name of the method.
        fingerprint: Tells trainings of one method apart.
        selection: `'last'` or `'oracle'`.
        protocol: How it was scored.
        metric: What the score is.
        steps: Step of the scored models, the least and the greatest.
        seeds: Seeds.
        scores: Score of each seed.
        mean: Mean of the scores.
        sd: Their standard deviation (n - 1); NaN of one seed.
        per_class: Mean IoU of each class over the seeds.
        published: Score that the paper prints for the method.
        published_per_class: IoU that it prints of each class.
        baseline: Mean score of the baseline, run here under the same protocol and selection.
        made_with: What the runs were made with, each once.
    """

    setting: str
    method: str
    fingerprint: str
    selection: Selection
    protocol: Protocol
    metric: str
    steps: tuple[int, int]
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    mean: float
    sd: float
    per_class: Mapping[str, float]
    published: float
    published_per_class: Mapping[str, float]
    baseline: float
    made_with: tuple[str, ...]

    @property
    def against_published(self) -> float:
        """Points above what the paper prints."""
        return self.mean - self.published

    @property
    def against_baseline(self) -> float:
        """Points above the baseline that was run here."""
        return self.mean - self.baseline


def published_score(setting: str, method: str) -> tuple[float, Mapping[str, float]]:
    """What the paper prints for a method of `METHODS` on a setting, and by class.

    Returns:
        NaN and nothing where it prints none.

    Example:
        >>> published_score('Sub2Tem', 'table8_gse_mim')
        (45.5, {})
        >>> published_score('P(i)2V', 'rein')[0]
        60.3
    """
    known = METHODS.get(method)
    if known is None or known.published is None:
        return math.nan, {}
    if known.table is None:
        result = SETTINGS[setting].reported.get(known.published)
        return (math.nan, {}) if result is None else (result.miou, result.per_class)
    rows = next(table.rows for table in ABLATIONS if table.title == known.table)
    return rows[known.published].get(setting, math.nan), {}


def summarise(results: Sequence[RunResult], *, baseline: str = 'rein') -> list[Row]:
    """A row for each setting, selection, protocol, method and fingerprint, in this order.

    Results of different selections or protocols are never averaged or subtracted.

    Args:
        results: Of any number of runs.
        baseline: Method that others are compared with, where it was run.

    Returns:
        Rows in the order of the settings, methods in theirs, one's own last.
    """
    groups: dict[tuple[str, Selection, str, str, str], list[RunResult]] = {}
    for result in results:
        key = (
            result.setting,
            result.selection,
            str(result.protocol),
            result.method,
            result.fingerprint,
        )
        groups.setdefault(key, []).append(result)
    known, settings = list(METHODS), list(SETTINGS)

    def order(key: tuple[str, Selection, str, str, str]) -> tuple[int, str, str, int, str, str]:
        setting, selection, protocol, method, fingerprint = key
        place = known.index(method) if method in known else len(known)
        return settings.index(setting), selection, protocol, place, method, fingerprint

    return [
        _row(groups[key], _baseline(groups, key, baseline)) for key in sorted(groups, key=order)
    ]


def _baseline(
    groups: Mapping[tuple[str, Selection, str, str, str], Sequence[RunResult]],
    key: tuple[str, Selection, str, str, str],
    baseline: str,
) -> float:
    """Mean of the baseline beside a row; NaN of the baseline itself, or if it is ambiguous."""
    if key[3] == baseline:
        return math.nan
    beside = [group for other, group in groups.items() if other[:4] == (*key[:3], baseline)]
    steps = {result.step for result in groups[key]} if key[1] == 'last' else None
    alike = [
        group for group in beside if steps is None or {result.step for result in group} == steps
    ]
    if len(alike) != 1:
        return math.nan
    return mean_and_sd(result.score for result in alike[0])[0]


def _row(group: Sequence[RunResult], baseline: float) -> Row:
    group = sorted(group, key=lambda result: result.seed)
    first = group[0]
    mean, sd = mean_and_sd(result.score for result in group)
    published, published_per_class = published_score(first.setting, first.method)
    by_class = [result.per_class for result in group]
    steps = [result.step for result in group]
    return Row(
        setting=first.setting,
        method=first.method,
        fingerprint=first.fingerprint,
        selection=first.selection,
        protocol=first.protocol,
        metric=first.metric,
        steps=(min(steps), max(steps)),
        seeds=tuple(result.seed for result in group),
        scores=tuple(result.score for result in group),
        mean=mean,
        sd=sd,
        per_class={
            name: mean_and_sd(shares[name] for shares in by_class)[0] for name in first.classes
        },
        published=published,
        published_per_class=published_per_class,
        baseline=baseline,
        made_with=tuple(dict.fromkeys(result.made_with for result in group)),
    )
