"""What is trained on the benchmark: the paper's method, its baselines and its ablations."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from crossearth.errors import ConfigError
from crossearth.spelling import did_you_mean

__all__ = ['METHODS', 'Method', 'find_method']

Value = str | int | float | bool | None


# many arguments: these are the columns of the table below.
@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A model, and the parts of training that belong to it.

    Args:
        name: Short name.
        title: One line that describes it.
        builder: Function of `crossearth.models` that builds the model.
        arguments: Its arguments, apart from those that a setting fixes.
        styled: Whether training injects styles, including L_Δ if it also restores masked images.
        masked: Whether training restores masked images.
        mim_loss: Loss of the masked flow; None for that of the setting.
        stop: Step at which the published schedule stops.
        batch_size: Windows per step.
        published: Row of the published results, see `published_score`; None if there is none.
        table: Title of the ablation that the row belongs to, as in `ABLATIONS`; None for Tables 3
            to 7.
        sources: Source domains that it was published on; None for all.
        takes_img_size: Whether position embeddings are built for the size of the chips.
        weights: Initial weights of the backbone: `'dinov2'`, `'mtp'` or `'imagenet'`.
        schedule: Arguments of `TrainingTask` for which its authors chose other values than the
            CrossEarth paper.
        feature_distance: λ_FD of `FeatureDistance`; None to train without it.
        rare_class_temperature: T of rare-class sampling; None to train without it.
    """

    name: str
    title: str
    builder: str
    arguments: Mapping[str, Value]
    styled: bool = False
    masked: bool = False
    mim_loss: Literal['mse', 'l1'] | None = None
    stop: int = 30_000
    batch_size: int = 1
    published: str | None = None
    table: str | None = None
    sources: tuple[str, ...] | None = None
    takes_img_size: bool = True
    weights: Literal['dinov2', 'mtp', 'imagenet'] = 'dinov2'
    schedule: Mapping[str, Value] = MappingProxyType({})
    feature_distance: float | None = None
    rare_class_temperature: float | None = None


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ConfigError: If it does not exist.

    Example:
        >>> find_method('rein').builder
        'rein_vit_large'
    """
    if name not in METHODS:
        raise ConfigError(
            f'no method is named {name!r}: expected one of {", ".join(METHODS)}'
            f'{did_you_mean(name, METHODS)}'
        )
    return METHODS[name]


_SUB = ('casid_subms',)
_ROADS = ('deepglobe_road',)
_TABLE_8 = 'Table 8: parts, 20,000 iterations'
_TABLE_9 = 'Table 9: decoder of masked images'
_TABLE_10 = 'Table 10: backbones, D2M'
_TABLE_13 = 'Table 13: loss of masked images'
_FULL: Mapping[str, Value] = {'geospatial': True, 'restorer': 'paper'}
# DAFormer, section 4, and its published configuration; HRDA, section 4.1, uses the same
_DAFORMER: Mapping[str, Value] = {
    'lr': 6e-5,
    'decoder_lr_scale': 10.0,
    'weight_decay': 0.01,
    'decay_biases': True,
    'power': 1.0,
    'warmup_steps': 1500,
}
# MTP's published configuration for LoveDA (batches of 8), but with cosine decay
_MTP: Mapping[str, Value] = {
    'lr': 6e-5,
    'layer_decay': 0.9,
    'weight_decay': 0.05,
    'decay_biases': False,
    'warmup_steps': 1500,
}


_ALL = (
    Method(
        name='crossearth',
        title='CrossEarth: DINOv2 ViT-L, Rein, GSE and injector, MIM, Earth-Style Injection',
        builder='crossearth_vit_large',
        arguments=_FULL,
        styled=True,
        masked=True,
        published='CrossEarth',
    ),
    Method(
        name='rein',
        title='Rein: DINOv2 ViT-L with LoRA-Rein under Mask2Former, source only',
        builder='rein_vit_large',
        arguments={},
        published='Rein',
    ),
    Method(
        name='frozen',
        title='DINOv2 ViT-L, frozen, under Mask2Former, source only',
        builder='frozen_vit_large',
        arguments={},
    ),
    Method(
        name='cnn',
        title='ResNet-50 with ImageNet weights under an FPN, all of it trained, source only',
        builder='fpn_timm',
        arguments={'name': 'resnet50', 'width': 256},
        takes_img_size=False,
        weights='imagenet',
    ),
    Method(
        name='daformer',
        title='DAFormer, for domain generalisation: MiT-B5, rare classes, feature distance',
        builder='daformer_mit_b5',
        arguments={},
        stop=40_000,
        batch_size=2,
        published='DAFormer',
        takes_img_size=False,
        weights='imagenet',
        schedule=_DAFORMER,
        feature_distance=0.005,
        rare_class_temperature=0.01,
    ),
    Method(
        name='hrda',
        title='HRDA, for domain generalisation: DAFormer at two resolutions with scale attention',
        builder='hrda_mit_b5',
        arguments={},
        stop=40_000,
        batch_size=2,
        published='HRDA',
        weights='imagenet',
        schedule=_DAFORMER,
        feature_distance=0.005,
        rare_class_temperature=0.01,
    ),
    Method(
        name='deeplabv2',
        title='DeepLab v2: ResNet-101 dilated to stride 8, all of it trained, source only',
        builder='deeplabv2_resnet101',
        arguments={},
        published='DeepLabv2',
        takes_img_size=False,
        weights='imagenet',
    ),
    Method(
        name='deeplabv3',
        title='DeepLab v3: ResNet-101 dilated to stride 8, all of it trained, source only',
        builder='deeplabv3_resnet101',
        arguments={},
        batch_size=2,  # it has a batch norm over one place for each image
        published='DeepLabv3',
        takes_img_size=False,
        weights='imagenet',
    ),
    Method(
        name='mtp_upernet',
        title="MTP's RVSA ViT-L under UPerNet, all of it trained, source only",
        builder='mtp_rvsa_large',
        arguments={},
        weights='mtp',
        schedule=_MTP,
    ),
    Method(
        name='mtp',
        title="MTP's RVSA ViT-L under Mask2Former, all of it trained, source only",
        builder='crossearth_rvsa_large',
        arguments={'restorer': None},
        published='MTP',
        weights='mtp',
    ),
    Method(
        name='crossearth_rvsa',
        title='Table 10: training of CrossEarth with the backbone of MTP',
        builder='crossearth_rvsa_large',
        arguments={'restorer': 'paper'},
        styled=True,
        masked=True,
        published='CrossEarth(RVSA)',
        table=_TABLE_10,
        sources=_ROADS,
        weights='mtp',
    ),
    Method(
        name='table8_rein',
        title='Table 8: Rein, 20,000 steps',
        builder='rein_vit_large',
        arguments={},
        stop=20_000,
        published='Rein',
        table=_TABLE_8,
        sources=_SUB,
    ),
    Method(
        name='table8_gse',
        title='Table 8: with GSE and injector, 20,000 steps',
        builder='crossearth_vit_large',
        arguments={'geospatial': True, 'restorer': None},
        stop=20_000,
        published='+GSE',
        table=_TABLE_8,
        sources=_SUB,
    ),
    Method(
        name='table8_gse_mim',
        title='Table 8: with GSE, injector and MIM, 20,000 steps',
        builder='crossearth_vit_large',
        arguments=_FULL,
        masked=True,
        stop=20_000,
        published='+GSE+MIM',
        table=_TABLE_8,
        sources=_SUB,
    ),
    Method(
        name='table8_gse_mim_style',
        title='Table 8: all parts, 20,000 steps',
        builder='crossearth_vit_large',
        arguments=_FULL,
        styled=True,
        masked=True,
        stop=20_000,
        published='+GSE+MIM+Style',
        table=_TABLE_8,
        sources=_SUB,
    ),
    Method(
        name='table9_linear',
        title='Table 9: a linear layer as the decoder of masked images',
        builder='crossearth_vit_large',
        arguments={'geospatial': True, 'restorer': 'linear'},
        styled=True,
        masked=True,
        published='MIM linear',
        table=_TABLE_9,
        sources=_SUB,
    ),
    Method(
        name='table13_mse',
        title='Table 13: MSE as the loss of masked images',
        builder='crossearth_vit_large',
        arguments=_FULL,
        styled=True,
        masked=True,
        mim_loss='mse',
        published='MSE',
        table=_TABLE_13,
        sources=_SUB,
    ),
)

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ALL})
"""Every method, by name.

The other rows of Tables 9, 10 and 13 are `rein`, `mtp` and `crossearth` themselves.
"""
