"""Writes an assessment as a page, as tables and as text."""

import csv
import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from crossearth.assessment.assessing import Assessment
from crossearth.assessment.estimators import Estimate
from crossearth.errors import ConfigError
from crossearth.inference.writer import whole_file, write_text

__all__ = ['format_assessment', 'write_report']

_MEASURES = {
    'users': "user's accuracy",
    'producers': "producer's accuracy",
    'f1': 'F1',
    'iou': 'IoU',
}
_FEW = 10  # with fewer points, the estimates of a class say little


def write_report(assessment: Assessment, folder: str | Path) -> Path:
    """Write `report.html`, `accuracy.csv` and `error_matrix.csv`.

    The page needs no other file. `accuracy.csv` has one row per estimate, with standard error and
    95 % interval. `error_matrix.csv` has one row per pair of mapped and reference class, with the
    number of points and the share of the area.

    Args:
        assessment: The estimates.
        folder: Folder to write to; created if missing.

    Returns:
        Path of the page.

    Raises:
        ConfigError: If the folder cannot be created.
        WriteError: If a file cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f'{folder} cannot be created as a folder ({error.strerror}): choose another name'
        ) from error
    with whole_file(folder / 'accuracy.csv') as path:
        _write_rows(path, list(_accuracy_rows(assessment)))
    with whole_file(folder / 'error_matrix.csv') as path:
        _write_rows(path, list(_matrix_rows(assessment)))
    page = folder / 'report.html'
    with whole_file(page) as path:
        write_text(path, _page(assessment))
    return page


def format_assessment(assessment: Assessment) -> str:
    """The estimates as text, for a terminal."""
    accuracy = assessment.accuracy
    unit, size = _area_unit(accuracy.total_area)
    lines = [
        f'{sum(assessment.labelled)} labelled points; numbers in brackets are 95 % intervals',
        f'overall accuracy  {_percent(accuracy.overall)}',
        f'mean IoU          {_percent(accuracy.mean_iou)}',
        '',
    ]
    header = ['class', f'mapped {unit}', f'area {unit}', *(_MEASURES.values())]
    rows = [
        [
            name,
            _number(found.mapped_area.value / size),
            _area(found.area, size),
            *(_percent(getattr(found, measure)) for measure in _MEASURES),
        ]
        for name, found in zip(assessment.classes, accuracy.classes, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines += [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return '\n'.join(lines + [f'note: {note}' for note in _notes(assessment)])


def _notes(assessment: Assessment) -> list[str]:
    """Notes that a reader needs to judge the numbers."""
    notes = []
    if assessment.unlabelled:
        notes.append(
            f'{assessment.unlabelled} of {len(assessment.design.units)} points have no label and '
            'were left out. The estimates hold only if these resemble the others of their stratum.'
        )
    truths = assessment.accuracy.counts.sum(0)
    few = [
        f'{name} ({number})'
        for name, number in zip(assessment.classes, truths.tolist(), strict=True)
        if number < _FEW
    ]
    if few:
        notes.append(
            f'Few points truly belong to these classes: {", ".join(few)}. Their producer’s '
            'accuracy, IoU and area are uncertain, as the intervals show.'
        )
    return notes


def _page(assessment: Assessment) -> str:
    # names of classes come from files, and must not become HTML
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {'percent': _percent, 'short': _short, 'number': _number}
    accuracy = assessment.accuracy
    unit, size = _area_unit(accuracy.total_area)
    text = resources.files('crossearth.assessment').joinpath('report.html.jinja').read_text('utf-8')
    content: dict[str, Any] = {
        'title': Path(assessment.map).name,
        'sampled': Path(assessment.design.map).name,
        'assessment': assessment,
        'accuracy': accuracy,
        'measures': _MEASURES,
        'rows': list(zip(assessment.classes, accuracy.classes, strict=True)),
        'strata': list(
            zip(
                assessment.design.strata,
                assessment.design.drawn(),
                assessment.labelled,
                strict=True,
            )
        ),
        'totals': {
            'rows': accuracy.proportions.sum(1),
            'cols': accuracy.proportions.sum(0),
            'row_points': accuracy.counts.sum(1),
            'col_points': accuracy.counts.sum(0),
        },
        'points': sum(assessment.labelled),
        'unit': unit,
        'size': size,
        'area': lambda estimate: _area(estimate, size),
        'notes': _notes(assessment),
    }
    return environment.from_string(text).render(content)


def _accuracy_rows(assessment: Assessment) -> Iterator[dict[str, object]]:
    def row(quantity: str, name: str, estimate: Estimate, unit: str) -> dict[str, object]:
        return {
            'quantity': quantity,
            'class': name,
            'estimate': estimate.value,
            'standard_error': estimate.standard_error,
            'low_95': estimate.interval.low,
            'high_95': estimate.interval.high,
            'unit': unit,
        }

    accuracy = assessment.accuracy
    yield row('overall accuracy', '', accuracy.overall, '1')
    yield row('mean IoU', '', accuracy.mean_iou, '1')
    for name, found in zip(assessment.classes, accuracy.classes, strict=True):
        for measure, title in _MEASURES.items():
            yield row(title, name, getattr(found, measure), '1')
        yield row('area', name, found.area, 'm2')
        yield row('mapped area', name, found.mapped_area, 'm2')


def _matrix_rows(assessment: Assessment) -> Iterator[dict[str, object]]:
    accuracy = assessment.accuracy
    for i, mapped in enumerate(assessment.classes):
        for j, reference in enumerate(assessment.classes):
            yield {
                'mapped': mapped,
                'reference': reference,
                'points': int(accuracy.counts[i, j]),
                'area_share': float(accuracy.proportions[i, j]),
                'standard_error': float(accuracy.proportion_errors[i, j]),
            }


def _write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {
                # six significant digits; a missing estimate is an empty cell
                name: ('' if math.isnan(value) else f'{value:.6g}')
                if isinstance(value, float)
                else value
                for name, value in row.items()
            }
            for row in rows
        )


def _area_unit(total_m2: float) -> tuple[str, float]:
    """A unit in which the areas of a map are easy to read."""
    for unit, size in (('km²', 1e6), ('ha', 1e4)):
        if total_m2 >= 100 * size:
            return unit, size
    return 'm²', 1.0


def _percent(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return '–'
    low, high = (_short(end) for end in estimate.interval)
    return f'{_short(estimate.value)} % ({low}–{high})'


def _short(part: float) -> str:
    return '–' if math.isnan(part) else f'{100 * part:.1f}'


def _area(estimate: Estimate, size: float) -> str:
    low, high = (_number(end / size) for end in estimate.interval)
    return f'{_number(estimate.value / size)} ({low}–{high})'


def _number(value: float) -> str:
    """Three significant digits, or all digits before the point, as 0.0123, 12.3 or 12,345."""
    if value == 0:
        return '0'
    digits = max(2 - math.floor(math.log10(abs(value))), 0)
    return f'{value:,.{digits}f}'
