"""
Degrees, and pixels of another size
===================================

A scene in EPSG:4326 has pixels that are narrower than they are high. Models see metres.
"""

# %%
# The same ground in degrees
# --------------------------
# The synthetic scene is warped to EPSG:4326, as many archives deliver it. At this latitude a
# pixel of equal sides in degrees is much narrower than high on the ground.

import tempfile
from pathlib import Path

import rasterio
from rasterio.warp import Resampling, calculate_default_transform, reproject

from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
((scene, mask),) = SyntheticEarth(seed=0).write(
    work / 'metres', EARTH_DOMAINS['source'], scenes=1, size_px=384
)
for path, kind in ((scene, 'images'), (mask, 'masks')):
    out = work / 'degrees' / kind / path.name
    out.parent.mkdir(parents=True)
    with rasterio.open(path) as file:
        transform, width, height = calculate_default_transform(
            file.crs, 'EPSG:4326', file.width, file.height, *file.bounds
        )
        profile = file.profile | {
            'crs': 'EPSG:4326',
            'transform': transform,
            'width': width,
            'height': height,
            'nodata': 255 if kind == 'masks' else 0,
        }
        with rasterio.open(out, 'w', **profile) as warped:
            for band in file.indexes:
                reproject(
                    rasterio.band(file, band),
                    rasterio.band(warped, band),
                    resampling=Resampling.nearest,
                    dst_nodata=profile['nodata'],
                )

# %%
# A dataset reads it as it is, or in metres
# -----------------------------------------
# Without ``gsd_m`` nothing is resampled. With it, windows count in square pixels on the ground.

from crossearth import FolderDataset
from crossearth.labels import ISPRS

folders = {'images': work / 'degrees/images', 'masks': work / 'degrees/masks', 'labels': ISPRS}
own = FolderDataset(**folders)
square = FolderDataset(**folders, gsd_m=0.5)
coarse = FolderDataset(**folders, gsd_m=2.0)
for name, dataset in (('own pixels', own), ('gsd_m=0.5', square), ('gsd_m=2.0', coarse)):
    (one,) = dataset.scenes
    width_m, height_m = one.raster.gsd_m()
    print(f'{name}: {one.height} x {one.width} px, a pixel is {width_m:.2f} x {height_m:.2f} m')
square

# %%
# The same ground three times. Drawn pixel by pixel, degrees stretch it: a model that was trained on
# square pixels would see round trees as ovals.

import matplotlib.pyplot as plt

figure, panels = plt.subplots(1, 3, figsize=(8, 3.4), layout='constrained')
for axes, dataset, title in zip(
    panels, (own, square, coarse), ('own pixels', '0.5 m', '2 m'), strict=True
):
    axes.imshow(dataset[0]['image'].permute(1, 2, 0))
    axes.set_title(
        f'{title}: {dataset.scenes[0].height} x {dataset.scenes[0].width} px', fontsize=10
    )
    axes.tick_params(labelsize=8)

# %%
# Maps come back on the grid of the scene
# ---------------------------------------
# A model that knows its pixel size sees the scene at it, and the map has the scene's own grid and
# CRS. This model is a rule, green minus red, so that the page needs no training.

import torch
from torch import nn

from crossearth import predict_scene
from crossearth.inference import View, Windows
from crossearth.labels import LabelSpace

GREEN = LabelSpace('green', ('other', 'vegetation'), ((210, 200, 190), (30, 130, 60)))


class Greener(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        excess = 2 * image[:, 1:2] - image[:, :1] - image[:, 2:3]
        return torch.cat([torch.zeros_like(excess), 20 * (excess - 0.05)], 1)


image = own.scenes[0].image
views = {'own pixels': View(gsd_m='native'), 'seen at 2 m': View(gsd_m=2.0)}
figure, panels = plt.subplots(1, 2, figsize=(8, 3.6), layout='constrained')
for i, (axes, (name, view)) in enumerate(zip(panels, views.items(), strict=True)):
    made = predict_scene(
        Greener(),
        image,
        work / f'map{i}.tif',
        labels=GREEN,
        view=view,
        windows=Windows(tile_px=128),
    )
    with rasterio.open(made.path) as file:
        axes.imshow(GREEN.colour(file.read(1)))
        axes.set_title(f'{name}: {file.height} x {file.width} px, {file.crs}', fontsize=11)
    axes.set_axis_off()
