"""Reads and checks the labels of a sample."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import fiona

from crossearth.assessment.sample_folder import POINTS, Design
from crossearth.errors import LabelError, SceneError, SceneNotFoundError

__all__ = ['read_labels']

_SHOWN = 8  # ids to show of a long list


def read_labels(
    path: Path, design: Design, *, allow_unlabelled: bool = False
) -> dict[int, int | None]:
    """The reference class of each unit of a sample.

    Args:
        path: GeoPackage with a layer `points`, or CSV, with columns `id` and `label`. A label is
            the name of a class, or its id.
        design: The sample.
        allow_unlabelled: Whether units may lack a label.

    Returns:
        Class id of each unit, by unit id; None for units without a label.

    Raises:
        SceneNotFoundError: If the file does not exist.
        SceneError: If it cannot be read, or lacks a column.
        LabelError: If units are unknown, missing, repeated, unlabelled, or labelled with a class
            that the map does not have.
    """
    if not path.is_file():
        raise SceneNotFoundError(
            f'{path} does not exist: expected the labelled {POINTS}, or a CSV with id and label'
        )
    rows = _from_csv(path) if path.suffix.lower() == '.csv' else _from_layer(path)
    known = {unit.id for unit in design.units}
    ids = Counter(number for number, _ in rows)
    _refuse(path, 'occur twice: keep one row for each', (i for i, n in ids.items() if n > 1))
    _refuse(path, 'are not from this sample: label the points of its folder', ids.keys() - known)
    _refuse(path, 'are missing: restore them, and leave labels empty instead', known - ids.keys())
    labels = _decoded(path, rows, design.classes)
    empty = [number for number, label in labels.items() if label is None]
    if empty and not allow_unlabelled:
        _refuse(
            path,
            'have no label: label them, or pass --allow-unlabelled to leave them out, which is '
            'only valid if they are a random part of the sample',
            empty,
        )
    return labels


def _decoded(
    path: Path, rows: Iterable[tuple[int, str]], classes: Mapping[int, str]
) -> dict[int, int | None]:
    by_text = {str(index): index for index in classes}
    by_text |= {name: index for index, name in classes.items()}  # a name takes precedence
    wrong = Counter(text for _, text in rows if text and text not in by_text)
    if wrong:
        listed = '; '.join(
            f'{text!r} of point {_listed(number for number, given in rows if given == text)}'
            for text, _ in wrong.most_common(_SHOWN)
        )
        raise LabelError(
            f'{path}: {listed} is not a class of the map: expected {", ".join(classes.values())}'
        )
    return {number: by_text[text] if text else None for number, text in rows}


def _refuse(path: Path, problem: str, ids: Iterable[int]) -> None:
    found = sorted(ids)
    if found:
        raise LabelError(f'{path}: {len(found)} points ({_listed(found)}) {problem}')


def _listed(ids: Iterable[int]) -> str:
    found = sorted(ids)
    return ', '.join(map(str, found[:_SHOWN])) + (', …' if len(found) > _SHOWN else '')


def _from_csv(path: Path) -> list[tuple[int, str]]:
    try:
        # spreadsheets may begin a CSV with a byte order mark
        with path.open(newline='', encoding='utf-8-sig') as file:
            start = file.readline()
            file.seek(0)
            # in some languages, spreadsheets write CSV with semicolons
            reader = csv.DictReader(file, delimiter=';' if ';' in start else ',')
            return _pairs(path, reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SceneError(f'{path} cannot be read as CSV ({error}): save it as UTF-8') from error


def _from_layer(path: Path) -> list[tuple[int, str]]:
    try:
        with fiona.open(str(path), layer='points') as file:
            return _pairs(path, (feature['properties'] for feature in file))
    except (fiona.errors.FionaError, ValueError) as error:
        if isinstance(error, SceneError):
            raise
        raise SceneError(
            f'{path} has no layer of points that can be read ({error}): pass the labelled {POINTS}'
        ) from error


def _pairs(path: Path, rows: Iterable[Mapping[str, object]]) -> list[tuple[int, str]]:
    pairs = []
    for row in rows:
        if row.get('id') is None or 'label' not in row:
            columns = ', '.join(map(str, filter(None, row)))  # cells beyond the header have no name
            raise SceneError(f'{path} has the columns {columns}: expected id and label')
        text = str(row['id']).strip()
        if not text.isdecimal():
            raise SceneError(f'{path}: {text!r} is not the id of a point: expected a whole number')
        label = row['label']
        pairs.append((int(text), '' if label is None else str(label).strip()))
    return pairs
