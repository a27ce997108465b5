"""Draws confusion matrices."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int64
from matplotlib.figure import Figure

from crossearth.errors import ConfigError
from crossearth.visualization.style import PAGE_INCHES, new_figure, paper_style

__all__ = ['draw_confusions', 'row_shares']

_LARGEST = 10  # with more classes, cells have no room for numbers


def row_shares(counts: Int64[np.ndarray, 'k k']) -> Float64[np.ndarray, 'k k']:
    """Percent of each true class; NaN in the rows of classes that do not occur.

    Example:
        >>> row_shares(np.array([[3, 1], [0, 0]])).tolist()
        [[75.0, 25.0], [nan, nan]]
    """
    totals = counts.sum(axis=1, keepdims=True).astype(np.float64)
    return 100 * counts / np.where(totals == 0, np.nan, totals)


def draw_confusions(
    matrices: Mapping[str, Int64[np.ndarray, 'k k']],
    classes: Sequence[str],
    *,
    title: str = '',
) -> Figure:
    """Confusion matrices of several methods next to each other.

    Args:
        matrices: Title of each panel → pixel counts, with the true class in rows.
        classes: Class names.
        title: Line above the panels.

    Returns:
        A figure in the style of a paper, as wide as a page, in percent of the true class.

    Raises:
        ConfigError: If there is no matrix to draw.

    Example:
        >>> figure = draw_confusions({'ours': np.array([[3, 1], [0, 4]])}, ['a', 'b'])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['75', '25', '0', '100']
    """
    if not matrices:
        raise ConfigError('there is no confusion matrix to draw: run a setting first')
    columns = min(len(matrices), 3)
    lines = -(-len(matrices) // columns)
    names = [name.replace('_', ' ') for name in classes]
    with paper_style():
        figure = new_figure(PAGE_INCHES, 0.4 + lines * PAGE_INCHES / max(columns, 2) * 0.95)
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[len(matrices) :]:
            axes.set_axis_off()
        for axes, (name, counts) in zip(panels, matrices.items(), strict=False):
            shares = row_shares(counts)
            axes.imshow(shares, cmap='Blues', vmin=0, vmax=100)
            axes.set_title(name)
            axes.set_xticks(range(len(names)), names, rotation=45, ha='right')
            axes.set_yticks(range(len(names)), names if axes in panels[::columns] else [])
            if len(names) > _LARGEST:
                continue
            for i, j in np.ndindex(shares.shape):
                if not np.isnan(shares[i, j]):
                    ink = 'white' if shares[i, j] > 60 else 'black'
                    axes.text(
                        j, i, f'{shares[i, j]:.0f}', ha='center', va='center', color=ink, fontsize=6
                    )
        figure.supxlabel('predicted', fontsize=8)
        figure.supylabel('true', fontsize=8)
        if title:
            figure.suptitle(title)
    return figure
