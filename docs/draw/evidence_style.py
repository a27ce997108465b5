"""The numbers of the page `evidence_style`, read from its tables."""

import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from crossearth.visualization import PALETTE

_PAGE = Path(__file__).parents[1] / 'evidence_style.md'
_PATCHES = {'whole': 'whole images', '64, 0.7': 'patches of 64 px', '16, 0.3': 'patches of 16 px'}


def draw(folder: Path) -> None:
    """Write `evidence_style-distance.png` and `evidence_style-speed.png`."""
    page = _PAGE.read_text()
    _draw_distances(page).savefig(
        folder / 'evidence_style-distance.png', dpi=160, bbox_inches='tight'
    )
    _draw_speed(page).savefig(folder / 'evidence_style-speed.png', dpi=160, bbox_inches='tight')


def _rows(page: str, head: str) -> list[list[str]]:
    """The cells of the table whose header begins so."""
    lines = page[page.index(head) :].split('\n\n')[0].splitlines()[2:]
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]


def _draw_distances(page: str) -> Figure:
    """Distance from the source to the field over α, for three sizes of patches."""
    rows = _rows(page, '| injection |')
    numbers = re.search(r'The source alone is ([\d.]+) from the field.*?is ([\d.]+)', page, re.S)
    assert numbers is not None
    alone, best = map(float, numbers.groups())
    figure = Figure(figsize=(5.2, 3.9), layout='constrained')
    axes = figure.subplots()
    for index, (patch, said) in enumerate(_PATCHES.items()):
        points = [
            (float(match[1]), float(row[2].strip('*')))
            for row in rows
            if row[1] == patch and (match := re.match(r'α = ([\d.]+)', row[0]))
        ]
        assert len(points) == 4
        axes.plot(
            *zip(*points, strict=True), marker='os^'[index], color=PALETTE[index], linewidth=2,
            markersize=7, label=said,
        )  # fmt: skip
    for level, said in ((alone, 'source alone'), (best, 'the field from itself')):
        axes.axhline(level, color='black', linestyle='--', linewidth=1)
        axes.text(0.98, level - 0.02, said, ha='right', va='top', fontsize=10)
    axes.set(ylim=(0, 1.7), xlim=(-0.03, 1.03))
    axes.set_xlabel('α: how much of the style is injected')
    axes.set_ylabel('Fréchet distance to the field')
    axes.legend(loc='lower left', frameon=False, fontsize=10)
    axes.grid(alpha=0.3)
    return figure


def _draw_speed(page: str) -> Figure:
    """Milliseconds per batch: median and interquartile range."""
    rows = _rows(page, '| | ms |')
    names = [
        re.sub(r'as the reference.*', 'as the reference', row[0].replace('`', '')) for row in rows
    ]
    values = np.array([[float(number) for number in re.findall(r'[\d.]+', row[1])] for row in rows])
    assert values.shape == (5, 3)
    figure = Figure(figsize=(5.8, 2.9), layout='constrained')
    axes = figure.subplots()
    places = -np.arange(len(rows))
    axes.hlines(places, values[:, 1], values[:, 2], color=PALETTE[0], linewidth=4, alpha=0.5)
    axes.plot(values[:, 0], places, 'o', color=PALETTE[0], markersize=8)
    for place, value in zip(places, values[:, 0], strict=True):
        axes.annotate(
            f'{value:g} ms', (value, place), (0, 7), textcoords='offset points', ha='center',
            fontsize=9.5,
        )  # fmt: skip
    axes.set_xscale('log')
    axes.set_xlim(0.5, 9000)
    axes.set_ylim(-len(rows) + 0.4, 0.7)
    axes.set_yticks(places, names, fontsize=10)
    axes.set_xlabel('ms for a batch of 8 images of 256 × 256 px')
    axes.grid(axis='x', alpha=0.3)
    return figure
