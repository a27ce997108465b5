"""
Your own adapter
================

An adapter refines the features of a frozen transformer after each block. It needs three members.
"""

# %%
# The contract
# ------------
# ``depth`` is the number of blocks, ``forward(features, layer, grid)`` returns refined patch
# features of the same shape, and ``queries()`` returns object queries for the decoder, or None.
# This adapter looks at each patch's neighbours: a depthwise convolution over the grid of patches,
# which starts at zero and so changes nothing.

import torch
from torch import nn


class Neighbours(nn.Module):
    def __init__(self, depth: int, dim: int) -> None:
        super().__init__()
        self.depth = depth
        self.convs = nn.ModuleList(
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim) for _ in range(depth)
        )
        for conv in self.convs:
            nn.init.zeros_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, features, layer, grid):
        maps = features.transpose(1, 2).unflatten(2, grid)
        return features + self.convs[layer](maps).flatten(2).transpose(1, 2)

    def queries(self):
        return None


# %%
# A frozen transformer with the adapter
# -------------------------------------
# ``ReinViT`` runs a transformer of timm block by block and passes patch features through the
# adapter. Only the adapter and the decoder train. This transformer is tiny and random, so that
# the page runs in seconds. For real work, drop ``SIZE`` and pass ``pretrained=True``.

import timm

from crossearth.models import ReinViT, Segmenter
from crossearth.models.decoders import FPNDecoder

SIZE = {'embed_dim': 96, 'depth': 4, 'num_heads': 3, 'patch_size': 8}


def build(adapter):
    torch.manual_seed(0)
    vit = timm.create_model('vit_tiny_patch16_224', img_size=64, dynamic_img_size=True, **SIZE)
    backbone = ReinViT(vit, adapter)
    decoder = FPNDecoder(backbone.channels, 6, width=48)
    return Segmenter(backbone, decoder, mean=[0.4] * 3, std=[0.2] * 3, multiple_px=16)


model = build(Neighbours(depth=4, dim=96))
model

# %%
# Before training it gives exactly what the frozen transformer gives.

image = torch.rand(1, 3, 64, 64)
plain = build(None)
plain.decoder.load_state_dict(model.decoder.state_dict())
with torch.no_grad():
    print('the same:', torch.equal(model.eval()(image), plain.eval()(image)))

# %%
# What it adds
# ------------
# Both are trained on the same windows in the same order. In eighty steps on a random transformer,
# the adapter adds little. It has more to offer where the features are worth refining.

import tempfile
from pathlib import Path

import lightning.pytorch as pl
import matplotlib.pyplot as plt

from crossearth import FolderDataset, ShiftDataModule, SourceOnly, TrainingTask
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
SyntheticEarth(seed=0).write(work, EARTH_DOMAINS['source'], scenes=3, size_px=256)
scenes = FolderDataset(work / 'source/train/images', work / 'source/train/masks', labels=ISPRS)


class Losses(pl.Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(outputs['loss']))


def fit(model):
    losses = Losses()
    data = ShiftDataModule(scenes, size_px=64, windows_per_epoch=320, batch_size=4)
    trainer = pl.Trainer(
        accelerator='cpu',
        max_steps=80,
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(TrainingTask(SourceOnly(model, ISPRS), lr=2e-3), datamodule=data)
    return losses.values


figure, axes = plt.subplots(figsize=(6.5, 3.4), layout='constrained')
for name, trained, style in (('frozen', plain, '--'), ('with the adapter', model, '-')):
    losses = torch.tensor(fit(trained)).unfold(0, 10, 1).mean(1)
    axes.plot(range(10, 10 + len(losses)), losses, style, label=name)
axes.set_xlabel('step')
axes.set_ylabel('loss, mean of 10 steps')
axes.legend(frameon=False)
axes.spines[['top', 'right']].set_visible(False)

# %%
# :doc:`Adapters </adapters>` shows the other half: the same contract on CNNs, a builder so that
# files of the model load again, a recipe, and a map from the command line.
