"""A table: raw numbers in a data frame, and how each column is shown.

One `Table` becomes HTML on the page, CSV with all digits, LaTeX for a paper and text for a
terminal. All are made from the same frame, so they cannot contradict each other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from crossearth.columns import align_columns

__all__ = [
    'PARTIAL',
    'Cell',
    'Column',
    'Table',
    'escape_latex',
    'table_csv',
    'table_latex',
    'table_text',
]

PARTIAL = '†'
"""Mark of incomplete sets, in every table and figure."""

Format = Literal[
    'text', 'count', 'score', 'signed', 'interval', 'steps', 'seconds', 'rate', 'size', 'millions'
]
Tone = Literal['', 'up', 'down', 'best']

_LATEX = {
    '\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_',
    '{': r'\{', '}': r'\}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}',
    '[': '{[}', '*': '{*}',  # at the start of a row, LaTeX reads them as arguments of \\
    '<': r'\textless{}', '>': r'\textgreater{}', '|': r'\textbar{}',
    '±': r'$\pm$', '−': '$-$', 'Δ': r'$\Delta$', '–': '--', '…': r'\dots{}', '×': r'$\times$',
    '≥': r'$\geq$', '→': r'$\rightarrow$', 'τ': r'$\tau$', PARTIAL: r'\textsuperscript{\dag}',
}  # fmt: skip
_WIDE = 7  # with more columns, a table spans both columns of a paper


@dataclass(frozen=True, slots=True)
class Column:
    """How a column is shown.

    Args:
        heading: Its heading.
        key: Column of the frame with its number or text.
        format: How the number is written.
        more: Further columns of the frame, written in the same cell. For a score, these are its
            spread and both ends of its interval; for an interval, its upper end; for steps, the
            last step; for seconds, whether they cover only part of the run.
        mark: Column of the frame that tells where to put the mark of incomplete sets.
        best: Whether the largest number is set in bold, of rows that are neither quoted nor marked.
    """

    heading: str
    key: str
    format: Format = 'text'
    more: tuple[str, ...] = ()
    mark: str | None = None
    best: bool = False

    @property
    def numeric(self) -> bool:
        """Whether the column is right-aligned and sorted by number."""
        return self.format != 'text'


@dataclass(frozen=True, slots=True)
class Cell:
    """The contents of one cell.

    Args:
        text: Text to print.
        value: Sort key of the row; None for an empty cell.
        tone: `'up'` and `'down'` for differences, `'best'` for the largest number of a column.
        below: Smaller text below, such as an interval.
    """

    text: str
    value: float | str | None
    tone: Tone = ''
    below: str = ''


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a report.

    Args:
        name: Unique name, also used for its files.
        title: Line above it.
        notes: Lines below it.
        frame: Raw numbers; columns that no `Column` shows are only in the CSV.
        columns: The columns to show, in order.
        quoted: Whether each row is quoted from a paper.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    quoted: tuple[bool, ...]

    def cells(self) -> list[list[Cell]]:
        """The cells of each row, from left to right."""
        best = {column.key: self._best(column) for column in self.columns if column.best}
        return [
            [
                _cell(record, column, None if quoted else best.get(column.key))
                for column in self.columns
            ]
            for record, quoted in zip(self.frame.to_dict('records'), self.quoted, strict=True)
        ]

    def _best(self, column: Column) -> float | None:
        """The largest number of those that may be compared; None if there is only one."""
        # a score on fewer images cannot be the best of its column
        marked = [''] * len(self.frame) if column.mark is None else self.frame[column.mark]
        compared = [not (q or bool(m)) for q, m in zip(self.quoted, marked, strict=True)]
        return float(self.frame.loc[compared, column.key].max()) if sum(compared) > 1 else None


def table_csv(table: Table) -> str:
    """Every number of the frame with all digits; empty where there is none."""
    text: str = table.frame.to_csv(index=False, lineterminator='\n')
    return text


def table_latex(table: Table) -> str:
    r"""A floating table in booktabs style, to include in a paper with `\input`.

    Names from files are escaped. The preamble needs `\usepackage{booktabs}` and UTF-8.
    """
    lines: list[list[str]] = []
    for row in table.cells():
        lines.append([_latex_cell(cell) for cell in row])
        if any(cell.below for cell in row):
            lines.append(
                [f'{{\\scriptsize {escape_latex(c.below)}}}' if c.below else '' for c in row]
            )
    headings = [escape_latex(column.heading) for column in table.columns]
    kind, size = ('table*', '\\footnotesize') if len(headings) > _WIDE else ('table', '')
    body = pd.DataFrame(lines, columns=range(len(headings))).to_latex(
        index=False,
        header=[h.replace('{', '{{').replace('}', '}}') for h in headings],  # pandas formats them
        escape=False,
        column_format=''.join('r' if column.numeric else 'l' for column in table.columns),
    )
    notes = escape_latex(' '.join((f'{table.title}.', *table.notes)))
    return (
        f'% \\usepackage{{booktabs}}\n\\begin{{{kind}}}\n\\centering{size}\n\\caption{{{notes}}}\n'
        f'\\label{{tab:{table.name}}}\n{body}\\end{{{kind}}}\n'
    )


def escape_latex(text: str) -> str:
    r"""Escape text for LaTeX.

    Example:
        >>> print(escape_latex('P_100% ± <b>'))
        P\_100\% $\pm$ \textless{}b\textgreater{}
    """
    return ''.join(_LATEX.get(letter, letter) for letter in text)


def table_text(table: Table) -> str:
    """The table as aligned columns for a terminal."""
    left = next((i for i, column in enumerate(table.columns) if column.numeric), 1)
    rows = [[column.heading for column in table.columns]]
    rows += [[cell.text for cell in row] for row in table.cells()]
    return '\n'.join((f'{table.title}:', align_columns(rows, left=left), *table.notes))


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text)
    return f'\\textbf{{{text}}}' if cell.tone == 'best' else text


def _cell(record: dict[str, Any], column: Column, best: float | None) -> Cell:
    value = record[column.key]
    marked = column.mark is not None and bool(record[column.mark])
    mark = f' {PARTIAL}' if marked else ''
    if column.format == 'text':
        return Cell(f'{value}{mark}', str(value))
    number = float(value)
    if math.isnan(number):
        return Cell('–', None)
    more = [float(record[name]) for name in column.more]
    text = _WRITERS[column.format](number, more)
    tone: Tone = ''
    # a difference that rounds to 0.0 has no direction
    if column.format == 'signed' and f'{number:+.1f}' not in ('+0.0', '-0.0'):
        tone = 'up' if number > 0 else 'down'
    if column.best and best is not None and number == best and not marked:
        tone = 'best'
    within = column.format == 'score' and len(more) == 3 and not math.isnan(more[1])
    below = f'[{more[1]:.1f}, {more[2]:.1f}]' if within else ''
    return Cell(f'{text}{mark}', number, tone, below)


def _score(number: float, more: Sequence[float]) -> str:
    spread = f' ± {more[0]:.1f}' if more and not math.isnan(more[0]) else ''
    return f'{number:.1f}{spread}'


def _signed(number: float, more: Sequence[float]) -> str:  # noqa: ARG001  # one signature
    return f'{number:+.1f}'.replace('-', '−')


def _interval(number: float, more: Sequence[float]) -> str:
    return f'{number:.1f} to {more[0]:.1f}'.replace('-', '−')


def _steps(number: float, more: Sequence[float]) -> str:
    if more[0] == 0:  # a model that was not trained here
        return '–'
    return f'{more[0]:.0f}' if number == more[0] else f'{number:.0f} – {more[0]:.0f}'


def _count(number: float, more: Sequence[float]) -> str:  # noqa: ARG001
    return f'{number:,.0f}'


def _seconds(number: float, more: Sequence[float]) -> str:
    """Seconds, minutes or hours, with ≥ if earlier sessions are not counted."""
    least = '≥ ' if more and more[0] else ''
    for size, unit in ((3600.0, 'h'), (60.0, 'min')):
        if number >= size:
            return f'{least}{number / size:.1f} {unit}'
    return f'{least}{number:.1f} s'


def _rate(number: float, more: Sequence[float]) -> str:  # noqa: ARG001
    return f'{number:,.1f}'


def _size(number: float, more: Sequence[float]) -> str:  # noqa: ARG001
    return f'{number / 2**30:,.1f} GiB'


def _millions(number: float, more: Sequence[float]) -> str:  # noqa: ARG001
    return f'{number / 1e6:,.1f} M'


_WRITERS: dict[Format, Callable[[float, Sequence[float]], str]] = {
    'count': _count,
    'score': _score,
    'signed': _signed,
    'interval': _interval,
    'steps': _steps,
    'seconds': _seconds,
    'rate': _rate,
    'size': _size,
    'millions': _millions,
}
