"""Scenes on disk → windows → samples."""

from crossearth.datasets.archive import ArchiveDataset, Coverage, Layout
from crossearth.datasets.casid import CASID
from crossearth.datasets.check import ARCHIVE_DATASETS, Finding, check_archive
from crossearth.datasets.combine import fill_samples, overlay_samples
from crossearth.datasets.folder import FolderDataset, list_rasters
from crossearth.datasets.isprs import Potsdam, Vaihingen
from crossearth.datasets.loveda import LoveDA
from crossearth.datasets.merge import merge_domains
from crossearth.datasets.millionaid import MillionAID
from crossearth.datasets.rare_classes import RareClassSampler
from crossearth.datasets.rescue import RescueNet
from crossearth.datasets.roads import DeepGlobeRoads, MassachusettsRoads
from crossearth.datasets.samplers import GridWindowSampler, RandomWindowSampler
from crossearth.datasets.scene import Scene, read_scene, read_scenes
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.shift import ShiftDataModule
from crossearth.datasets.styles import read_style_images
from crossearth.datasets.timespan import FileTimes
from crossearth.datasets.whu import WHUBuildingAerial, WHUBuildingSatellite

__all__ = [
    'ARCHIVE_DATASETS',
    'CASID',
    'ArchiveDataset',
    'Coverage',
    'DeepGlobeRoads',
    'FileTimes',
    'Finding',
    'FolderDataset',
    'GridWindowSampler',
    'Layout',
    'LoveDA',
    'MassachusettsRoads',
    'MillionAID',
    'Potsdam',
    'RandomWindowSampler',
    'RareClassSampler',
    'RescueNet',
    'Scene',
    'SceneDataset',
    'ShiftDataModule',
    'Vaihingen',
    'WHUBuildingAerial',
    'WHUBuildingSatellite',
    'check_archive',
    'fill_samples',
    'list_rasters',
    'merge_domains',
    'overlay_samples',
    'read_scene',
    'read_scenes',
    'read_style_images',
]
