"""The encoders of torchgeo that can be built by name, with their weights.

The names are a closed list: a name in a model's file chooses among them and imports nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.backbones.tokens import TokenEncoder
from crossearth.models.backbones.torchgeo_vits import (
    CopernicusFMEncoder,
    CROMAEncoder,
    DOFAEncoder,
    PanopticonEncoder,
    ScaleMAEEncoder,
)
from crossearth.models.backbones.torchvision_swin import SwinPyramid
from crossearth.models.backbones.wavelengths import check_bandwidths, check_wavelengths
from crossearth.models.weights.fitting import fit_weights
from crossearth.models.weights.pretrained import adapt_bands, check_pretrained
from crossearth.models.weights.reading import read_entries
from crossearth.models.weights.torchgeo_weights import (
    fetch_weights,
    find_weights,
    is_weights_name,
    torchgeo_models,
)

__all__ = ['TORCHGEO_SWINS', 'TORCHGEO_VITS', 'TorchgeoEncoder', 'torchgeo_swin', 'torchgeo_vit']


@dataclass(frozen=True, slots=True)
class TorchgeoEncoder:
    """What is known about an encoder before it is built.

    Args:
        kind: Family, which determines what it needs to know about bands and pixels.
        weights: torchgeo's enum of its published weights, or None if there are none.
        takes: Which of `wavelengths_um`, `bandwidths_um` and `gsd_m` it needs or can use.
        bands: Numbers of bands that it can be built for; None for any.
        paper: Where it was published.
    """

    kind: Literal['dofa', 'copernicus', 'panopticon', 'croma', 'scalemae', 'swin']
    weights: str | None
    takes: tuple[str, ...]
    bands: tuple[int, ...] | None
    paper: str


def _dofa(weights: str | None) -> TorchgeoEncoder:
    return TorchgeoEncoder('dofa', weights, ('wavelengths_um',), None, 'DOFA (arXiv 2403.15356)')


def _croma(weights: str) -> TorchgeoEncoder:
    return TorchgeoEncoder('croma', weights, (), (12, 2), 'CROMA (arXiv 2311.00566)')


def _swin(weights: str, paper: str) -> TorchgeoEncoder:
    return TorchgeoEncoder('swin', weights, (), None, paper)


_SWIN = 'Swin (arXiv 2103.14030)'
_SATLAS = 'Swin v2 (arXiv 2111.09883); Satlas (arXiv 2211.15660)'

TORCHGEO_VITS: Mapping[str, TorchgeoEncoder] = {
    'dofa_small_patch16_224': _dofa(None),
    'dofa_base_patch16_224': _dofa('DOFABase16_Weights'),
    'dofa_large_patch16_224': _dofa('DOFALarge16_Weights'),
    'dofa_huge_patch14_224': _dofa(None),
    'copernicusfm_base': TorchgeoEncoder(
        'copernicus',
        'CopernicusFM_Base_Weights',
        ('wavelengths_um', 'bandwidths_um', 'gsd_m'),
        None,
        'Copernicus-FM (arXiv 2503.11849)',
    ),
    'panopticon_vitb14': TorchgeoEncoder(
        'panopticon',
        'Panopticon_Weights',
        ('wavelengths_um',),
        None,
        'Panopticon (arXiv 2503.10845)',
    ),
    'croma_base': _croma('CROMABase_Weights'),
    'croma_large': _croma('CROMALarge_Weights'),
    'scalemae_large_patch16': TorchgeoEncoder(
        'scalemae', 'ScaleMAELarge16_Weights', ('gsd_m',), None, 'Scale-MAE (arXiv 2212.14532)'
    ),
}
"""torchgeo's vision transformers by name, as `torchgeo_vit` builds them."""

TORCHGEO_SWINS: Mapping[str, TorchgeoEncoder] = {
    'swin_t': _swin('Swin_T_Weights', _SWIN),
    'swin_s': _swin('Swin_S_Weights', _SWIN),
    'swin_b': _swin('Swin_B_Weights', _SWIN),
    'swin_v2_t': _swin('Swin_V2_T_Weights', _SATLAS),
    'swin_v2_b': _swin('Swin_V2_B_Weights', _SATLAS),
}
"""torchgeo's Swin transformers by name, as `torchgeo_swin` builds them."""

_UNUSED = (  # heads, final norms and branches that segmentation does not use
    *('head.', 'norm.', 'fc_norm.', 'mask_token', 'pos_embed', 'patch_embed_variable.'),
    *('transformer.norm_out.', 'projector.'),
)


