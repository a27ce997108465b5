"""Training methods: what a batch is learnt from."""

from crossearth.trainers.methods.crossearth import CrossEarthTraining
from crossearth.trainers.methods.method import Batch, Method, Role, roles, segmentation_losses
from crossearth.trainers.methods.self_training import SelfTraining
from crossearth.trainers.methods.source_only import SourceOnly

__all__ = [
    'Batch',
    'CrossEarthTraining',
    'Method',
    'Role',
    'SelfTraining',
    'SourceOnly',
    'roles',
    'segmentation_losses',
]
