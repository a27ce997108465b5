"""From folders to a map as a diagram, and the blocks that `start` holds out of one scene."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from crossearth.labels import ISPRS
from crossearth.survey import Domain, start
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

BLUE, ORANGE, INK = '#0072b2', '#d55e00', '#1b1f24'
ROAD = ISPRS.classes.index('impervious_surface')
SCENE_PX = 2400
GSD_M = 0.25
_ARROW: dict[str, Any] = {'arrowstyle': '-|>', 'color': INK, 'lw': 1.5}
_COMMAND: dict[str, Any] = {'ha': 'center', 'fontsize': 10.5, 'family': 'monospace', 'color': BLUE}
_CENTRED: dict[str, Any] = {'ha': 'center', 'va': 'top', 'fontsize': 10.5}


def draw(folder: Path) -> None:
    """Write `your_images-steps.png` and `your_images-validation.png`."""
    earth = SyntheticEarth(seed=0)
    scene = earth.draw(EARTH_DOMAINS['source'], index=1, height=400, width=400)
    roads = np.where(scene.mask == ROAD, 255, 0).astype(np.uint8)
    figure = _steps(scene.image.transpose(1, 2, 0), np.repeat(roads[..., None], 3, axis=2))
    figure.savefig(folder / 'your_images-steps.png', dpi=150)
    _validation(earth).savefig(folder / 'your_images-validation.png', dpi=150)


def _steps(image: np.ndarray, mask: np.ndarray) -> Figure:
    """Folders, the three commands and what they write, from the upper left to the lower right."""
    width, height = 5.6, 3.75
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for x, picture, name in ((0.1, image, 'images'), (1.05, mask, 'masks')):
        for shift in (0.12, 0.06, 0):
            corner = (x + shift, 2.55 + shift)
            extent = (corner[0], corner[0] + 0.75, corner[1], corner[1] + 0.75)
            axes.imshow(picture, extent=extent, interpolation='antialiased', zorder=2 - shift)
            axes.add_patch(Rectangle(corner, 0.75, 0.75, fill=False, ec='w', zorder=2 - shift))
        axes.text(x + 0.4, 2.3, name, ha='center', fontsize=11, family='monospace')
    axes.set(xlim=(0, width), ylim=(0, height))
    _arrow(axes, (2.0, 2.95), 'crossearth start')
    axes.text(
        2.85, 2.82, 'finds pairs, classes,\nvalues, pixel size,\nplaces to hold out', **_CENTRED
    )
    _file(axes, (3.75, 2.4), 'recipe.yaml', 'every choice, one\nper line, to edit')
    axes.plot([4.6, 4.6, 1.0], [2.36, 1.75, 1.75], color=INK, lw=1.5)
    axes.annotate('', (1.0, 1.25), (1.0, 1.76), arrowprops=_ARROW)
    axes.text(2.85, 1.82, 'crossearth fit', **_COMMAND)
    _file(axes, (0.12, 0.22), 'model.safetensors', 'weights, classes,\nbands, pixel size')
    _arrow(axes, (2.0, 0.8), 'crossearth predict')
    axes.text(2.85, 0.67, 'any scene, of any\nsize and CRS', **_CENTRED)
    _file(axes, (3.75, 0.22), 'map.tif', "in the scene's CRS,\nwith colours")
    return figure


def _arrow(axes: Axes, begin: tuple[float, float], command: str) -> None:
    """An arrow to the right, with a command above it."""
    axes.annotate('', (begin[0] + 1.68, begin[1]), begin, arrowprops=_ARROW)
    axes.text(begin[0] + 0.85, begin[1] + 0.09, command, **_COMMAND)


def _file(axes: Axes, corner: tuple[float, float], name: str, text: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            corner, 1.73, 0.98, boxstyle='round,pad=0.02,rounding_size=0.08', fc='#eef4f9', ec=BLUE
        )
    )
    x, y = corner[0] + 0.865, corner[1]
    axes.text(x, y + 0.72, name, ha='center', fontsize=11, family='monospace', weight='bold')
    axes.text(x, y + 0.58, text, **_CENTRED)


def _validation(earth: SyntheticEarth) -> Figure:
    """The boxes of the recipe that `start` writes for one scene, drawn over that scene."""
    source = EARTH_DOMAINS['source']
    with tempfile.TemporaryDirectory() as root:
        ((image, mask),) = earth.write(root, source, scenes=1, size_px=SCENE_PX)
        recipe = start(
            Domain('source', str(image.parent), str(mask.parent)),
            recipe=Path(root) / 'recipe.yaml',
            progress=False,
        )
        data = yaml.safe_load(recipe.read_text())['data']['init_args']
        boxes = data['train']['init_args']['hold_out']['boxes']
        with rasterio.open(image) as file:
            pixels = file.read(out_shape=(3, SCENE_PX // 3, SCENE_PX // 3)).transpose(1, 2, 0)
    figure = Figure(figsize=(5.2, 4.6), layout='constrained')
    axes = figure.subplots()
    left, top = source.origin_xy
    side = SCENE_PX * GSD_M
    axes.imshow(pixels, extent=(0, side, 0, side), interpolation='antialiased')
    for x0, y0, x1, y1 in boxes:
        x, y = x0 - left, y0 - (top - side)
        axes.add_patch(Rectangle((x, y), x1 - x0, y1 - y0, fc=ORANGE, alpha=0.5))
        axes.add_patch(Rectangle((x, y), x1 - x0, y1 - y0, fill=False, ec='white', lw=2))
    axes.plot([], [], 's', ms=11, color=ORANGE, alpha=0.7, label='held out for validation')
    axes.set(xlim=(0, side), ylim=(0, side))
    axes.set_xlabel('metres', fontsize=10)
    axes.set_ylabel('metres', fontsize=10)
    axes.tick_params(labelsize=10)
    figure.legend(loc='outside upper center', frameon=False, fontsize=11)
    return figure
