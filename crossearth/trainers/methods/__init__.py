"""Training methods: how to learn from a batch.

A `Method` holds the model and returns the loss terms of a batch by name; `TrainingTask` runs it.
`SourceOnly`, `CrossEarthTraining` and `SelfTraining` are complete methods. The others are a
`Wrapping`: they go around a method and add a term or change its losses, so they can be combined.
"""

from crossearth.trainers.methods.attached import Attached
from crossearth.trainers.methods.crossearth import CrossEarthTraining
from crossearth.trainers.methods.domain_adversarial import DomainAdversarial
from crossearth.trainers.methods.feature_distance import FeatureDistance
from crossearth.trainers.methods.fisher_gating import FisherGating
from crossearth.trainers.methods.group_dro import GroupDRO
from crossearth.trainers.methods.method import Batch, Method, Role, roles, segmentation_losses
from crossearth.trainers.methods.selective_whitening import SelectiveWhitening
from crossearth.trainers.methods.self_training import SelfTraining
from crossearth.trainers.methods.source_only import SourceOnly

__all__ = [
    'Attached',
    'Batch',
    'CrossEarthTraining',
    'DomainAdversarial',
    'FeatureDistance',
    'FisherGating',
    'GroupDRO',
    'Method',
    'Role',
    'SelectiveWhitening',
    'SelfTraining',
    'SourceOnly',
    'roles',
    'segmentation_losses',
]
