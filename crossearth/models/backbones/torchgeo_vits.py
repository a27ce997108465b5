"""torchgeo's vision transformers in the form that `ReinViT` needs.

torchgeo's models end in one vector per image. Here their parts are taken over. The code that turns
an image into tokens is written for grids of any height and width, where the original takes one
size, and `ReinViT` runs the blocks. Parameters keep the names of the published files.

Wavelengths enter sines and cosines of large arguments. These are computed in float32 or better
whatever the precision of the model, and on the CPU, because torchgeo inspects their values.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from crossearth.models.backbones.tokens import TokenEncoder
from crossearth.models.weights.torchgeo_weights import torchgeo_models

__all__ = [
    'CROMAEncoder',
    'CopernicusFMEncoder',
    'DOFAEncoder',
    'PanopticonEncoder',
    'ScaleMAEEncoder',
]


class DOFAEncoder(TokenEncoder):
    """DOFA: a hypernetwork makes the patch embedding from the wavelengths of the bands.

    Args:
        model: `torchgeo.models.DOFA`, which is taken over.
        wavelengths_um: Centre of each band in micrometres.

    Source:
        DOFA (arXiv 2403.15356), section 3.1; torchgeo's implementation.
    """

    def __init__(self, model: nn.Module, wavelengths_um: Sequence[float]) -> None:
        super().__init__()
        theirs: Any = model
        self.patch_embed = theirs.patch_embed
        self.cls_token = theirs.cls_token
        self.pos_embed = theirs.pos_embed
        self.blocks = theirs.blocks
        self.embed_dim = theirs.embed_dim
        self.patch_px = theirs.patch_embed.patch_size
        self.num_prefix_tokens = 1
        self.wavelengths_um = tuple(wavelengths_um)
        self.in_channels = len(self.wavelengths_um)

    def first_tokens(
        self, image: Float[Tensor, 'b c h w']
    ) -> tuple[Float[Tensor, 'b n d'], dict[str, Any]]:
        """Patches through the kernel of these bands, and positions resized to the grid."""
        embed = self.patch_embed
        with torch.autocast(image.device.type, enabled=False):
            nanometres = 1000 * torch.tensor(self.wavelengths_um, device='cpu')
            waves = torchgeo_models().dofa.position_embedding(embed.dynamic_embed_dim, nanometres)
            patches = _generated(embed, waves, image)
        return _with_positions(patches, self.cls_token, self.pos_embed, _grid(self, image)), {}


class CopernicusFMEncoder(TokenEncoder):
    """Copernicus-FM: like DOFA, with wavelengths, bandwidths and the area of a patch.

    A segmentation model does not know where and when an image was taken, so the tokens that the
    encoder learnt for unknown places and times are used.

    Args:
        model: `torchgeo.models.CopernicusFM`, which is taken over without the branch for variables
            that are not spectral.
        wavelengths_um: Centre of each band in micrometres.
        bandwidths_um: Width of each band in micrometres.
        gsd_m: Side of a pixel on the ground in metres; None uses the token for an unknown size.

    Source:
        Copernicus-FM (arXiv 2503.11849), section 4; torchgeo's implementation.
    """

    def __init__(
        self,
        model: nn.Module,
        wavelengths_um: Sequence[float],
        bandwidths_um: Sequence[float],
        gsd_m: float | None,
    ) -> None:
        super().__init__()
        theirs: Any = model
        self.patch_embed_spectral = theirs.patch_embed_spectral
        self.cls_token = theirs.cls_token
        self.pos_embed = theirs.pos_embed
        self.scale_expansion = theirs.scale_expansion
        spectral = self.patch_embed_spectral
        for expansion in (
            spectral.spectrum_central_expansion,
            spectral.spectrum_bandwidth_expansion,
            self.scale_expansion,
        ):
            expansion.assert_range = False  # torchgeo_vit checks it; a check here stops exports
        self.coord_fc, self.coord_token = theirs.coord_fc, theirs.coord_token
        self.scale_fc, self.scale_token = theirs.scale_fc, theirs.scale_token
        self.time_fc, self.time_token = theirs.time_fc, theirs.time_token
        self.blocks = theirs.blocks
        self.embed_dim = int(theirs.cls_token.shape[-1])
        self.patch_px = theirs.patch_embed_spectral.patch_size
        self.num_prefix_tokens = 1
        self.wavelengths_um = tuple(wavelengths_um)
        self.in_channels = len(self.wavelengths_um)
        self.bandwidths_um = tuple(bandwidths_um)
        self.gsd_m = gsd_m

    def first_tokens(
        self, image: Float[Tensor, 'b c h w']
    ) -> tuple[Float[Tensor, 'b n d'], dict[str, Any]]:
        """Patches through the kernel of these bands, positions, and the tokens for metadata."""
        embed = self.patch_embed_spectral
        with torch.autocast(image.device.type, enabled=False):
            centres = 1000 * torch.tensor(self.wavelengths_um, device='cpu')
            widths = 1000 * torch.tensor(self.bandwidths_um, device='cpu')
            waves = embed.spectrum_central_expansion(centres, embed.hyper_dim)
            waves = waves + embed.spectrum_bandwidth_expansion(widths, embed.hyper_dim)
            patches = _generated(embed, waves, image)
        known = self.coord_fc(self.coord_token) + self.time_fc(self.time_token)
        known = known + self.scale_fc(self._scale())
        grid = _grid(self, image)
        return _with_positions(patches, self.cls_token, self.pos_embed, grid, known), {}

    def _scale(self) -> Tensor:
        """The encoding of a patch's area (1, 1, d)."""
        if self.gsd_m is None:
            token: Tensor = self.scale_token
            return token
        height, width = self.patch_px
        area_km2 = torch.tensor([height * width * self.gsd_m**2 / 1e6], device='cpu')
        encoded: Tensor = self.scale_expansion(area_km2, self.embed_dim)
        return encoded[None].to(self.scale_token)


