"""Scenes on disk → windows → samples. Each name is imported only when it is first used.

`SceneDataset` is a table of scenes of any CRS, size and domain, read by windows; `FolderDataset`
opens any folder, and the classes of published archives (`Potsdam`, `LoveDA`, …) know their files.
Samplers choose windows: `GridWindowSampler` covers all pixels and `RandomWindowSampler` draws.
`ShiftDataModule` puts a labelled source, unseen test domains and an optional unlabelled target
together for training.
"""

from typing import TYPE_CHECKING

from crossearth.lazy import lazy_names

if TYPE_CHECKING:
    from crossearth.datasets.archive import ArchiveDataset, Coverage, Layout
    from crossearth.datasets.casid import CASID
    from crossearth.datasets.check import ARCHIVE_DATASETS, Finding, check_archive
    from crossearth.datasets.combine import fill_samples, overlay_samples
    from crossearth.datasets.files import list_rasters
    from crossearth.datasets.folder import FolderDataset
    from crossearth.datasets.holdout import HoldOut
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
    from crossearth.datasets.styles import read_scene_styles, read_style_images
    from crossearth.datasets.timespan import FileTimes
    from crossearth.datasets.whu import WHUBuildingAerial, WHUBuildingSatellite
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            'crossearth.datasets.archive': ['ArchiveDataset', 'Coverage', 'Layout'],
            'crossearth.datasets.casid': ['CASID'],
            'crossearth.datasets.check': ['ARCHIVE_DATASETS', 'Finding', 'check_archive'],
            'crossearth.datasets.combine': ['fill_samples', 'overlay_samples'],
            'crossearth.datasets.files': ['list_rasters'],
            'crossearth.datasets.folder': ['FolderDataset'],
            'crossearth.datasets.holdout': ['HoldOut'],
            'crossearth.datasets.isprs': ['Potsdam', 'Vaihingen'],
            'crossearth.datasets.loveda': ['LoveDA'],
            'crossearth.datasets.merge': ['merge_domains'],
            'crossearth.datasets.millionaid': ['MillionAID'],
            'crossearth.datasets.rare_classes': ['RareClassSampler'],
            'crossearth.datasets.rescue': ['RescueNet'],
            'crossearth.datasets.roads': ['DeepGlobeRoads', 'MassachusettsRoads'],
            'crossearth.datasets.samplers': ['GridWindowSampler', 'RandomWindowSampler'],
            'crossearth.datasets.scene': ['Scene', 'read_scene', 'read_scenes'],
            'crossearth.datasets.scene_dataset': ['SceneDataset'],
            'crossearth.datasets.shift': ['ShiftDataModule'],
            'crossearth.datasets.styles': ['read_scene_styles', 'read_style_images'],
            'crossearth.datasets.timespan': ['FileTimes'],
            'crossearth.datasets.whu': ['WHUBuildingAerial', 'WHUBuildingSatellite'],
        },
    )

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
    'HoldOut',
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
    'read_scene_styles',
    'read_scenes',
    'read_style_images',
]
