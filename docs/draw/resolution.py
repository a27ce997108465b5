"""What the size of pixels does to an image and to a map, and how well it can be estimated."""

import re
import runpy
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import torch
from matplotlib.figure import Figure
from torch import nn

from crossearth.datasets import FolderDataset
from crossearth.geometry import Window
from crossearth.inference import View, Windows, predict_scene
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.transforms import SensorSimulation
from crossearth.visualization import PALETTE

_HERE = Path(__file__).parent
_small_model = runpy.run_path(str(_HERE / '_small_model.py'))['small_model']
_class_legend = runpy.run_path(str(_HERE / '_legend.py'))['class_legend']

_SIZES_M = (0.2, 0.5, 1.0, 2.0)
_GROUND_M = 51.2
_WINDOW_PX = 64
_PAGE = _HERE.parent / 'resolution.md'


def draw(folder: Path) -> None:
    """Write `resolution-sizes.png`, `-maps.png`, `-sharpness.png` and `-estimates.png`."""
    earth = SyntheticEarth(seed=1)  # other places than the small model was trained on
    model = _small_model(folder)
    with tempfile.TemporaryDirectory() as temporary:
        figures = {
            'sizes': _draw_sizes(earth, Path(temporary)),
            'maps': _draw_maps(earth, model, Path(temporary)),
            'sharpness': _draw_sharpness(earth),
            'estimates': _draw_estimates(),
        }
    for name, figure in figures.items():
        figure.savefig(folder / f'resolution-{name}.png', dpi=160, bbox_inches='tight')


def _draw_sizes(earth: SyntheticEarth, work: Path) -> Figure:
    """The same ground, and windows of the same number of pixels, at several sizes."""
    ((scene, _),) = earth.write(work, EARTH_DOMAINS['region_drone'], scenes=1, size_px=1100)
    figure = Figure(figsize=(6.2, 3.6), layout='constrained')
    rows = figure.subplots(2, len(_SIZES_M))
    for (same_ground, same_window), size_m in zip(rows.T, _SIZES_M, strict=True):
        dataset = FolderDataset(scene.parent, labels=ISPRS, gsd_m=size_m)
        height = dataset.scenes[0].height
        for axes, side in ((same_ground, round(_GROUND_M / size_m)), (same_window, _WINDOW_PX)):
            first = (height - side) // 2
            sample = dataset[Window(0, first, first, side, side)]
            axes.imshow(sample['image'].permute(1, 2, 0).numpy(), interpolation='nearest')
            axes.set(xticks=(), yticks=())
        same_ground.set_title(f'{size_m:g} m', fontsize=12)
        same_window.set_xlabel(f'{_WINDOW_PX * size_m:.0f} m wide', fontsize=11)
    rows[0, 0].set_ylabel('same ground', fontsize=11)
    rows[1, 0].set_ylabel(f'window of {_WINDOW_PX} px', fontsize=11)
    return figure


def _draw_maps(earth: SyntheticEarth, model: nn.Module, work: Path) -> Figure:
    """Maps by a model of 0.25 m that sees a scene at three sizes."""
    ((scene, mask),) = earth.write(work, EARTH_DOMAINS['source'], scenes=1, size_px=512)
    with rasterio.open(scene) as file:
        panels = {'scene, 0.25 m': file.read().transpose(1, 2, 0)}
    with rasterio.open(mask) as file:
        truth = file.read(1)
    for size_m in (0.25, 0.5, 1.0):
        made = predict_scene(
            model,
            scene,
            work / 'map.tif',
            labels=ISPRS,
            windows=Windows(tile_px=256),
            view=View(gsd_m=size_m),
        )
        with rasterio.open(made.path) as file:
            ids = file.read(1)
        panels[f'seen at {size_m:g} m: {100 * (ids == truth).mean():.0f} % right'] = ISPRS.colour(
            ids
        )
    figure = Figure(figsize=(5.6, 6.3), layout='constrained')
    for axes, (title, picture) in zip(figure.subplots(2, 2).ravel(), panels.items(), strict=True):
        axes.imshow(picture, interpolation='nearest')
        axes.set_title(title, fontsize=11)
        axes.set_axis_off()
    _class_legend(figure)
    return figure


def _draw_sharpness(earth: SyntheticEarth) -> Figure:
    """An image, the same made softer, the same with larger pixels, and their spectra."""
    drawing = earth.draw(EARTH_DOMAINS['source'], index=0, height=512, width=512)
    image = torch.from_numpy(drawing.image)[None].float() / 255
    soft = SensorSimulation(
        sigma=(1.0, 1.0), coarsening=None, shot=None, read=None, bits=None, quality=None,
        p_blur=1.0, p=1.0,
    )(image)  # fmt: skip
    large = nn.functional.avg_pool2d(image, 2)
    figure = Figure(figsize=(6.0, 4.4), layout='constrained')
    above, below = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    pictures = {'0.25 m': image, '0.25 m, softer': soft, '0.5 m': large}
    for axes, (name, picture) in zip(above.subplots(1, 3), pictures.items(), strict=True):
        side = 128 * picture.shape[-1] // 512
        axes.imshow(picture[0, :, :side, :side].permute(1, 2, 0).numpy(), interpolation='nearest')
        axes.set_title(name, fontsize=11)
        axes.set_axis_off()
    axes = below.subplots()
    for index, (name, picture) in enumerate(pictures.items()):
        axes.plot(*_spectrum(picture), color=PALETTE[index], label=name, linewidth=2)
    axes.set_yscale('log')
    axes.set_xlabel('cycles per pixel')
    axes.set_ylabel('spectral power')
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return figure


def _spectrum(image: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean power of an image in grey by radial frequency."""
    grey = image[0].mean(0).numpy()
    side = grey.shape[0]
    window = np.hanning(side)
    power = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(window, window))) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    edges = np.linspace(0.01, 0.5, 41)
    band = np.digitize(frequency, edges)
    means = np.array([power[band == index].mean() for index in range(1, len(edges))])
    return (edges[1:] + edges[:-1]) / 2, means / means[0]


def _draw_estimates() -> Figure:
    """Truth and median estimates of the domains that were held out, from the table of the page."""
    table = _PAGE.read_text().split('| held out |')[1].split('| mean |')[0]
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in table.splitlines()[2:]
        if line.startswith('|')
    ]
    names = [row[0] for row in rows]
    truth = np.array([float(row[1].removesuffix(' m')) for row in rows])
    octaves = {
        'features': [float(row[2].replace('−', '-')) for row in rows],
        'spectra': [float(row[5].replace('−', '-')) for row in rows],
    }
    assert len(rows) == 6
    assert all(re.fullmatch(r'[\w ,]+', name) for name in names)
    figure = Figure(figsize=(5.4, 3.4), layout='constrained')
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    axes.hlines(places, 0.1, 1.3, color='#d0d7de', linewidth=0.8)
    axes.plot(truth, places, 'k|', markersize=20, markeredgewidth=2.5, label='truth')
    for (name, biases), marker, colour in zip(octaves.items(), 'os', PALETTE, strict=False):
        axes.plot(
            truth * 2 ** np.array(biases), places, marker, color=colour, markersize=9,
            label=f'estimated by {name}',
        )  # fmt: skip
    axes.set_xscale('log', base=2)
    axes.set_xlim(0.1, 1.3)
    axes.set_xticks((0.125, 0.25, 0.5, 1), ('0.125 m', '0.25 m', '0.5 m', '1 m'))
    axes.set_yticks(places, names, fontsize=10.5)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    figure.legend(loc='outside upper center', ncols=3, frameon=False)
    return figure
