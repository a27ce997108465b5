"""The way of a window from its file to the three losses, and one window at three pixel sizes."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _diagram import Diagram
from torch import Tensor

from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.transforms import FourierStyle, PatchMask

GSD_M = (0.25, 0.5, 1.0)
SIDE_PX = 128


def _pixels(image: Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).numpy()


def draw(folder: Path) -> None:
    """Write `training-flow.svg` and `training-gsd.svg`."""
    earth = SyntheticEarth(seed=0)
    _draw_flow(earth, folder / 'training-flow.svg')
    _draw_pixel_sizes(earth, folder / 'training-gsd.svg')


def _draw_flow(earth: SyntheticEarth, path: Path) -> None:
    scene = earth.draw(EARTH_DOMAINS['source'], index=1, height=256, width=256)
    other = earth.draw(EARTH_DOMAINS['region_band'], index=3, height=128, width=128).image
    image = torch.from_numpy(scene.image)[None, :, 60:188, 60:188].float() / 255
    style = FourierStyle(
        torch.from_numpy(other)[None],
        alpha_range=(1, 1),
        p=1,
        patch_size=32,
        generator=torch.Generator().manual_seed(1),
    )
    hide = PatchMask(16, 0.7, prompt=0.35, generator=torch.Generator().manual_seed(0))
    labels = ISPRS.colour(scene.mask[60:188, 60:188])

    sheet = Diagram(4.6, 8.5)
    sheet.picture((0.1, 0.1, 1.1, 1.1), scene.image.transpose(1, 2, 0))
    side = 1.1 * 128 / 256
    window = sheet.box((0.1 + 1.1 * 60 / 256, 0.1 + 1.1 * 60 / 256, side, side))
    sheet.axes.patches[-1].set(facecolor='none', edgecolor='white', linewidth=2)
    sheet.text((1.35, 0.3), 'a scene and its mask, as files', ha='left', bold=True)
    sheet.text(
        (1.35, 0.75),
        'ShiftDataModule draws windows and\naugments them: image $X$, labels $Y$',
        ha='left',
    )
    clean = sheet.picture((1.75, 1.6, 1.1, 1.1), _pixels(image))
    truth = sheet.picture((3.4, 1.6, 1.1, 1.1), labels)
    sheet.arrow((window.right[0], 0.95), (2.3, 0.95), (2.3, 1.6))
    sheet.arrow((2.3, 1.3), (3.95, 1.3), (3.95, 1.6))
    sheet.text((1.69, 1.75), '$X$', ha='right')
    sheet.text((3.34, 1.75), '$Y$', ha='right')

    styled = sheet.picture((0.1, 3.25, 1.1, 1.1), _pixels(style(image)))
    masked = sheet.picture((1.75, 3.25, 1.1, 1.1), _pixels(hide(image)))
    sheet.arrow((clean.left[0], 2.4), (0.65, 2.4), styled.top)
    sheet.arrow(clean.bottom, masked.top)
    sheet.text((0.72, 2.78), 'style', ha='left')
    sheet.text((2.37, 2.98), 'mask', ha='left')
    sheet.text((1.26, 3.4), '$X_S$', ha='left')
    sheet.text((2.91, 3.4), '$X_M$', ha='left')

    encoder = sheet.box(
        (0.1, 4.8, 2.75, 0.66),
        'one encoder for all flows:\nfrozen transformer, trained adapter',
        'frozen',
        size=9,
    )
    sheet.arrow(styled.bottom, (0.65, encoder.y))
    sheet.arrow(masked.bottom, (2.3, encoder.y))
    restorer = sheet.box((0.1, 5.95, 2.75, 0.46), 'restorer: images again', 'trained')
    decoder = sheet.box((3.05, 4.8, 1.45, 0.66), 'decoder:\nclasses', 'trained')
    sheet.arrow(encoder.right, decoder.left)
    sheet.arrow(encoder.bottom, restorer.top)

    mim = sheet.box(
        (0.1, 6.85, 1.55, 0.62), '$L_{MIM}$: restored\nfrom both, to $X$', 'loss', size=9
    )
    delta = sheet.box((1.78, 6.85, 1.2, 0.62), '$L_Δ$: one\nto the other', 'loss', size=9)
    seg = sheet.box((3.1, 6.85, 1.4, 0.62), '$L_{Seg}$: classes\nto $Y$', 'loss', size=9)
    sheet.arrow((0.875, restorer.bottom[1]), mim.top)
    sheet.arrow((2.38, restorer.bottom[1]), delta.top)
    sheet.arrow((3.8, decoder.bottom[1]), seg.top)
    sheet.arrow(truth.bottom, (3.95, 3.05), (4.56, 3.05), (4.56, 6.6), (4.2, 6.6), (4.2, 6.85))
    total = sheet.box((0.6, 7.85, 3.4, 0.46), 'their sum → gradients → AdamW', 'data')
    for x in (0.875, 2.38, 3.8):
        sheet.arrow((x, mim.bottom[1]), (x, total.y))
    sheet.save(path)


def _draw_pixel_sizes(earth: SyntheticEarth, path: Path) -> None:
    scene = earth.draw(EARTH_DOMAINS['source'], index=1, height=512, width=512)
    image = torch.from_numpy(scene.image)[None].float() / 255
    sheet = Diagram(4.6, 1.95)
    for place, gsd_m in enumerate(GSD_M):
        factor = round(gsd_m / GSD_M[0])
        window = F.avg_pool2d(image[..., : factor * SIDE_PX, : factor * SIDE_PX], factor)
        x = 0.1 + 1.5 * place
        sheet.picture((x, 0.3, 1.4, 1.4), _pixels(window))
        sheet.text((x + 0.7, 0.15), f'{gsd_m:g} m per pixel')
        sheet.text((x + 0.7, 1.82), f'{factor * SIDE_PX * GSD_M[0]:g} m wide', size=9)
    sheet.save(path)
