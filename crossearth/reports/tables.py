"""Builds the tables of a report: scores by domain and by class, and costs."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from crossearth.reports.data import KINDS, Kind, ReportData
from crossearth.reports.table import PARTIAL, Column, Table, table_text

__all__ = ['Group', 'costs_table', 'file_name', 'format_scores', 'groups_of']


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Results that may be compared with each other.

    Args:
        name: Unique name, which ends the names of its files.
        kind: A key of `KINDS`.
        protocol: How all of them were scored.
        scores: Its part of `ReportData.scores`.
        overview: Methods by domains; None for a single domain.
        table: One row per domain and method.
        per_class: Domain → its table of classes.
    """

    name: str
    kind: Kind
    protocol: str
    scores: pd.DataFrame
    overview: Table | None
    table: Table
    per_class: dict[str, Table] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Its heading."""
        return KINDS[self.kind]

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        first = [] if self.overview is None else [self.overview]
        return [*first, self.table, *self.per_class.values()]


def groups_of(data: ReportData) -> list[Group]:
    """The tables of scores. Different kinds or protocols never share one."""
    groups = []
    for kind in KINDS:
        of_kind = data.scores[data.scores.kind == kind]
        for number, protocol in enumerate(dict.fromkeys(of_kind.protocol), start=1):
            suffix = kind if number == 1 else f'{kind}-{number}'
            scores = of_kind[of_kind.protocol == protocol]
            classes = data.classes[
                (data.classes.kind == kind) & (data.classes.protocol == protocol)
            ]
            domains = list(dict.fromkeys(scores.domain))
            quoted = data.quoted[data.quoted.kind == kind]
            taken: set[str] = set()
            groups.append(
                Group(
                    name=suffix,
                    kind=kind,
                    protocol=protocol,
                    scores=scores,
                    overview=_overview(scores, quoted, suffix) if len(domains) > 1 else None,
                    table=_scores(scores, suffix),
                    per_class={
                        domain: _classes(
                            domain,
                            classes[classes.domain == domain],
                            f'classes-{file_name(domain, taken)}-{suffix}',
                        )
                        for domain in domains
                    },
                )
            )
    return groups


def format_scores(data: ReportData) -> str:
    """The scores as text for a terminal, separately for each kind and protocol."""
    return '\n\n'.join(
        f'{group.title}. Protocol: {group.protocol}.\n{table_text(group.table)}'
        for group in groups_of(data)
    )


def file_name(text: str, taken: set[str]) -> str:
    """Turn text from a file into a unique file name of letters and digits.

    Example:
        >>> taken = set()
        >>> file_name('P(i)2V', taken), file_name('P[i]2V', taken), file_name('../x', taken)
        ('P-i-2V', 'P-i-2V-2', 'x')
    """
    plain = re.sub(r'[^A-Za-z0-9]+', '-', text)[:60].strip('-') or 'domain'
    name, number = plain, 1
    while name.lower() in taken:  # some file systems ignore case
        number += 1
        name = f'{plain}-{number}'
    taken.add(name.lower())
    return name


def _scores(scores: pd.DataFrame, suffix: str) -> Table:
    always = ('domain', 'method', 'mean', 'low', 'seeds', 'images', 'first_step')
    columns = (
        Column('domain', 'domain', mark='partial'),
        Column('method', 'method'),
        Column(_metric(scores), 'mean', 'score', ('sd',)),
        Column('95 % over seeds', 'low', 'interval', ('high',)),
        Column('95 % over images', 'images_low', 'interval', ('images_high',)),
        Column('seeds', 'seeds', 'count'),
        Column('images', 'images', 'count'),
        Column('steps', 'first_step', 'steps', ('last_step',)),
        Column('paper', 'paper', 'score'),
        Column('Δ paper', 'minus_paper', 'signed'),
        Column('Δ baseline', 'minus_baseline', 'signed'),
        Column('Δ over seeds', 'minus_baseline_low', 'interval', ('minus_baseline_high',)),
        Column(
            'Δ over images',
            'minus_baseline_images_low',
            'interval',
            ('minus_baseline_images_high',),
        ),
    )
    return Table(
        name=f'scores-{suffix}',
        title='Scores by domain',
        notes=(*_metrics(scores), *_sizes(scores), *_notes(scores)),
        frame=scores.drop(columns='kind').reset_index(drop=True),
        columns=tuple(c for c in columns if c.key in always or scores[c.key].notna().any()),
        quoted=(False,) * len(scores),
    )


def _metric(scores: pd.DataFrame) -> str:
    """The name of the scores, for a heading."""
    names = list(dict.fromkeys(scores.metric))
    return f'{names[0] if len(names) == 1 else "score"} in %'


def _metrics(scores: pd.DataFrame) -> tuple[str, ...]:
    """A note if domains are scored in different ways."""
    by_metric = [
        f'{name} of {", ".join(dict.fromkeys(scores[scores.metric == name].domain))}'
        for name in dict.fromkeys(scores.metric)
    ]
    return (f'Scores: {"; ".join(by_metric)}.',) if len(by_metric) > 1 else ()


def _sizes(scores: pd.DataFrame) -> tuple[str, ...]:
    """How the images of each domain were seen, if not only in their own pixels."""
    seen = dict.fromkeys(zip(scores.domain, scores.seen_at, strict=True))
    return tuple(f'{domain}: {how}.' for domain, how in seen if how)


def _overview(scores: pd.DataFrame, quoted: pd.DataFrame, suffix: str) -> Table:
    """Methods in rows and domains in columns, as papers print them."""
    domains = list(dict.fromkeys(scores.domain))
    methods = list(dict.fromkeys(scores.method))
    seen = list(dict.fromkeys(scores.domain[scores.seen]))
    averaged = [domain for domain in domains if domain not in seen] or domains
    notes = ['Bold: the best of those that were run here.']
    if averaged != domains:
        notes.append(f'The mean leaves out {", ".join(seen)}: places that were trained on.')
    by_place = scores.set_index(['method', 'domain'])
    rows: list[dict[str, Any]] = []
    for method in methods:
        row: dict[str, Any] = {'method': method, 'from': 'here'}
        for domain in domains:
            there = (method, domain) in by_place.index
            for part in ('mean', 'sd'):
                value = by_place.loc[(method, domain), part] if there else math.nan
                row[f'{domain} {part}'] = value
            row[f'{domain} partial'] = by_place.loc[(method, domain), 'partial'] if there else ''
        complete = not any(row[f'{domain} partial'] for domain in domains)
        row['all domains'] = _mean(row, averaged) if complete else math.nan
        rows.append(row)
    for method in dict.fromkeys(quoted.method):
        printed = quoted[quoted.method == method].set_index('domain')['paper']
        row = {'method': method, 'from': 'paper'}
        for domain in domains:
            row |= {f'{domain} mean': printed.get(domain, math.nan), f'{domain} sd': math.nan}
            row[f'{domain} partial'] = ''
        row['all domains'] = _mean(row, averaged)
        if any(domain in printed.index for domain in domains):
            rows.append(row)
    shown = [
        Column(domain, f'{domain} mean', 'score', (f'{domain} sd',), f'{domain} partial', best=True)
        for domain in domains
    ]
    return Table(
        name=f'overview-{suffix}',
        title='Methods by domain',
        notes=(*notes, *_metrics(scores), *_notes(scores)),
        frame=pd.DataFrame(rows),
        columns=(
            Column('method', 'method'),
            *shown,
            Column('mean', 'all domains', 'score', best=True),
        ),
        quoted=tuple(row['from'] == 'paper' for row in rows),
    )


def _mean(row: Mapping[str, Any], domains: Sequence[str]) -> float:
    """Mean over all these domains, or NaN: a mean over fewer would not be comparable."""
    return math.fsum(row[f'{domain} mean'] for domain in domains) / len(domains)


def _classes(domain: str, classes: pd.DataFrame, name: str) -> Table:
    """Methods in rows and classes in columns, with published numbers below a method's row."""
    rows: list[dict[str, Any]] = []
    names = list(dict.fromkeys(classes['class']))
    for method in dict.fromkeys(classes.method):
        of_method = classes[classes.method == method].set_index('class')
        here: dict[str, Any] = {'method': method, 'from': 'here'}
        here |= {'images': of_method.images.iloc[0], 'partial': of_method.partial.iloc[0]}
        for label in names:
            for part in ('mean', 'sd', 'low', 'high'):
                here[f'{label} {part}'] = of_method.loc[label, part]
        rows.append(here)
        if of_method.paper.notna().any():
            printed = {f'{label} mean': of_method.loc[label, 'paper'] for label in names}
            rows.append(
                {'method': method, 'from': 'paper', 'images': math.nan, 'partial': ''} | printed
            )
    columns = [
        Column('method', 'method', mark='partial'),
        Column('from', 'from'),
        Column('images', 'images', 'count'),
    ]
    for label in names:
        parts = tuple(f'{label} {part}' for part in ('sd', 'low', 'high'))
        heading, key = label.replace('_', ' '), f'{label} mean'
        columns.append(Column(heading, key, 'score', parts, mark='partial', best=True))
    return Table(
        name=name,
        title=f'{domain}, IoU by class in %',
        notes=_notes(classes),
        frame=pd.DataFrame(rows),
        columns=tuple(columns),
        quoted=tuple(row['from'] == 'paper' for row in rows),
    )


