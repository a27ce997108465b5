"""Results of many seeds as rows: mean, spread, and what they are compared with."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from crossearth.benchmark.intervals import (
    NONE,
    Interval,
    image_difference_interval,
    image_interval,
    mean_interval,
    paired_interval,
)
from crossearth.benchmark.methods import METHODS
from crossearth.benchmark.protocol import Protocol
from crossearth.benchmark.results import RunResult, Selection, mean_and_sd
from crossearth.benchmark.settings import ABLATIONS, SETTINGS

__all__ = ['Row', 'published_score', 'summarise']


# many arguments: these are the columns of a report.
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method on one setting, over its seeds, in percent. NaN stands for a missing number.

    Args:
        setting: Abbreviation of the setting, or the user's name for a pair of domains.
        source: Name of the training domain.
        target: Name of the scored domain.
        method: Name of the method.
        fingerprint: Differs between training runs of one method that learn different things.
        adaptation: Whether training saw unlabelled images of a target domain.
        partial: Which images were missing; empty for complete sets. A partial row has no published
            numbers.
        images: Number of whole images scored.
        selection: `'last'` or `'oracle'`.
        protocol: How it was scored.
        metric: Name of the score.
        steps: Smallest and largest training step of the scored models.
        seeds: Seeds.
        scores: Score of each seed.
        mean: Mean of the scores.
        sd: Their standard deviation (n - 1); NaN for a single seed.
        over_seeds: 95 % interval of the mean over seeds.
        over_images: 95 % interval of the mean over images.
        per_class: Mean IoU of each class over the seeds.
        published: Score that the paper prints for the method.
        published_per_class: IoU that the paper prints for each class.
        baseline: Mean score of the baseline, run here under the same protocol and selection.
        difference_over_seeds: 95 % interval of the difference to the baseline, over pairs of runs
            with the same seed.
        difference_over_images: 95 % interval of the difference to the baseline, over images.
        made_with: Versions and machines of the runs, without repeats.
    """

    setting: str
    source: str
    target: str
    method: str
    fingerprint: str
    adaptation: bool
    partial: str
    images: int
    selection: Selection
    protocol: Protocol
    metric: str
    steps: tuple[int, int]
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    mean: float
    sd: float
    over_seeds: Interval
    over_images: Interval
    per_class: Mapping[str, float]
    published: float
    published_per_class: Mapping[str, float]
    baseline: float
    difference_over_seeds: Interval
    difference_over_images: Interval
    made_with: tuple[str, ...]

    @property
    def against_published(self) -> float:
        """Points above the score in the paper."""
        return self.mean - self.published

    @property
    def against_baseline(self) -> float:
        """Points above the baseline that was run here."""
        return self.mean - self.baseline


def published_score(setting: str, method: str) -> tuple[float, Mapping[str, float]]:
    """The score that the paper prints for a method of `METHODS` on a setting, and its classes.

    Args:
        setting: Abbreviation of the setting, or the user's own name.
        method: Name of the method.

    Returns:
        The score and the IoU by class; NaN and an empty mapping if the paper prints none.

    Example:
        >>> published_score('Sub2Tem', 'table8_gse_mim')
        (45.5, {})
        >>> published_score('P(i)2V', 'rein')[0]
        60.3
    """
    known = METHODS.get(method)
    if known is None or known.published is None or setting not in SETTINGS:
        return math.nan, {}
    if known.table is None:
        result = SETTINGS[setting].reported.get(known.published)
        return (math.nan, {}) if result is None else (result.miou, result.per_class)
    rows = next(table.rows for table in ABLATIONS if table.title == known.table)
    return rows[known.published].get(setting, math.nan), {}


type _Group = tuple[str, Selection, str, bool, str, str, str]
type _Place = tuple[str, Selection, str, bool, str]


