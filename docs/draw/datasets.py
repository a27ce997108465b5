"""How datasets read: windows of a scene, one ground in several pixel sizes, vectors as labels."""

import tempfile
from pathlib import Path

import fiona
import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from pyproj import Transformer

from crossearth.datasets import FolderDataset
from crossearth.geometry import Window
from crossearth.inference import vectorize
from crossearth.labels import BUILDING, ISPRS, LabelSpace
from crossearth.rasters import VectorLabels
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

COLOURS = ('#d55e00', '#f0e442', '#56b4e9')
TEXT = 11


def draw(folder: Path) -> None:
    """Write `datasets-windows.png`, `datasets-gsd.png` and `datasets-vectors.png`."""
    with tempfile.TemporaryDirectory() as root:
        ((image, mask),) = SyntheticEarth(seed=0).write(
            root, EARTH_DOMAINS['source'], scenes=1, size_px=512, start=1
        )
        _sizes(image.parent, mask.parent).savefig(folder / 'datasets-gsd.png', dpi=150)
        _vectors(image, mask, Path(root)).savefig(folder / 'datasets-vectors.png', dpi=150)
        with rasterio.open(image, 'r+') as file:  # a mosaic that ends at a slant
            pixels = file.read()
            rows, cols = np.indices(pixels.shape[1:])
            pixels[:, 4 * cols + rows > 4 * 470] = 0
            file.write(pixels)
            file.nodata = 0
        _windows(image.parent, mask.parent).savefig(folder / 'datasets-windows.png', dpi=150)


def _windows(images: Path, masks: Path) -> Figure:
    scenes = FolderDataset(images, masks, labels=ISPRS)
    windows = {
        'inside': Window(scene=0, row=40, col=70, height=160, width=160),
        'on no-data': Window(scene=0, row=170, col=340, height=160, width=160),
        'past the edge': Window(scene=0, row=420, col=150, height=160, width=160),
    }
    figure = Figure(figsize=(7.2, 3.9), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    axes = left.subplots()
    _show(axes, scenes[0]['image'].numpy().transpose(1, 2, 0), 'scene')
    for window, colour in zip(windows.values(), COLOURS, strict=True):
        corner = (window.col - 0.5, window.row - 0.5)
        axes.add_patch(Rectangle(corner, 160, 160, fill=False, ec=colour, lw=3))
    axes.set(xlim=(-0.5, 511.5), ylim=(590, -0.5))
    axes.spines[:].set_visible(False)
    panels = right.subplots(2, 3)
    for column, (name, window), colour in zip(panels.T, windows.items(), COLOURS, strict=True):
        sample = scenes[window]
        _show(column[0], sample['image'].numpy().transpose(1, 2, 0), name)
        _show(column[1], ISPRS.colour(sample['mask'].numpy().astype(np.uint8)), '')
        for axes in column:
            axes.spines[:].set(color=colour, linewidth=3)
    for axes, name in zip(panels[:, 0], ('image', 'mask'), strict=True):
        axes.set_ylabel(name, fontsize=TEXT)
    _legend(figure, ISPRS, {'255, ignored': (0.0, 0.0, 0.0)})
    return figure


def _sizes(images: Path, masks: Path) -> Figure:
    """40 m of ground, read in four pixel sizes."""
    figure = Figure(figsize=(7.2, 4.2), layout='constrained')
    for column, gsd_m in zip(figure.subplots(2, 4).T, (0.25, 0.5, 1.0, 2.0), strict=True):
        scenes = FolderDataset(images, masks, labels=ISPRS, gsd_m=gsd_m)
        side = round(40 / gsd_m)
        row, col = round(50 / gsd_m), round(60 / gsd_m)
        sample = scenes[Window(scene=0, row=row, col=col, height=side, width=side)]
        _show(column[0], sample['image'].numpy().transpose(1, 2, 0), f'{gsd_m:g} m: {side} px')
        _show(column[1], ISPRS.colour(sample['mask'].numpy().astype(np.uint8)), '')
    _legend(figure, ISPRS, {})
    return figure


def _vectors(image: Path, mask: Path, root: Path) -> Figure:
    """Buildings in degrees over a scene in metres, and the masks that are burnt from them."""
    with rasterio.open(mask, 'r+') as file:
        file.update_tags(**{f'CLASS_{i}': name for i, name in enumerate(ISPRS.classes)})
        crs, to_px = file.crs, ~file.transform
    path = root / 'buildings.geojson'
    vectorize(mask, path, classes=['building'], simplify_m=0.5)
    to_metres = Transformer.from_crs(4326, crs, always_xy=True)
    scenes = FolderDataset(image.parent, VectorLabels(path), labels=BUILDING)
    coarse = FolderDataset(image.parent, VectorLabels(path), labels=BUILDING, gsd_m=2.0)
    figure = Figure(figsize=(7.2, 2.65), layout='constrained')
    panels = figure.subplots(1, 3)
    _show(panels[0], scenes[0]['image'].numpy().transpose(1, 2, 0), 'scene and polygons')
    with fiona.open(path) as features:
        for feature in features:
            for ring in feature.geometry.coordinates:
                x, y = to_metres.transform(*np.array(ring).T[:2])
                col, row = to_px @ (np.array(x), np.array(y))
                panels[0].plot(col - 0.5, row - 0.5, color=COLOURS[1], lw=1.2)
    panels[0].set(xlim=(-0.5, 511.5), ylim=(511.5, -0.5))
    for axes, dataset, title in (
        (panels[1], scenes, 'mask at 0.25 m'),
        (panels[2], coarse, 'mask at 2 m'),
    ):
        _show(axes, BUILDING.colour(dataset[0]['mask'].numpy().astype(np.uint8)), title)
    return figure


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, interpolation='nearest')
    axes.set_title(title, fontsize=TEXT)
    axes.set_xticks([])
    axes.set_yticks([])


def _legend(
    figure: Figure, labels: LabelSpace, others: dict[str, tuple[float, float, float]]
) -> None:
    classes = {
        name.replace('_', ' '): (r / 255, g / 255, b / 255)
        for name, (r, g, b) in zip(labels.classes, labels.palette, strict=True)
    }
    patches = [
        Patch(facecolor=colour, edgecolor='grey', label=name)
        for name, colour in (classes | others).items()
    ]
    figure.legend(handles=patches, loc='outside lower center', ncols=4, frameon=False, fontsize=10)
