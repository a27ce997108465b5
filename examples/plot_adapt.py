"""
Adapt to scenes without labels
==============================

A model that was trained in clear light meets haze. New statistics of its batch norms may help,
and the report says when not to use them.
"""

# %%
# A model of the source
# ---------------------

import tempfile
from pathlib import Path

import lightning.pytorch as pl
import torch

from crossearth import FolderDataset, ShiftDataModule, SourceOnly, TrainingTask, load_model
from crossearth.labels import ISPRS
from crossearth.models import fpn_timm
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.trainers import SaveModel

work = Path(tempfile.mkdtemp())
earth = SyntheticEarth(seed=0)
earth.write(work, EARTH_DOMAINS['source'], scenes=2, size_px=320)
earth.write(work, EARTH_DOMAINS['source'], scenes=1, size_px=320, split='hazy', start=5)
folder = work / 'source/train'
source = FolderDataset(folder / 'images', folder / 'masks', labels=ISPRS)

data = ShiftDataModule(source, val=source, size_px=64, windows_per_epoch=400, batch_size=8)
torch.manual_seed(0)
model = fpn_timm('tf_efficientnet_lite0', num_classes=6, width=32, pretrained='installed')
trainer = pl.Trainer(
    accelerator='cpu',
    max_steps=50,
    limit_val_batches=0,
    callbacks=[SaveModel(work / 'model.safetensors')],
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    use_distributed_sampler=False,
)
trainer.fit(TrainingTask(SourceOnly(model, ISPRS), lr=1e-3), datamodule=data)

# %%
# ``SaveModel`` has also measured how the source looks and how far the model's confidence can be
# believed. The file remembers it.

# %%
# Adapting
# --------
# The target is another place on a hazy day: everything is brighter and has less contrast.
# ``Norms`` mixes the statistics of its images into those of the batch norms. No label of the
# target is read.

import rasterio

place = work / 'source/hazy'
hazy = FolderDataset(place / 'images', place / 'masks', labels=ISPRS)
target = hazy.scenes[0].image
with rasterio.open(target, 'r+') as file:
    file.write((110 + 0.4 * file.read()).astype('uint8'))

from crossearth.adaptation import Norms, adapt_model

known = load_model(work / 'model.safetensors')
adapted = adapt_model(known, [target], Norms(alpha=0.7), tile_px=128)
print(adapted.report)

# %%
# Before and after
# ----------------
# The truth is shown for you to judge; the method never saw it.

from crossearth import predict_scene

maps = {}
for name, one in (('before', known), ('after', adapted.model)):
    predict_scene(one, target, work / f'{name}.tif')
    with rasterio.open(work / f'{name}.tif') as file:
        maps[name] = file.read(1)

from crossearth.visualization import draw_panels

sample = hazy[0]
truth = sample['mask'].numpy().astype('uint8')
figure = draw_panels(sample['image'].numpy(), {'truth': truth, **maps}, ISPRS)
for name, ids in maps.items():
    print(f'{name}: {100 * (ids == truth).mean():.1f} % of the pixels are right')
