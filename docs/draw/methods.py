"""What a few methods do to one image, and the distance between domains that they are to bridge."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from crossearth.models import fpn_timm
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.transforms import FourierStyle, PhotometricDistortion, RandConv, SensorSimulation
from crossearth.visualization import PALETTE

DOMAINS = {
    'source': ('source', 'o'),
    'region': ('another region', 's'),
    'region_climate': ('another climate', '^'),
    'band': ('other bands', 'D'),
    'region_platform': ('a satellite', 'v'),
}
WINDOWS = 24  # of each domain
WINDOW_PX = 128


def _unit(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image)[None].float() / 255


def draw(folder: Path) -> None:
    """Write `methods-looks.png` and `methods-gap.svg`."""
    earth = SyntheticEarth(seed=0)
    _draw_looks(earth, folder / 'methods-looks.png')
    _draw_gap(earth, folder / 'methods-gap.svg')


def _draw_looks(earth: SyntheticEarth, path: Path) -> None:
    scene = _unit(earth.draw(EARTH_DOMAINS['source'], index=1, height=256, width=256).image)
    other = _unit(earth.draw(EARTH_DOMAINS['region_climate'], index=3, height=256, width=256).image)

    def seeded(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    looks = {
        'image': scene,
        'PhotometricDistortion': PhotometricDistortion(generator=seeded(1))(scene),
        'style image': other,
        'FourierStyle': FourierStyle(other, alpha_range=(1, 1), p=1, generator=seeded(0))(scene),
        'RandConv': RandConv(p=1, strength_range=(0.8, 0.8), generator=seeded(4))(scene),
        'SensorSimulation': SensorSimulation(p=1, generator=seeded(3))(scene),
    }
    figure = Figure(figsize=(4.6, 7.0), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, (name, image) in zip(figure.subplots(3, 2).flat, looks.items(), strict=True):
        axes.imshow(image[0].permute(1, 2, 0).numpy())
        axes.set_title(name, fontsize=10)
        axes.set_axis_off()
    figure.savefig(path, dpi=144)


def _draw_gap(earth: SyntheticEarth, path: Path) -> None:
    backbone = fpn_timm('tf_efficientnet_lite0', num_classes=6, pretrained='installed').eval()
    features = {}
    for name in DOMAINS:
        scene = earth.draw(EARTH_DOMAINS[name], index=2, height=512, width=768).image
        windows = _unit(scene).unfold(2, WINDOW_PX, WINDOW_PX).unfold(3, WINDOW_PX, WINDOW_PX)
        batch = windows[0].permute(1, 2, 0, 3, 4).flatten(0, 1)[:WINDOWS]
        with torch.inference_mode():
            features[name] = backbone.encode(batch).maps[-1].mean((2, 3))
    together = torch.cat(list(features.values()))
    centre = together.mean(0)
    axes_of_most_variance = torch.linalg.svd(together - centre, full_matrices=False)[2][:2]

    figure = Figure(figsize=(4.6, 3.9), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for colour, (name, (shown, marker)) in zip(PALETTE, DOMAINS.items(), strict=False):
        places = ((features[name] - centre) @ axes_of_most_variance.T).numpy()
        axes.scatter(*places.T, s=26, marker=marker, color=colour, label=shown, alpha=0.85)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel('first principal component', fontsize=9.5)
    axes.set_ylabel('second', fontsize=9.5)
    figure.legend(loc='outside upper center', ncols=3, frameon=False, fontsize=9.5)
    figure.savefig(path, metadata={'Date': None})
