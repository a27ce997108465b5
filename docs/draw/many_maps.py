"""What becomes of scenes in a run over many of them, and what happens where maps overlap."""

import runpy
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from rasterio.transform import Affine

from crossearth.inference import Outputs, Windows, predict_scene
from crossearth.labels import ISPRS
from crossearth.mosaic import mosaic_maps
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.visualization import PALETTE

_HERE = Path(__file__).parent
_small_model = runpy.run_path(str(_HERE / '_small_model.py'))['small_model']
_class_legend = runpy.run_path(str(_HERE / '_legend.py'))['class_legend']

_BLUE, _ORANGE, _GREEN = PALETTE[:3]
_TILE_PX, _STEP_PX = 192, 128


def draw(folder: Path) -> None:
    """Write `many_maps-run.png` and `many_maps-rules.png`."""
    _draw_run().savefig(folder / 'many_maps-run.png', dpi=160, bbox_inches='tight')
    model = _small_model(folder)
    with tempfile.TemporaryDirectory() as temporary:
        figure = _draw_rules(model, Path(temporary))
    figure.savefig(folder / 'many_maps-rules.png', dpi=160, bbox_inches='tight')


def _draw_run() -> Figure:
    """Scenes, queue, workers, maps with receipts, quarantine, mosaic and catalogue."""
    figure = Figure(figsize=(5.8, 4.9))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 100), ylim=(2, 92))
    axes.set_axis_off()
    scenes = _box(axes, 0, 66, 24, 16, 'scenes/\nor a list,\nor STAC items', 'black')
    queue = _box(axes, 38, 66, 24, 16, 'queue', 'black', below='scenes without\na receipt')
    workers = _box(axes, 76, 66, 24, 16, 'workers', _BLUE, below='each loads the\nmodel once')
    maps = _box(axes, 76, 36, 24, 16, 'maps/', _GREEN, below='map and receipt\nfor each scene')
    lone = _box(axes, 0, 36, 24, 16, 'quarantine', _ORANGE, below='left alone until\n--retry')
    mosaic = _box(axes, 76, 4, 24, 16, 'all.tif', _GREEN, below='crossearth\nmosaic')
    catalogue = _box(axes, 38, 4, 24, 16, 'catalog.json', _GREEN, below='crossearth\ncatalog')
    _arrow(axes, scenes, queue)
    _arrow(axes, queue, workers)
    _arrow(axes, workers, maps, 'done')
    _arrow(axes, maps, mosaic)
    _arrow(axes, maps, catalogue)
    _arrow(axes, workers, lone, 'failed twice', colour=_ORANGE)
    axes.add_patch(
        FancyArrowPatch(
            (88, 83), (50, 83), connectionstyle='arc3,rad=0.12', arrowstyle='-|>',
            mutation_scale=14, color=_ORANGE, linewidth=1.6,
        )
    )  # fmt: skip
    axes.text(69, 87, 'failed once: again', color=_ORANGE, fontsize=10, ha='center')
    axes.text(
        50, 40, 'next run: a scene with a\nreceipt is not mapped again', fontsize=10, ha='center',
        va='center', style='italic',
    )  # fmt: skip
    return figure


type _Box = tuple[float, float, float, float]


def _box(
    axes: Axes,
    left: float,
    bottom: float,
    width: float,
    height: float,
    title: str,
    colour: str,
    *,
    below: str = '',
) -> _Box:
    axes.add_patch(
        FancyBboxPatch(
            (left + 1, bottom + 1), width - 2, height - 2, boxstyle='round,pad=0.8',
            facecolor='white', edgecolor=colour, linewidth=1.8,
        )
    )  # fmt: skip
    centre = left + width / 2
    top = bottom + height * (0.76 if below else 0.5)
    axes.text(
        centre, top, title, ha='center', va='center', fontsize=11, weight='bold', color=colour
    )
    axes.text(centre, bottom + height * 0.32, below, ha='center', va='center', fontsize=10)
    return left, bottom, width, height


