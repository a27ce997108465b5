"""Pictures of scores: a radar of many settings, a chart of two arguments."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from crossearth.errors import ConfigError

__all__ = ['draw_grid', 'draw_radar']

_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000')


def draw_radar(
    settings: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    *,
    quoted: Mapping[str, str] = MappingProxyType({}),
    title: str = '',
) -> Figure:
    """Scores of several methods on several settings, one axis a setting.

    Three axes or more make a radar, fewer a chart of bars. A setting that a method has no score
    for interrupts its line.

    Args:
        settings: Names of the axes.
        series: Name of each method → setting → score in percent.
        quoted: Names of series that are quoted and not measured → the series whose colour they
            share; they are dashed, or pale as bars.
        title: Line above.

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        ConfigError: If there is no score to draw.

    Example:
        >>> figure = draw_radar(['a', 'b', 'c'], {'ours': {'a': 50.0, 'b': 60.0, 'c': 70.0}})
        >>> len(figure.axes[0].lines)
        1
    """
    if not any(setting in scores for scores in series.values() for setting in settings):
        raise ConfigError('there is no score to draw: run a setting first')
    figure = Figure(figsize=(8, 7), layout='constrained')
    FigureCanvasAgg(figure)
    if len(settings) < 3:
        _bars(figure, settings, series, quoted)
    else:
        _spokes(figure, settings, series, quoted)
    figure.legend(loc='outside lower center', ncols=min(len(series), 4), frameon=False)
    if title:
        figure.suptitle(title)
    return figure


def _spokes(
    figure: Figure,
    settings: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    quoted: Mapping[str, str],
) -> None:
    axes = figure.add_subplot(projection='polar')
    assert isinstance(axes, PolarAxes)
    axes.set_theta_zero_location('N')
    axes.set_theta_direction(-1)
    angles = [2 * math.pi * i / len(settings) for i in range(len(settings))]
    colours = _colours(series, quoted)
    for name, scores in series.items():
        values = [scores.get(setting, math.nan) for setting in settings]
        axes.plot(
            [*angles, angles[0]],
            [*values, values[0]],
            '--' if name in quoted else '-',
            marker='' if name in quoted else 'o',
            color=colours[name],
            label=name,
        )
    axes.set_xticks(angles, settings)
    known = [v for scores in series.values() for v in scores.values() if not math.isnan(v)]
    axes.set_ylim(0, min(math.ceil(max(known) / 10) * 10 + 5, 100))
    axes.set_rlabel_position(180 / len(settings))
    axes.tick_params(pad=12)


def _bars(
    figure: Figure,
    settings: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    quoted: Mapping[str, str],
) -> None:
    axes = figure.add_subplot()
    width = 0.8 / len(series)
    colours = _colours(series, quoted)
    for i, (name, scores) in enumerate(series.items()):
        axes.bar(
            [place + (i - (len(series) - 1) / 2) * width for place in range(len(settings))],
            [scores.get(setting, math.nan) for setting in settings],
            width * 0.92,
            color=colours[name],
            alpha=0.4 if name in quoted else 1,
            label=name,
        )
    axes.set_xticks(range(len(settings)), settings)
    axes.set_ylabel('score in %')


def _colours(
    series: Mapping[str, Mapping[str, float]], quoted: Mapping[str, str]
) -> dict[str, str]:
    """A colour a series, that of its partner for one that is quoted."""
    colours: dict[str, str] = {}
    for name in sorted(series, key=lambda name: quoted.get(name) in series):
        free = _COLOURS[len(set(colours.values())) % len(_COLOURS)]
        colours[name] = colours.get(quoted.get(name, ''), free)
    return colours


def draw_grid(
    scores: Mapping[tuple[float, int], float],
    *,
    rows: str = 'τ',
    columns: str = 'B in px',
    title: str = '',
) -> Figure:
    """Scores by two arguments, as coloured cells with their numbers.

    Args:
        scores: `(row, column)` → score in percent; cells without one stay empty.
        rows: Name of the first argument.
        columns: Name of the second.
        title: Line above.

    Returns:
        A figure.

    Raises:
        ConfigError: If there is no score to draw.

    Example:
        >>> figure = draw_grid({(0.1, 16): 51.3, (0.1, 32): 46.3})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['51.3', '46.3']
    """
    if not scores:
        raise ConfigError('there is no score to draw: run the sweep first')
    taus, sides = sorted({t for t, _ in scores}), sorted({b for _, b in scores})
    table = np.array([[scores.get((t, b), np.nan) for b in sides] for t in taus])
    figure = Figure(figsize=(1.6 + 1.1 * len(sides), 1.8 + 0.8 * len(taus)), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = axes.imshow(table, cmap='viridis', aspect='auto')
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    for i in range(len(taus)):
        for j in range(len(sides)):
            if not np.isnan(table[i, j]):
                ink = 'white' if table[i, j] < middle else 'black'
                axes.text(j, i, f'{table[i, j]:.1f}', ha='center', va='center', color=ink)
    axes.set_xticks(range(len(sides)), [str(side) for side in sides])
    axes.set_yticks(range(len(taus)), [f'{tau:g}' for tau in taus])
    axes.set_xlabel(columns)
    axes.set_ylabel(rows)
    figure.colorbar(shown, label='score in %')
    if title:
        axes.set_title(title)
    return figure
