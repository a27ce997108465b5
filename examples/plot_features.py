"""
What a domain gap looks like
============================

Features of the same network on four domains, as points and as colours. Where the points of two
domains lie apart, a decoder that was trained on one of them meets features that it has not seen.
"""

# %%
# Four domains
# ------------
# One scene of each is enough for a picture. The network has ImageNet's weights and no training
# here, so what you see is the gap itself.

import tempfile
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from crossearth import FolderDataset
from crossearth.labels import ISPRS
from crossearth.models import fpn_timm
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.visualization import draw_feature_maps, draw_features, sample_features

work = Path(tempfile.mkdtemp())
earth = SyntheticEarth(seed=0)
scenes = {}
for name in ('source', 'region', 'region_climate', 'band'):
    earth.write(work, EARTH_DOMAINS[name], scenes=1, size_px=512)
    folder = work / name / 'train'
    scenes[name] = FolderDataset(folder / 'images', folder / 'masks', labels=ISPRS)

model = fpn_timm('tf_efficientnet_lite0', num_classes=6, width=32, pretrained='installed')

# %%
# Points
# ------
# Each point is a cell of the last feature map. Its colour is the class of the ground there, and its
# marker the domain, as in the paper's Figures 8 and 10. The axes are the two directions along which
# the features of all domains vary most. ``method='umap'`` keeps neighbours together, as the paper
# does: it needs ``pip install 'crossearth[viz]'``, and first compiles itself for half a minute.

points = {
    name: sample_features(model, DataLoader(dataset), per_image=250)
    for name, dataset in scenes.items()
}
figure = draw_features(points, ISPRS, method='pca')

# %%
# The same points by domain (Figure 7). ``band`` is the farthest from the others, since its red
# channel shows near infrared. Each domain has a single scene here, and a cell of the last map sees
# much of it, so some of what sets them apart is the scene.

figure = draw_features(points, ISPRS, by='group', method='pca')

# %%
# Maps
# ----
# The first three principal components of the features are red, green and blue, in all images alike
# (Figures 9 and 11).

images = torch.stack([dataset[0]['image'] for dataset in scenes.values()])
figure = draw_feature_maps(model, images, names=list(scenes))
