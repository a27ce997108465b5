"""
Maps in xarray
==============

A map, its probabilities and its entropy as labelled arrays: areas, doubtful pixels, coarser cells
and other grids. You need ``pip install rioxarray``; crossearth itself does not need it.
"""

# %%
# From an array to a map
# ----------------------
# ``predict_scene`` reads files, so that a scene may be larger than memory. If your scene is an
# ``xarray.DataArray``, write it with ``.rio.to_raster``. It needs a CRS, and its bands come first.
# Here the array is a synthetic scene, with a corner cut out as no data.

import tempfile
from pathlib import Path

import numpy as np
import rioxarray
import xarray as xr

from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
((drawn, _),) = SyntheticEarth(seed=0).write(work, EARTH_DOMAINS['region'], scenes=1, size_px=320)
scene = rioxarray.open_rasterio(drawn).load()
cut = (scene.x - scene.x[0]) + (scene.y[0] - scene.y) < 20  # metres
scene = scene.where(~cut, 0).rio.write_nodata(0)
scene.rio.to_raster(work / 'scene.tif')

# %%
# The model is a rule with soft edges, so that the page needs no training: vegetation is greener
# than red and blue, and roofs are redder. ``Outputs`` names further rasters on the same grid.

import torch
from torch import nn

from crossearth import predict_scene
from crossearth.inference import Outputs, Windows
from crossearth.labels import LabelSpace

LABELS = LabelSpace(
    'colours', ('grey', 'green', 'red'), ((170, 170, 170), (0, 158, 115), (213, 94, 0))
)


class Colours(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        red, green, blue = image.unbind(1)
        scores = (torch.zeros_like(red), green - (red + blue) / 2 - 0.03, red - blue - 0.12)
        return 80 * torch.stack(scores, 1)


made = predict_scene(
    Colours(),
    work / 'scene.tif',
    work / 'map.tif',
    labels=LABELS,
    windows=Windows(tile_px=160),
    outputs=Outputs(probabilities=work / 'probabilities.tif', entropy=work / 'entropy.tif'),
)

# %%
# Opening them
# ------------
# The map brings its CRS, its no-data value and the names of its classes.

ids = rioxarray.open_rasterio(made.path).squeeze('band', drop=True).load()
names = [ids.attrs[f'CLASS_{index}'] for index in range(ids.attrs['NUM_CLASSES'])]
print(ids.rio.crs, '| no data:', ids.rio.nodata, '| classes:', names)
ids

# %%
# Probabilities and entropy are stored as bytes. With ``mask_and_scale`` they come as numbers from
# 0 to 1, and pixels without data as NaN. Give the bands the names of their classes.

probabilities = rioxarray.open_rasterio(work / 'probabilities.tif', mask_and_scale=True).load()
probabilities = probabilities.assign_coords(band=names).rename(band='class')
entropy = rioxarray.open_rasterio(work / 'entropy.tif', mask_and_scale=True).load()
entropy = entropy.squeeze('band', drop=True)

# %%
# Areas
# -----
# Counted pixels, and added probabilities, which spread doubtful pixels over the classes. Both are
# in m², because the CRS counts in metres. In degrees the area of a pixel changes with the latitude.

pixel_m2 = abs(np.prod(ids.rio.resolution()))
areas = xr.Dataset(
    {
        'counted': ('class', [int((ids == index).sum()) * pixel_m2 for index in range(3)]),
        'expected': probabilities.sum(('y', 'x')) * pixel_m2,
    }
)
areas.drop_vars('spatial_ref').to_dataframe().round(1)

# %%
# Doubtful pixels
# ---------------
# A mask by probability keeps the pixels whose class has at least 80 %. In coarse cells of 8 × 8
# pixels, the mean of the entropy says where to look first when you check the map. Where two classes
# are about as likely, it is high. ``coarsen`` changes the coordinates but not the stored transform,
# so write the new one.

likely = probabilities.max('class')
sure = ids.where(likely >= 0.8, ids.rio.nodata)
cells = entropy.coarsen(y=8, x=8).mean()
cells = cells.rio.write_transform(cells.rio.transform(recalc=True))
print(f'{100 * float((likely >= 0.8).sum() / likely.count()):.0f} % of the pixels are sure')
print('cells:', dict(cells.sizes), 'of', cells.rio.resolution(), 'm')

import matplotlib.pyplot as plt
from matplotlib.colors import BoundaryNorm, ListedColormap

colours = {
    'cmap': ListedColormap([tuple(part / 255 for part in rgb) for rgb in LABELS.palette]),
    'norm': BoundaryNorm([-0.5, 0.5, 1.5, 2.5], 3),
    'add_colorbar': False,
}
figure, squares = plt.subplots(2, 2, figsize=(7.4, 6.9), layout='constrained')
panels = squares.flat
scene.where(~cut, 255).plot.imshow(ax=panels[0])
ids.where(ids != ids.rio.nodata).plot(ax=panels[1], **colours)
sure.where(sure != ids.rio.nodata).plot(ax=panels[2], **colours)
shown = cells.plot(ax=panels[3], cmap='cividis', vmin=0, add_colorbar=False)
figure.colorbar(shown, ax=squares[:, 1], shrink=0.48, anchor=(0, 0), pad=0.02)
titles = ('scene', 'map', '80 % or more', 'entropy in cells of 2 m')
for axes, title in zip(panels, titles, strict=True):
    axes.set_title(title, y=1)
    axes.set_aspect('equal')
    axes.set_axis_off()

# %%
# Another grid
# ------------
# ``reproject_match`` puts a raster on the grid of another one, for example of a map by somebody
# else. Here that is a coarser grid in another CRS. Class ids must not be averaged, so use
# ``nearest`` or ``mode`` for maps, and ``average`` for entropy and probabilities.

from rasterio.enums import Resampling

other = ids.rio.reproject('EPSG:3035', resolution=1.0)
matched = xr.Dataset(
    {
        'class': ids.rio.reproject_match(other, resampling=Resampling.mode),
        'entropy': entropy.rio.reproject_match(other, resampling=Resampling.average),
    }
)
matched

# %%
# Both rasters share one grid now, so they can be compared pixel by pixel: the mean entropy of each
# class.

with_data = matched['class'] != other.rio.nodata
by_class = matched['entropy'].where(with_data).groupby(matched['class'].where(with_data)).mean()
by_class.assign_coords({'class': names}).drop_vars('spatial_ref').to_series().round(2)

# %%
# Writing
# -------
# ``to_raster`` keeps grid, CRS, no-data value and the tags with the names. So ``vectorize`` and the
# other tools of this library read the file like any map of theirs.

from crossearth import vectorize

sure.rio.to_raster(work / 'sure.tif')
polygons = vectorize(work / 'sure.tif', work / 'sure.gpkg', min_area_m2=4)
print(f'{polygons.shapes} polygons; {polygons.dropped} below 4 m² were left out')
