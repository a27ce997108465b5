"""Scenes on disk → windows → samples."""

from crossearth.datasets.folder import FolderDataset, list_rasters
from crossearth.datasets.reader import SceneReader
from crossearth.datasets.samplers import GridWindowSampler, RandomWindowSampler
from crossearth.datasets.scene import Scene, open_raster, read_scene
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.shift import ShiftDataModule
from crossearth.datasets.styles import read_style_images
from crossearth.datasets.synthetic import (
    EARTH_DOMAINS,
    EarthDomain,
    SyntheticEarth,
    SyntheticScene,
)

__all__ = [
    'EARTH_DOMAINS',
    'EarthDomain',
    'FolderDataset',
    'GridWindowSampler',
    'RandomWindowSampler',
    'Scene',
    'SceneDataset',
    'SceneReader',
    'ShiftDataModule',
    'SyntheticEarth',
    'SyntheticScene',
    'list_rasters',
    'open_raster',
    'read_scene',
    'read_style_images',
]
