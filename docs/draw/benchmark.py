"""What the paper prints for its settings, as a radar."""

from pathlib import Path

from matplotlib.text import Text

from crossearth.benchmark import SETTINGS
from crossearth.visualization import draw_radar, paper_style

METHODS = ('CrossEarth', 'Rein', 'MTP', 'HRDA')


def draw(folder: Path) -> None:
    """Write `benchmark-radar.svg`."""
    crossing = [name for name, setting in SETTINGS.items() if setting.crosses_domains]
    series = {
        method: {
            name: SETTINGS[name].reported[method].miou
            for name in crossing
            if method in SETTINGS[name].reported
        }
        for method in METHODS
    }
    figure = draw_radar(crossing, series)
    for text in figure.findobj(Text):  # a web page shows it smaller than a journal does
        text.set_fontsize(11)
    figure.axes[0].tick_params(axis='x', pad=16)
    with paper_style():
        figure.savefig(folder / 'benchmark-radar.svg', metadata={'Date': None})
