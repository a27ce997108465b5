"""
Maps and their uncertainty as arrays
====================================

A map is a GeoTIFF: any library that reads rasters opens it. This page uses rasterio and numpy.
"""

# %%
# A map with probabilities and entropy
# ------------------------------------
# ``Outputs`` names further rasters on the same grid. The model is a rule with soft edges, so that
# the page needs no training: vegetation is greener than red and blue, and roofs are redder.

import tempfile
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import nn

from crossearth import predict_scene
from crossearth.inference import Outputs, Windows
from crossearth.labels import LabelSpace
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

LABELS = LabelSpace(
    'colours', ('grey', 'green', 'red'), ((170, 170, 170), (0, 158, 115), (213, 94, 0))
)


class Colours(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        red, green, blue = image.unbind(1)
        scores = (torch.zeros_like(red), green - (red + blue) / 2 - 0.03, red - blue - 0.12)
        return 40 * torch.stack(scores, 1)


work = Path(tempfile.mkdtemp())
((scene, _),) = SyntheticEarth(seed=0).write(work, EARTH_DOMAINS['region'], scenes=1, size_px=320)
made = predict_scene(
    Colours(),
    scene,
    work / 'map.tif',
    labels=LABELS,
    windows=Windows(tile_px=160),
    outputs=Outputs(probabilities=work / 'probabilities.tif', entropy=work / 'entropy.tif'),
)

# %%
# Reading them
# ------------
# Files of probabilities and entropy hold bytes; their scale says what a byte means, and 255 is
# no data. Coordinates of pixel centres follow from the transform.

with rasterio.open(made.path) as file:
    ids, transform, crs = file.read(1), file.transform, file.crs
with rasterio.open(work / 'probabilities.tif') as file:
    probabilities = file.read() * file.scales[0]
with rasterio.open(work / 'entropy.tif') as file:
    entropy = file.read(1) * file.scales[0]

x = transform.c + transform.a * (np.arange(ids.shape[1]) + 0.5)
y = transform.f + transform.e * (np.arange(ids.shape[0]) + 0.5)
print(crs, f'x {x[0]:.1f} to {x[-1]:.1f}, y {y[-1]:.1f} to {y[0]:.1f}')
print('probabilities add up to', probabilities.sum(0).min().round(2), 'or more')

# %%
# Areas, counted in two ways. The first counts pixels of the map; the second adds up probabilities,
# and so spreads doubtful pixels over the classes.

pixel_m2 = abs(transform.a * transform.e)
for index, name in enumerate(LABELS.classes):
    counted = (ids == index).sum() * pixel_m2
    expected = probabilities[index].sum() * pixel_m2
    print(f'{name:6} {counted:7.0f} m² counted {expected:7.0f} m² expected')

# %%
# The entropy is high where two classes are about as likely: look there first when you check a map.

import matplotlib.pyplot as plt

with rasterio.open(scene) as file:
    picture = file.read((1, 2, 3)).transpose(1, 2, 0)
figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), layout='constrained')
panels[0].imshow(picture)
panels[1].imshow(LABELS.colour(ids))
shown = panels[2].imshow(entropy, cmap='cividis', vmin=0)
figure.colorbar(shown, ax=panels[2], shrink=0.8)
for axes, title in zip(panels, ('image', 'map', 'entropy'), strict=True):
    axes.set_title(title)
    axes.set_axis_off()

# %%
# If rioxarray is installed (crossearth does not need it), ``rioxarray.open_rasterio('map.tif')``
# gives the same map as an ``xarray.DataArray`` with coordinates and CRS.