def _arrow(axes: Axes, start: _Box, end: _Box, said: str = '', *, colour: str = 'black') -> None:
    """From the side of a box that faces the other one."""
    (x0, y0, w0, h0), (x1, y1, w1, h1) = start, end
    if y0 == y1:
        points = (x0 + w0, y0 + h0 / 2), (x1, y1 + h1 / 2)
    elif x0 == x1:
        points = (x0 + w0 / 2, y0), (x1 + w1 / 2, y1 + h1)
    else:
        points = (x0, y0 + 0.2 * h0), (x1 + w1, y1 + 0.85 * h1)
    axes.add_patch(
        FancyArrowPatch(
            *points, arrowstyle='-|>', mutation_scale=14, color=colour, linewidth=1.6, shrinkA=2,
            shrinkB=2,
        )
    )  # fmt: skip
    if said:
        (ax, ay), (bx, by) = points
        axes.text(
            (ax + bx) / 2 + 1, (ay + by) / 2 + 1.5, said, fontsize=10, color=colour,
            ha='left' if x0 == x1 else 'right',
        )  # fmt: skip


def _draw_rules(model: object, work: Path) -> Figure:
    """Two maps of overlapping scenes, and what four rules make of them."""
    wide = SyntheticEarth(seed=1).draw(
        EARTH_DOMAINS['source'], index=4, height=_TILE_PX, width=_TILE_PX + _STEP_PX
    )
    maps, sure, likely = [], [], []
    for index in range(2):
        name, left = f'{index}.tif', index * _STEP_PX
        for folder in ('scene', 'map', 'sure', 'likely'):
            (work / folder).mkdir(exist_ok=True)
        # the second scene was taken on a hazy day
        image = wide.image[:, :, left : left + _TILE_PX]
        if index:
            image = (0.8 * image + 30).astype(np.uint8)
        with rasterio.open(
            work / 'scene' / name, 'w', driver='GTiff', width=_TILE_PX, height=_TILE_PX, count=3,
            dtype='uint8', crs='EPSG:32633',
            transform=Affine(0.25, 0, 4e5 + 0.25 * left, 0, -0.25, 5e6),
        ) as file:  # fmt: skip
            file.write(image)
        made = predict_scene(
            model,
            work / 'scene' / name,
            work / 'map' / name,
            labels=ISPRS,
            windows=Windows(tile_px=_TILE_PX),
            outputs=Outputs(confidence=work / 'sure' / name, probabilities=work / 'likely' / name),
        )
        maps.append(made.path)
        sure.append(work / 'sure' / name)
        likely.append(work / 'likely' / name)
    figure = Figure(figsize=(5.6, 5.8), layout='constrained')
    panels = figure.subplots(3, 2).ravel()
    image = wide.image.transpose(1, 2, 0).copy()
    image[:, _TILE_PX:] = (0.8 * image[:, _TILE_PX:] + 30).astype(np.uint8)
    panels[0].imshow(image)
    panels[0].set_title('two scenes, the right one hazy', fontsize=10.5)
    for axes, rule in zip(
        panels[1:], ('first', 'last', 'centre', 'confidence', 'blend'), strict=True
    ):
        mosaic_maps(
            maps,
            work / 'all.tif',
            rule=rule,
            confidences=sure if rule == 'confidence' else None,
            probabilities=likely if rule == 'blend' else None,
        )
        with rasterio.open(work / 'all.tif') as file:
            axes.imshow(ISPRS.colour(file.read(1)), interpolation='nearest')
        axes.set_title(f'--rule {rule}', fontsize=10.5)
    for axes in panels:
        axes.set_axis_off()
        axes.add_patch(
            Rectangle(
                (_STEP_PX, 1), _TILE_PX - _STEP_PX, _TILE_PX - 3, fill=False, edgecolor='black',
                linestyle='--', linewidth=1.2,
            )
        )  # fmt: skip
    _class_legend(figure)
    return figure