def summarise(results: Sequence[RunResult], *, baseline: str = 'rein') -> list[Row]:
    """One row per setting, selection, protocol, method and fingerprint, in this order.

    Results of different selections, protocols or sets of images are never averaged or subtracted.
    The same holds for results of adaptation and of generalisation.

    Args:
        results: Results of any number of runs.
        baseline: Method that the others are compared with, where it was run.

    Returns:
        Rows in the order of the settings, with the user's own settings last, by name. Methods have
        their own order, with the user's own methods last.
    """
    groups: dict[_Group, list[RunResult]] = {}
    for result in results:
        key = (*_place(result), result.method, result.fingerprint)
        groups.setdefault(key, []).append(result)
    for group in groups.values():
        group.sort(key=lambda result: result.seed)
    known, settings = list(METHODS), list(SETTINGS)

    def order(key: _Group) -> tuple[int, str, str, str, bool, str, int, str, str]:
        setting, selection, protocol, adaptation, images, method, fingerprint = key
        published = settings.index(setting) if setting in settings else len(settings)
        place = known.index(method) if method in known else len(known)
        what = (published, setting, selection, protocol, adaptation, images)
        return *what, place, method, fingerprint

    return [
        _row(groups[key], _baseline(groups, key, baseline)) for key in sorted(groups, key=order)
    ]


def _place(result: RunResult) -> _Place:
    """What two results must share to be compared."""
    images = f'{len(result.image_names)} {result.partial}'
    return result.setting, result.selection, str(result.protocol), result.adaptation, images


def _baseline(
    groups: Mapping[_Group, Sequence[RunResult]], key: _Group, baseline: str
) -> Sequence[RunResult]:
    """Runs of the baseline to compare a row with; none for the baseline itself, or if ambiguous.

    Adaptation is compared with a baseline that only saw the source, if that was run.
    """
    setting, selection, protocol, adaptation, images, method, _ = key
    if method == baseline:
        return ()
    # An oracle chooses its step in each run, so only last steps have to agree.
    steps = {result.step for result in groups[key]} if selection == 'last' else None
    for kind in dict.fromkeys((adaptation, False)):
        wanted = (setting, selection, protocol, kind, images, baseline)
        alike = [
            group
            for other, group in groups.items()
            if other[:-1] == wanted
            and (steps is None or {result.step for result in group} == steps)
        ]
        if alike:
            return alike[0] if len(alike) == 1 else ()
    return ()


def _row(group: Sequence[RunResult], baseline: Sequence[RunResult]) -> Row:
    first = group[0]
    scores = tuple(result.score for result in group)
    mean, sd = mean_and_sd(scores)
    published, published_per_class = published_score(first.setting, first.method)
    # Published scores are those of complete sets, and of domain generalisation.
    if first.partial or first.adaptation:
        published, published_per_class = math.nan, {}
    by_class = [result.per_class for result in group]
    steps = [result.step for result in group]
    return Row(
        setting=first.setting,
        source=first.source,
        target=first.target,
        method=first.method,
        fingerprint=first.fingerprint,
        adaptation=first.adaptation,
        partial=first.partial,
        images=len(first.image_names),
        selection=first.selection,
        protocol=first.protocol,
        metric=first.metric,
        steps=(min(steps), max(steps)),
        seeds=tuple(result.seed for result in group),
        scores=scores,
        mean=mean,
        sd=sd,
        over_seeds=mean_interval(scores),
        over_images=image_interval(_counts(group), scored=first.scored),
        per_class={
            name: mean_and_sd(shares[name] for shares in by_class)[0] for name in first.classes
        },
        published=published,
        published_per_class=published_per_class,
        baseline=mean_and_sd(result.score for result in baseline)[0],
        difference_over_seeds=_over_seeds(group, baseline),
        difference_over_images=_over_images(group, baseline),
        made_with=tuple(dict.fromkeys(result.made_with for result in group)),
    )


def _counts(group: Sequence[RunResult]) -> Int64[np.ndarray, 's n k k']:
    return np.stack([result.image_matrices.numpy() for result in group])


def _over_seeds(group: Sequence[RunResult], baseline: Sequence[RunResult]) -> Interval:
    """Interval of the difference, over the seeds that both were trained with."""
    theirs = {result.seed: result.score for result in baseline}
    ours = {result.seed: result.score for result in group if result.seed in theirs}
    return paired_interval(list(ours.values()), [theirs[seed] for seed in ours])


def _over_images(group: Sequence[RunResult], baseline: Sequence[RunResult]) -> Interval:
    """Interval of the difference over images, if both were scored on the same ones."""
    if not baseline or group[0].image_names != baseline[0].image_names:
        return NONE
    return image_difference_interval(_counts(group), _counts(baseline), scored=group[0].scored)
