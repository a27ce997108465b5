"""
Your first map
==============

Train on labelled scenes of one place and map another place that no label was drawn for.
"""

# %%
# Scenes on disk
# --------------
# A folder of images and a folder of masks with the same file names are a dataset. Here the
# synthetic Earth writes them. A dataset describes itself in a notebook.

import tempfile
from pathlib import Path

import rasterio

from crossearth import FolderDataset
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
earth = SyntheticEarth(seed=0)
for name in ('source', 'region'):
    earth.write(work, EARTH_DOMAINS[name], scenes=2, size_px=384)

source = FolderDataset(work / 'source/train/images', work / 'source/train/masks', labels=ISPRS)
unseen = FolderDataset(work / 'region/train/images', work / 'region/train/masks', labels=ISPRS)
source

# %%
# A window picks whole pixels of one scene. ``plot`` draws the sample in the colours of the
# classes.

from crossearth.geometry import Window

sample = source[Window(scene=0, row=0, col=0, height=256, width=256)]
figure = source.plot(sample, suptitle='a window of the source')

# %%
# Training
# --------
# The data module draws random windows of the source. ``unseen`` scenes are only tested on. The
# model starts from ImageNet's weights, which are installed with crossearth. Sixty steps are
# enough for a picture; a real training run takes thousands.

import lightning.pytorch as pl
import torch

from crossearth import ShiftDataModule, SourceOnly, TrainingTask
from crossearth.models import fpn_timm

data = ShiftDataModule(
    source, val=source, unseen={'region': unseen}, size_px=64, windows_per_epoch=480, batch_size=8
)
torch.manual_seed(0)
model = fpn_timm('tf_efficientnet_lite0', num_classes=6, width=32, pretrained='installed')
task = TrainingTask(SourceOnly(model, ISPRS), lr=1e-3)
trainer = pl.Trainer(
    accelerator='cpu',
    max_steps=60,
    limit_val_batches=0,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    use_distributed_sampler=False,
)
trainer.fit(task, datamodule=data)

# %%
# Testing gives one score per domain. The source is easier, because the model was trained on it.

from crossearth.trainers import score_table

trainer.test(task, datamodule=data, verbose=False)
print(score_table(task.confusion, ISPRS))

# %%
# A map
# -----
# The file of a model holds its classes and the pixel size that it was trained at. The map has the
# CRS, the transform and the size of its scene.

from crossearth import load_model, predict_scene, save_model

save_model(model, work / 'model.safetensors', labels=ISPRS, gsd_m=data.gsd_m)
loaded = load_model(work / 'model.safetensors')
made = predict_scene(loaded, unseen.scenes[0].image, work / 'map.tif')
with rasterio.open(made.path) as file:
    ids = file.read(1)
    print(file.crs, file.shape)

whole = unseen[0]
figure = unseen.plot({**whole, 'prediction': torch.from_numpy(ids)}, suptitle='an unseen place')

# %%
# Here is the model as a notebook shows it.

loaded
