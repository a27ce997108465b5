"""How a layout finds images and masks: the folders of a copy, two patterns, and the pairs."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

BLUE, ORANGE, INK, GREY = '#0072b2', '#b34a00', '#1b1f24', '#6a737d'
TREE = (
    ('data/fields/', INK, ''),
    ('└─ source/', INK, ''),
    ('   ├─ train/', INK, ''),
    ('   │  ├─ images/', INK, ''),
    ('   │  │  ├─ ', BLUE, 'source_000.tif'),
    ('   │  │  └─ ', BLUE, 'source_001.tif'),
    ('   │  └─ masks/', INK, ''),
    ('   │     ├─ ', ORANGE, 'source_000.tif'),
    ('   │     └─ ', ORANGE, 'source_001.tif'),
    ('   └─ test/', INK, ''),
    ('      └─ …', INK, ''),
)
MONO = 'DejaVu Sans Mono'
LINE = 0.27
LETTER = 0.602 * 10 / 72  # width of a letter at 10 pt, in inches


def draw(folder: Path) -> None:
    """Write `own_archive-layout.svg`."""
    figure = Figure(figsize=(7.2, 4.0))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 7.2), ylim=(0, 4.0))
    axes.set_axis_off()
    axes.text(0.15, 3.72, 'a copy, as it was unpacked', fontsize=11, weight='bold')
    for row, (branch, colour, name) in enumerate(TREE):
        y = 3.38 - row * LINE
        axes.text(0.15, y, branch, fontsize=10, family=MONO, color=GREY if name else INK)
        axes.text(0.15, y, ' ' * len(branch) + name, fontsize=10, family=MONO, color=colour)
    axes.text(3.35, 3.72, 'your Layout', fontsize=11, weight='bold')
    _pattern(axes, 2.72, BLUE, ('images', 'train/images/'), 2.22)
    _pattern(axes, 1.9, ORANGE, ('masks', 'train/masks/'), 1.41)
    axes.text(3.35, 1.42, 'the same name makes a pair', fontsize=11, weight='bold')
    for row, number in enumerate(('000', '001')):
        y = 1.1 - row * LINE
        axes.text(3.35, y, f'name = source_{number}:', fontsize=10, family=MONO)
        axes.text(5.25, y, 'image', fontsize=10, color=BLUE, family=MONO)
        axes.text(5.75, y, '+', fontsize=10, family=MONO)
        axes.text(5.9, y, 'mask', fontsize=10, color=ORANGE, family=MONO)
    axes.text(
        3.35,
        0.22,
        'your Archive says how many there should be;\ncrossearth data check compares',
        fontsize=10,
        linespacing=1.4,
    )
    figure.savefig(folder / 'own_archive-layout.svg')


def _pattern(axes: Axes, y: float, colour: str, words: tuple[str, str], files_y: float) -> None:
    """A box with a regular expression, its group in bold, and an arrow from the files it finds."""
    axes.add_patch(
        FancyBboxPatch(
            (3.35, y), 3.65, 0.62, boxstyle='round,pad=0.03', fc='#f6f8fa', ec=colour, lw=1.5
        )
    )
    axes.text(3.45, y + 0.38, words[0], fontsize=10.5, color=colour, weight='bold')
    x = 3.45
    for text, weight in ((words[1], 'normal'), ('(?P<name>[^/]+)', 'bold'), ('[.]tif', 'normal')):
        axes.text(x, y + 0.1, text, fontsize=10, family=MONO, weight=weight)
        x += len(text) * LETTER
    arrow = {'arrowstyle': '-|>', 'color': colour, 'lw': 1.5}
    axes.annotate('', (3.3, y + 0.31), (2.35, files_y), arrowprops=arrow)
