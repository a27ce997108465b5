"""Scenes on disk → windows → samples."""

from crossearth.datasets.folder import FolderDataset, list_rasters
from crossearth.datasets.reader import SceneReader
from crossearth.datasets.samplers import GridWindowSampler, RandomWindowSampler
from crossearth.datasets.scene import Scene, open_raster, read_scene
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.shift import ShiftDataModule

__all__ = [
    'FolderDataset',
    'GridWindowSampler',
    'RandomWindowSampler',
    'Scene',
    'SceneDataset',
    'SceneReader',
    'ShiftDataModule',
    'list_rasters',
    'open_raster',
    'read_scene',
]
