"""A summary of each model of this library: its parts, its size and where it was published."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.backbones import ReinViT
from crossearth.models.meta import without_weights
from crossearth.models.recording import own_builders
from crossearth.models.segmenter import Segmenter
from crossearth.models.weights.released import CrossEarth_Weights

__all__ = ['ModelSummary', 'list_models']


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model of this library.

    Args:
        name: Builder function of `crossearth.models`.
        backbone: timm's name of the backbone, or the library's.
        adapter: Classes that refine its features, joined by a plus sign; None where there are none.
        decoder: Class of the decoder.
        parameters: Number of all parameters, for the number of classes that was asked for.
        trained_parameters: Number of those that training changes.
        input: Images that it is built for, as bands and size in px. All take other bands, too.
        paper: Where it was published.
        weights: Where trained or pretrained weights come from.
        arguments: What the builder was given in addition to the backbone and the classes.
    """

    name: str
    backbone: str
    adapter: str | None
    decoder: str
    parameters: int
    trained_parameters: int
    input: str
    paper: str
    weights: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What cannot be read off a built model."""

    backbone: str
    input: str
    paper: str
    weights: tuple[str, ...]
    name: str | None = None
    adapter: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


_CROSSEARTH = 'CrossEarth (arXiv 2410.22629)'
_REIN = 'Rein (arXiv 2312.04265)'
_ANY_SIZE = '3 bands, 512 px or any other size'
_TIMM = "timm's backbone (pretrained=True or a file)"
_SMP = "segmentation_models_pytorch's encoder (pretrained=True or a file)"
_MTP = "MTP's RVSA ViT-L (pretrained='…', a file)"
_FREE_SIZE = '3 bands, any size'
_FOUNDATION = "timm's or torchgeo's encoder (pretrained=True, a name of torchgeo's, or a file)"
_PUBLISHED = tuple(f'CrossEarth_Weights.{weights.name}' for weights in CrossEarth_Weights)

_FACTS = {
    'crossearth_vit_small': _Facts('vit_small_patch14_dinov2', _ANY_SIZE, _CROSSEARTH, (_TIMM,)),
    'crossearth_vit_base': _Facts('vit_base_patch14_dinov2', _ANY_SIZE, _CROSSEARTH, (_TIMM,)),
    'crossearth_vit_large': _Facts(
        'vit_large_patch14_dinov2', _ANY_SIZE, _CROSSEARTH, (*_PUBLISHED, _TIMM)
    ),
    'crossearth_rvsa_large': _Facts(
        'rvsa_vit_large',
        '3 bands, 1024 px or any other size',
        f'{_CROSSEARTH}; MTP (arXiv 2403.13430)',
        (_MTP,),
    ),
    'rein_vit_large': _Facts('vit_large_patch14_dinov2', _ANY_SIZE, _REIN, (*_PUBLISHED, _TIMM)),
    'frozen_vit_large': _Facts('vit_large_patch14_dinov2', _ANY_SIZE, _CROSSEARTH, (_TIMM,)),
    'rein_vit_fpn': _Facts(
        'vit_small_patch16_dinov3, or another transformer of timm',
        _ANY_SIZE,
        f'{_REIN}; FPN (arXiv 1612.03144)',
        (_TIMM,),
        name='vit_small_patch16_dinov3',
    ),
    'daformer_mit_b5': _Facts('mit_b5', _FREE_SIZE, 'DAFormer (arXiv 2111.14887)', (_SMP,)),
    'hrda_mit_b5': _Facts('mit_b5', _ANY_SIZE, 'HRDA (arXiv 2204.13949)', (_SMP,)),
    'deeplabv2_resnet101': _Facts(
        'resnet101', _FREE_SIZE, 'DeepLab v2 (arXiv 1606.00915)', (_TIMM,)
    ),
    'deeplabv3_resnet101': _Facts(
        'resnet101', _FREE_SIZE, 'DeepLab v3 (arXiv 1706.05587)', (_TIMM,)
    ),
    'mtp_rvsa_large': _Facts(
        'rvsa_vit_large',
        _ANY_SIZE,
        'MTP (arXiv 2403.13430); UPerNet (arXiv 1807.10221)',
        (_MTP,),
    ),
    'foundation_fpn': _Facts(
        'vit_large_patch16_dinov3.sat493m, or another encoder of list_encoders()',
        'bands by wavelength where the encoder takes them, any size',
        f'{_REIN}; FPN (arXiv 1612.03144)',
        (_FOUNDATION,),
        name='vit_large_patch16_dinov3.sat493m',
    ),
    'foundation_crossearth': _Facts(
        'vit_large_patch16_dinov3.sat493m, or another encoder of list_encoders()',
        'bands by wavelength where the encoder takes them, any size',
        _CROSSEARTH,
        (_FOUNDATION,),
        name='vit_large_patch16_dinov3.sat493m',
    ),
    'fpn_timm': _Facts(
        'resnet18, or another CNN or hierarchical transformer of timm',
        _FREE_SIZE,
        'FPN (arXiv 1612.03144)',
        (_TIMM,),
    ),
}

# Shown on the one foundation encoder that is both small and hierarchical.
_ADAPTED = {
    'frozen': (None, 'FPN (arXiv 1612.03144)'),
    'full': (None, 'FPN (arXiv 1612.03144)'),
    'lora': ('LoRA', 'LoRA (arXiv 2106.09685)'),
    'soma': ('SoMA', 'SoMA (arXiv 2412.04077)'),
    'rein': ('Rein', _REIN),
    'lora_rein': ('LoRARein', _REIN),
    'earth': ('EarthAdapter', 'Earth-Adapter (arXiv 2504.06220)'),
    'gate': ('Gate', 'CrossEarth-Gate (arXiv 2511.20302)'),
}


def list_models(num_classes: int = 6) -> list[ModelSummary]:
    """Every model that has a builder in this library, with its size counted on the model itself.

    Models are built on torch's meta device, which gives their shapes without allocating weights.

    Args:
        num_classes: Classes of the logits.

    Returns:
        One summary for each builder, in the order of their names; `adapted_fpn` has one for each
        adapter.

    Raises:
        ConfigError: If the number of classes is not positive.

    Example:
        >>> for model in list_models(5):
        ...     if model.name == 'rein_vit_large':
        ...         print(model.adapter, model.decoder, model.trained_parameters)
        LoRARein Mask2FormerDecoder 23566279
    """
    if num_classes < 1:
        raise ConfigError(f'num_classes is {num_classes}: expected at least 1')
    return [
        _summary(name, facts, num_classes)
        for name in own_builders()
        for facts in ([_FACTS[name]] if name in _FACTS else _adapted_facts())
    ]


def _adapted_facts() -> list[_Facts]:
    """One set of facts for each adapter of `adapted_fpn`."""
    return [
        _Facts(
            'tiny_vit_5m_224, or another network of timm',
            '3 bands, any size, or one size for networks that are built for one',
            paper,
            (_TIMM,),
            name='tiny_vit_5m_224',
            adapter=adapter,
            arguments={'adapter': name},
        )
        for name, (adapter, paper) in _ADAPTED.items()
    ]


def _summary(name: str, facts: _Facts, num_classes: int) -> ModelSummary:
    build: Callable[..., nn.Module] = own_builders()[name]
    given = facts.arguments if facts.name is None else {'name': facts.name, **facts.arguments}
    with without_weights():
        model = build(num_classes=num_classes, **given)
    assert isinstance(model, Segmenter)
    parts: list[str] = [] if facts.adapter is None else [facts.adapter]
    if isinstance(model.backbone, ReinViT):
        found = (model.backbone.adapter, model.backbone.injector)
        parts = [type(part).__name__ for part in found if part is not None]
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return ModelSummary(
        name=name,
        backbone=facts.backbone,
        adapter=' + '.join(parts) or None,
        decoder=type(model.decoder).__name__,
        parameters=sum(count for count, _ in counts),
        trained_parameters=sum(count for count, trained in counts if trained),
        input=facts.input,
        paper=facts.paper,
        weights=facts.weights,
        arguments=facts.arguments,
    )
