"""A map with its sample, and the areas that are counted and estimated."""

import csv
import runpy
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.figure import Figure

from crossearth.assessment import Assessment, SampleSize, assess_map, draw_sample
from crossearth.inference import predict_scene
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.visualization import PALETTE

_HERE = Path(__file__).parent
_small_model = runpy.run_path(str(_HERE / '_small_model.py'))['small_model']
_class_legend = runpy.run_path(str(_HERE / '_legend.py'))['class_legend']


def draw(folder: Path) -> None:
    """Write `assess-points.png` and `assess-areas.png`."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        # other places than the small model was trained on
        ((scene, mask),) = SyntheticEarth(seed=1).write(
            work, EARTH_DOMAINS['region'], scenes=1, size_px=640
        )
        made = predict_scene(_small_model(folder), scene, work / 'map.tif', labels=ISPRS)
        with rasterio.open(mask) as file:
            truth = file.read(1)
        with rasterio.open(made.path) as file:
            mapped = file.read(1)
        draw_sample(made.path, work / 'sample', size=SampleSize(n=400), seed=0)
        with (work / 'labels.csv').open('w') as labels:
            labels.write('id,label\n')
            with (work / 'sample' / 'key.csv').open() as key:
                for point in csv.DictReader(key):
                    name = ISPRS.classes[truth[int(point['row']), int(point['col'])]]
                    labels.write(f'{point["id"]},{name}\n')
        found = assess_map(work / 'sample', labelled=work / 'labels.csv')
    points = _draw_points(mapped, truth, found)
    points.savefig(folder / 'assess-points.png', dpi=160, bbox_inches='tight')
    areas = _draw_areas(mapped, truth, found)
    areas.savefig(folder / 'assess-areas.png', dpi=160, bbox_inches='tight')


def _draw_points(mapped: np.ndarray, truth: np.ndarray, found: Assessment) -> Figure:
    """The map, and the pixels that were drawn: right or wrong."""
    figure = Figure(figsize=(5.4, 6.2), layout='constrained')
    axes = figure.subplots()
    axes.imshow(0.5 * ISPRS.colour(mapped) / 255 + 0.5, interpolation='nearest')
    rows = np.array([unit.row for unit in found.design.units])
    cols = np.array([unit.col for unit in found.design.units])
    right = mapped[rows, cols] == truth[rows, cols]
    axes.plot(cols[right], rows[right], 'o', color='black', markersize=3.5, label='map is right')
    axes.plot(
        cols[~right], rows[~right], 'X', color=PALETTE[1], markersize=8, markeredgecolor='white',
        markeredgewidth=0.7, label='map is wrong',
    )  # fmt: skip
    axes.set_axis_off()
    axes.legend(loc='lower left', bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=11)
    _class_legend(figure)
    return figure


def _draw_areas(mapped: np.ndarray, truth: np.ndarray, found: Assessment) -> Figure:
    """Areas as shares of the map: counted, estimated with their intervals, and true."""
    figure = Figure(figsize=(5.4, 3.6), layout='constrained')
    axes = figure.subplots()
    total = found.accuracy.total_area
    for index, one in enumerate(found.accuracy.classes):
        name = found.classes[index]
        place = -index
        class_id = ISPRS.classes.index(name)
        low, high = (100 * end / total for end in one.area.interval)
        axes.barh(
            place, 100 * (mapped == class_id).mean(), height=0.62, color='#d0d7de',
            label='counted on the map' if index == 0 else None,
        )  # fmt: skip
        axes.plot((low, high), (place, place), color=PALETTE[0], linewidth=3)
        axes.plot(
            100 * one.area.value / total, place, 'o', color=PALETTE[0], markersize=8,
            label='estimate, 95 % interval' if index == 0 else None,
        )  # fmt: skip
        axes.plot(
            100 * (truth == class_id).mean(), place, '|', color='black', markersize=22,
            markeredgewidth=2, label='truth' if index == 0 else None,
        )  # fmt: skip
    axes.set_yticks(-np.arange(len(found.classes)), found.classes, fontsize=10.5)
    axes.set_xlabel('share of the area, %')
    axes.set_xlim(left=0)
    figure.legend(loc='outside upper center', ncols=3, frameon=False, fontsize=10)
    return figure
