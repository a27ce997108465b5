"""Pictures that show an image, its ground truth and predictions side by side."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import IGNORE_INDEX, LabelSpace

__all__ = [
    'NotebookFigure',
    'display_limits',
    'displayed',
    'draw_panels',
    'new_figure',
    'save_figure',
]

_PANEL_INCHES = 2.6  # small, so that letters stay readable where four panels share a page


class NotebookFigure(Figure):
    """A figure that a notebook shows where it is the last value of a cell.

    It does not belong to pyplot: nothing has to be closed, and it is not shown a second time when
    the cell ends. IPython knows how to draw figures only after pyplot was imported; this one says
    it itself.
    """

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, dpi=150, format='png')
        return picture.getvalue()


def new_figure(width: float, height: float) -> NotebookFigure:
    """An empty figure that needs no display; sizes in inches."""
    figure = NotebookFigure(figsize=(width, height), layout='constrained')
    # the canvas registers itself with the figure
    FigureCanvasAgg(figure)
    return figure


def displayed(
    pixels: Shaped[np.ndarray, 'c *hw'], *, limits: tuple[float, float] | None = None
) -> UInt8[np.ndarray, 'c *hw']:
    """Pixels as bytes: 8-bit values unchanged, others stretched from their 2nd to 98th percentile.

    Pixels that are not finite become black.

    Args:
        pixels: Of any type.
        limits: Values that become 0 and 255; None for the `display_limits` of the pixels.

    Example:
        >>> displayed(np.array([[[0.0, 0.5, 1.0]]])).tolist()
        [[[0, 127, 255]]]
    """
    if pixels.dtype == np.uint8:
        return pixels
    low, high = display_limits(pixels) if limits is None else limits
    scaled = (np.where(np.isfinite(pixels), pixels, low) - low) / max(float(high - low), 1e-12)
    stretched: UInt8[np.ndarray, c * hw] = (scaled.clip(0, 1) * 255).astype(np.uint8)
    return stretched


def display_limits(pixels: Shaped[np.ndarray, 'c *hw']) -> tuple[float, float]:
    """The 2nd and the 98th percentile of finite pixels; 0 and 1 if there are none."""
    known = np.isfinite(pixels)
    if not known.any():
        return 0.0, 1.0
    low, high = np.percentile(pixels[known], (2, 98))
    return float(low), float(high)


def draw_panels(
    image: UInt8[np.ndarray, 'c h w'],
    maps: Mapping[str, UInt8[np.ndarray, 'h w']],
    labels: LabelSpace,
    *,
    title: str = '',
) -> Figure:
    """An image and label maps of the same ground in one row, with a legend.

    Args:
        image: Its first three bands are shown as red, green, blue; a single band as grey.
        maps: Title of each panel → class ids; 255 is drawn black.
        labels: Names and colours of the classes.
        title: Line above the panels.

    Returns:
        A figure; `save_figure` writes it.

    Raises:
        ConfigError: If the image has two bands.
        ShapeError: If a map and the image differ in size.

    Example:
        >>> from crossearth.labels import ISPRS
        >>> figure = draw_panels(
        ...     np.zeros((3, 8, 8), np.uint8), {'truth': np.ones((8, 8), np.uint8)}, ISPRS
        ... )
        >>> [axes.get_title() for axes in figure.axes]
        ['image', 'truth']
    """
    if image.shape[0] == 2:
        raise ConfigError(
            'the image has two bands, which cannot be shown as a colour: select one band, or three'
        )
    for name, ids in maps.items():
        if ids.shape != image.shape[1:]:
            raise ShapeError(
                f'{name} is {ids.shape}, but the image is {image.shape[1:]} pixels: expected the '
                'same size'
            )
    shown = image[:3] if image.shape[0] >= 3 else np.repeat(image, 3, axis=0)
    panels = {'image': shown.transpose(1, 2, 0)}
    panels |= {name: labels.colour(ids) for name, ids in maps.items()}
    aspect = image.shape[1] / image.shape[2]
    width = _PANEL_INCHES * len(panels)
    legend = _legend(labels, list(maps.values()))
    widest = 0.5 + 0.075 * max(len(str(patch.get_label())) for patch in legend)  # inches
    columns = min(len(legend), max(1, int(width / widest)))
    rows = -(-len(legend) // columns)
    figure = new_figure(width, _PANEL_INCHES * aspect + 0.4 + 0.2 * rows + 0.3 * bool(title))
    for axes, (name, picture) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        axes.imshow(picture, interpolation='nearest')
        axes.set_title(name)
        axes.set_axis_off()
    figure.legend(
        handles=legend, loc='outside lower center', ncols=columns, fontsize=9, frameon=False
    )
    if title:
        figure.suptitle(title)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG. The file appears under its name only when it is complete."""
    final = Path(path)
    beside = final.with_name(f'.{final.stem}.{os.getpid()}.png')
    try:
        figure.savefig(beside, dpi=200, format='png')
        beside.replace(final)
    finally:
        beside.unlink(missing_ok=True)


def _legend(labels: LabelSpace, maps: list[UInt8[np.ndarray, 'h w']]) -> list[Patch]:
    patches = [
        Patch(facecolor=(r / 255, g / 255, b / 255), edgecolor='grey', label=name)
        for name, (r, g, b) in zip(labels.classes, labels.palette, strict=True)
    ]
    if any((ids == IGNORE_INDEX).any() for ids in maps):
        patches.append(Patch(facecolor='black', edgecolor='grey', label='no label'))
    return patches
