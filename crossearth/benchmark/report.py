"""The rows of a summary as Markdown, CSV and HTML."""

import csv
import html
import io
import math
from collections.abc import Sequence
from itertools import groupby

from crossearth.benchmark.intervals import Interval
from crossearth.benchmark.settings import SETTINGS
from crossearth.benchmark.summary import Row

__all__ = ['format_csv', 'format_html', 'format_markdown']

_SECTIONS = {
    ('last', False): 'Last step',
    ('last', True): 'Adaptation: training saw unlabelled images of the target',
    ('oracle', False): 'Oracle: the checkpoint that is best on the unseen domain',
    ('oracle', True): 'Oracle of adaptation',
}
_NOTES = (
    'IoU in percent, from one confusion matrix over all labelled pixels of the unseen domain; '
    'mean ± standard deviation (n - 1) over seeds.',
    'Δ paper: against the number that the paper prints for the method, whatever its steps and '
    'seeds; Δ baseline: against the mean of the baseline that was run here, under the same '
    'protocol and for as many steps.',
    '95 % intervals: over seeds by the paired t (would another training run say the same?), over '
    'images by the bootstrap of whole images (would other images of the place?). PARTIAL marks '
    'sets that lack images; they stand next to no published number.',
)
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem;
       padding: 0 1rem; color: #1b1f24; background: #fff; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0 1.8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #d8dee4;
         white-space: nowrap; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
