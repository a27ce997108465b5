"""The data of a report: data frames, filled here from the result files of many runs.

Tables, figures and pages use only `ReportData`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from jaxtyping import Int64

from crossearth.benchmark import (
    SETTINGS,
    Row,
    RunResult,
    image_interval,
    mean_interval,
    summarise,
)
from crossearth.benchmark.results import mean_and_sd

__all__ = ['KINDS', 'Confusion', 'Kind', 'ReportData', 'Trained', 'report_data']

Kind = Literal['last', 'oracle', 'adaptation', 'adaptation-oracle']

KINDS: Mapping[Kind, str] = {
    'last': 'Unseen domains, model of the last step',
    'oracle': 'Oracle: the checkpoint that is best on the unseen domain',
    'adaptation': 'Adaptation: trained with unlabelled images of the target domain',
    'adaptation-oracle': 'Oracle of adaptation',
}
"""Kinds of results with their titles. Different kinds never share a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Pixel counts of one method on one domain, summed over its seeds.

    Args:
        kind: Key of `KINDS`.
        protocol: How it was scored.
        domain: Name of the domain or setting.
        method: Name of the method.
        classes: Class names.
        counts: Pixel counts, with the true class in rows.
        partial: What is missing, such as `'tested on 2 of 17 images'`; empty for complete sets.
    """

    kind: Kind
    protocol: str
    domain: str
    method: str
    classes: tuple[str, ...]
    counts: Int64[np.ndarray, 'k k']
    partial: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How one method was trained.

    Args:
        method: Name of the method.
        fingerprint: Differs between training runs of one method that learn different things.
        seeds: Seeds.
        domains: Domains that it was scored on.
        made_with: Versions, commit and machine of its runs, without repeats.
        versions: Package → its versions, without repeats.
        hardware: Role and property → values, without repeats.
        commits: Commits of the source, without repeats.
        finished: When the last run ended.
        recipe: Complete recipe of the first seed, as YAML.
    """

    method: str
    fingerprint: str
    seeds: tuple[int, ...]
    domains: tuple[str, ...]
    made_with: tuple[str, ...]
    versions: Mapping[str, tuple[str, ...]]
    hardware: Mapping[str, tuple[str, ...]]
    commits: tuple[str, ...]
    finished: str
    recipe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """The numbers of a report, in percent; NaN where there is none.

    Args:
        scores: One row per kind, protocol, domain and method: `kind`, `protocol`, `domain`,
            `method`, `fingerprint`, `metric`, `seen` (whether it is the training domain),
            `mean`, `sd`, `seeds`, `images`, `partial` (what is missing, as text),
            `first_step`, `last_step`, `paper`, `minus_paper`, `baseline`,
            `minus_baseline`, `seen_at` (how images were seen, if not only in their own pixels),
            and the ends of 95 % intervals: `low`, `high` of the mean over seeds,
            `images_low`, `images_high` of the score over images, and the same for the difference to
            the baseline, `minus_…`.
        classes: One row per class for each of these: `class`, `mean`, `sd`, `low`, `high`, `paper`.
        quoted: Scores that a paper prints: `kind`, `method`, `domain`, `paper`.
        costs: One row per row of `scores`: seconds, memory in bytes, parameters, machines.
        confusions: Confusion matrices.
        trained: How each method was trained.
    """

    scores: pd.DataFrame
    classes: pd.DataFrame
    quoted: pd.DataFrame
    costs: pd.DataFrame
    confusions: tuple[Confusion, ...]
    trained: tuple[Trained, ...]