def costs_table(data: ReportData) -> Table:
    """Seconds, memory and parameters, as far as they were recorded.

    Oracles are left out, because they are checkpoints of training runs that are listed already.
    """
    costs = data.costs[~data.costs.kind.str.endswith('oracle')]
    columns = (
        Column('domain', 'domain'),
        Column('method', 'method'),
        Column('training', 'training_s', 'seconds', ('resumed',)),
        Column('scoring', 'evaluation_s', 'seconds'),
        Column('images per s', 'images_per_s', 'rate'),
        Column('peak memory', 'memory_bytes', 'size'),
        Column('parameters', 'parameters', 'millions'),
        Column('trained on', 'trained_on'),
        Column('scored on', 'evaluated_on'),
    )
    lacking = [
        column.heading
        for column in columns
        if column.numeric and not costs[column.key].notna().any()
    ]
    notes = ['Means over seeds. Settings that share a source share the training run.']
    if costs.resumed.any():
        notes.append('≥: resumed; the seconds are those of the last session.')
    if lacking:
        notes.append(f'Not recorded in these results: {", ".join(lacking)}.')
    return Table(
        name='costs',
        title='Cost by domain and method',
        notes=tuple(notes),
        frame=costs.drop(columns='protocol'),
        columns=tuple(c for c in columns if c.heading not in lacking),
        quoted=(False,) * len(costs),
    )


def _notes(rows: pd.DataFrame) -> tuple[str, ...]:
    """A note that explains the mark of incomplete sets."""
    lacking = dict.fromkeys(
        f'{row.domain}, {row.method}: {row.partial}' for row in rows.itertuples() if row.partial
    )
    if not lacking:
        return ()
    return (
        f'{PARTIAL} Incomplete, and not comparable with published numbers: {"; ".join(lacking)}.',
    )