def torchgeo_vit(
    name: str,
    *,
    in_channels: int | None = None,
    wavelengths_um: Sequence[float] | None = None,
    bandwidths_um: Sequence[float] | None = None,
    gsd_m: float | None = None,
    pretrained: bool | str | Path = False,
    depth: int | None = None,
) -> TokenEncoder:
    """A torchgeo vision transformer for `ReinViT`, for images of any size.

    Args:
        name: One of `TORCHGEO_VITS`.
        in_channels: Bands of the images; by default as many as there are wavelengths, or what the
            encoder was published for. CROMA takes the 12 bands of Sentinel-2 level 2A, or VV and VH
            of Sentinel-1; its published weights hold both branches.
        wavelengths_um: Centre of each band in micrometres. DOFA, Copernicus-FM and Panopticon read
            any optical bands by their wavelengths.
        bandwidths_um: Width of each band in micrometres, for Copernicus-FM.
        gsd_m: Side of a pixel on the ground in metres. Scale-MAE needs it. Copernicus-FM works
            without it, and distinguishes pixel sizes from 2 m upwards.
        pretrained: True for torchgeo's weights, downloaded once; their name, such as
            `'DOFABase16_Weights.DOFA_MAE'`; a path to their file; False for random ones.
        depth: Keep only this many of the first blocks; all by default.

    Returns:
        The encoder, without its head and final norm.

    Raises:
        ConfigError: If there is no such encoder, or it takes other arguments or bands.
        CheckpointError: If the weights cannot be loaded, or do not fit.

    Example:
        >>> import torch
        >>> vit = torchgeo_vit('dofa_small_patch16_224', wavelengths_um=(0.842, 0.665, 0.56),
        ...                    depth=2)
        >>> tokens, _ = vit.first_tokens(torch.zeros(1, 3, 64, 96))
        >>> tokens.shape
        torch.Size([1, 25, 384])
    """
    facts = _known(name, TORCHGEO_VITS, 'torchgeo_vit')
    told = {'wavelengths_um': wavelengths_um, 'bandwidths_um': bandwidths_um, 'gsd_m': gsd_m}
    for argument, value in told.items():
        if value is not None and argument not in facts.takes:
            raise ConfigError(
                f'{name} takes no {argument}, got {value}: leave it out'
                + (f'; it takes {", ".join(facts.takes)}' if facts.takes else '')
            )
    source = _source(name, facts, pretrained)
    build = getattr(torchgeo_models(), name)
    bands = _bands(name, facts, in_channels, wavelengths_um)
    encoder: TokenEncoder
    if facts.kind == 'croma':
        modality = 'optical' if bands == 12 else 'sar'
        # for one patch, because torchgeo computes attention biases pair by pair, taking minutes
        encoder = CROMAEncoder(build(modalities=[modality], image_size=16))
    elif facts.kind == 'scalemae':
        if gsd_m is None or not 0 < gsd_m < 1e5:
            raise ConfigError(
                f'gsd_m is {gsd_m}, but {name} places patches by metres on the ground: pass the '
                'side of a pixel in metres, such as gsd_m=0.5'
            )
        encoder = ScaleMAEEncoder(build(img_size=224, in_chans=bands, num_classes=0), gsd_m)
    else:
        encoder = _by_wavelength(name, facts, build, bands, told)
    if depth is not None:
        if not 1 <= depth <= len(encoder.blocks):
            raise ConfigError(
                f'depth is {depth}: expected 1 to {len(encoder.blocks)}, the blocks of {name}'
            )
        encoder.blocks = nn.ModuleList(list(encoder.blocks)[:depth])
    if source is not None:
        branch = ('s2_encoder' if bands == 12 else 's1_encoder') if facts.kind == 'croma' else None
        _load(encoder, source, bands=bands, branch=branch)
    return encoder


def torchgeo_swin(
    name: str, *, in_channels: int = 3, pretrained: bool | str | Path = False
) -> SwinPyramid:
    """A torchgeo Swin transformer as a pyramid, for images of any size.

    Args:
        name: One of `TORCHGEO_SWINS`.
        in_channels: Bands of the images.
        pretrained: The name of weights that torchgeo publishes for it and for these bands, such as
            `'Swin_V2_B_Weights.NAIP_RGB_SI_SATLAS'`; a path to their file; False for random ones.

    Returns:
        The backbone. All of it trains.

    Raises:
        ConfigError: If there is no such encoder, or its weights are for other bands.
        CheckpointError: If the weights cannot be loaded, or do not fit.

    Example:
        >>> torchgeo_swin('swin_v2_t', in_channels=9).channels
        (96, 192, 384, 768)
    """
    facts = _known(name, TORCHGEO_SWINS, 'torchgeo_swin')
    if in_channels < 1:
        raise ConfigError(f'in_channels is {in_channels}: expected at least one band')
    source = _source(name, facts, pretrained)
    if is_weights_name(source):
        find_weights(str(source), bands=in_channels)
    swin: Any
    if name == 'swin_b':  # torchgeo's weights have windows of 12, torchvision's model has 7
        from torchvision.models import SwinTransformer

        swin = SwinTransformer(
            [4, 4], 128, [2, 2, 18, 2], [4, 8, 16, 32], [12, 12], stochastic_depth_prob=0.5
        )
    else:
        swin = getattr(torchgeo_models(), name)()
    if in_channels != 3:
        stem = swin.features[0][0]
        swin.features[0][0] = nn.Conv2d(in_channels, stem.out_channels, 4, 4)
    backbone = SwinPyramid(swin)
    if source is not None:
        _load(backbone, source, bands=in_channels)
    return backbone


