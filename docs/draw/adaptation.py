"""Maps before and after adapting, and how far confidence can be believed at home and elsewhere."""

import runpy
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from crossearth.adaptation import Norms, adapt_model
from crossearth.calibration import fit_temperature
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, Drawing, SyntheticEarth
from crossearth.visualization import PALETTE

_HERE = Path(__file__).parent
_small_model = runpy.run_path(str(_HERE / '_small_model.py'))['small_model']
_class_legend = runpy.run_path(str(_HERE / '_legend.py'))['class_legend']

_SIDE_PX = 384
_PLACES = {'region': ('another place', 0), 'source': ('like the source', 2)}


def draw(folder: Path) -> None:
    """Write `adaptation-maps.png` and `adaptation-reliability.png`."""
    model = _small_model(folder)
    earth = SyntheticEarth(seed=1)  # other places than the small model was trained on
    with tempfile.TemporaryDirectory() as temporary:
        maps = _draw_maps(model, earth, Path(temporary))
    maps.savefig(folder / 'adaptation-maps.png', dpi=160, bbox_inches='tight')
    reliability = _draw_reliability(model, earth)
    reliability.savefig(folder / 'adaptation-reliability.png', dpi=160, bbox_inches='tight')


def _draw_maps(model: nn.Module, earth: SyntheticEarth, work: Path) -> Figure:
    """A scene of another place and one like the source, each before and after `Norms`."""
    figure = Figure(figsize=(5.8, 5.1), layout='constrained')
    rows = figure.subplots(2, 3)
    for row, (name, (place, index)) in zip(rows, _PLACES.items(), strict=True):
        domain = EARTH_DOMAINS[name]
        drawing = earth.draw(domain, index=index, height=_SIDE_PX, width=_SIDE_PX)
        scene, _ = earth.write(work, domain, scenes=index + 1, size_px=_SIDE_PX)[index]
        made = adapt_model(model, [scene], Norms(alpha=0.5), tile_px=128)
        advice = 'advised' if made.report.advice.use else 'advised against'
        panels = {place: drawing.image.transpose(1, 2, 0)}
        for when, network in (('before', model), ('after', made.model)):
            ids = _logits(network, drawing).argmax(0).numpy().astype(np.uint8)
            right = 100 * (ids == drawing.mask).mean()
            panels[f'{when}: {right:.0f} % right'] = ISPRS.colour(ids)
        row[2].text(
            0.5, -0.02, advice, transform=row[2].transAxes, ha='center', va='top', fontsize=11
        )
        for axes, (title, picture) in zip(row, panels.items(), strict=True):
            axes.imshow(picture, interpolation='nearest')
            axes.set_title(title, fontsize=11)
            axes.set_axis_off()
    _class_legend(figure)
    return figure


def _draw_reliability(model: nn.Module, earth: SyntheticEarth) -> Figure:
    """Share of right pixels by confidence, calibrated on the source, there and elsewhere."""
    domains = {
        'source': 'held-out scenes of the source',
        'region': 'another region',
        'region_platform': 'another region and sensor',
    }
    pixels = {name: _pixels(model, earth, name, first=4) for name in domains}
    temperature = fit_temperature(*_pixels(model, earth, 'source', first=0))
    figure = Figure(figsize=(5.2, 4.2), layout='constrained')
    axes = figure.subplots()
    axes.plot((0.2, 1), (0.2, 1), color='black', linestyle='--', linewidth=1)
    axes.text(0.42, 0.46, 'as sure as right', rotation=39, fontsize=10, ha='center')
    edges = np.linspace(0.3, 1, 8)
    for index, (name, said) in enumerate(domains.items()):
        logits, truth = pixels[name]
        confidence, chosen = (logits / temperature).softmax(1).max(1)
        right = (chosen == truth).numpy()
        band = np.digitize(confidence.numpy(), edges)
        points = [
            (confidence.numpy()[band == one].mean(), right[band == one].mean())
            for one in range(1, len(edges) + 1)
            if (band == one).sum() > 500
        ]
        axes.plot(
            *zip(*points, strict=True), marker='os^'[index], markersize=7, color=PALETTE[index],
            label=said, linewidth=2,
        )  # fmt: skip
    axes.set(xlim=(0.2, 1.02), ylim=(0, 1.02))
    axes.set_xlabel('confidence, calibrated on the source')
    axes.set_ylabel('share of pixels that are right')
    axes.legend(loc='upper left', frameon=False, fontsize=10)
    axes.grid(alpha=0.3)
    return figure


def _pixels(
    model: nn.Module, earth: SyntheticEarth, name: str, *, first: int
) -> tuple[Tensor, Tensor]:
    """Logits (n, 6) and classes (n,) of every 7th pixel of four scenes."""
    logits, classes = [], []
    for index in range(first, first + 4):
        drawing = earth.draw(EARTH_DOMAINS[name], index=index, height=_SIDE_PX, width=_SIDE_PX)
        logits.append(_logits(model, drawing).flatten(1).T[::7])
        classes.append(torch.from_numpy(drawing.mask).long().flatten()[::7])
    return torch.cat(logits), torch.cat(classes)


def _logits(model: nn.Module, drawing: Drawing) -> Tensor:
    with torch.inference_mode():
        return model(torch.from_numpy(drawing.image)[None].float() / 255)[0]
