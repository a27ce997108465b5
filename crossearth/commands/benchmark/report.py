"""`crossearth benchmark report`: a table of what was run, compared with the paper."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.commands.benchmark.arguments import OUTPUT, tell_or_write

if TYPE_CHECKING:
    from crossearth.benchmark import Row

__all__ = ['add_arguments', 'draw_radar_of', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument(
        'folder', type=Path, nargs='?', default=OUTPUT, help=f'output of run ({OUTPUT})'
    )
    parser.add_argument('--format', choices=['md', 'csv', 'html'], default='md')
    parser.add_argument('--baseline', default='rein', help='method to compare with (rein)')
    parser.add_argument('--output', type=Path, metavar='FILE', help='file to write; else printed')
    parser.add_argument(
        '--radar', type=Path, metavar='FILE', help='draw the scores of the last step as PNG'
    )


def run(arguments: argparse.Namespace) -> str:
    """The report, or where it was written.

    Raises:
        CrossEarthError: If there are no results, or a file cannot be written.
    """
    from crossearth.benchmark import (
        format_csv,
        format_html,
        format_markdown,
        load_results,
        summarise,
    )

    rows = summarise(load_results(arguments.folder), baseline=arguments.baseline)
    if arguments.radar is not None:
        draw_radar_of(rows, arguments.radar)
    if arguments.format == 'html':
        picture = None if arguments.radar is None else arguments.radar.read_bytes()
        text = format_html(rows, picture=picture)
    else:
        text = format_csv(rows) if arguments.format == 'csv' else format_markdown(rows)
    return tell_or_write(text, arguments.output)


def draw_radar_of(rows: 'Sequence[Row]', path: Path) -> None:
    """Scores of the last step under the most frequent protocol of a setting, and the paper's."""
    from crossearth.benchmark import SETTINGS
    from crossearth.visualization import draw_radar, save_figure

    measured: dict[str, dict[str, float]] = {}
    shown: dict[str, str] = {}
    # trainings of one method on one source, each a line of its own
    trained: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.selection != 'last' or row.adaptation:
            continue
        setting = f'{row.setting} (partial)' if row.partial else row.setting
        if shown.setdefault(setting, str(row.protocol)) == str(row.protocol):
            marks = trained.setdefault((row.method, row.source), [])
            if row.fingerprint not in marks:
                marks.append(row.fingerprint)
            first = marks[0] == row.fingerprint
            name = row.method if first else f'{row.method} [{row.fingerprint}]'
            measured.setdefault(name, {})[setting] = row.mean
    settings = list(shown)
    published = [name for name in settings if name in SETTINGS]
    quoted = {
        f'{title}, paper': {name: SETTINGS[name].reported[title].miou for name in published}
        for title in ('CrossEarth', 'Rein')
        if published
    }
    figure = draw_radar(
        settings,
        {**measured, **quoted},
        quoted={'CrossEarth, paper': 'crossearth', 'Rein, paper': 'rein'},
        title='Score on the unseen domain in %, model of the last step',
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
