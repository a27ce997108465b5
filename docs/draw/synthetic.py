"""Scenes of the synthetic Earth with their classes."""

from pathlib import Path

from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.visualization import draw_panels, save_figure


def draw(folder: Path) -> None:
    """Write `synthetic-<domain>.png`, image and classes next to each other, for three domains."""
    earth = SyntheticEarth(seed=0)
    for name in ('source', 'region_climate', 'region_band'):
        scene = earth.draw(EARTH_DOMAINS[name], index=1, height=384, width=512)
        title = f'Synthetic scene of the domain {name}'
        figure = draw_panels(scene.image, {'classes': scene.mask}, ISPRS, title=title)
        save_figure(figure, folder / f'synthetic-{name}.png')
