"""
RVSA for roads
==============

A backbone whose attention windows shift, stretch and turn, and a picture of where they go.
"""

# %%
# Why roads
# ---------
# A vision transformer saves work by attending within windows of 7 × 7 patches. A window that is
# upright and fixed cuts a slanted road into short pieces. In rotated varied-size window attention
# (RVSA), every head predicts a shift, a scale and an angle for each window from what the window
# shows. Queries stay where they are, and keys and values are read from the moved window.
#
# The paper puts this backbone under CrossEarth for roads (Table 10, from DeepGlobe to
# Massachusetts): 55.5 % mIoU, compared with 50.5 % on DINOv2 and 54.3 % for MTP alone. It names two
# reasons. Roads run in all directions, and MTP's RVSA was pretrained on remote-sensing images.
#
# Scenes with roads
# -----------------
# Suburbs of the synthetic Earth have winding streets. Their sealed ground stands in for roads.

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio

from crossearth import FolderDataset
from crossearth.labels import ROAD, ThresholdCodec
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
suburb = replace(EARTH_DOMAINS['source'], name='suburb', region='suburb')


def road_scenes(split, *, scenes, start):
    made = SyntheticEarth(seed=1).write(
        work, suburb, scenes=scenes, size_px=448, split=split, start=start
    )
    for _, mask in made:
        with rasterio.open(mask, 'r+') as file:
            file.write(np.where(file.read(1) == 0, 255, 0).astype(np.uint8), 1)
    folder = work / 'suburb' / split
    codec = ThresholdCodec(128)
    return FolderDataset(folder / 'images', folder / 'masks', labels=ROAD, codec=codec)


train = road_scenes('train', scenes=6, start=0)
test = road_scenes('test', scenes=3, start=50)

# %%
# A small RVSA from the parts
# ---------------------------
# Blocks 0, 1 and 2 have windows, and block 3 attends to the whole image. Where the predictors of
# shifts, scales and angles do not train they stay at zero, which gives plain windows. Everything
# else is the same in both models, first weights included.

import torch

from crossearth.models import Segmenter
from crossearth.models.backbones import RVSA
from crossearth.models.decoders import FPNDecoder


def build(*, moving):
    torch.manual_seed(0)
    backbone = RVSA(img_size=224, dim=64, depth=4, heads=4, interval=4, indices=(0, 1, 2, 3))
    for name, parameter in backbone.named_parameters():
        if '.sampling_' in name:
            parameter.requires_grad_(moving)
    decoder = FPNDecoder(backbone.channels, num_classes=2, width=32)
    return Segmenter(backbone, decoder, mean=[0.35] * 3, std=[0.15] * 3)


models = {'plain windows': build(moving=False), 'RVSA': build(moving=True)}

# %%
# Training both
# -------------
# Both models see the same parts of the scenes in the same order.

import lightning.pytorch as pl
import matplotlib.pyplot as plt

from crossearth import ShiftDataModule, SourceOnly, TrainingTask


class Losses(pl.Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(outputs['loss']))