def report_data(results: Sequence[RunResult], *, baseline: str = 'rein') -> ReportData:
    """Collect the numbers of a report from results.

    Incomplete sets of images keep their scores and are marked. Published scores are never shown
    next to them.

    Args:
        results: Results of any number of runs.
        baseline: Method that the others are compared with, if it was run on the same images.
    """
    names = _names(results)
    scores, classes, costs, confusions = [], [], [], []
    taken: set[tuple[str, ...]] = set()
    compared: set[tuple[Any, ...]] = set()
    for row in summarise(results, baseline=baseline):
        group = sorted((r for r in results if _belongs(r, row)), key=lambda result: result.seed)
        found, partial = _images(group)
        head: dict[str, Any] = {
            'kind': _kind(group[0]),
            'protocol': str(row.protocol),
            'domain': row.setting,
            'method': names[row.setting, row.method, row.fingerprint],
        }
        if tuple(head.values()) in taken:  # the same method on other images
            head['method'] += f' ({found} images, {partial or "complete"})'
        taken.add(tuple(head.values()))
        if row.method == baseline:
            compared.add((head['kind'], head['protocol'], head['domain'], found))
        size = {'images': found, 'partial': partial}
        scores.append(head | _score(row, complete=not partial) | size | _seen_at(group))
        classes += [head | line | size for line in _class_lines(row, group, complete=not partial)]
        costs.append(head | _cost(group))
        confusions.append(
            Confusion(
                **head,
                classes=group[0].classes,
                counts=np.sum([np.array(result.confusion) for result in group], axis=0),
                partial=partial,
            )
        )
    for line in scores:  # a baseline on other images does not count
        if (line['kind'], line['protocol'], line['domain'], line['images']) not in compared:
            line |= {name: math.nan for name in line if name.startswith(('minus_b', 'baseline'))}
    complete = {line['domain'] for line in scores} - {
        line['domain'] for line in scores if line['partial']
    }
    return ReportData(
        scores=pd.DataFrame(scores),
        classes=pd.DataFrame(classes),
        quoted=_quoted(complete),
        costs=pd.DataFrame(costs),
        confusions=tuple(confusions),
        trained=_trained(results, names),
    )


def _seen_at(group: Sequence[RunResult]) -> dict[str, str]:
    """How images were seen, if not only in their own pixels."""
    if group[0].protocol.sees_native:
        return {'seen_at': ''}
    lines = [f'{count} images: {how}' for result in group for how, count in result.seen.items()]
    return {'seen_at': '; '.join(dict.fromkeys(lines))}


def _belongs(result: RunResult, row: Row) -> bool:
    """Whether a row summarises this result."""
    return (
        (result.setting, result.selection, result.protocol, result.method, result.fingerprint)
        == (row.setting, row.selection, row.protocol, row.method, row.fingerprint)
        and (result.adaptation, result.partial) == (row.adaptation, row.partial)
        and len(result.image_names) == row.images
        and result.seed in row.seeds
    )


def _kind(result: RunResult) -> Kind:
    if result.adaptation:
        return 'adaptation' if result.selection == 'last' else 'adaptation-oracle'
    return result.selection


def _names(results: Iterable[RunResult]) -> dict[tuple[str, str, str], str]:
    """Name of each method, with its fingerprint if runs on one source differ in it."""
    twins: dict[tuple[str, str], set[str]] = {}
    for r in results:
        twins.setdefault((r.method, r.source), set()).add(r.fingerprint)
    return {
        (r.setting, r.method, r.fingerprint): (
            r.method if len(twins[r.method, r.source]) == 1 else f'{r.method} [{r.fingerprint}]'
        )
        for r in results
    }


def _images(group: Sequence[RunResult]) -> tuple[int, str]:
    """The smallest number of images or chips that a seed was scored on, and what is missing."""
    return min(result.images for result in group), group[0].partial


def _score(row: Row, *, complete: bool) -> dict[str, Any]:
    intervals = {
        '': row.over_seeds,
        'images_': row.over_images,
        'minus_baseline_': row.difference_over_seeds,
        'minus_baseline_images_': row.difference_over_images,
    }
    return {
        'fingerprint': row.fingerprint,
        'metric': row.metric,
        'seen': row.target in row.source.split('+'),  # + joins several sources
        'mean': row.mean,
        'sd': row.sd,
        'seeds': len(row.seeds),
        'first_step': row.steps[0],
        'last_step': row.steps[1],
        'paper': row.published if complete else math.nan,
        'minus_paper': row.against_published if complete else math.nan,
        'baseline': row.baseline,
        'minus_baseline': row.against_baseline,
        **{f'{name}low': interval.low for name, interval in intervals.items()},
        **{f'{name}high': interval.high for name, interval in intervals.items()},
    }


