"""Boxes and arrows for the diagrams of the pages.

Lengths are inches, measured from the upper left corner, so that a diagram reads from top to bottom
like its page. A diagram is about five inches wide: its text keeps a readable size on a phone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

# Face, edge and line of each kind of box. Frozen parts are dashed as well as blue, for readers who
# do not tell the colours apart.
KINDS = {
    'data': ('#f3f4f6', '#6b7280', '-'),
    'frozen': ('#dcecf8', '#0072b2', '--'),
    'trained': ('#fdeeda', '#d98a00', '-'),
    'loss': ('#dff3ea', '#009e73', '-'),
    'plain': ('#ffffff', '#1b1f24', '-'),
}
INK = '#1b1f24'
STYLE = {'svg.hashsalt': 'crossearth'}  # ids that are the same every time


class Box(NamedTuple):
    """A rectangle; its sides are where arrows start and end."""

    x: float
    y: float
    width: float
    height: float

    @property
    def top(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height

    @property
    def left(self) -> tuple[float, float]:
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> tuple[float, float]:
        return self.x + self.width, self.y + self.height / 2


class Diagram:
    """An empty sheet of a width and height in inches."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height))
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def box(
        self,
        place: tuple[float, float, float, float],
        text: str = '',
        kind: str = 'plain',
        *,
        size: float = 9.5,
        bold: bool = False,
        at_top: bool = False,
    ) -> Box:
        """A box at (x, y, width, height) with centred text."""
        box = Box(*place)
        face, edge, line = KINDS[kind]
        self.axes.add_patch(
            FancyBboxPatch(
                (box.x, box.y),
                box.width,
                box.height,
                boxstyle='round,pad=0,rounding_size=0.06',
                facecolor=face,
                edgecolor=edge,
                linestyle=line,
                linewidth=1.2,
            )
        )
        x, y = box.x + box.width / 2, box.y + (0.06 if at_top else box.height / 2)
        self.text((x, y), text, size=size, bold=bold, va='top' if at_top else 'center')
        return box

    def text(
        self,
        at: tuple[float, float],
        text: str,
        *,
        size: float = 9.5,
        bold: bool = False,
        ha: str = 'center',
        va: str = 'center',
        colour: str = INK,
    ) -> None:
        """Text at a point."""
        self.axes.text(
            *at,
            text,
            fontsize=size,
            fontweight='bold' if bold else 'normal',
            ha=ha,
            va=va,
            color=colour,
            linespacing=1.25,
        )

    def arrow(self, *points: tuple[float, float], colour: str = INK, line: str = '-') -> None:
        """A line through points with a head at the last one."""
        *most, last = points
        if len(most) > 1:
            self.axes.plot(*zip(*most, strict=True), color=colour, linewidth=1.2, linestyle=line)
        self.axes.annotate(
            '',
            last,
            most[-1],
            arrowprops={
                'arrowstyle': '-|>',
                'color': colour,
                'linewidth': 1.2,
                'linestyle': line,
                'shrinkA': 0,
                'shrinkB': 0,
                'mutation_scale': 10,
            },
        )

    def picture(self, place: tuple[float, float, float, float], pixels: np.ndarray) -> Box:
        """An image (rows, columns, 3) in a frame."""
        box = Box(*place)
        self.axes.imshow(
            pixels,
            extent=(box.x, box.x + box.width, box.y + box.height, box.y),
            interpolation='antialiased',
            aspect='auto',
        )
        width, height = self.figure.get_size_inches()
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.add_patch(
            FancyBboxPatch(
                (box.x, box.y),
                box.width,
                box.height,
                boxstyle='square,pad=0',
                facecolor='none',
                edgecolor=INK,
                linewidth=0.8,
            )
        )
        return box

    def key(self, at: tuple[float, float], kinds: Sequence[tuple[str, str, float]]) -> None:
        """What the kinds of boxes mean, in one line: kind, meaning, and the inches it takes."""
        x, y = at
        for kind, meaning, width in kinds:
            self.box((x, y - 0.08, 0.24, 0.16), kind=kind)
            self.text((x + 0.3, y), meaning, size=9, ha='left')
            x += width

    def save(self, path: Path) -> None:
        """Write the diagram as SVG, the same bytes every time."""
        with mpl.rc_context(STYLE):
            self.figure.savefig(path, metadata={'Date': None})
