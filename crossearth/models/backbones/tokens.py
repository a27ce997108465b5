"""How timm's vision transformers turn an image into what their blocks take.

timm keeps this inside each family's `forward_features`, together with the loop over the blocks.
Here the loop is in `ReinViT`, where adapters stand between two blocks in plain sight; what is left
of each family is a few lines.
"""

from typing import Any

import torch
from jaxtyping import Float
from timm.models.beit import Beit
from timm.models.cait import Cait
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn

from crossearth.errors import ConfigError

__all__ = ['first_tokens', 'fixed_size', 'prefix_tokens', 'transformer_blocks']


def transformer_blocks(vit: nn.Module) -> list[nn.Module]:
    """The blocks of a transformer of a family that is known here.

    Raises:
        ConfigError: If the model is of another family.
    """
    blocks = getattr(vit, 'blocks', None)
    known = hasattr(vit, '_pos_embed') or isinstance(vit, Beit | Cait | VisionTransformerRelPos)
    if (
        not known
        or not isinstance(blocks, nn.Sequential | nn.ModuleList)
        or not len(blocks)
        or not hasattr(getattr(vit, 'patch_embed', None), 'feat_ratio')
        or not hasattr(vit, 'embed_dim')
    ):
        raise ConfigError(
            f'{type(vit).__name__} is not a timm vision transformer with blocks of patch tokens: '
            'pass a model of the VisionTransformer, Eva, Beit or CaiT families, or use TimmPyramid '
            'for convolutional and hierarchical models'
        )
    return list(blocks)


def prefix_tokens(vit: nn.Module) -> int:
    """How many class and register tokens stand before the patches in every block."""
    # CaiT's class token joins after the blocks, although timm counts it
    return 0 if isinstance(vit, Cait) else int(vit.num_prefix_tokens)  # type: ignore[arg-type]


def fixed_size(vit: nn.Module) -> tuple[int, int] | None:
    """Height and width in px of the only images that a transformer takes; None for any."""
    embed: Any = vit.patch_embed
    return tuple(embed.img_size) if embed.strict_img_size and embed.img_size else None


def first_tokens(
    vit: nn.Module, image: Float[Tensor, 'b c h w']
) -> tuple[Float[Tensor, 'b n d'], list[dict[str, Any]]]:
    """Tokens that enter the first block, and what each block takes besides.

    Args:
        vit: Transformer in eval mode: dropout of tokens is left out.
        image: Normalised images whose sides are multiples of the patch.

    Returns:
        Prefix and patch tokens, and the arguments of each block by name: rotary positions, or
        relative ones that all blocks share.

    Source:
        timm's `forward_intermediates` of each family.
    """
    timm: Any = vit  # its attributes are unknown to torch's types
    depth = len(timm.blocks)
    tokens = timm.patch_embed(image)
    if isinstance(vit, Cait):
        return tokens + timm.pos_embed, [{}] * depth
    if isinstance(vit, Beit | VisionTransformerRelPos):
        if timm.cls_token is not None:
            tokens = torch.cat([timm.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        if isinstance(vit, VisionTransformerRelPos):
            shared = None if timm.shared_rel_pos is None else timm.shared_rel_pos.get_bias()
            return tokens, [{'shared_rel_pos': shared}] * depth
        if timm.pos_embed is not None:
            tokens = tokens + timm.pos_embed
        shared = None if timm.rel_pos_bias is None else timm.rel_pos_bias()
        return tokens, [{'shared_rel_pos_bias': shared}] * depth
    placed = timm._pos_embed(tokens)
    tokens, rope = placed if isinstance(placed, tuple) else (placed, None)
    tokens = getattr(timm, 'norm_pre', nn.Identity())(tokens)
    if rope is None:
        return tokens, [{}] * depth
    mixed = getattr(timm, 'rope_mixed', False)  # then every block has its own
    return tokens, [{'rope': rope[layer] if mixed else rope} for layer in range(depth)]
