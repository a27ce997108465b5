"""Augmentations of batches, on the device."""

from crossearth.transforms.fourier import FourierStyle
from crossearth.transforms.injection import StyleInjection, follow_statistics
from crossearth.transforms.patches import PatchMask, kept_patches, patch_grid
from crossearth.transforms.photometric import PhotometricDistortion
from crossearth.transforms.seeded import SeededAugmentation

__all__ = [
    'FourierStyle',
    'PatchMask',
    'PhotometricDistortion',
    'SeededAugmentation',
    'StyleInjection',
    'follow_statistics',
    'kept_patches',
    'patch_grid',
]
