"""The encoder of MTP: an RVSA ViT-L, with its published weights or random ones."""

from collections.abc import Sequence

from crossearth.errors import ConfigError
from crossearth.models.backbones.rvsa import RVSA, load_mtp, rvsa_vit_large
from crossearth.models.weights.pretrained import check_pretrained

__all__ = ['mtp_encoder']


def mtp_encoder(
    pretrained: bool | str,
    *,
    img_size: int | Sequence[int],
    in_channels: int,
    drop_path: float,
    checkpointing: bool,
) -> RVSA:
    """`rvsa_vit_large` with the weights of an MTP file.

    Args:
        pretrained: Path to an MTP file, or False for random weights; no hub offers them.
        img_size: See `rvsa_vit_large`.
        in_channels: Bands of the images.
        drop_path: Largest share of samples that skip a block during training.
        checkpointing: Recompute blocks in the backward pass, to save memory.

    Raises:
        CheckpointError: If weights cannot be loaded, or do not fit.
        ConfigError: If an argument does not fit another.
    """
    check_pretrained(pretrained)
    if pretrained is True:
        raise ConfigError(
            'pretrained=True, but MTP publishes no file that can be fetched by name: download its '
            "RVSA ViT-L encoder and pass its path as pretrained='…'"
        )
    encoder = rvsa_vit_large(
        img_size=img_size,
        in_channels=in_channels,
        drop_path=drop_path,
        checkpointing=checkpointing,
    )
    if pretrained is not False:
        load_mtp(encoder, pretrained)
    return encoder
