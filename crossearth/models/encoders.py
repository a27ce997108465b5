"""A summary of each foundation encoder: its arguments, its size, and who published its weights."""

from dataclasses import dataclass
from typing import Any

import timm

from crossearth.models.backbones.rein_vit import ReinViT
from crossearth.models.backbones.torchgeo_encoders import (
    TORCHGEO_SWINS,
    TORCHGEO_VITS,
    TorchgeoEncoder,
)
from crossearth.models.foundation import foundation_fpn
from crossearth.models.meta import without_weights
from crossearth.models.weights.torchgeo_weights import torchgeo_models

__all__ = ['EncoderSummary', 'list_encoders']

_TABLE = "torchgeo's table of weights (docs/api/weights of its repository)"
_CARD = "timm's configuration of the model (license)"
_LICENCES = {  # as in torchgeo's table; where the card on the hub differs, both are named
    'dofa': 'CC-BY-4.0',
    'copernicus': 'CC-BY-4.0',
    'panopticon': 'Apache-2.0',
    'croma': 'CC-BY-4.0; the card of torchgeo/croma on the Hugging Face hub says MIT',
    'scalemae': 'CC-BY-NC-4.0',
    'swin_v2': 'ODC-BY; the card of torchgeo/satlas on the Hugging Face hub says Apache-2.0',
    'swin': 'CC-BY-NC-4.0',
}
_TORCHGEO_TIMM = {  # timm's models that torchgeo publishes weights for, and its enums
    'vit_small_patch16_224': 'ViTSmall16_Weights',
    'vit_base_patch16_224': 'ViTBase16_Weights',
    'vit_large_patch16_224': 'ViTLarge16_Weights',
    'vit_huge_patch14_224': 'ViTHuge14_Weights',
    'vit_small_patch14_dinov2': 'ViTSmall14_DINOv2_Weights',
    'vit_base_patch14_dinov2': 'ViTBase14_DINOv2_Weights',
}
_TIMM = (
    'vit_small_patch16_dinov3.lvd1689m',
    'vit_large_patch16_dinov3.lvd1689m',
    'vit_large_patch16_dinov3.sat493m',
    'vit_7b_patch16_dinov3.sat493m',
    'vit_giant_patch14_dinov2.lvd142m',
    'samvit_base_patch16.sa1b',
    'samvit_large_patch16.sa1b',
    'samvit_huge_patch16.sa1b',
    'vit_base_patch16_siglip_512.v2_webli',
    'vit_so400m_patch14_siglip_378.v2_webli',
)


@dataclass(frozen=True, slots=True)
class EncoderSummary:
    """One encoder that `foundation_fpn` and `foundation_crossearth` build by name.

    Args:
        name: What to pass as `name`.
        library: `torchgeo` or `timm`.
        parameters: Number of parameters of the encoder, without adapter and decoder.
        finest_stride_px: Stride of the finest of the four maps; each further map is twice as
            coarse.
        takes: Arguments in addition to the name; those in brackets are optional.
        bands: Bands of the images that it can be built for, in words.
        trained_on: Bands that published weights are for, in words.
        weights: What `pretrained` accepts. The path of a local file is always possible.
        licence: Licence of the published weights, or `'-'` where there are none.
        licence_source: Where the licence is stated.
    """

    name: str
    library: str
    parameters: int
    finest_stride_px: float
    takes: tuple[str, ...]
    bands: str
    trained_on: str
    weights: tuple[str, ...]
    licence: str
    licence_source: str


def list_encoders() -> list[EncoderSummary]:
    """Every foundation encoder of this library, with its size counted on the encoder itself.

    timm has more vision transformers than are listed, and the builders take them all. Encoders are
    built on torch's meta device, which gives their shapes without allocating their weights.

    Returns:
        One summary for each encoder, those of torchgeo first.

    Example:
        >>> for encoder in list_encoders():
        ...     if encoder.name == 'dofa_base_patch16_224':
        ...         print(encoder.takes, encoder.licence, encoder.weights)
        ('wavelengths_um',) CC-BY-4.0 ('DOFABase16_Weights.DOFA_MAE',)
    """
    known = [_torchgeo(name, facts) for name, facts in (TORCHGEO_VITS | TORCHGEO_SWINS).items()]  # type: ignore[operator]  # both are dictionaries
    known += [_published(name, enum) for name, enum in _TORCHGEO_TIMM.items()]
    return known + [_timm(name) for name in _TIMM]


