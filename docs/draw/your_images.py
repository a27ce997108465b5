"""From folders to a map as a diagram, and the blocks that `start` holds out of one scene."""

import tempfile
from pathlib import Path

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


def draw(folder: Path) -> None:
    """Write `your_images-steps.png` and `your_images-validation.png`."""
    earth = SyntheticEarth(seed=0)
    scene = earth.draw(EARTH_DOMAINS['source'], index=1, height=400, width=400)
    roads = np.where(scene.mask == ROAD, 255, 0).astype(np.uint8)
    figure = _steps(scene.image.transpose(1, 2, 0), np.repeat(roads[..., None], 3, axis=2))
    figure.savefig(folder / 'your_images-steps.png', dpi=150)
    _validation(earth).savefig(folder / 'your_images-validation.png', dpi=150)


def _steps(image: np.ndarray, mask: np.ndarray) -> Figure:
    figure = Figure(figsize=(7.2, 3.9))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 7.2), ylim=(0, 3.9))
    axes.set_axis_off()
    for x, picture, name in ((0.2, image, 'roads/images'), (0.2 + 1.15, mask, 'roads/masks')):
        for shift in (0.12, 0.06, 0):
            axes.imshow(
                picture,
                extent=(x + shift, x + shift + 0.95, 2.45 + shift, 3.4 + shift),
                interpolation='antialiased',
                zorder=2 - shift,
            )
            axes.add_patch(
                Rectangle((x + shift, 2.45 + shift), 0.95, 0.95, fill=False, ec='w', zorder=2)
            )
        axes.text(x + 0.5, 2.22, name, ha='center', fontsize=10, family='monospace')
    axes.set(xlim=(0, 7.2), ylim=(0, 3.9))
    _arrow(axes, (2.55, 2.95), (4.75, 2.95), 'crossearth start')
    axes.text(
        3.62,
        2.82,
        'pairs images and masks,\nfinds classes, values and\npixel size, holds out places',
        ha='center',
        va='top',
        fontsize=9.5,
    )
    _file(axes, (4.85, 2.45), 'recipe.yaml', 'every choice, one per line;\nedit what is wrong')
    axes.plot([5.95, 5.95, 1.23], [2.4, 1.75, 1.75], color=INK, lw=1.5)
    axes.annotate(
        '', (1.23, 1.28), (1.23, 1.76), arrowprops={'arrowstyle': '-|>', 'color': INK, 'lw': 1.5}
    )
    axes.text(
        3.45, 1.82, 'crossearth fit', ha='center', fontsize=10.5, family='monospace', color=BLUE
    )
    _file(axes, (0.15, 0.25), 'model.safetensors', 'weights, classes, colours,\nbands, pixel size')
    _arrow(axes, (2.45, 0.78), (4.75, 0.78), 'crossearth predict')
    axes.text(3.6, 0.65, 'any scene,\nany size and CRS', ha='center', va='top', fontsize=9.5)
    _file(axes, (4.85, 0.25), 'map.tif', "in the scene's CRS,\nwith a colour table")
    return figure


def _arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float], text: str) -> None:
    axes.annotate('', end, begin, arrowprops={'arrowstyle': '-|>', 'color': INK, 'lw': 1.5})
    axes.text(
        (begin[0] + end[0]) / 2,
        begin[1] + 0.08,
        text,
        ha='center',
        fontsize=10.5,
        family='monospace',
        color=BLUE,
    )


def _file(axes: Axes, corner: tuple[float, float], name: str, text: str) -> None:
    axes.add_patch(
        FancyBboxPatch(
            corner, 2.15, 1.0, boxstyle='round,pad=0.02,rounding_size=0.08', fc='#eef4f9', ec=BLUE
        )
    )
    x, y = corner[0] + 1.08, corner[1]
    axes.text(x, y + 0.72, name, ha='center', fontsize=11, family='monospace', weight='bold')
    axes.text(x, y + 0.58, text, ha='center', va='top', fontsize=9.5)


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
