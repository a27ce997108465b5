"""The page of `crossearth view`, drawn from the layers and the legend that the page holds."""

import runpy
import tempfile
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle

from crossearth.inference import Outputs, predict_scene
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.viewer import open_map_view

_HERE = Path(__file__).parent
_small_model = runpy.run_path(str(_HERE / '_small_model.py'))['small_model']

_SIDE_PX = 512
_BAR_M = 20


def draw(folder: Path) -> None:
    """Write `view-page.png`."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        earth = SyntheticEarth(seed=1)  # other places than the small model was trained on
        ((scene, _),) = earth.write(work, EARTH_DOMAINS['source'], scenes=1, size_px=_SIDE_PX)
        predict_scene(
            _small_model(folder),
            scene,
            work / 'map.tif',
            labels=ISPRS,
            outputs=Outputs(confidence=work / 'confidence.tif'),
        )
        with open_map_view(
            work / 'map.tif', scene=scene, confidence=work / 'confidence.tif'
        ) as view:
            pictures = {one.name: one.overview(_SIDE_PX) for one in view.layers}
            entries, sides_m, crs = view.legend, view.gsd_m, view.crs
    assert sides_m is not None
    gsd_m, _ = sides_m
    figure = Figure(figsize=(7.6, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    shown = pictures['scene'][..., :3].copy()
    half = shown[:, _SIDE_PX // 2 :]
    half[:] = 0.25 * half + 0.75 * pictures['map'][:, _SIDE_PX // 2 :, :3]  # its default opacity
    left.imshow(shown, interpolation='nearest')
    left.set_axis_off()
    _draw_controls(left, gsd_m)
    right.set_axis_off()
    right.set(xlim=(0, 1), ylim=(0, 1))
    right.text(0, 0.97, 'map.tif', fontsize=13, weight='bold', va='center')
    ticked = {'Scene': True, 'Map': True, 'Confidence': False, 'Swipe, the scene on the left': True}
    for index, (name, on) in enumerate(ticked.items()):
        top = 0.89 - 0.062 * index
        right.add_patch(
            Rectangle(
                (0.01, top - 0.017), 0.05, 0.036, facecolor='#0072b2' if on else 'white',
                edgecolor='#57606a',
            )
        )  # fmt: skip
        right.text(0.1, top, name, fontsize=10.5, va='center')
    right.text(0, 0.62, 'Opacity 75 %', fontsize=10.5, va='center')
    right.add_line(Line2D((0.02, 0.98), (0.57, 0.57), color='#d0d7de', linewidth=4))
    right.add_line(Line2D((0.02, 0.74), (0.57, 0.57), color='#0072b2', linewidth=4))
    right.plot(0.74, 0.57, 'o', color='#0072b2', markersize=9)
    for index, entry in enumerate(entries):
        top = 0.48 - 0.062 * index
        right.add_patch(
            Rectangle(
                (0.01, top - 0.017), 0.05, 0.036, facecolor=entry.colour or 'white',
                edgecolor='#57606a',
            )
        )  # fmt: skip
        right.text(0.1, top, entry.name, fontsize=9.5, va='center')
        right.text(0.74, top, entry.share, fontsize=9.5, va='center', ha='right')
        right.text(1.02, top, entry.area, fontsize=9.5, va='center', ha='right')
    note = f'{_SIDE_PX} × {_SIDE_PX} px of {gsd_m:.3g} m\n{crs}'
    right.text(0, 0.04, note, fontsize=9.5, va='center', color='#57606a')
    figure.savefig(folder / 'view-page.png', dpi=160, bbox_inches='tight')


def _draw_controls(axes: Axes, gsd_m: float) -> None:
    """The divider with its handle, and the scale bar."""
    middle = _SIDE_PX / 2
    axes.axvline(middle - 0.5, color='white', linewidth=3)
    axes.add_patch(Circle((middle, middle), 20, facecolor='white', edgecolor='none', zorder=3))
    axes.text(middle, middle, '↔', ha='center', va='center', fontsize=15, zorder=4)
    length = _BAR_M / gsd_m
    axes.add_patch(Rectangle((12, _SIDE_PX - 44), length, 32, facecolor='white', alpha=0.85))
    axes.add_line(Line2D((12, 12 + length), (_SIDE_PX - 13,) * 2, color='black', linewidth=2))
    axes.text(12 + length / 2, _SIDE_PX - 29, f'{_BAR_M} m', ha='center', va='center', fontsize=10)