def _size(name: str, **arguments: Any) -> tuple[int, float]:
    """Parameters of an encoder, and the stride of the finest map that is read from it."""
    with without_weights():
        model = foundation_fpn(name, num_classes=2, adapt=False, **arguments)
    parameters = sum(p.numel() for p in model.backbone.parameters())  # type: ignore[attr-defined]  # a module, as all backbones here
    backbone = model.backbone
    # ReinViT enlarges its finest map four times.
    return parameters, backbone.patch_px[0] / 4 if isinstance(backbone, ReinViT) else 4.0


def _torchgeo(name: str, facts: TorchgeoEncoder) -> EncoderSummary:
    told: dict[str, Any] = {
        'wavelengths_um': (0.665, 0.56, 0.49),
        'bandwidths_um': (0.031, 0.036, 0.066),
        'gsd_m': 10.0,
    }
    parameters, stride = _size(name, **{argument: told[argument] for argument in facts.takes})
    optional = {'gsd_m'} if facts.kind == 'copernicus' else set()
    members = _members(facts.weights)
    bands = 'any (in_channels)'
    if 'wavelengths_um' in facts.takes:
        bands = 'any optical ones, by wavelength'
    elif facts.bands is not None:
        bands = ' or '.join(map(str, facts.bands))
    family = 'swin_v2' if name.startswith('swin_v2') else facts.kind
    return EncoderSummary(
        name=name,
        library='torchgeo',
        parameters=parameters,
        finest_stride_px=stride,
        takes=tuple(f'[{name}]' if name in optional else name for name in facts.takes),
        bands=bands,
        trained_on=_trained_on(facts, members),
        weights=tuple(members),
        licence=_LICENCES[family] if members else '-',
        licence_source=_TABLE if members else '-',
    )


def _trained_on(facts: TorchgeoEncoder, members: dict[str, Any]) -> str:
    if not members:
        return '-'
    if 'wavelengths_um' in facts.takes:
        return 'several sensors'
    if facts.kind == 'croma':
        return '12 of Sentinel-2 (level 2A); 2 of Sentinel-1'
    return _counts(members)


def _published(name: str, enum: str) -> EncoderSummary:
    parameters, stride = _size(name)
    members = _members(enum)
    return EncoderSummary(
        name=name,
        library='timm',
        parameters=parameters,
        finest_stride_px=stride,
        takes=('[img_size]',),
        bands='any (in_channels)',
        trained_on=_counts(members),
        weights=tuple(members),
        licence='CC-BY-4.0; of Landsat (SSL4EO-L) CC0-1.0; CLOSP OpenRAIL',
        licence_source=_TABLE,
    )


def _timm(name: str) -> EncoderSummary:
    parameters, stride = _size(name)
    config: Any = timm.get_pretrained_cfg(name)
    return EncoderSummary(
        name=name,
        library='timm',
        parameters=parameters,
        finest_stride_px=stride,
        takes=('[img_size]',),
        bands='any (in_channels)',
        trained_on='red, green, blue',
        weights=('True',),
        licence=str(config.license),
        licence_source=_CARD,
    )


def _members(enum: str | None) -> dict[str, Any]:
    """Published weights by the name that `pretrained` takes."""
    if enum is None:
        return {}
    found = getattr(torchgeo_models(), enum).__members__
    return {f'{enum}.{member}': weights for member, weights in found.items()}


def _counts(members: dict[str, Any]) -> str:
    counts = sorted({int(weights.meta['in_chans']) for weights in members.values()})
    return ', '.join(map(str, counts))