class PanopticonEncoder(TokenEncoder):
    """Panopticon: one patch embedding for every band, and attention over the bands of a patch.

    Args:
        model: `torchgeo.models.Panopticon`, which is taken over.
        wavelengths_um: Centre of each band in micrometres.

    Source:
        Panopticon (arXiv 2503.10845), section 3; torchgeo's implementation.
    """

    def __init__(self, model: nn.Module, wavelengths_um: Sequence[float]) -> None:
        super().__init__()
        theirs: Any = model
        self.patch_embed = theirs.model.patch_embed
        self.cls_token = theirs.model.cls_token
        self.pos_embed = theirs.model.pos_embed
        self.blocks = nn.ModuleList(theirs.model.blocks)
        self.embed_dim = int(theirs.model.embed_dim)
        self.patch_px = self.patch_embed.patch_size
        self.num_prefix_tokens = 1
        self.wavelengths_um = tuple(wavelengths_um)
        self.in_channels = len(self.wavelengths_um)

    def first_tokens(
        self, image: Float[Tensor, 'b c h w']
    ) -> tuple[Float[Tensor, 'b n d'], dict[str, Any]]:
        """Patches of all bands, joined by their wavelengths, and positions resized to the grid."""
        # a new tensor per call, because torchgeo rounds the wavelengths in place
        nanometres = 1000 * torch.tensor(self.wavelengths_um, device=image.device)
        nanometres = nanometres.repeat(len(image), 1)
        patches = self.patch_embed({'imgs': image, 'chn_ids': nanometres})
        return _with_positions(patches, self.cls_token, self.pos_embed, _grid(self, image)), {}


class CROMAEncoder(TokenEncoder):
    """CROMA's encoder of one sensor, with attention that fades with distance instead of positions.

    Args:
        model: `torchgeo.models.CROMA` of one modality, which is taken over.

    Source:
        CROMA (arXiv 2311.00566), section 3; torchgeo's implementation.
    """

    slopes: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        theirs: Any = model
        (modality,) = theirs.modalities
        vit = theirs.s2_encoder if modality == 'optical' else theirs.s1_encoder
        self.linear_input = vit.linear_input
        self.blocks = nn.ModuleList(_CROMABlock(layer) for layer in vit.transformer.layers)
        self.embed_dim = vit.dim
        self.patch_px = (vit.patch_size, vit.patch_size)
        self.num_prefix_tokens = 0
        self.in_channels = vit.in_channels
        # the bias between the first two patches, which are at a distance of one
        self.register_buffer('slopes', theirs.attn_bias[0, :, 0, 1], persistent=False)

    def first_tokens(
        self, image: Float[Tensor, 'b c h w']
    ) -> tuple[Float[Tensor, 'b n d'], dict[str, Any]]:
        """Patches, and for the blocks a bias (1, heads, n, n) by the distance between patches."""
        # torchgeo flattens patches as (bands, rows, columns), so its linear layer is a convolution.
        kernel = self.linear_input.weight.unflatten(1, (self.in_channels, *self.patch_px))
        patches = F.conv2d(image, kernel, self.linear_input.bias, stride=self.patch_px)
        rows, cols = _grid(self, image)
        row = torch.arange(rows, device=image.device).repeat_interleave(cols).float()
        col = torch.arange(cols, device=image.device).repeat(rows).float()
        distance = torch.hypot(row[:, None] - row, col[:, None] - col)
        bias = self.slopes[:, None, None] * distance.to(self.slopes.dtype)
        return patches.flatten(2).transpose(1, 2), {'relative_position_bias': bias[None]}


