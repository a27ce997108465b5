"""The style of figures: one palette, the sizes of a paper, and the formats to write.

Figures are as wide as a column or a page of a two-column paper, to be included without scaling, and
their text is then 8 pt high. The first colours are those of Okabe and Ito, which colour-blind
readers can tell apart. Markers and dashes differ as well, for print without colours.
"""

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = [
    'COLUMN_INCHES',
    'GRID',
    'INK',
    'MARKERS',
    'PAGE_INCHES',
    'PALETTE',
    'WRONG',
    'on_dark',
    'paper_style',
    'render_figure',
    'series_colours',
]

PALETTE = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#7f7f7f')
"""Colours of series, in order: Okabe and Ito's, with grey instead of black."""
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X')
"""Markers of series, in order."""
WRONG = '#d55e00'
"""Colour of pixels where a map is wrong."""
INK = '#1b1f24'
"""Colour of text and axes."""
GRID = '#d0d7de'
"""Colour of grid lines."""
COLUMN_INCHES = 3.5
"""Width of a column, in inches."""
PAGE_INCHES = 7.16
"""Width of a two-column page, in inches."""

_ON_DARK = {INK: '#e6edf3', GRID: '#444c56', '#0072b2': '#4ba3dd', '#009e73': '#2fbf95'}
_PNG_DPI = 300
_STYLE: dict[Any, Any] = {
    # STIX is the Times-like font shipped with matplotlib; DejaVu has the letters that it lacks
    'font.family': ['STIXGeneral', 'DejaVu Sans'],
    'font.size': 8,
    'axes.titlesize': 8,
    'axes.labelsize': 8,
    'xtick.labelsize': 7,
    'ytick.labelsize': 7,
    'legend.fontsize': 7,
    'figure.titlesize': 9,
    'mathtext.fontset': 'stix',
    'axes.linewidth': 0.6,
    'lines.linewidth': 1.2,
    'lines.markersize': 3.5,
    'grid.linewidth': 0.5,
    'xtick.major.width': 0.6,
    'ytick.major.width': 0.6,
    'text.color': INK,
    'axes.edgecolor': INK,
    'axes.labelcolor': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'grid.color': GRID,
    'text.parse_math': False,  # names come from files, and may contain a dollar sign
    'pdf.fonttype': 42,  # TrueType, because publishers refuse Type 3, matplotlib's default
    'svg.fonttype': 'path',
    'svg.hashsalt': 'crossearth',  # makes ids the same every time
}


def paper_style() -> AbstractContextManager[None]:
    """The style of a paper, for figures made inside the block.

    Example:
        >>> with paper_style():
        ...     mpl.rcParams['pdf.fonttype']
        42
    """
    return mpl.rc_context(_STYLE)


def series_colours(
    names: Sequence[str], *, partners: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """The colour of each series; a quoted series shares that of its partner.

    Args:
        names: Series, in order.
        partners: Quoted series → the series whose colour they share, if that is present.

    Example:
        >>> series_colours(['ours, paper', 'ours'], partners={'ours, paper': 'ours'})
        {'ours': '#0072b2', 'ours, paper': '#0072b2'}
    """
    colours: dict[str, str] = {}
    # Partners come first, so that a quoted series finds their colour.
    for name in sorted(names, key=lambda name: partners.get(name) in names):
        free = PALETTE[len(set(colours.values())) % len(PALETTE)]
        colours[name] = colours.get(partners.get(name, ''), free)
    return colours


def render_figure(figure: Figure, form: Literal['pdf', 'png', 'svg']) -> bytes:
    """A figure as the content of a file, with embedded fonts; the same bytes every time.

    Args:
        figure: Drawn within `paper_style`.
        form: PDF and PNG (300 dpi) for a paper; SVG without background for a page.
    """
    stream = io.BytesIO()
    undated: dict[str, dict[str, Any]] = {
        'pdf': {'CreationDate': None},
        'png': {},
        'svg': {'Date': None},
    }
    with paper_style():
        figure.savefig(
            stream, format=form, dpi=_PNG_DPI, metadata=undated[form], transparent=form == 'svg'
        )
    return stream.getvalue()


def on_dark(svg: bytes) -> bytes:
    """An SVG from `render_figure`, with colours that are readable on a dark page."""
    for light, dark in _ON_DARK.items():
        svg = svg.replace(light.encode(), dark.encode())
    return svg
