"""Augmentations of batches, on the device that they lie on.

Most classes are kornia augmentations that derive from `SeededAugmentation`. It draws from its own
generator, computes only the samples that are drawn, and leaves no-data pixels alone. Injections of
a style (`EarthStyleInjection`, `FourierStyle`) derive from `StyleInjection`, which adds patches and
the treatment of further bands. `EarthStyle` is the distribution that styles are drawn from. All
take and return images in [0, 1].
"""

from crossearth.transforms.earth_injection import EarthStyleInjection
from crossearth.transforms.earth_style import (
    EarthStyle,
    StyleMoments,
    style_distance,
)
from crossearth.transforms.fourier import FourierStyle
from crossearth.transforms.injection import StyleInjection, follow_statistics
from crossearth.transforms.patches import PatchMask, kept_patches, patch_grid
from crossearth.transforms.photometric import PhotometricDistortion
from crossearth.transforms.rand_conv import RandConv
from crossearth.transforms.scale_crop import RandomScaleCrop
from crossearth.transforms.seeded import SeededAugmentation
from crossearth.transforms.sensor import SensorSimulation
from crossearth.transforms.style_images import StyleImageFolder

__all__ = [
    'EarthStyle',
    'EarthStyleInjection',
    'FourierStyle',
    'PatchMask',
    'PhotometricDistortion',
    'RandConv',
    'RandomScaleCrop',
    'SeededAugmentation',
    'SensorSimulation',
    'StyleImageFolder',
    'StyleInjection',
    'StyleMoments',
    'follow_statistics',
    'kept_patches',
    'patch_grid',
    'style_distance',
]
