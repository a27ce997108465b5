"""Training tasks."""

from crossearth.trainers.averaging import AverageWeights
from crossearth.trainers.checkpoint import check_checkpoint
from crossearth.trainers.domain_generalization import DomainGeneralizationTask
from crossearth.trainers.optimizer import check_schedule, parameter_groups, poly_factor
from crossearth.trainers.report import align_columns, score_table
from crossearth.trainers.restoration import restoration_losses
from crossearth.trainers.saving import SaveModel
from crossearth.trainers.styles import fourier_style

__all__ = [
    'AverageWeights',
    'DomainGeneralizationTask',
    'SaveModel',
    'align_columns',
    'check_checkpoint',
    'check_schedule',
    'fourier_style',
    'parameter_groups',
    'poly_factor',
    'restoration_losses',
    'score_table',
]
