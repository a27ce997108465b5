"""Draws scores: a radar of many settings, intervals, and a grid over two arguments."""

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from crossearth.errors import ConfigError
from crossearth.visualization.style import (
    COLUMN_INCHES,
    MARKERS,
    PAGE_INCHES,
    new_figure,
    paper_style,
    series_colours,
)

__all__ = ['draw_grid', 'draw_intervals', 'draw_radar']

_MANY = 10  # with more axes, a radar does not fit in one column

type Estimate = tuple[float, float, float]


def draw_radar(
    settings: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    *,
    quoted: Mapping[str, str] = MappingProxyType({}),
    title: str = '',
) -> Figure:
    """Scores of several methods on several settings, one axis per setting.

    Three or more axes make a radar, fewer a bar chart. If a method has no score for a setting, its
    line is interrupted there.

    Args:
        settings: Names of the axes.
        series: Name of each method → setting → score in percent.
        quoted: Names of series that are quoted and not measured → the series whose colour they
            share. They are dashed, or pale as bars.
        title: Line above the figure.

    Returns:
        A figure in the style of a paper; `save_figure` or `render_figure` writes it.

    Raises:
        ConfigError: If there is no score to draw.

    Example:
        >>> figure = draw_radar(['a', 'b', 'c'], {'ours': {'a': 50.0, 'b': 60.0, 'c': 70.0}})
        >>> len(figure.axes[0].lines)
        1
    """
    if not any(setting in scores for scores in series.values() for setting in settings):
        raise ConfigError('there is no score to draw: run a setting first')
    with paper_style():
        legend_lines = -(-len(series) // 3)
        if len(settings) < 3:
            figure = new_figure(COLUMN_INCHES, 2.4 + 0.16 * legend_lines)
            _bars(figure, settings, series, quoted)
        else:
            side = PAGE_INCHES if len(settings) > _MANY else COLUMN_INCHES
            figure = new_figure(side, side + 0.16 * legend_lines)
            _spokes(figure, settings, series, quoted)
        figure.legend(loc='outside lower center', ncols=min(len(series), 3), frameon=False)
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
    colours = series_colours(list(series), partners=quoted)
    markers = iter(MARKERS * len(series))
    for name, scores in series.items():
        values = [scores.get(setting, math.nan) for setting in settings]
        axes.plot(
            [*angles, angles[0]],
            [*values, values[0]],
            '--' if name in quoted else '-',
            marker='.' if name in quoted else next(markers),
            color=colours[name],
            label=name,
        )
    axes.set_xticks(angles, settings)
    known = [v for scores in series.values() for v in scores.values() if not math.isnan(v)]
    axes.set_ylim(0, min(math.ceil(max(known, default=100) / 10) * 10 + 5, 100))
    axes.set_rlabel_position(180 / len(settings))
    axes.tick_params(axis='x', pad=6)


def _bars(
    figure: Figure,
    settings: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    quoted: Mapping[str, str],
) -> None:
    axes = figure.add_subplot()
    width = 0.8 / len(series)
    colours = series_colours(list(series), partners=quoted)
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
    axes.set_xlim(-0.6, len(settings) - 0.4)
    axes.set_ylabel('score in %')
    axes.spines[['top', 'right']].set_visible(False)


def draw_intervals(
    settings: Sequence[str],
    series: Mapping[str, Mapping[str, Estimate]],
    *,
    hollow: Collection[tuple[str, str]] = (),
    title: str = '',
) -> Figure:
    """Scores as points with their intervals, one block of lines per setting.

    Args:
        settings: Names of the blocks, from top to bottom.
        series: Name of each method → setting → score, lower and upper end, in percent. If the ends
            are NaN, only a point is drawn.
        hollow: Pairs of method and setting with hollow points, such as incomplete ones.
        title: Line above the figure.

    Returns:
        A figure in the style of a paper, as wide as a column.

    Raises:
        ConfigError: If there is no score to draw.

    Example:
        >>> figure = draw_intervals(['a'], {'ours': {'a': (50.0, 48.0, 52.0)}})
        >>> [round(x) for x in figure.axes[0].lines[0].get_xdata()]
        [50]
    """
    if not any(setting in scores for scores in series.values() for setting in settings):
        raise ConfigError('there is no score to draw: run a setting first')
    colours = series_colours(list(series))
    with paper_style():
        height = 0.7 + 0.16 * len(settings) * (len(series) + 1) + 0.16 * -(-len(series) // 3)
        figure = new_figure(COLUMN_INCHES, height)
        axes = figure.add_subplot()
        step = 0.8 / max(len(series), 1)
        for i, (name, scores) in enumerate(series.items()):
            shown = [(n, setting) for n, setting in enumerate(settings) if setting in scores]
            for first, (n, setting) in enumerate(shown):
                mean, low, high = scores[setting]
                known = not (math.isnan(low) or math.isnan(high))
                axes.errorbar(
                    [mean],
                    [n + (i - (len(series) - 1) / 2) * step],
                    xerr=[[mean - low], [high - mean]] if known else None,
                    fmt=MARKERS[i % len(MARKERS)],
                    color=colours[name],
                    markerfacecolor='none' if (name, setting) in hollow else colours[name],
                    capsize=2,
                    elinewidth=1,
                    label=name if first == 0 else None,
                )
        axes.set_yticks(range(len(settings)), settings)
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.set_xlabel('score in %')
        axes.grid(axis='x')
        axes.set_axisbelow(True)
        axes.spines[['top', 'right']].set_visible(False)
        figure.legend(loc='outside lower center', ncols=min(len(series), 3), frameon=False)
        if title:
            figure.suptitle(title)
    return figure


def draw_grid(
    scores: Mapping[tuple[float, int], float],
    *,
    rows: str = 'τ',
    columns: str = 'B in px',
    title: str = '',
) -> Figure:
    """Scores over two arguments, as coloured cells with their numbers.

    Args:
        scores: `(row, column)` → score in percent; cells without a score stay empty.
        rows: Name of the first argument.
        columns: Name of the second argument.
        title: Line above the figure.

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
    figure = new_figure(1.6 + 1.1 * len(sides), 1.8 + 0.8 * len(taus))
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
