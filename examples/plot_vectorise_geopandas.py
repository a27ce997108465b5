"""
Polygons in geopandas
=====================

From a map of classes to clean polygons, their areas, and buildings with right angles.
"""

# %%
# A map
# -----
# Any map that ``crossearth predict`` made will do. Here the labels of a synthetic scene stand in
# for it, with the names of the classes that ``predict`` writes into its maps.

import tempfile
from pathlib import Path

import rasterio

from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
((scene, labels),) = SyntheticEarth(seed=0).write(
    work, EARTH_DOMAINS['region'], scenes=1, size_px=320
)
with rasterio.open(labels, 'r+') as file:
    file.update_tags(**{f'CLASS_{index}': name for index, name in enumerate(ISPRS.classes)})

# %%
# Without specks, as polygons
# ---------------------------
# Regions below the minimum mapping unit go to their largest neighbour. Neighbours keep common
# borders when these are simplified.

import geopandas as gpd

from crossearth import vectorize
from crossearth.inference import sieve_map

sieve_map(labels, work / 'sieved.tif', min_area_m2=4)
vectorize(work / 'sieved.tif', work / 'polygons.gpkg', simplify_m=0.7)
polygons = gpd.read_file(work / 'polygons.gpkg')
polygons.drop(columns='geometry').head()

# %%
# Areas are measured on the ellipsoid. A table of the classes is one line.

polygons.groupby('class')['area_m2'].agg(['count', 'sum', 'median']).round(1)

# %%
# Buildings with right angles
# ---------------------------
# ``square_m`` is how far an outline may move on the ground. Buildings that would have to move
# farther, such as those cut by the border of the scene, keep the outline of the map.

vectorize(work / 'sieved.tif', work / 'buildings.gpkg', classes=['building'], square_m=2.0)
buildings = gpd.read_file(work / 'buildings.gpkg')
print(f'{len(buildings)} buildings, {int(buildings.squared.sum())} of them squared')

import matplotlib.pyplot as plt
from rasterio.plot import plotting_extent

with rasterio.open(scene) as file:
    picture, extent = file.read((1, 2, 3)).transpose(1, 2, 0), plotting_extent(file)
colours = {
    name: tuple(part / 255 for part in rgb)
    for name, rgb in zip(ISPRS.classes, ISPRS.palette, strict=True)
}
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.2), layout='constrained')
polygons.plot(ax=left, color=polygons['class'].map(colours), edgecolor='black', linewidth=0.3)
left.set_title('polygons of all classes', fontsize=11)
right.imshow(picture, extent=extent)
gpd.read_file(work / 'polygons.gpkg', where="class = 'building'").boundary.plot(
    ax=right, color='white', linewidth=1, linestyle='--'
)
buildings.boundary.plot(ax=right, color='#ff8c00', linewidth=1.6)
right.set_title('buildings: dashed as mapped, orange squared', fontsize=11)
for axes in (left, right):
    axes.set_axis_off()
