"""Draws the figures of a report, from its tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from crossearth.reports.data import KINDS, Confusion, ReportData
from crossearth.reports.examples import DomainPictures
from crossearth.reports.table import PARTIAL
from crossearth.reports.tables import Group, file_name
from crossearth.visualization import (
    draw_confusions,
    draw_examples,
    draw_intervals,
    draw_radar,
)

__all__ = ['Drawn', 'confusion_figures', 'confusions_of', 'example_figures', 'score_figures']

_QUOTED = ('CrossEarth', 'Rein')  # methods of the paper to show next to our own runs
_PARTNERS = {'CrossEarth (paper)': 'crossearth', 'Rein (paper)': 'rein'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A figure of a report.

    Args:
        name: Unique name, also used for its files.
        title: What it shows.
        alt: The same as text, for readers who cannot see it.
        figure: The figure, in the style of a paper.
    """

    name: str
    title: str
    alt: str
    figure: Figure


def score_figures(group: Group, quoted: pd.DataFrame) -> list[Drawn]:
    """A radar and a chart of intervals for a group of results; none for a single score."""
    scores = group.scores
    domains = list(dict.fromkeys(scores.domain))
    shown = {domain: _marked(domain, scores) for domain in domains}
    series: dict[str, dict[str, float]] = {}
    estimates: dict[str, dict[str, tuple[float, float, float]]] = {}
    for row in scores.itertuples():
        name = shown[row.domain]
        series.setdefault(row.method, {})[name] = row.mean
        ends = (row.images_low, row.images_high) if math.isnan(row.low) else (row.low, row.high)
        estimates.setdefault(row.method, {})[name] = (row.mean, *ends)
    partners: dict[str, str] = {}
    if group.kind == 'last':
        for method in (f'{name} (paper)' for name in _QUOTED):
            printed = quoted[(quoted.method == method) & quoted.domain.isin(domains)]
            if len(printed):
                series[method] = {shown[row.domain]: row.paper for row in printed.itertuples()}
                partners[method] = _PARTNERS[method]
    if scores['mean'].notna().sum() < 2:  # nothing to compare
        return []
    what = f'{KINDS[group.kind]}: {_metric(scores)}'
    return [
        Drawn(
            name=f'{"radar" if len(domains) > 2 else "bars"}-{group.name}',
            title=f'{what}. {_explained(scores)}',
            alt=_spoken(series),
            figure=draw_radar(list(shown.values()), series, quoted=partners),
        ),
        Drawn(
            name=f'intervals-{group.name}',
            title=f'{what}, with 95 % intervals over seeds, or over images where there is one '
            f'seed. {_explained(scores)}',
            alt=_spoken({name: {k: v[0] for k, v in m.items()} for name, m in estimates.items()}),
            figure=draw_intervals(
                list(shown.values()),
                estimates,
                hollow=[
                    (row.method, shown[row.domain]) for row in scores.itertuples() if row.partial
                ],
            ),
        ),
    ]


def confusion_figures(data: ReportData, group: Group) -> dict[str, Drawn]:
    """One figure per domain of a group, with one panel per method."""
    figures, taken = {}, set[str]()
    for domain in dict.fromkeys(group.scores.domain):
        matrices = confusions_of(data, group, domain)
        panels = {
            f'{one.method} {PARTIAL}' if one.partial else one.method: one.counts for one in matrices
        }
        figures[domain] = Drawn(
            name=f'confusion-{file_name(domain, taken)}-{group.name}',
            title=f'{domain}: percent of the true class, all seeds together',
            alt=f'confusion matrices of {", ".join(panels)} on {domain}',
            figure=draw_confusions(panels, matrices[0].classes, title=domain),
        )
    return figures


def confusions_of(data: ReportData, group: Group, domain: str) -> list[Confusion]:
    """The matrices of a group on one domain."""
    wanted = (group.kind, group.protocol, domain)
    return [one for one in data.confusions if (one.kind, one.protocol, one.domain) == wanted]


def example_figures(pictures: Sequence[DomainPictures]) -> dict[str, Drawn]:
    """One figure per domain that has examples."""
    taken = set[str]()
    return {
        one.domain: Drawn(
            name=f'examples-{file_name(one.domain, taken)}',
            title=f'{one.domain}: image, truth, maps and errors',
            alt=f'windows of {one.domain}',
            figure=draw_examples(
                [example.window for example in one.examples], one.labels, title=one.domain
            ),
        )
        for one in pictures
        if one.examples
    }


def _marked(domain: str, scores: pd.DataFrame) -> str:
    """The name of a domain, marked if a method lacks images of it."""
    return (
        f'{domain} {PARTIAL}' if (scores[scores.domain == domain].partial != '').any() else domain
    )


def _explained(scores: pd.DataFrame) -> str:
    return f'{PARTIAL} Incomplete sets.' if (scores.partial != '').any() else ''


def _metric(scores: pd.DataFrame) -> str:
    return f'{" or ".join(dict.fromkeys(scores.metric))} in %'


def _spoken(series: dict[str, Any]) -> str:
    """The numbers as text."""
    return '; '.join(
        f'{name}: ' + ', '.join(f'{domain} {value:.1f}' for domain, value in scores.items())
        for name, scores in series.items()
    )
