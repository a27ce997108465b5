"""How vision transformers turn an image into what their blocks take.

timm keeps this inside each family's `forward_features`, together with the loop over the blocks.
Here `ReinViT` has the loop, so that adapters can run between two blocks. What remains for each
family is a few lines. Transformers of other libraries become a `TokenEncoder`.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from timm.layers.pos_embed import resample_abs_pos_embed_nhwc
from timm.models.beit import Beit
from timm.models.cait import Cait
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError

__all__ = [
    'SAMEncoder',
    'TokenEncoder',
    'first_tokens',
    'fixed_size',
    'patch_size',
    'prefix_tokens',
    'transformer_blocks',
]


class TokenEncoder(nn.Module):
    """A vision transformer from another library than timm, in the form that `ReinViT` needs.

    A subclass sets the attributes and implements `first_tokens`. It takes images of any size that
    is a multiple of the patch.

    Attributes:
        blocks: Transformer blocks in order; each maps tokens (b, n, d) to the same shape.
        embed_dim: Width of the tokens, d.
        patch_px: Height and width of a patch.
        num_prefix_tokens: Class and register tokens in front of the patches.
        in_channels: Bands of the images.
    """

    blocks: nn.ModuleList
    embed_dim: int
    in_channels: int
    patch_px: tuple[int, int]
    num_prefix_tokens: int

    def first_tokens(
        self, image: Float[Tensor, 'b c h w']
    ) -> tuple[Float[Tensor, 'b n d'], dict[str, Any]]:
        """Tokens that enter the first block, and what every block takes in addition, by name."""
        raise NotImplementedError

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:  # noqa: ARG002  # timm's signature
        """Which parameters belong to the stem and to each block, in the form that timm asks for."""
        return {'stem': r'^(?!blocks\.)', 'blocks': r'^blocks\.(\d+)'}


class SAMEncoder(TokenEncoder):
    """The image encoder of Segment Anything, whose blocks take maps (b, h, w, d).

    Args:
        sam: `VisionTransformerSAM` of timm. Its parts are taken over, without the neck and head.
    """

    def __init__(self, sam: nn.Module) -> None:
        super().__init__()
        timm: Any = sam
        self.patch_embed = timm.patch_embed
        self.pos_embed = timm.pos_embed
        self.norm_pre = timm.norm_pre
        self.blocks = nn.ModuleList(_OnGrid(block) for block in timm.blocks)
        self.embed_dim = int(timm.embed_dim)
        self.patch_px = tuple(timm.patch_embed.patch_size)
        self.num_prefix_tokens = 0
        self.in_channels = int(timm.patch_embed.proj.in_channels)
        # names the first convolution, which adapters leave alone
        self.pretrained_cfg = getattr(timm, 'pretrained_cfg', None)

    def first_tokens(
        self, image: Float[Tensor, 'b c h w']
    ) -> tuple[Float[Tensor, 'b n d'], dict[str, Any]]:
        """Patches with positions, which are resized to the grid; blocks take the grid."""
        patches = self.patch_embed(image)
        grid = (patches.shape[1], patches.shape[2])
        if self.pos_embed is not None:
            patches = patches + resample_abs_pos_embed_nhwc(self.pos_embed, list(grid))
        return self.norm_pre(patches).flatten(1, 2), {'grid': grid}


class _OnGrid(nn.Module):
    """A block of maps (b, h, w, d) as one of tokens."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        mapped: Tensor = self.block(rearrange(tokens, 'b (h w) d -> b h w d', h=grid[0]))
        return mapped.flatten(1, 2)


def transformer_blocks(vit: nn.Module) -> list[nn.Module]:
    """The blocks of a transformer, if its family is known.

    Raises:
        ConfigError: If the model belongs to another family, or is a `TokenEncoder` that lacks a
            part.
    """
    if isinstance(vit, TokenEncoder):
        _check_encoder(vit)
        return list(vit.blocks)
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


def _check_encoder(encoder: TokenEncoder) -> None:
    """Raise if a subclass does not set what its base class names."""
    name, parts = type(encoder).__name__, list(TokenEncoder.__annotations__)
    lacking = [part for part in parts if not hasattr(encoder, part)]
    if type(encoder).first_tokens is TokenEncoder.first_tokens:
        lacking.append('first_tokens')
    if lacking:
        raise ConfigError(
            f'{name} lacks {", ".join(lacking)}: a TokenEncoder sets {", ".join(parts)}, and '
            'implements first_tokens(image)'
        )
    if not isinstance(encoder.blocks, nn.ModuleList | nn.Sequential) or not len(encoder.blocks):
        raise ConfigError(
            f'blocks of {name} is {encoder.blocks!r}: expected an nn.ModuleList of at least one '
            'block'
        )
    patch = encoder.patch_px
    if not isinstance(patch, tuple) or len(patch) != 2 or min(patch) < 1:
        raise ConfigError(
            f'patch_px of {name} is {patch!r}: expected height and width in px, such as (16, 16)'
        )


def prefix_tokens(vit: nn.Module) -> int:
    """How many class and register tokens stand before the patches in every block."""
    # CaiT's class token joins after the blocks, although timm counts it
    return 0 if isinstance(vit, Cait) else int(vit.num_prefix_tokens)  # type: ignore[arg-type]


def patch_size(vit: nn.Module) -> tuple[int, int]:
    """Height and width of a patch in px; for a hybrid, including its stem."""
    if isinstance(vit, TokenEncoder):
        return vit.patch_px
    embed: Any = vit.patch_embed
    height, width = embed.feat_ratio(as_scalar=False)
    return int(height), int(width)


def fixed_size(vit: nn.Module) -> tuple[int, int] | None:
    """Height and width in px of the only images that a transformer takes; None if it takes any."""
    if isinstance(vit, TokenEncoder):
        return None
    embed: Any = vit.patch_embed
    return tuple(embed.img_size) if embed.strict_img_size and embed.img_size else None


def first_tokens(
    vit: nn.Module, image: Float[Tensor, 'b c h w']
) -> tuple[Float[Tensor, 'b n d'], list[dict[str, Any]]]:
    """Tokens that enter the first block, and the other arguments of the blocks.

    Args:
        vit: Transformer in eval mode, because dropout of tokens is left out.
        image: Normalised images whose sides are multiples of the patch.

    Returns:
        Prefix and patch tokens, and the arguments of each block by name, which are rotary
        positions, or relative ones that all blocks share.

    Raises:
        ShapeError: If a `TokenEncoder` returns another number of tokens than it states.

    Source:
        timm's `forward_intermediates` of each family.
    """
    timm: Any = vit  # torch's types do not know its attributes
    depth = len(timm.blocks)
    if isinstance(vit, TokenEncoder):
        tokens, given = vit.first_tokens(image)
        rows, cols = image.shape[2] // vit.patch_px[0], image.shape[3] // vit.patch_px[1]
        if tokens.shape[1] != vit.num_prefix_tokens + rows * cols:
            raise ShapeError(
                f'first_tokens of {type(vit).__name__} returned {tokens.shape[1]} tokens, expected '
                f'{vit.num_prefix_tokens} in front of {rows}x{cols} patches: check '
                'num_prefix_tokens and patch_px'
            )
        return tokens, [given] * depth
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
    mixed = getattr(timm, 'rope_mixed', False)  # if so, every block has its own positions
    return tokens, [{'rope': rope[layer] if mixed else rope} for layer in range(depth)]