def fit(model):
    losses = Losses()
    trainer = pl.Trainer(
        accelerator='cpu',
        max_steps=70,
        callbacks=[losses],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    data = ShiftDataModule(train, size_px=224, windows_per_epoch=280, batch_size=4)
    trainer.fit(TrainingTask(SourceOnly(model, ROAD), lr=2e-3), datamodule=data)
    return losses.values


figure, axes = plt.subplots(figsize=(6.5, 3.4), layout='constrained')
for (name, model), style in zip(models.items(), ('--', '-'), strict=True):
    losses = torch.tensor(fit(model)).unfold(0, 10, 1).mean(1)
    axes.plot(range(10, 10 + len(losses)), losses.numpy(), style, label=name)
axes.set_xlabel('step')
axes.set_ylabel('loss, mean of 10 steps')
axes.legend(frameon=False)
axes.spines[['top', 'right']].set_visible(False)

# %%
# The IoU of roads on scenes that neither has seen. A model this small, trained for seconds on
# synthetic scenes, shows how to compare the two. It does not show which is better: another seed
# may reverse the order.

from crossearth.metrics import confusion_matrix, iou_per_class

for name, model in models.items():
    model.eval()
    counts = torch.zeros(2, 2, dtype=torch.int64)
    for sample in test:
        with torch.no_grad():
            found = model(sample['image'][None] / 255).argmax(1)[0]
        counts += confusion_matrix(found, sample['mask'].long(), num_classes=2)
    print(f'{name}: IoU of roads {100 * iou_per_class(counts)[1]:.0f} %')

# %%
# Where the windows went
# ----------------------
# ``windows`` gives the places that each head reads, in pixels of the image, for each block that has
# windows. The shape is (images, heads, rows of windows, columns, 7, 7, xy). Before training all
# heads read the plain windows. The picture shows block 0, with one window and its 49 places in
# orange. Windows may overlap, leave gaps and reach beyond the image, where zeros are read. After so
# few steps they have learnt to move, but do not count on them to follow roads.

image = test[2]['image'][None] / 255
panels = {
    'plain windows, every head': (models['plain windows'], 0),
    'RVSA, head 1': (models['RVSA'], 0),
    'RVSA, head 2': (models['RVSA'], 1),
    'RVSA, head 3': (models['RVSA'], 2),
}
figure, squares = plt.subplots(2, 2, figsize=(7, 7.3), layout='constrained')
for axes, (title, (model, head)) in zip(squares.flat, panels.items(), strict=True):
    places = model.backbone.windows(model.normalize(image))[0][0, head].numpy()
    axes.imshow(image[0].permute(1, 2, 0).numpy())
    for r, c in np.ndindex(4, 4):
        corners = places[r, c, [0, 0, 6, 6], [0, 6, 6, 0]]
        middle = corners.mean(0)
        x, y = (middle + 7 / 6 * (corners - middle)).T  # half a patch beyond the outer places
        marked = (r, c) == (1, 3)
        colour, width = ('#ff8c00', 2.4) if marked else ('white', 1)
        axes.fill(x, y, fill=False, edgecolor=colour, linewidth=width, zorder=2 + marked)
        if marked:
            axes.plot(*places[r, c].reshape(-1, 2).T, '.', color=colour, markersize=3)
    axes.set_xlim(0, 448)
    axes.set_ylim(448, 0)
    axes.set_title(title)
    axes.set_axis_off()

# %%
# How far each head moves its windows from the plain ones, as a mean over the windows of this scene:

plain, moved = (
    models[name].backbone.windows(models[name].normalize(image))[0][0] for name in models
)
across, down = (moved[..., i, j, :] - moved[..., 0, 0, :] for i, j in ((0, 6), (6, 0)))
shift = (moved - plain).mean((3, 4)).norm(dim=-1).mean((1, 2))
angle = torch.atan2(across[..., 1], across[..., 0]).rad2deg().abs().mean((1, 2))
wide, high = ((side.norm(dim=-1) / 96).mean((1, 2)) for side in (across, down))
for head in range(4):
    print(
        f'head {head + 1}: shift {shift[head]:.0f} px, angle {angle[head]:.0f}°, '
        f'width × {wide[head]:.2f}, height × {high[head]:.2f}'
    )

# %%
# The real one
# ------------
# ``crossearth_rvsa_large`` is the model of Table 10: MTP's ViT-L with RVSA under Mask2Former, with
# a restorer for the paper's masked image modelling. ``mtp_rvsa_large`` is MTP's own choice, the
# same backbone under UPerNet. Pass the file of MTP's encoder as ``pretrained``. No hub offers it.
# On the device ``meta``, models have shapes and no weights.

from crossearth.models import crossearth_rvsa_large, mtp_rvsa_large

with torch.device('meta'):
    for builder in (crossearth_rvsa_large, mtp_rvsa_large):
        large = builder(2, img_size=1024)
        millions = sum(p.numel() for p in large.parameters()) / 1e6
        print(f'{builder.__name__}: {millions:.0f} million parameters')

# %%
# For another decoder, replace the small ``RVSA`` above with ``rvsa_vit_base()`` or
# ``rvsa_vit_large()``, and read MTP's file with ``load_mtp(backbone, path)``.
#
# The complete recipe of Table 10 is in ``recipes/deepglobe_road-crossearth_rvsa.yaml``. These
# commands write it for your folders, and train:
#
# .. code-block:: bash
#
#    crossearth benchmark recipe deepglobe_road --method crossearth_rvsa \
#      --mtp weights/rvsa-l-mtp.pth --root data --output roads.yaml
#    crossearth fit --config roads.yaml
#
# ``--method mtp`` trains the same model on the source only, and ``--method mtp_upernet`` trains
# MTP's own. :ref:`sphx_glr_gallery_plot_roads_to_gis.py` turns a map of roads into polygons.