thead th { border-bottom: 2px solid #57606a; }
tr.paper td { color: #57606a; }
.up { color: #1a7f37; } .down { color: #b42318; }
p.protocol { color: #57606a; margin: 0; }
"""

type Cells = list[list[str]]


def format_markdown(rows: Sequence[Row]) -> str:
    """Tables in Markdown: one for each selection and protocol, never mixed.

    Args:
        rows: From `summarise`.

    Returns:
        A page; under each table, what is scored how.
    """
    lines = [f'# {_title(rows)}', '', *_NOTES, '']
    for title, tables in _sections(rows):
        lines += [f'## {title}', '']
        for protocol, table, per_class in tables:
            lines += [f'Protocol: {protocol}.', '', *_markdown(table), '']
            for heading, classes in per_class:
                lines += [f'### {heading}, by class', '', *_markdown(classes), '']
    lines += ['## Made with', '', *(f'- {line}' for line in _made_with(rows))]
    return '\n'.join(lines).rstrip() + '\n'


def format_csv(rows: Sequence[Row]) -> str:
    """One line a row and class, and one for the mean, with everything spelled out.

    Args:
        rows: From `summarise`.

    Returns:
        Comma-separated lines with a header; empty where there is no number.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(
        [
            'setting', 'source', 'target', 'partial', 'kind', 'selection', 'method',
            'fingerprint', 'seeds', 'steps', 'class', 'metric',
            'mean', 'sd', 'paper', 'minus_paper', 'baseline', 'minus_baseline',
            'seeds_low', 'seeds_high', 'images', 'images_low', 'images_high',
            'minus_baseline_seeds_low', 'minus_baseline_seeds_high',
            'minus_baseline_images_low', 'minus_baseline_images_high', 'protocol',
        ]
    )  # fmt: skip
    for row in rows:
        head = [
            row.setting,
            row.source,
            row.target,
            row.partial,
            'adaptation' if row.adaptation else 'generalisation',
            row.selection,
            row.method,
            row.fingerprint,
            ' '.join(map(str, row.seeds)),
            _steps(row),
        ]
        numbers = [
            row.mean,
            row.sd,
            row.published,
            row.against_published,
            row.baseline,
            row.against_baseline,
        ]
        intervals = [
            _plain(row.over_seeds.low),
            _plain(row.over_seeds.high),
            str(row.images),
            *map(_plain, (row.over_images.low, row.over_images.high)),
            *map(_plain, (row.difference_over_seeds.low, row.difference_over_seeds.high)),
            *map(_plain, (row.difference_over_images.low, row.difference_over_images.high)),
        ]
        writer.writerow(
            [*head, '', row.metric, *map(_plain, numbers), *intervals, str(row.protocol)]
        )
        for name, mean in row.per_class.items():
            paper = row.published_per_class.get(name, math.nan)
            numbers = [mean, math.nan, paper, mean - paper, math.nan, math.nan]
            blanks = [''] * len(intervals)
            writer.writerow([*head, name, 'IoU', *map(_plain, numbers), *blanks, str(row.protocol)])
    return stream.getvalue()


def format_html(rows: Sequence[Row], *, picture: bytes | None = None) -> str:
    """A page of its own, with nothing to load from elsewhere.

    Args:
        rows: From `summarise`.
        picture: PNG to show above the tables.

    Returns:
        HTML.
    """
    body = [f'<h1>{_title(rows)}</h1>', *(f'<p>{html.escape(note)}</p>' for note in _NOTES)]
    if picture is not None:
        import base64

        data = base64.b64encode(picture).decode()
        body.append(f'<img alt="scores by setting" src="data:image/png;base64,{data}" width="720">')
    for title, tables in _sections(rows):
        body.append(f'<h2>{html.escape(title)}</h2>')
        for protocol, table, per_class in tables:
            body.append(f'<p class="protocol">Protocol: {html.escape(protocol)}.</p>')
            body.append(_html_table(table))
            for heading, classes in per_class:
                body += [f'<h3>{html.escape(heading)}, by class</h3>', _html_table(classes)]
    items = ''.join(f'<li>{html.escape(line)}</li>' for line in _made_with(rows))
    body.append(f'<h2>Made with</h2><ul>{items}</ul>')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{_title(rows)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        + '\n'.join(body)
        + '\n</body>\n</html>\n'
    )


def _title(rows: Sequence[Row]) -> str:
    published = any(row.setting in SETTINGS for row in rows)
    return 'RSDG benchmark' if published else 'Experiment'


def _made_with(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(line for row in rows for line in row.made_with))


def _sections(
    rows: Sequence[Row],
) -> list[tuple[str, list[tuple[str, Cells, list[tuple[str, Cells]]]]]]:
    """Title, and for each protocol the table of scores and those of the classes."""
    sections = []
    for section, title in _SECTIONS.items():
        chosen = [row for row in rows if (row.selection, row.adaptation) == section]
        protocols = list(dict.fromkeys(str(row.protocol) for row in chosen))
        tables = []
        for protocol in protocols:
            alike = [row for row in chosen if str(row.protocol) == protocol]
            tables.append((protocol, _scores(alike), _classes(alike)))
        if tables:
            sections.append((title, tables))
    return sections


def _scores(rows: Sequence[Row]) -> Cells:
    head = [
        'setting', 'method', 'score', '95 % over seeds', '95 % over images', 'seeds', 'steps',
        'paper', 'Δ paper', 'Δ baseline', '95 % over seeds', '95 % over images',
    ]  # fmt: skip
    return [
        head,
        *(
            [
                _setting(row),
                _name(row, rows),
                f'{_spread(row)} {row.metric}',
                _interval(row.over_seeds),
                _interval(row.over_images),
                str(len(row.seeds)),
                _steps(row),
                _one(row.published),
                _signed(row.against_published),
                _signed(row.against_baseline),
                _interval(row.difference_over_seeds, sign='+'),
                _interval(row.difference_over_images, sign='+'),
            ]
            for row in rows
        ),
    ]


def _classes(rows: Sequence[Row]) -> list[tuple[str, Cells]]:
    """A table for each setting: its classes in columns, the published ones below a method's."""
    tables = []
    for setting, group in groupby(rows, key=_setting):
        alike = list(group)
        cells = [['method', 'from', *alike[0].per_class]]
        for row in alike:
            name = _name(row, rows)
            cells.append([name, 'here', *map(_one, row.per_class.values())])
            if row.published_per_class:
                printed = [row.published_per_class.get(c, math.nan) for c in row.per_class]
                cells.append([name, 'paper', *map(_one, printed)])
        tables.append((setting, cells))
    return tables


def _setting(row: Row) -> str:
    """The setting, marked where images were lacking."""
    return f'{row.setting} (PARTIAL: {row.partial})' if row.partial else row.setting


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The method, with its fingerprint where a setting has two trainings of it."""
    twins = {r.fingerprint for r in rows if (r.setting, r.method) == (row.setting, row.method)}
    return row.method if len(twins) == 1 else f'{row.method} [{row.fingerprint}]'


def _spread(row: Row) -> str:
    return _one(row.mean) if math.isnan(row.sd) else f'{row.mean:.1f} ± {row.sd:.1f}'


def _steps(row: Row) -> str:
    low, high = row.steps
    if high == 0:  # a model that was there
        return '-'
    return str(low) if low == high else f'{low}-{high}'


def _one(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.1f}'


def _signed(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:+.1f}'


def _interval(interval: Interval, *, sign: str = '') -> str:
    return f'{interval.low:{sign}.1f} to {interval.high:{sign}.1f}' if interval.known else '-'


def _plain(value: float) -> str:
    return '' if math.isnan(value) else f'{value:.4f}'


def _markdown(cells: Cells) -> list[str]:
    head, *body = cells
    ruler = ['---', '---', *['---:'] * (len(head) - 2)]
    return [f'| {" | ".join(line)} |' for line in (head, ruler, *body)]


def _html_table(cells: Cells) -> str:
    head, *body = cells
    top = ''.join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    lines = []
    for line in body:
        of_paper = ' class="paper"' if line[1] == 'paper' else ''
        lines.append(f'<tr{of_paper}>{"".join(map(_html_cell, line))}</tr>')
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table></div>'
    )


def _html_cell(cell: str) -> str:
    kind = {'+': ' class="up"', '-': ' class="down"'}.get(cell[:1], '') if len(cell) > 1 else ''
    return f'<td{kind}>{html.escape(cell)}</td>'
