"""Scenes on disk → windows → samples."""

from crossearth.datasets.folder import FolderDataset, list_rasters
from crossearth.datasets.merge import merge_domains
from crossearth.datasets.reader import SceneReader
from crossearth.datasets.resample import resampled_scene
from crossearth.datasets.samplers import GridWindowSampler, RandomWindowSampler
from crossearth.datasets.scene import Scene, open_raster, read_scene, read_scenes
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.shift import ShiftDataModule
from crossearth.datasets.styles import read_style_images
from crossearth.datasets.synthetic import (
    EARTH_DOMAINS,
    EarthDomain,
    SyntheticEarth,
    SyntheticScene,
)
from crossearth.datasets.vector_labels import VectorLabels

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
    'VectorLabels',
    'list_rasters',
    'merge_domains',
    'open_raster',
    'read_scene',
    'read_scenes',
    'read_style_images',
    'resampled_scene',
]
