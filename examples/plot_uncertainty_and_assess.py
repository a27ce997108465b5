"""
How right is this map?
======================

Draw pixels, label them, and get accuracies and areas with 95 % intervals.
"""

# %%
# A map with errors
# -----------------
# The labels of a synthetic scene, shifted by five pixels, stand in for a map. Then the truth is
# known for every pixel, and the estimates can be compared with it.

import csv
import tempfile
from pathlib import Path

import numpy as np
import rasterio

from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
((_, mask),) = SyntheticEarth(seed=0).write(work, EARTH_DOMAINS['source'], scenes=1, size_px=512)
with rasterio.open(mask) as file:
    truth, profile = file.read(1), file.profile
mapped = np.roll(truth, 5, axis=1)
with rasterio.open(work / 'map.tif', 'w', **profile | {'nodata': 255}) as file:
    file.write(mapped, 1)
    file.update_tags(**{f'CLASS_{i}': name for i, name in enumerate(ISPRS.classes)})

# %%
# Draw, label, assess
# -------------------
# ``draw_sample`` writes a folder with the points for QGIS and a small picture of each. Somebody
# labels them, without seeing the map. Here a loop does so from the truth.

from crossearth.assessment import SampleSize, assess_map, draw_sample


def assess(n, seed=0):
    folder = work / f'sample-{n}-{seed}'
    draw_sample(work / 'map.tif', folder, size=SampleSize(n=n), seed=seed)
    labels = folder.with_suffix('.csv')
    with (folder / 'key.csv').open() as key, labels.open('w') as file:
        file.write('id,label\n')
        for point in csv.DictReader(key):
            name = ISPRS.classes[truth[int(point['row']), int(point['col'])]]
            file.write(f'{point["id"]},{name}\n')
    return assess_map(folder, labelled=labels).accuracy


# %%
# Overall accuracy, from more and more pixels. The interval says how far to trust the number; the
# dotted line is what all 262 144 pixels say.

import matplotlib.pyplot as plt

numbers = (400, 800, 1600)
found = {n: assess(n) for n in numbers}
really = 100 * (mapped == truth).mean()
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout='constrained')
for i, n in enumerate(numbers):
    overall = found[n].overall
    low, high = overall.interval
    left.plot([100 * low, 100 * high], [i, i], color='#0072b2', linewidth=3)
    left.plot(100 * overall.value, i, 'o', color='#0072b2')
left.axvline(really, color='black', linestyle=':')
left.set_yticks(range(len(numbers)), [f'{n} pixels' for n in numbers])
left.set_xlabel('overall accuracy in %')

areas = found[800].classes
for i, one in enumerate(areas):
    low, high = one.area.interval
    right.plot([low, high], [i, i], color='#d55e00', linewidth=3)
    right.plot((truth == i).sum() * profile['transform'].a ** 2, i, 'x', color='black')
right.set_yticks(range(len(areas)), [name.replace('_', ' ') for name in ISPRS.classes])
right.set_xlabel('area in m² (cross: truth)')
for axes in (left, right):
    axes.spines[['top', 'right']].set_visible(False)
    axes.invert_yaxis()

# %%
# These areas account for what the map missed and what it made up. Counting the pixels of the map
# does not.

for one, name in zip(areas, ISPRS.classes, strict=True):
    print(f'{name}: {one.area.value:.0f} m², IoU {100 * one.iou.value:.0f} %')
