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
    figure.set_size_inches(4.8, 5.1)  # a journal's page is too wide for a phone
    for text in figure.findobj(Text):
        text.set_fontsize(9.5)
    figure.axes[0].tick_params(axis='x', pad=13)
    figure.axes[0].set_yticks([20, 40, 60, 80])
    with paper_style():
        figure.savefig(folder / 'benchmark-radar.svg', metadata={'Date': None})
