"""Segment remote-sensing images in places, bands and sensors that have no labels.

This package offers the names that most programs start with. Everything else is in the subpackages:
`datasets` reads images and masks, `transforms` augments them, `models` builds networks, `trainers`
trains them, and `inference` writes maps. `import crossearth` takes milliseconds, because each name
is imported only when you first use it.
"""

from typing import TYPE_CHECKING

from crossearth.lazy import lazy_names

__version__ = '0.1.0'

if TYPE_CHECKING:
    from crossearth import (
        archives,
        benchmark,
        datasets,
        errors,
        geometry,
        inference,
        labels,
        metrics,
        models,
        rasters,
        reports,
        synthetic,
        trainers,
        transforms,
        visualization,
    )
    from crossearth.datasets import FolderDataset, ShiftDataModule
    from crossearth.inference import predict_scene, predict_scenes, vectorize
    from crossearth.labels import LabelSpace
    from crossearth.models import load_model, save_model
    from crossearth.trainers import CrossEarthTraining, SourceOnly, TrainingTask
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            'crossearth.datasets': ['FolderDataset', 'ShiftDataModule'],
            'crossearth.inference': ['predict_scene', 'predict_scenes', 'vectorize'],
            'crossearth.labels': ['LabelSpace'],
            'crossearth.models': ['load_model', 'save_model'],
            'crossearth.trainers': ['CrossEarthTraining', 'SourceOnly', 'TrainingTask'],
        },
        subpackages=[
            'archives',
            'benchmark',
            'datasets',
            'errors',
            'geometry',
            'inference',
            'labels',
            'metrics',
            'models',
            'rasters',
            'reports',
            'synthetic',
            'trainers',
            'transforms',
            'visualization',
        ],
    )

__all__ = [
    'CrossEarthTraining',
    'FolderDataset',
    'LabelSpace',
    'ShiftDataModule',
    'SourceOnly',
    'TrainingTask',
    '__version__',
    'archives',
    'benchmark',
    'datasets',
    'errors',
    'geometry',
    'inference',
    'labels',
    'load_model',
    'metrics',
    'models',
    'predict_scene',
    'predict_scenes',
    'rasters',
    'reports',
    'save_model',
    'synthetic',
    'trainers',
    'transforms',
    'vectorize',
    'visualization',
]
