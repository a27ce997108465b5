"""A scene, the map that a model trained for a few seconds makes of it, and the ground truth."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import nn

from crossearth.labels import ISPRS
from crossearth.models import fpn_timm
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

STEPS = 90
WINDOW_PX = 96
SCENE_PX = 512


def draw(folder: Path) -> None:
    """Write `first_map-map.png`."""
    earth = SyntheticEarth(seed=0)
    model = _train(earth)
    scene = earth.draw(EARTH_DOMAINS['region'], index=3, height=400, width=400)
    with torch.inference_mode():
        logits = model(torch.from_numpy(scene.image)[None] / 255)
    map_ = logits.argmax(1)[0].byte().numpy()
    figure = Figure(figsize=(7.2, 3.25), layout='constrained')
    panels = {
        'scene of an unseen place': scene.image.transpose(1, 2, 0),
        'map': ISPRS.colour(map_),
        'ground truth': ISPRS.colour(scene.mask),
    }
    for axes, (title, picture) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axes.imshow(picture, interpolation='nearest')
        axes.set_title(title, fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
    classes = [
        Patch(facecolor=np.array(colour) / 255, edgecolor='grey', label=name.replace('_', ' '))
        for name, colour in zip(ISPRS.classes, ISPRS.palette, strict=True)
    ]
    figure.legend(handles=classes, loc='outside lower center', ncols=3, frameon=False, fontsize=11)
    figure.savefig(folder / 'first_map-map.png', dpi=150)


def _train(earth: SyntheticEarth) -> nn.Module:
    """A small network from ImageNet's weights, trained on windows of two scenes of the source."""
    scenes = [
        earth.draw(EARTH_DOMAINS['source'], index=i, height=SCENE_PX, width=SCENE_PX)
        for i in range(2)
    ]
    torch.manual_seed(0)
    model = fpn_timm(
        'tf_efficientnet_lite0', num_classes=6, width=32, pretrained='installed', norms='resting'
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-4)
    for _ in range(STEPS):
        images, masks = [], []
        for choice, row, col in torch.rand(4, 3).tolist():
            scene = scenes[int(choice * len(scenes))]
            rows, cols = (
                slice(start, start + WINDOW_PX)
                for start in (int(part * (SCENE_PX - WINDOW_PX)) for part in (row, col))
            )
            images.append(torch.from_numpy(scene.image[:, rows, cols]) / 255)
            masks.append(torch.from_numpy(scene.mask[rows, cols]).long())
        loss = F.cross_entropy(model(torch.stack(images)), torch.stack(masks))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
