"""Training: the engine, the callbacks that watch it, and recipes.

`TrainingTask` is the engine: a lightning module that runs any training method (`methods`) on the
source domain and scores each domain separately. The method computes the loss terms of a batch; the
engine does everything else. Callbacks add what is independent of the method: `AverageWeights` and
`SWAD` average weights, `SaveModel` writes the trained model, `LogPictures` draws predictions.
Checkpoints are sealed and resume exactly. `build_training` builds all parts from a recipe file.
"""

from crossearth.trainers.averaging import AverageWeights
from crossearth.trainers.checkpoint import (
    SealCheckpoints,
    check_checkpoint,
    intact_checkpoint,
    previous_checkpoint,
    seal_checkpoint,
)
from crossearth.trainers.engine import TrainingTask
from crossearth.trainers.label_counts import CheckLabels
from crossearth.trainers.methods import (
    Attached,
    CrossEarthTraining,
    DomainAdversarial,
    FeatureDistance,
    FisherGating,
    GroupDRO,
    Method,
    SelectiveWhitening,
    SelfTraining,
    SourceOnly,
)
from crossearth.trainers.norms import CheckNorms
from crossearth.trainers.optimizer import check_schedule, parameter_groups, poly_factor
from crossearth.trainers.paper_parts import earth_style, patch_mask
from crossearth.trainers.pictures import LogPictures
from crossearth.trainers.recipe import (
    Training,
    build_training,
    check_recipe,
    check_task,
    read_recipe,
)
from crossearth.trainers.report import score_table
from crossearth.trainers.restoration import restoration_losses
from crossearth.trainers.saving import SaveModel, save_trained
from crossearth.trainers.seeded_parts import seed_parts
from crossearth.trainers.sharding import shard_frozen
from crossearth.trainers.styles import fourier_style, fourier_style_of, fourier_style_of_earth
from crossearth.trainers.swad import SWAD

__all__ = [
    'SWAD',
    'Attached',
    'AverageWeights',
    'CheckLabels',
    'CheckNorms',
    'CrossEarthTraining',
    'DomainAdversarial',
    'FeatureDistance',
    'FisherGating',
    'GroupDRO',
    'LogPictures',
    'Method',
    'SaveModel',
    'SealCheckpoints',
    'SelectiveWhitening',
    'SelfTraining',
    'SourceOnly',
    'Training',
    'TrainingTask',
    'build_training',
    'check_checkpoint',
    'check_recipe',
    'check_schedule',
    'check_task',
    'earth_style',
    'fourier_style',
    'fourier_style_of',
    'fourier_style_of_earth',
    'intact_checkpoint',
    'parameter_groups',
    'patch_mask',
    'poly_factor',
    'previous_checkpoint',
    'read_recipe',
    'restoration_losses',
    'save_trained',
    'score_table',
    'seal_checkpoint',
    'seed_parts',
    'shard_frozen',
]
