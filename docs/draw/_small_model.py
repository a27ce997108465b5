"""A small segmentation model of the synthetic source domain, trained in a few seconds.

Several pages draw its maps. It is trained once and then read from the folder of the pictures.
"""

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

_STEPS, _BATCH, _CROP_PX = 300, 8, 96


class SmallModel(nn.Module):
    """Logits (b, 6, h, w) of images (b, 3, h, w): three strided convolutions and one way back."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = _block(3, 16, stride=2)
        self.middle = _block(16, 32, stride=2)
        self.coarse = nn.Sequential(_block(32, 48, stride=2), _block(48, 48, stride=1))
        self.merge = nn.Sequential(nn.Conv2d(16 + 32 + 48, 40, 1), nn.ReLU(inplace=True))
        self.head = nn.Conv2d(40, ISPRS.num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        maps = [fine] + [_resized(one, fine.shape[-2:]) for one in (middle, coarse)]
        return _resized(self.head(self.merge(torch.cat(maps, 1))), images.shape[-2:])


def small_model(folder: Path) -> SmallModel:
    """The trained model, in eval mode; kept in `folder` for the next page that asks for it."""
    state = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    path = folder / f'small-model-{state}.safetensors'
    model = SmallModel()
    if path.exists():
        model.load_state_dict(load_file(path))
    else:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = _trained()
        save_file(model.state_dict(), path)
    return model.eval()


def _trained() -> SmallModel:
    earth = SyntheticEarth(seed=0)
    scenes = [
        earth.draw(EARTH_DOMAINS['source'], index=index, height=384, width=384)
        for index in range(8)
    ]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).float() / 255
    masks = torch.from_numpy(np.stack([scene.mask for scene in scenes])).long()
    model = SmallModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=_STEPS)
    for _ in range(_STEPS):
        rows, cols = torch.randint(384 - _CROP_PX + 1, (2, _BATCH)).tolist()
        chosen = torch.randint(len(scenes), (_BATCH,)).tolist()
        windows = [
            (index, ..., slice(row, row + _CROP_PX), slice(col, col + _CROP_PX))
            for index, row, col in zip(chosen, rows, cols, strict=True)
        ]
        logits = model(torch.stack([images[window] for window in windows]))
        loss = functional.cross_entropy(logits, torch.stack([masks[window] for window in windows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


def _block(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(maps, size=size, mode='bilinear', align_corners=False)