def _class_lines(row: Row, group: Sequence[RunResult], *, complete: bool) -> list[dict[str, Any]]:
    """One line per class, with intervals over seeds, or over images if there is only one seed."""
    by_seed = [result.per_class for result in group]
    counts = np.stack([result.image_matrices.numpy() for result in group])
    lines = []
    for number, name in enumerate(group[0].classes):
        values = [shares[name] for shares in by_seed]
        interval = mean_interval(values)
        if len(group) == 1:
            interval = image_interval(counts, scored=(number,))
        mean, sd = mean_and_sd(values)
        paper = row.published_per_class.get(name, math.nan) if complete else math.nan
        ends = {'low': interval.low, 'high': interval.high}
        lines.append({'class': name, 'mean': mean, 'sd': sd, **ends, 'paper': paper})
    return lines


def _cost(group: Sequence[RunResult]) -> dict[str, Any]:
    """Means over the seeds. For resumed training runs, only the last session is counted."""

    def mean(name: str) -> float:
        return mean_and_sd(result.seconds.get(name, math.nan) for result in group)[0]

    machines = {
        role: ', '.join(
            dict.fromkeys(str(result.hardware.get(role, {}).get('name', '–')) for result in group)
        )
        for role in ('training', 'evaluation')
    }
    return {
        'training_s': mean('training'),
        'resumed': any(result.seconds.get('training_from_step', 0) > 0 for result in group),
        'evaluation_s': mean('evaluation'),
        'images_per_s': mean_and_sd(
            result.images / result.seconds['evaluation']
            for result in group
            if result.seconds.get('evaluation', 0) > 0
        )[0],
        'memory_bytes': mean_and_sd(
            math.nan if result.memory_bytes is None else result.memory_bytes for result in group
        )[0],
        'parameters': float(group[0].parameters),
        'trained_on': machines['training'],
        'evaluated_on': machines['evaluation'],
    }


def _quoted(domains: Iterable[str]) -> pd.DataFrame:
    """What the paper prints for complete domains."""
    lines = [
        {'kind': kind, 'method': f'{method} (paper)', 'domain': name, 'paper': result.miou}
        for name, setting in SETTINGS.items()
        if name in domains
        for kind, printed in (('last', setting.reported), ('adaptation', setting.adapted))
        for method, result in printed.items()
    ]
    return pd.DataFrame(lines, columns=['kind', 'method', 'domain', 'paper'])


def _trained(
    results: Sequence[RunResult], names: Mapping[tuple[str, str, str], str]
) -> tuple[Trained, ...]:
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for result in results:
        groups.setdefault((result.method, result.fingerprint), []).append(result)
    made = []
    for (_, fingerprint), found in groups.items():
        group = sorted(found, key=lambda result: result.seed)
        first = group[0]
        made.append(
            Trained(
                method=names[first.setting, first.method, fingerprint],
                fingerprint=fingerprint,
                seeds=tuple(dict.fromkeys(result.seed for result in group)),
                domains=tuple(dict.fromkeys(result.setting for result in group)),
                made_with=tuple(dict.fromkeys(result.made_with for result in group)),
                versions=_distinct(result.versions for result in group),
                hardware=_distinct(
                    {
                        f'{role} {name}': value
                        for role, part in result.hardware.items()
                        for name, value in part.items()
                    }
                    for result in group
                ),
                commits=tuple(dict.fromkeys(r.commit for r in group if r.commit is not None)),
                finished=max(result.finished for result in group),
                recipe=yaml.safe_dump(dict(first.recipe), sort_keys=False, allow_unicode=True),
            )
        )
    return tuple(made)


def _distinct(mappings: Iterable[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """The values of each key, without repeats."""
    found: dict[str, dict[str, None]] = {}
    for mapping in mappings:
        for name, value in mapping.items():
            found.setdefault(name, {})[str(value)] = None
    return {name: tuple(values) for name, values in found.items()}
