"""Draws windows: the image, the ground truth, and each method's prediction and errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from crossearth.errors import ConfigError
from crossearth.labels import IGNORE_INDEX, LabelSpace
from crossearth.panels import new_figure
from crossearth.visualization.style import PAGE_INCHES, WRONG, paper_style

__all__ = ['ExampleWindow', 'draw_examples', 'error_map']


@dataclass(frozen=True, slots=True)
class ExampleWindow:
    """A window of a scene, its labels, and the maps of several methods.

    Args:
        title: Its title.
        image: Red, green and blue.
        truth: Class ids, 255 where there is no label.
        maps: Method → class ids.
    """

    title: str
    image: UInt8[np.ndarray, 'h w 3']
    truth: UInt8[np.ndarray, 'h w']
    maps: Mapping[str, UInt8[np.ndarray, 'h w']]


def error_map(
    image: UInt8[np.ndarray, 'h w 3'],
    truth: UInt8[np.ndarray, 'h w'],
    predicted: UInt8[np.ndarray, 'h w'],
) -> UInt8[np.ndarray, 'h w 3']:
    """The image in pale grey, coloured where a map is wrong, and black where there is no label.

    Example:
        >>> grey = np.zeros((1, 3, 3), np.uint8)
        >>> truth, map_ = np.array([[0, 0, 255]], np.uint8), np.array([[0, 1, 1]], np.uint8)
        >>> error_map(grey, truth, map_).tolist()
        [[[128, 128, 128], [213, 94, 0], [0, 0, 0]]]
    """
    grey = (image.mean(axis=2, keepdims=True) / 2 + 128).astype(np.uint8)
    shown: UInt8[np.ndarray, 'h w 3'] = np.repeat(grey, 3, axis=2)
    shown[truth != predicted] = [round(255 * part) for part in to_rgb(WRONG)]
    # After the errors, because pixels without a label differ from every prediction.
    shown[truth == IGNORE_INDEX] = 0
    return shown


def draw_examples(
    windows: Sequence[ExampleWindow], labels: LabelSpace, *, title: str = ''
) -> Figure:
    """Draw windows in rows, with image, truth, and each method's map and errors in columns.

    Args:
        windows: Windows with maps of the same methods.
        labels: Names and colours of the classes.
        title: Line above the figure.

    Returns:
        A figure in the style of a paper, as wide as a page.

    Raises:
        ConfigError: If there is no window to draw.
    """
    if not windows:
        raise ConfigError('there is no window to draw: keep label maps with --save-predictions')
    methods = list(windows[0].maps)
    heads = ['image', 'truth', *(head for name in methods for head in (name, 'errors'))]
    side = PAGE_INCHES / len(heads)
    legend_lines = -(-(labels.num_classes + 2) // 6)
    with paper_style():
        figure = new_figure(PAGE_INCHES, len(windows) * side + 0.4 + 0.18 * legend_lines)
        panels = figure.subplots(len(windows), len(heads), squeeze=False)
        for line, window in zip(panels, windows, strict=True):
            pictures = [window.image, labels.colour(window.truth)]
            for name in methods:
                predicted = window.maps[name]
                pictures += [
                    labels.colour(predicted),
                    error_map(window.image, window.truth, predicted),
                ]
            for axes, picture in zip(line, pictures, strict=True):
                axes.imshow(picture, interpolation='nearest')
                axes.set_xticks([])
                axes.set_yticks([])
            line[0].set_ylabel(window.title)
        for axes, head in zip(panels[0], heads, strict=True):
            axes.set_title(head, fontsize=7)
        figure.legend(handles=_legend(labels), loc='outside lower center', ncols=6, frameon=False)
        if title:
            figure.suptitle(title)
    return figure


def _legend(labels: LabelSpace) -> list[Patch]:
    """The classes, and the colours of an error map."""
    coloured = {
        name.replace('_', ' '): (r / 255, g / 255, b / 255)
        for name, (r, g, b) in zip(labels.classes, labels.palette, strict=True)
    }
    others = {'wrong': to_rgb(WRONG), 'no label': (0.0, 0.0, 0.0)}
    return [
        Patch(facecolor=colour, edgecolor='grey', linewidth=0.5, label=name)
        for name, colour in (coloured | others).items()
    ]
