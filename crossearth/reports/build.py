"""Writes a report folder: the page, and its tables, figures and recipes as files."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import crossearth
from crossearth.errors import ConfigError
from crossearth.reports.data import ReportData
from crossearth.reports.examples import DomainPictures, Missing
from crossearth.reports.figures import (
    Drawn,
    confusion_figures,
    confusions_of,
    example_figures,
    score_figures,
)
from crossearth.reports.page import Section, ShownFigure, render_page
from crossearth.reports.table import Table, table_csv, table_latex
from crossearth.reports.tables import costs_table, file_name, groups_of
from crossearth.visualization import render_figure

__all__ = ['write_report']

_PAGE = 'index.html'
_PARTS = ('tables', 'figures', 'recipes')
_GENERATOR = 'content="crossearth benchmark report"'


def write_report(
    data: ReportData,
    folder: Path,
    *,
    pictures: Sequence[DomainPictures | Missing] = (),
    title: str = 'Benchmark report',
) -> Path:
    """Write the page and its parts, and replace an earlier report in the folder.

    Args:
        data: The numbers.
        folder: Folder to write: `index.html`, `tables/`, `figures/` and `recipes/`.
        pictures: Examples of domains, or why there are none.
        title: Heading of the page.

    Returns:
        The page.

    Raises:
        ConfigError: If the folder holds files with these names that are not from a report.
    """
    _check(folder)
    groups = groups_of(data)
    sections = [
        Section(
            group=group,
            charts=[_shown(drawn, page=True) for drawn in score_figures(group, data.quoted)],
            confusions={
                domain: (confusions_of(data, group, domain), _shown(drawn, page=False))
                for domain, drawn in confusion_figures(data, group).items()
            },
        )
        for group in groups
    ]
    found = [one for one in pictures if isinstance(one, DomainPictures)]
    examples = {
        domain: _shown(drawn, page=False) for domain, drawn in example_figures(found).items()
    }
    costs = costs_table(data)
    page = render_page(
        data,
        sections,
        costs,
        pictures,
        examples,
        title=title,
        written=_written(data),
    )
    files: dict[str, bytes] = {_PAGE: page.encode()}
    files |= _table_files([*(t for group in groups for t in group.tables), costs])
    files |= _figure_files(sections, examples)
    files |= _recipe_files(data)
    _replace(folder, files)
    return folder / _PAGE


def _shown(drawn: Drawn, *, page: bool) -> ShownFigure:
    return ShownFigure(
        drawn=drawn,
        svg=render_figure(drawn.figure, 'svg') if page else None,
        pdf=render_figure(drawn.figure, 'pdf'),
        png=render_figure(drawn.figure, 'png'),
    )


def _written(data: ReportData) -> str:
    def counted(number: int, name: str) -> str:
        return f'{number} {name}' if number == 1 else f'{number} {name}s'

    now = datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC')
    return (
        f'{counted(data.scores.method.nunique(), "method")} on '
        f'{counted(data.scores.domain.nunique(), "domain")}, '
        f'{counted(int(data.scores.seeds.sum()), "result")}. '
        f'Written by crossearth {crossearth.__version__} on {now}.'
    )


def _table_files(tables: Sequence[Table]) -> Iterator[tuple[str, bytes]]:
    for table in tables:
        yield f'tables/{table.name}.csv', table_csv(table).encode()
        yield f'tables/{table.name}.tex', table_latex(table).encode()


def _figure_files(
    sections: Sequence[Section], examples: Mapping[str, ShownFigure]
) -> Iterator[tuple[str, bytes]]:
    figures = [*examples.values()]
    for section in sections:
        figures += [*section.charts, *(shown for _, shown in section.confusions.values())]
    for shown in figures:
        yield f'figures/{shown.drawn.name}.pdf', shown.pdf
        yield f'figures/{shown.drawn.name}.png', shown.png


def _recipe_files(data: ReportData) -> Iterator[tuple[str, bytes]]:
    taken = set[str]()
    for one in data.trained:
        name = file_name(
            f'{one.method.removesuffix(f" [{one.fingerprint}]")}-{one.fingerprint}', taken
        )
        yield f'recipes/{name}.yaml', one.recipe.encode()


def _check(folder: Path) -> None:
    """Refuse to replace anything that is not a report."""
    page = folder / _PAGE
    if page.is_file() and _GENERATOR in page.read_text(encoding='utf-8', errors='replace')[:2000]:
        return
    there = [name for name in (_PAGE, *_PARTS) if (folder / name).exists()]
    if there or (folder.exists() and not folder.is_dir()):
        raise ConfigError(
            f'{folder} holds {", ".join(there) or "a file"} that is not from an earlier report: '
            'choose another folder with --output'
        )


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the parts first and the page last, so that an interrupted report is written again."""
    folder.mkdir(parents=True, exist_ok=True)
    # inside the folder, because renaming is atomic only within one file system
    fresh = folder / f'.report-{os.getpid()}'
    try:
        for name, content in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for part in _PARTS:
            if (folder / part).exists():
                shutil.rmtree(folder / part)
            (fresh / part).replace(folder / part)
        (fresh / _PAGE).replace(folder / _PAGE)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
