"""
Your own backbone
=================

Any module that gives four feature maps can be the backbone of a model, and ``@builder`` makes its
files load again.
"""

# %%
# The contract
# ------------
# A backbone has ``channels``, the widths of its four maps, and returns ``Features`` with maps at
# strides 4, 8, 16 and 32. That is all: decoders, methods, files and maps work with it.

from itertools import pairwise

import torch
from torch import nn

from crossearth.models import Features


class SmallPyramid(nn.Module):
    """Five convolutions of stride 2."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 4 * width, 4 * width)
        sides = (3, width, *self.channels)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inside, outside, 3, stride=2, padding=1),
                nn.BatchNorm2d(outside),
                nn.ReLU(),
            )
            for inside, outside in pairwise(sides)
        )

    def forward(self, image: torch.Tensor) -> Features:
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return Features(tuple(maps[1:]))


# %%
# A builder
# ---------
# A builder is a function of plain arguments. ``@builder`` records them, so that a file of the
# model can say how to build it again.

from crossearth.models import Segmenter, builder
from crossearth.models.decoders import FPNDecoder


@builder
def small_model(num_classes: int, *, width: int = 16) -> Segmenter:
    backbone = SmallPyramid(width)
    decoder = FPNDecoder(backbone.channels, num_classes, width=32)
    return Segmenter(backbone, decoder, mean=[0.4] * 3, std=[0.2] * 3)


torch.manual_seed(0)
model = small_model(6)
model

# %%
# Training
# --------

import tempfile
from pathlib import Path

import lightning.pytorch as pl

from crossearth import FolderDataset, ShiftDataModule, SourceOnly, TrainingTask
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
SyntheticEarth(seed=0).write(work, EARTH_DOMAINS['source'], scenes=3, size_px=320)
scenes = FolderDataset(work / 'source/train/images', work / 'source/train/masks', labels=ISPRS)
data = ShiftDataModule(scenes, size_px=64, windows_per_epoch=1600, batch_size=8)
trainer = pl.Trainer(
    accelerator='cpu',
    max_steps=200,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    use_distributed_sampler=False,
)
trainer.fit(TrainingTask(SourceOnly(model, ISPRS), lr=3e-3), datamodule=data)

# %%
# Save, load, map
# ---------------
# A file names its builder and imports nothing. Whoever loads it passes the builders that they
# trust.

from crossearth import load_model, predict_scene, save_model

save_model(model, work / 'model.safetensors', labels=ISPRS, gsd_m=data.gsd_m)
loaded = load_model(work / 'model.safetensors', builders=[small_model])
made = predict_scene(loaded, scenes.scenes[0].image, work / 'map.tif')

# %%
# What the finest map of the backbone sees: its three strongest directions as red, green and blue.

import matplotlib.pyplot as plt
import rasterio

image = scenes[0]['image'][None] / 255
with torch.no_grad():
    finest = loaded.backbone(loaded.normalize(image)).maps[0][0]
flat = finest.flatten(1).T
flat = flat - flat.mean(0)
strongest = flat @ torch.linalg.svd(flat, full_matrices=False)[2][:3].T
low, high = strongest.quantile(0.02, 0), strongest.quantile(0.98, 0)
colours = ((strongest - low) / (high - low)).clamp(0, 1).reshape(*finest.shape[1:], 3)

with rasterio.open(made.path) as file:
    predicted = ISPRS.colour(file.read(1))
figure, panels = plt.subplots(1, 3, figsize=(8, 2.9), layout='constrained')
for axes, picture, title in zip(
    panels,
    (image[0].permute(1, 2, 0), colours, predicted),
    ('image', 'features at stride 4', 'map'),
    strict=True,
):
    axes.imshow(picture)
    axes.set_title(title)
    axes.set_axis_off()
