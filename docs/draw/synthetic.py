"""Scenes of the synthetic Earth: its classes, its domains, and one place seen in several ways."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, EarthDomain, SyntheticEarth
from crossearth.visualization import draw_panels, save_figure

PIXELS = {'aerial': 0.25, 'drone': 0.12, 'satellite': 1.0}  # metres
TEXT = 10.5


def draw(folder: Path) -> None:
    """Write `synthetic-<domain>.png`, `synthetic-domains.png` and `synthetic-gaps.png`."""
    earth = SyntheticEarth(seed=0)
    for name in ('source', 'region_climate', 'region_band'):
        scene = earth.draw(EARTH_DOMAINS[name], index=1, height=384, width=512)
        title = f'Synthetic scene of the domain {name}'
        figure = draw_panels(scene.image, {'classes': scene.mask}, ISPRS, title=title)
        save_figure(figure, folder / f'synthetic-{name}.png')
    _domains(earth).savefig(folder / 'synthetic-domains.png', dpi=150)
    _gaps(earth).savefig(folder / 'synthetic-gaps.png', dpi=150)


def _domains(earth: SyntheticEarth) -> Figure:
    """A scene of each domain in its own pixels, and the classes of the first."""
    figure = Figure(figsize=(7.2, 4.9), layout='constrained')
    panels = figure.subplots(2, 4).ravel()
    for axes, (name, domain) in zip(panels, EARTH_DOMAINS.items(), strict=False):
        scene = earth.draw(domain, index=2, height=320, width=320)
        if name == 'source':
            _show(panels[-1], ISPRS.colour(scene.mask), 'source, classes')
        _show(axes, scene.image.transpose(1, 2, 0), name)
        axes.set_xlabel(f'320 px = {320 * PIXELS[domain.platform]:.0f} m', fontsize=9.5)
    classes = [
        Patch(facecolor=np.array(colour) / 255, edgecolor='grey', label=name.replace('_', ' '))
        for name, colour in zip(ISPRS.classes, ISPRS.palette, strict=True)
    ]
    figure.legend(
        handles=classes, loc='outside lower center', ncols=3, frameon=False, fontsize=TEXT
    )
    return figure


def _gaps(earth: SyntheticEarth) -> Figure:
    """The same 80 m of ground with one knob turned at a time."""
    source = EARTH_DOMAINS['source']
    looks: dict[str, EarthDomain] = {
        'source': source,
        "bands='irrg'": replace(source, bands='irrg'),
        "climate='winter'": replace(source, climate='winter'),
        "climate='arid'": replace(source, climate='arid'),
        "platform='satellite'": replace(source, platform='satellite'),
        "region='old_town'": replace(source, region='old_town'),
    }
    figure = Figure(figsize=(7.2, 5.0), layout='constrained')
    for axes, (title, domain) in zip(figure.subplots(2, 3).flat, looks.items(), strict=True):
        side = round(80 / PIXELS[domain.platform])
        scene = earth.draw(domain, index=6, height=side, width=side)
        _show(axes, scene.image.transpose(1, 2, 0), title)
    return figure


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, interpolation='nearest')
    axes.set_title(title, fontsize=TEXT)
    axes.set_xticks([])
    axes.set_yticks([])
