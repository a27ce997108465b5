"""
Roads from a folder to a GIS
============================

From black and white masks to polygons of roads in a GeoPackage, which QGIS and ArcGIS open.
"""

# %%
# Masks of two values
# -------------------
# Masks of roads are often black and white. ``ThresholdCodec`` turns white into class 1. Here the
# sealed ground of the synthetic Earth stands in for roads: its masks are rewritten in black and
# white.

import tempfile
from pathlib import Path

import numpy as np
import rasterio

from crossearth import FolderDataset
from crossearth.labels import ROAD, ThresholdCodec
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
for name in ('source', 'region'):
    for _, mask in SyntheticEarth(seed=1).write(work, EARTH_DOMAINS[name], scenes=2, size_px=384):
        with rasterio.open(mask) as file:
            sealed = np.where(file.read(1) == 0, 255, 0).astype(np.uint8)
            where = {'crs': file.crs, 'transform': file.transform}
        with rasterio.open(
            mask, 'w', driver='GTiff', width=384, height=384, count=1, dtype='uint8', **where
        ) as file:
            file.write(sealed, 1)

codec = ThresholdCodec(128)
source, unseen = (
    FolderDataset(
        work / name / 'train/images', work / name / 'train/masks', labels=ROAD, codec=codec
    )
    for name in ('source', 'region')
)
figure = source.plot(source[0])

# %%
# Training with other looks
# -------------------------
# ``PhotometricDistortion`` varies colours and light, so that the model relies on them less.

import lightning.pytorch as pl
import torch

from crossearth import ShiftDataModule, SourceOnly, TrainingTask, predict_scene
from crossearth.models import fpn_timm
from crossearth.transforms import PhotometricDistortion

data = ShiftDataModule(
    source,
    size_px=64,
    windows_per_epoch=400,
    batch_size=8,
    augment=PhotometricDistortion(),
)
torch.manual_seed(0)
model = fpn_timm('tf_efficientnet_lite0', num_classes=2, width=32, pretrained='installed')
trainer = pl.Trainer(
    accelerator='cpu',
    max_steps=50,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    use_distributed_sampler=False,
)
trainer.fit(TrainingTask(SourceOnly(model, ROAD), lr=1e-3), datamodule=data)

# %%
# Map, clean, vectorise
# ---------------------
# The map of an unseen place loses its specks below 20 m², and becomes polygons with straight
# sides.

from crossearth import vectorize
from crossearth.inference import sieve_map

scene = unseen.scenes[0].image
predict_scene(model.eval(), scene, work / 'map.tif', labels=ROAD)
sieved = sieve_map(work / 'map.tif', work / 'sieved.tif', min_area_m2=20)
made = vectorize(work / 'sieved.tif', work / 'roads.gpkg', classes=['road'], simplify_m=0.5)
print(f'{sieved.merged} specks merged, {made.shapes} polygons written')

# %%
# The layer lies where its scene lies. This is how a GIS shows it.

import geopandas as gpd
import matplotlib.pyplot as plt
from rasterio.plot import plotting_extent

roads = gpd.read_file(work / 'roads.gpkg')
with rasterio.open(scene) as file:
    picture, extent = file.read((1, 2, 3)).transpose(1, 2, 0), plotting_extent(file)
figure, axes = plt.subplots(figsize=(6, 6), layout='constrained')
axes.imshow(picture, extent=extent)
roads.plot(ax=axes, facecolor=(1, 0.55, 0, 0.35), edgecolor='#ff8c00', linewidth=1)
axes.set_title(f'{len(roads)} polygons, {roads.area_m2.sum():.0f} m², {roads.crs.to_string()}')
axes.ticklabel_format(style='plain', useOffset=False)
axes.tick_params(labelsize=8)
roads.head(3)

# %%
# ``crossearth vectorize map.tif lines.gpkg --centre-lines`` draws centre lines instead, with the
# extra ``lines`` installed. On the command line the whole page is ``crossearth start``, ``fit``,
# ``predict``, ``sieve`` and ``vectorize``.
