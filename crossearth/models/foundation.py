"""Functions that put models together on foundation encoders, from plain arguments.

Like those of `crossearth.models.builders`, these are builders: a weights file names one together
with its arguments. The encoder is chosen by name, either one of torchgeo's that `TORCHGEO_VITS` and
`TORCHGEO_SWINS` list, or any vision transformer that timm has.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.adapters.geospatial import GeospatialSemanticExtractor, Injector
from crossearth.models.adapters.rein import LoRARein
from crossearth.models.backbones.rein_vit import ReinViT
from crossearth.models.backbones.torchgeo_encoders import (
    TORCHGEO_SWINS,
    TORCHGEO_VITS,
    torchgeo_swin,
    torchgeo_vit,
)
from crossearth.models.crossearth import CrossEarth
from crossearth.models.decoders.fpn import FPNDecoder
from crossearth.models.decoders.mask2former import Mask2FormerDecoder
from crossearth.models.decoders.restorer import build_restorer
from crossearth.models.recording import builder
from crossearth.models.segmenter import Segmenter
from crossearth.models.timm_networks import band_statistics, plain_transformer
from crossearth.models.weights.pretrained import check_timm_name
from crossearth.models.weights.torchgeo_weights import find_weights, is_weights_name

__all__ = ['foundation_crossearth', 'foundation_fpn']


# many arguments: each family of encoders has its own, and so has what is built on it
@builder
def foundation_fpn(
    name: str,
    *,
    num_classes: int,
    in_channels: int | None = None,
    wavelengths_um: Sequence[float] | None = None,
    bandwidths_um: Sequence[float] | None = None,
    gsd_m: float | None = None,
    img_size: int | Sequence[int] | None = None,
    pretrained: bool | str = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    depth: int | None = None,
    adapt: bool = True,
    tokens: int = 100,
    rank: int = 16,
    width: int = 128,
) -> Segmenter:
    """A foundation encoder under an FPN: frozen transformers with LoRA-Rein, or trainable Swins.

    Args:
        name: Encoder of torchgeo (`dofa_base_patch16_224`, `copernicusfm_base`,
            `panopticon_vitb14`, `croma_base`, `scalemae_large_patch16`, `swin_v2_b`, …; see
            `list_encoders`), or vision transformer of timm (DINOv3, DINOv2, SAM, SigLIP, …).
        num_classes: Classes of the logits.
        in_channels: Bands of the images. The default is the number of wavelengths, or what the
            encoder or its published weights are for.
        wavelengths_um: Centre of each band in micrometres, in the order of the bands, such as
            (0.842, 0.665, 0.56) for infrared, red and green. DOFA, Copernicus-FM and Panopticon
            need them and accept any optical bands; other encoders do not take this argument.
        bandwidths_um: Width of each band in micrometres, for Copernicus-FM.
        gsd_m: Side of a pixel on the ground in metres. Scale-MAE needs it. Copernicus-FM works
            without it, and distinguishes pixel sizes from 2 m upwards. Use the model on images of
            that pixel size, and record it: `save_model(…, gsd_m=…)`.
        img_size: For timm's transformers, height and width in px that positions are built for
            (512 by default). Encoders of torchgeo take images of any size.
        pretrained: True for the published weights, downloaded once; the name of one of several that
            torchgeo publishes, such as `'Swin_V2_B_Weights.NAIP_RGB_SI_SATLAS'`; a path to a local
            file; False for random ones.
        mean: Mean per band, in [0, 1]. The default is what timm or Satlas used for three bands,
            otherwise ImageNet's, or their average if there are not three bands. To show a frozen
            encoder what it was pretrained on, give the values of its pretraining here.
        std: Standard deviation per band, likewise.
        depth: Keep only this many of the first blocks of a transformer; all by default.
        adapt: Whether Rein refines the features of a transformer; False trains the decoder alone.
        tokens: Rein tokens per layer.
        rank: Rank of the tokens.
        width: Width of the decoder.

    Returns:
        Model of images in [0, 1], of any size.

    Raises:
        ConfigError: If the encoder is unknown, or takes other arguments or bands.
        CheckpointError: If its weights cannot be loaded, or do not fit.

    Example:
        >>> model = foundation_fpn('dofa_small_patch16_224', num_classes=6, depth=2, width=32,
        ...                        wavelengths_um=(0.842, 0.665, 0.56, 0.49))
        >>> model.in_channels, sum(p.numel() for p in model.backbone.vit.parameters()) > 16e6
        (4, True)
    """
    encoder = _encoder(
        name,
        in_channels=in_channels,
        told={
            'wavelengths_um': wavelengths_um,
            'bandwidths_um': bandwidths_um,
            'gsd_m': gsd_m,
            'img_size': img_size,
            'depth': depth,
        },
        pretrained=pretrained,
        mean=mean,
        std=std,
    )
    backbone = encoder.network
    multiple_px = 32
    if not encoder.pyramid:
        # Built without an adapter first, to read off the depth and width that one needs.
        frozen = ReinViT(encoder.network, None)
        # The coarsest map has its exact stride only if the number of patches per side is even.
        multiple_px = 2 * frozen.patch_px[0]
        if adapt:
            # The FPN reads no queries; parameters that link them would never get a gradient.
            adapter = LoRARein(
                frozen.depth, frozen.channels[0], tokens=tokens, rank=rank, link_queries=False
            )
            frozen = ReinViT(frozen.vit, adapter)
        backbone = frozen
    decoder = FPNDecoder(backbone.channels, num_classes, width=width)
    return Segmenter(backbone, decoder, mean=encoder.mean, std=encoder.std, multiple_px=multiple_px)


# many arguments: all plain, since a model file records them by name
@builder
def foundation_crossearth(
    name: str,
    *,
    num_classes: int,
    in_channels: int | None = None,
    wavelengths_um: Sequence[float] | None = None,
    bandwidths_um: Sequence[float] | None = None,
    gsd_m: float | None = None,
    img_size: int | Sequence[int] | None = None,
    pretrained: bool | str = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    depth: int | None = None,
    geospatial: bool = True,
    restorer: Literal['paper', 'released', 'linear'] | None = 'paper',
    checkpointing: bool = False,
) -> CrossEarth:
    """CrossEarth on another foundation encoder: the whole method, with DINOv2 replaced.

    Transformers are frozen, with LoRA-Rein, the geospatial extractor and the injector. Swins are
    trained as a whole, as MTP's backbone is in `crossearth_rvsa_large`, and nothing is injected.

    Args:
        name: See `foundation_fpn`, as for all arguments up to `depth`.
        num_classes: Classes of the logits.
        in_channels: Bands of the images.
        wavelengths_um: Centre of each band in micrometres.
        bandwidths_um: Width of each band in micrometres.
        gsd_m: Side of a pixel on the ground in metres.
        img_size: Height and width in px that positions of timm's transformers are built for.
        pretrained: Weights of the encoder.
        mean: Mean per band, in [0, 1].
        std: Standard deviation per band, in [0, 1].
        depth: Keep only this many of the first blocks of a transformer.
        geospatial: Whether the extractor and injector take part, on transformers.
        restorer: What restores images in multi-task training, see `crossearth_vit_large`.
        checkpointing: Recompute blocks of a transformer in the backward pass, see `ReinViT`.

    Returns:
        Model of images in [0, 1], of any size.

    Raises:
        ConfigError: If the encoder is unknown, or takes other arguments or bands.
        CheckpointError: If its weights cannot be loaded, or do not fit.

    Source:
        CrossEarth, section 3; the encoder is yours.

    Example:
        >>> import torch
        >>> with torch.device('meta'):  # its shapes, without its numbers
        ...     model = foundation_crossearth('vit_large_patch16_dinov3.sat493m', num_classes=6)
        >>> model.backbone.prefix_tokens, round(model.mean.numel())
        (5, 3)
    """
    encoder = _encoder(
        name,
        in_channels=in_channels,
        told={
            'wavelengths_um': wavelengths_um,
            'bandwidths_um': bandwidths_um,
            'gsd_m': gsd_m,
            'img_size': img_size,
            'depth': depth,
        },
        pretrained=pretrained,
        mean=mean,
        std=std,
    )
    bands = len(encoder.mean)
    backbone = encoder.network
    multiple_px = 32
    if not encoder.pyramid:
        plain = ReinViT(encoder.network, None)
        dim = plain.channels[0]
        multiple_px = 2 * plain.patch_px[0]
        backbone = ReinViT(
            plain.vit,
            LoRARein(plain.depth, dim),
            extractor=GeospatialSemanticExtractor(bands) if geospatial else None,
            injector=Injector(dim) if geospatial else None,
            checkpointing=checkpointing,
        )
    decoder = Mask2FormerDecoder(backbone.channels, num_classes, link_queries=not encoder.pyramid)
    return CrossEarth(
        backbone,
        decoder,
        build_restorer(restorer, backbone.channels, bands),
        mean=encoder.mean,
        std=encoder.std,
        multiple_px=multiple_px,
    )


class _Encoder(NamedTuple):
    """A built encoder, a transformer for `ReinViT` or a pyramid, and how images are normalised."""

    network: Any
    pyramid: bool
    mean: list[float]
    std: list[float]


def _encoder(
    name: str,
    *,
    in_channels: int | None,
    told: dict[str, Any],
    pretrained: bool | str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> _Encoder:
    """Build an encoder by name; an argument that it does not take is an error."""
    given = {argument: value for argument, value in told.items() if value is not None}
    if in_channels is None and is_weights_name(pretrained):
        in_channels = find_weights(str(pretrained)).meta.get('in_chans')
    if name in TORCHGEO_VITS:
        _refuse(name, given, {'img_size'}, 'it takes images of any size')
        vit = torchgeo_vit(name, in_channels=in_channels, pretrained=pretrained, **given)
        return _Encoder(vit, False, *band_statistics(vit.in_channels, mean, std))
    if name in TORCHGEO_SWINS:
        _refuse(
            name,
            given,
            set(told),
            'it is built whole, and takes images of any size and of in_channels bands',
        )
        bands = 3 if in_channels is None else in_channels
        swin = torchgeo_swin(name, in_channels=bands, pretrained=pretrained)
        if name.startswith('swin_v2'):  # Satlas only divides by the largest value
            mean = [0.0] * bands if mean is None else mean
            std = [1.0] * bands if std is None else std
        return _Encoder(swin, True, *band_statistics(bands, mean, std))
    check_timm_name(name, others=[*TORCHGEO_VITS, *TORCHGEO_SWINS])
    _refuse(
        name,
        given,
        {'wavelengths_um', 'bandwidths_um', 'gsd_m'},
        "its patches do not depend on them; torchgeo's encoders that take them are listed by "
        'list_encoders() (crossearth models list)',
    )
    bands = 3 if in_channels is None else in_channels
    network: Any = plain_transformer(
        name,
        img_size=given.get('img_size', 512),
        in_channels=bands,
        pretrained=pretrained,
    )
    _shorten(name, network, given.get('depth'))
    settings = network.pretrained_cfg
    if bands == 3 and not is_weights_name(pretrained):
        mean = settings['mean'] if mean is None else mean
        std = settings['std'] if std is None else std
    return _Encoder(network, False, *band_statistics(bands, mean, std))


def _refuse(name: str, given: dict[str, Any], refused: set[str], reason: str) -> None:
    for argument in given:
        if argument in refused:
            raise ConfigError(
                f'{name} takes no {argument}, got {given[argument]}: leave it out, because {reason}'
            )


def _shorten(name: str, vit: nn.Module, depth: int | None) -> None:
    """Keep the first blocks of a timm transformer."""
    blocks: Any = getattr(vit, 'blocks', ())
    if depth is None or not blocks:  # what is no plain transformer is refused elsewhere
        return
    if not 1 <= depth <= len(blocks):
        raise ConfigError(f'depth is {depth}: expected 1 to {len(blocks)}, the blocks of {name}')
    vit.blocks = blocks[:depth]
