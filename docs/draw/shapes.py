"""A map of a scene, the same without small regions, and the polygons and lines made from it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import fiona
import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import gaussian_filter

from crossearth.inference import sieve_map, trace_lines, vectorize
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

SIDE_PX = 400
ROAD = 'impervious_surface'
TEXT = 10.5


def draw(folder: Path) -> None:
    """Write `shapes-steps.png`."""
    with tempfile.TemporaryDirectory() as root:
        ((image, mask),) = SyntheticEarth(seed=0).write(
            root, EARTH_DOMAINS['region'], scenes=1, size_px=SIDE_PX, start=3
        )
        _disturb(mask)
        made = Path(root)
        sieve_map(mask, made / 'sieved.tif', min_area_m2=12)
        vectorize(made / 'sieved.tif', made / 'plain.gpkg', simplify_m=0.6)
        vectorize(made / 'sieved.tif', made / 'square.gpkg', classes=['building'], square_m=1.5)
        trace_lines(made / 'sieved.tif', made / 'lines.gpkg', classes=[ROAD], min_length_m=10)
        with rasterio.open(image) as file:
            scene, to_px = file.read().transpose(1, 2, 0), ~file.transform
        figure = Figure(figsize=(7.2, 5.7), layout='constrained')
        panels = figure.subplots(2, 3).ravel()
        _show(panels[0], scene, 'scene')
        _show(panels[1], ISPRS.colour(_read(mask)), 'map')
        _show(panels[2], ISPRS.colour(_read(made / 'sieved.tif')), 'sieved: min_area_m2=12')
        for axes, name, title in (
            (panels[3], 'plain', 'polygons: simplify_m=0.6'),
            (panels[4], 'square', 'buildings: square_m=1.5'),
            (panels[5], 'lines', 'centre lines'),
        ):
            _show(axes, scene // 2 + 127, title)
            for points in _parts(made / f'{name}.gpkg'):
                col, row = to_px @ (points[:, 0], points[:, 1])
                axes.plot(col - 0.5, row - 0.5, color='#0050a0', lw=1.6)
            axes.set(xlim=(-0.5, SIDE_PX - 0.5), ylim=(SIDE_PX - 0.5, -0.5))
        classes = [
            Patch(facecolor=np.array(colour) / 255, edgecolor='grey', label=name.replace('_', ' '))
            for name, colour in zip(ISPRS.classes, ISPRS.palette, strict=True)
        ]
        figure.legend(
            handles=classes, loc='outside lower center', ncols=3, frameon=False, fontsize=TEXT
        )
        figure.savefig(folder / 'shapes-steps.png', dpi=130)


def _disturb(mask: Path) -> None:
    """Turn a mask into what a model might make of it: frayed borders, and specks."""
    rng = np.random.default_rng(0)
    with rasterio.open(mask, 'r+') as file:
        truth = file.read(1)
        scores = [
            gaussian_filter((truth == i).astype(np.float32), 2.5)
            + gaussian_filter(rng.normal(size=truth.shape), 2.5) * 1.7
            for i in range(ISPRS.num_classes)
        ]
        file.write(np.argmax(scores, axis=0).astype(np.uint8), 1)
        file.update_tags(**{f'CLASS_{i}': name for i, name in enumerate(ISPRS.classes)})


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1)


def _parts(path: Path) -> Iterator[np.ndarray]:
    """Coordinates of each ring and line of a file."""
    with fiona.open(path) as features:
        for feature in features:
            parts = feature.geometry.coordinates
            if feature.geometry.type == 'LineString':
                parts = [parts]
            for part in parts:
                yield np.array(part)[:, :2]


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, interpolation='nearest')
    axes.set_title(title, fontsize=TEXT)
    axes.set(xticks=[], yticks=[])
