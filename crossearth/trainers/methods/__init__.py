"""Training methods: what a batch is learnt from."""

from crossearth.trainers.methods.attached import Attached
from crossearth.trainers.methods.domain_adversarial import DomainAdversarial
from crossearth.trainers.methods.feature_distance import FeatureDistance
from crossearth.trainers.methods.group_dro import GroupDRO
from crossearth.trainers.methods.method import Batch, Method, Role, roles, segmentation_losses

__all__ = [
    'Attached',
    'Batch',
    'DomainAdversarial',
    'FeatureDistance',
    'GroupDRO',
    'Method',
    'Role',
    'roles',
    'segmentation_losses',
]
