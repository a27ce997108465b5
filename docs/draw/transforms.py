"""What the augmentations do to one scene: radiometry and sensors, styles, and masked patches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.transforms import (
    FourierStyle,
    PatchMask,
    PhotometricDistortion,
    RandConv,
    RandomScaleCrop,
    SensorSimulation,
)

SIDE_PX = 256
TEXT = 10.5


def draw(folder: Path) -> None:
    """Write `transforms-*.png`, and `transforms-injection.svg`."""
    earth = SyntheticEarth(seed=0)
    scene = earth.draw(EARTH_DOMAINS['source'], index=6, height=SIDE_PX, width=SIDE_PX)
    image = torch.from_numpy(scene.image)[None] / 255
    mask = torch.from_numpy(scene.mask)[None].long()
    field = torch.stack(
        [torch.from_numpy(style) for style in earth.draw_style(images=12, size_px=SIDE_PX)]
    )
    for name, figure in (
        ('augmentations', _augmentations(image, mask, field)),
        ('styles', _styles(image, field)),
        ('sensor', _sensor(image[..., 40:168, 40:168])),
        ('masks', _masks(image)),
    ):
        figure.savefig(folder / f'transforms-{name}.png', dpi=120)
    _injection().savefig(folder / 'transforms-injection.svg')


def _augmentations(image: Tensor, mask: Tensor, field: Tensor) -> Figure:
    """Image and mask, both cropped, and four draws of each augmentation of the image alone."""
    figure = Figure(figsize=(7.2, 7.3), layout='constrained')
    panels = figure.subplots(4, 4)
    torch.manual_seed(5)
    cropped = RandomScaleCrop(SIDE_PX)({'image': image, 'mask': mask})
    _show(panels[0, 0], image, 'image')
    _show(panels[0, 2], cropped['image'], 'RandomScaleCrop')
    for axes, labels, title in (
        (panels[0, 1], mask, 'mask'),
        (panels[0, 3], cropped['mask'], 'its mask'),
    ):
        axes.imshow(ISPRS.colour(labels[0].byte().numpy()), interpolation='nearest')
        axes.set_title(title, fontsize=TEXT)
        axes.set(xticks=[], yticks=[])
    changes = (PhotometricDistortion(), FourierStyle(field, p=1.0), RandConv(p=1.0))
    for line, augment in zip(panels[1:], changes, strict=True):
        line[0].set_ylabel(type(augment).__name__, fontsize=TEXT)
        for axes, changed in zip(line, augment(image.repeat(4, 1, 1, 1)), strict=True):
            _show(axes, changed[None], '')
    return figure


def _styles(image: Tensor, field: Tensor) -> Figure:
    """Style images, whole images styled with growing β, and styles in patches."""
    looks: Sequence[int] = (1, 4, 7)
    figure = Figure(figsize=(7.2, 7.6), layout='constrained')
    panels = figure.subplots(4, 4)
    _show(panels[0, 0], image, 'image')
    for axes, number in zip(panels[0, 1:], looks, strict=True):
        _show(axes, field[number : number + 1] / 255, 'style image')
    settings = (
        ('β = 0.01', {'beta': 0.01}),
        ('β = 0.05', {'beta': 0.05}),
        ('B = 64, τ = 0.7', {'beta': 0.01, 'patch_size': 64, 'ratio': 0.7}),
    )
    for line, (title, options) in zip(panels[1:], settings, strict=True):
        line[0].axis('off')
        line[0].text(0.5, 0.5, title, ha='center', va='center', fontsize=TEXT + 1)
        for axes, number in zip(line[1:], looks, strict=True):
            style = FourierStyle(
                field[number : number + 1],
                alpha_range=(1.0, 1.0),
                p=1.0,
                generator=torch.Generator().manual_seed(0),
                **options,
            )
            _show(axes, style(image), '')
    return figure


def _sensor(image: Tensor) -> Figure:
    """Each step of the chain alone, at a strong setting."""
    none = {'sigma': None, 'coarsening': None, 'shot': None, 'read': None}
    none |= {'bits': None, 'quality': None}
    always = dict.fromkeys(('p', 'p_blur', 'p_sampling', 'p_noise', 'p_bits', 'p_jpeg'), 1.0)
    steps = {
        'σ = 1 px': {'sigma': (1.0, 1.0)},
        'coarsening 2': {'coarsening': (2.0, 2.0)},
        'read noise 0.03': {'read': (0.03, 0.03)},
        '4 bits': {'bits': (4, 4)},
        'JPEG quality 20': {'quality': (20, 20)},
    }
    figure = Figure(figsize=(7.2, 5.0), layout='constrained')
    panels = figure.subplots(2, 3).ravel()
    _show(panels[0], image, 'image')
    for axes, (title, step) in zip(panels[1:], steps.items(), strict=True):
        torch.manual_seed(0)
        _show(axes, SensorSimulation(**{**none, **always, **step})(image), title)
    return figure


def _masks(image: Tensor) -> Figure:
    """Patches of two sizes, and two fractions of them."""
    prompt = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    figure = Figure(figsize=(7.2, 2.05), layout='constrained')
    settings = ((64, 0.3), (64, 0.7), (16, 0.3), (16, 0.7))
    for axes, (size, ratio) in zip(figure.subplots(1, 4), settings, strict=True):
        masked = PatchMask(size, ratio, prompt=prompt, generator=torch.Generator().manual_seed(1))(
            image
        )
        _show(axes, masked, f'B = {size}, τ = {ratio}')
    return figure


def _injection() -> Figure:
    """How Earth-Style Injection makes a styled image, as a diagram."""
    figure = Figure(figsize=(7.2, 3.1))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 7.2), ylim=(0, 3.1))
    axes.set_axis_off()
    boxes = {
        (0.1, 1.75): ('image X', '(b, 3, h, w)'),
        (2.05, 1.75): ('predictor', 'own style ε'),
        (0.1, 0.25): ('field', 'many images,\nread once by fit'),
        (2.05, 0.25): ('EarthStyle', "mean, covariance;\ndraws a style ε'"),
        (3.95, 1.0): ('mix', "α·ε' + (1 − α)·ε"),
        (5.75, 1.75): ('transformer', 'repaints X'),
        (5.75, 0.25): ('styled image', 'in a fraction τ of\npatches of B px'),
    }
    for (x, y), (name, text) in boxes.items():
        network = name in ('predictor', 'transformer')
        axes.add_patch(
            FancyBboxPatch(
                (x, y),
                1.3,
                0.85,
                boxstyle='round,pad=0.03,rounding_size=0.08',
                fc='#fdf0e6' if network else '#eef4f9',
                ec='#d55e00' if network else '#0072b2',
            )
        )
        axes.text(x + 0.65, y + 0.62, name, ha='center', fontsize=11, weight='bold')
        axes.text(x + 0.65, y + 0.5, text, ha='center', va='top', fontsize=9.5)
    for begin, end in (
        ((1.45, 2.17), (2.0, 2.17)),
        ((1.45, 0.67), (2.0, 0.67)),
        ((3.4, 2.1), (3.9, 1.62)),
        ((3.4, 0.75), (3.9, 1.22)),
        ((5.3, 1.62), (5.7, 2.05)),
        ((6.4, 1.7), (6.4, 1.15)),
    ):
        axes.annotate('', end, begin, arrowprops={'arrowstyle': '-|>', 'lw': 1.5})
    axes.plot([0.75, 0.75, 6.4], [2.65, 2.93, 2.93], color='black', lw=1.5)
    axes.annotate('', (6.4, 2.63), (6.4, 2.95), arrowprops={'arrowstyle': '-|>', 'lw': 1.5})
    return figure


def _show(axes: Axes, image: Tensor, title: str) -> None:
    picture = image[0].permute(1, 2, 0).detach().clamp(0, 1).numpy()
    axes.imshow((255 * picture).round().astype(np.uint8), interpolation='nearest')
    axes.set_title(title, fontsize=TEXT)
    axes.set(xticks=[], yticks=[])