def _known(name: str, encoders: Mapping[str, TorchgeoEncoder], function: str) -> TorchgeoEncoder:
    if name not in encoders:
        raise ConfigError(f'{function} has no {name!r}: expected one of {", ".join(encoders)}')
    return encoders[name]


def _bands(
    name: str,
    facts: TorchgeoEncoder,
    in_channels: int | None,
    wavelengths_um: Sequence[float] | None,
) -> int:
    """The number of bands of the images, if the encoder can be built for it."""
    if 'wavelengths_um' in facts.takes:
        return len(check_wavelengths(wavelengths_um, encoder=name, bands=in_channels))
    if in_channels is None:
        return facts.bands[0] if facts.bands else 3
    if facts.bands is not None and in_channels not in facts.bands:
        raise ConfigError(
            f'{name} takes {" or ".join(map(str, facts.bands))} bands, got {in_channels}: use the '
            '12 bands of Sentinel-2 level 2A (B1 to B12 with B8A, without B10), or VV and VH of '
            'Sentinel-1; DOFA, Copernicus-FM and Panopticon take any optical bands'
        )
    return in_channels


def _by_wavelength(
    name: str,
    facts: TorchgeoEncoder,
    build: Callable[..., nn.Module],
    bands: int,
    told: Mapping[str, Any],
) -> TokenEncoder:
    """An encoder that reads bands by their wavelengths, with positions as in its weights."""
    wavelengths = check_wavelengths(told['wavelengths_um'], encoder=name)
    if facts.kind == 'panopticon':
        return PanopticonEncoder(build(img_size=518), wavelengths)
    if facts.kind == 'dofa':
        return DOFAEncoder(build(num_classes=0), wavelengths)
    widths = check_bandwidths(told['bandwidths_um'], encoder=name, bands=bands)
    gsd_m = told['gsd_m']
    if gsd_m is not None and not 2.0 <= gsd_m <= 1e5:
        raise ConfigError(
            f'gsd_m is {gsd_m}: {name} distinguishes only patches of 0.001 km² or more, which are '
            'pixels of 2 m or more; leave gsd_m out for finer ones, so that it counts as unknown'
        )
    return CopernicusFMEncoder(build(), wavelengths, widths, gsd_m)


def _source(name: str, facts: TorchgeoEncoder, pretrained: bool | str | Path) -> str | Path | None:
    """The source of weights: the name of published ones, a path, or None for random ones."""
    check_pretrained(pretrained)
    if pretrained is False:
        return None
    if pretrained is not True and not is_weights_name(pretrained):
        return pretrained
    if facts.weights is None:
        raise ConfigError(
            f'torchgeo publishes no weights for {name}: pass the path of a file, or '
            'pretrained=False for random ones'
        )
    published = [
        f'{facts.weights}.{member}'
        for member in getattr(torchgeo_models(), facts.weights).__members__
    ]
    if pretrained is True and len(published) == 1:
        return published[0]
    if pretrained not in published:
        raise ConfigError(
            f'pretrained={pretrained!r} does not name weights of {name}: expected one of '
            f'{", ".join(published)}'
        )
    return pretrained


def _load(encoder: nn.Module, source: str | Path, *, bands: int, branch: str | None = None) -> None:
    """Load published weights, or those of a file, into an encoder, in place."""
    if is_weights_name(source):
        state = fetch_weights(find_weights(str(source), bands=bands))
        state = state if branch is None else state[branch]
    else:
        state = read_entries(source, under=() if branch is None else (branch,))[0]
    wanted = encoder.state_dict()
    kept = {}
    for published, tensor in state.items():
        name = re.sub(r'^transformer\.layers\.', 'blocks.', published)  # CROMA's
        block = re.match(r'blocks\.(\d+)\.', name)
        if block and int(block[1]) >= len(encoder.blocks):  # type: ignore[arg-type]  # a ModuleList
            continue
        kept[name] = tensor
    stem = 'features.0.0.weight' if 'features.0.0.weight' in wanted else 'patch_embed.proj.weight'
    if stem in kept and stem in wanted and kept[stem].ndim == 4:  # Panopticon's is linear
        kept[stem] = adapt_bands(kept[stem], wanted[stem].shape[1])

    def optional(name: str) -> bool:
        return name.startswith(_UNUSED) and name not in wanted

    fit_weights(encoder, kept, source=source, optional=optional)