class _CROMABlock(nn.ModuleList):
    """Attention and feed-forward network, which normalise their input themselves."""

    def forward(self, tokens: Tensor, relative_position_bias: Tensor) -> Tensor:
        attention, feed_forward = self
        tokens = attention(tokens, relative_position_bias) + tokens
        refined: Tensor = feed_forward(tokens) + tokens
        return refined


class ScaleMAEEncoder(TokenEncoder):
    """Scale-MAE: positions in metres on the ground, so that it knows how large things are.

    Args:
        model: `torchgeo.models.ScaleMAE`, which is taken over.
        gsd_m: Side of a pixel on the ground in metres.

    Source:
        Scale-MAE (arXiv 2212.14532), section 3.1; torchgeo's implementation.
    """

    def __init__(self, model: nn.Module, gsd_m: float) -> None:
        super().__init__()
        theirs: Any = model
        self.patch_embed = theirs.patch_embed
        self.patch_embed.strict_img_size = False  # positions are computed for any grid
        self.cls_token = theirs.cls_token
        self.blocks = nn.ModuleList(theirs.blocks)
        self.embed_dim = int(theirs.embed_dim)
        self.patch_px = tuple(theirs.patch_embed.patch_size)
        self.num_prefix_tokens = 1
        self.in_channels = int(theirs.patch_embed.proj.in_channels)
        self.gsd_m = gsd_m

    def first_tokens(
        self, image: Float[Tensor, 'b c h w']
    ) -> tuple[Float[Tensor, 'b n d'], dict[str, Any]]:
        """Patches, with sines and cosines of their place in units of the ground."""
        patches = self.patch_embed(image)
        rows, cols = _grid(self, image)
        with torch.autocast(image.device.type, enabled=False):
            row = self.gsd_m * torch.arange(rows, device=image.device).repeat_interleave(cols)
            col = self.gsd_m * torch.arange(cols, device=image.device).repeat(rows)
            positions = torchgeo_models().scale_mae.get_2d_sincos_pos_embed_from_grid_torch(
                self.embed_dim, torch.stack([col, row]).float()
            )
        patches = patches + positions.to(patches.dtype)
        cls_token = self.cls_token.to(patches.dtype).expand(len(image), -1, -1)
        return torch.cat([cls_token, patches], dim=1), {}


def _grid(encoder: TokenEncoder, image: Tensor) -> tuple[int, int]:
    height, width = encoder.patch_px
    return image.shape[-2] // height, image.shape[-1] // width


def _generated(embed: Any, waves: Tensor, image: Tensor) -> Tensor:
    """Patches (b, n, d) through the kernel that a hypernetwork makes from encoded wavelengths."""
    kernel, bias = embed.weight_generator(embed.fclayer(waves.to(embed.fclayer.w1.weight)))
    side = embed.kernel_size
    kernel = kernel.unflatten(1, (side, side, embed.embed_dim)).permute(3, 0, 1, 2)
    # one pixel of padding, so patches begin a pixel early, as both encoders were trained
    patches = F.conv2d(
        image.to(kernel.dtype),
        embed.scaler * kernel,
        embed.scaler * bias.flatten(),
        stride=side,
        padding=1,
    )
    return patches.flatten(2).transpose(1, 2)


def _with_positions(
    patches: Tensor,
    cls_token: Tensor,
    pos_embed: Tensor,
    grid: tuple[int, int],
    known: Tensor | None = None,
) -> Tensor:
    """The class token and patches with positions resized to a grid, plus a term for all of them."""
    side = math.isqrt(pos_embed.shape[1] - 1)
    positions = resample_abs_pos_embed(pos_embed, list(grid), [side, side], num_prefix_tokens=1)
    if known is not None:
        positions = positions + known
    tokens = torch.cat([cls_token.expand(len(patches), -1, -1), patches], dim=1)
    placed: Tensor = tokens + positions
    return placed
