"""How windows overlap and blend, what that does to a map, and the memory that a map takes."""

import runpy
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from crossearth.inference import Outputs, Windows, estimate_scene, predict_scene
from crossearth.inference.grid import Blend, Grid
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.visualization import PALETTE

_HERE = Path(__file__).parent
_small_model = runpy.run_path(str(_HERE / '_small_model.py'))['small_model']
_class_legend = runpy.run_path(str(_HERE / '_legend.py'))['class_legend']

_BLENDS: dict[Blend, str] = {
    'hann': 'raised cosine (the default)',
    'gaussian': 'Gaussian',
    'mean': 'the same weight everywhere',
    'crop': 'only the nearest window',
}
_WINDOWS = (PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[3])


def draw(folder: Path) -> None:
    """Write `inference-windows.png`, `-blending.png` and `-memory.png`."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        earth = SyntheticEarth(seed=1)  # other places than the small model was trained on
        ((scene, mask),) = earth.write(work, EARTH_DOMAINS['source'], scenes=1, size_px=512)
        with rasterio.open(scene) as file:
            image = file.read().transpose(1, 2, 0)
        with rasterio.open(mask) as file:
            truth = file.read(1)
        wide = earth.draw(EARTH_DOMAINS['source'], index=3, height=400, width=1000).image
        _draw_windows(wide.transpose(1, 2, 0)).savefig(
            folder / 'inference-windows.png', dpi=160, bbox_inches='tight'
        )
        model = _small_model(folder)
        _draw_blending(model, scene, image, truth).savefig(
            folder / 'inference-blending.png', dpi=160, bbox_inches='tight'
        )
        _draw_memory(work).savefig(folder / 'inference-memory.png', dpi=160, bbox_inches='tight')


def _draw_windows(image: np.ndarray) -> Figure:
    """A row of windows over a scene, and the weight that each has in each column of it."""
    height, width = image.shape[:2]
    starts = Grid(height, width, tile_px=height, stride_px=267).col_starts
    figure = Figure(figsize=(5.6, 6.6), layout='constrained')
    panels = figure.subplots(1 + len(_BLENDS), 1, sharex=True, height_ratios=(3.2, 1, 1, 1, 1))
    panels[0].imshow(image, aspect='auto')
    panels[0].set_title('four windows, the last one moved back to the border', fontsize=11)
    panels[0].set_yticks(())
    for index, start in enumerate(starts):
        inset = 8 + 18 * index  # edges at the same height would hide each other
        panels[0].add_patch(
            Rectangle(
                (start + 4, inset), height - 8, height - 2 * inset,
                fill=False, edgecolor=_WINDOWS[index], linewidth=3,
            )
        )  # fmt: skip
    for axes, (blend, meaning) in zip(panels[1:], _BLENDS.items(), strict=True):
        weights = Grid(height, width, tile_px=height, stride_px=267, blend=blend).col_weights()
        for index, (start, weight) in enumerate(zip(starts, weights, strict=True)):
            cols = np.arange(start, start + height)
            axes.fill_between(cols, weight, color=_WINDOWS[index], alpha=0.35, step='mid')
            axes.step(cols, weight, color=_WINDOWS[index], where='mid')
        axes.set_title(f"'{blend}': {meaning}", fontsize=10.5, loc='left', pad=3)
        axes.set_ylim(0, 1.1)
        axes.set_yticks((0, 1))
    panels[-1].set_xlabel('column of the scene, px')
    figure.supylabel('weight of each window', fontsize=10)
    return figure


def _draw_blending(model: nn.Module, scene: Path, image: np.ndarray, truth: np.ndarray) -> Figure:
    """A map of windows that only touch, of windows that blend, and its confidence."""
    hard, soft, sure = (scene.with_name(f'{name}.tif') for name in ('hard', 'soft', 'sure'))
    predict_scene(model, scene, hard, labels=ISPRS, windows=Windows(tile_px=64, overlap=0))
    predict_scene(
        model,
        scene,
        soft,
        labels=ISPRS,
        windows=Windows(tile_px=64, overlap=0.5),
        outputs=Outputs(confidence=sure),
    )
    part = np.s_[128:384, 96:416]
    panels: dict[str, np.ndarray] = {'scene': image[part]}
    for name, path in (('overlap 0', hard), ('overlap 0.5, blended', soft)):
        with rasterio.open(path) as file:
            ids = file.read(1)
        right = (ids == truth).mean()
        panels[f'{name}: {100 * right:.1f} % right'] = ISPRS.colour(ids)[part]
    figure = Figure(figsize=(6.0, 5.9), layout='constrained')
    axes = figure.subplots(2, 2).ravel()
    for one, (title, picture) in zip(axes, panels.items(), strict=False):
        one.imshow(picture, interpolation='nearest')
        one.set_title(title, fontsize=11)
        one.set_axis_off()
    for position in range(64, 320, 64):
        axes[1].axvline(position - 32.5, color='white', linewidth=0.8, linestyle=':')
        axes[1].axhline(position - 0.5, color='white', linewidth=0.8, linestyle=':')
    with rasterio.open(sure) as file:
        confidence = file.read(1)[part] / 254
    drawn = axes[3].imshow(confidence, vmin=0, vmax=1, cmap='viridis')
    axes[3].set_title('confidence of the blended map', fontsize=11)
    axes[3].set_axis_off()
    bar = axes[3].inset_axes((0, -0.09, 1, 0.05))
    figure.colorbar(drawn, cax=bar, orientation='horizontal').ax.tick_params(labelsize=9)
    _class_legend(figure)
    return figure


def _draw_memory(work: Path) -> Figure:
    """What `estimate_scene` says that maps of scenes take, and what all scores at once would."""
    sides = 2 ** np.arange(10, 18)
    model = nn.Conv2d(3, 6, 1)
    taken = []
    for side in sides.tolist():
        path = work / f'{side}.tif'
        with rasterio.open(
            path, 'w', driver='GTiff', width=side, height=side, count=3, dtype='uint8',
            tiled=True, sparse_ok=True, crs='EPSG:32633', bigtiff='yes',
            transform=rasterio.Affine(0.5, 0, 3e5, 0, -0.5, 5e6),
        ):  # fmt: skip
            pass
        taken.append(estimate_scene(model, path, windows=Windows(tile_px=512)).memory_mb)
    figure = Figure(figsize=(5.2, 3.3), layout='constrained')
    axes = figure.subplots()
    axes.plot(sides, 24 * sides.astype(float) ** 2 / 2**20, color=PALETTE[1], marker='s')
    axes.plot(sides, taken, color=PALETTE[0], marker='o')
    axes.set_xscale('log', base=2)
    axes.set_yscale('log')
    axes.set_xticks(sides, [f'{side // 1024} k' for side in sides])
    axes.set_yticks((100, 1024, 10 * 1024, 100 * 1024), ('100 MiB', '1 GiB', '10 GiB', '100 GiB'))
    axes.set_xlabel('side of the scene, px')
    axes.text(
        sides[4], 24 * sides[4] ** 2 / 2**20 * 3, 'scores of the\nwhole scene', ha='right',
        color=PALETTE[1], fontsize=11,
    )  # fmt: skip
    axes.text(
        sides[-1], taken[-1] * 1.5, 'predict_scene', ha='right', color=PALETTE[0], fontsize=11
    )
    axes.grid(alpha=0.3)
    return figure
