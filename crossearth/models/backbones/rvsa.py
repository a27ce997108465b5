"""RVSA: a plain vision transformer whose windows shift, scale and rotate; MTP's backbone.

Source: "Advancing Plain Vision Transformer Towards Remote Sensing Foundation Model" (arXiv
2208.03987), section III; "MTP" (arXiv 2403.13430). Parameter names are those of MTP's files. Quirks
of the reference that its weights were trained with are kept, and a comment marks each.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from timm.layers.drop import DropPath
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError
from crossearth.models.features import STRIDES, Features
from crossearth.models.padding import ceil_div, crop_to, pad_to_multiple
from crossearth.models.weights.fitting import fit_weights
from crossearth.models.weights.pretrained import adapt_bands
from crossearth.models.weights.reading import read_weights, strip_prefix

__all__ = ['RVSA', 'load_mtp', 'resize_mtp', 'rvsa_vit_base', 'rvsa_vit_large']

_WINDOW = 7


class RVSA(nn.Module):
    """Vision transformer with rotated varied-size window attention, as a pyramid backbone.

    Every `interval`-th block attends to the whole image. The others attend within windows of 7×7
    patches that each head may shift, scale and rotate. The whole network trains.

    Args:
        img_size: Height and width in px (one number for squares) that position tables are built
            for, multiples of 16; they are resized for images of other sizes.
        dim: Width of the tokens.
        depth: Number of blocks.
        heads: Heads of each block.
        interval: Every how many blocks one attends to the whole image.
        indices: The four blocks to read.
        in_channels: Bands of the images.
        drop_path: Largest share of samples that skip a block during training; grows with depth.
        checkpointing: Recompute blocks in the backward pass, to save memory.

    Attributes:
        channels: Widths of the four maps.

    Raises:
        ConfigError: If the sizes do not fit one another.

    Source:
        RVSA, eq. 4–8; blocks and pyramid of MTP.

    Example:
        >>> sizes = {'dim': 32, 'depth': 4, 'heads': 2, 'interval': 2, 'indices': (0, 1, 2, 3)}
        >>> backbone = RVSA(img_size=128, **sizes)
        >>> [tuple(m.shape[2:]) for m in backbone(torch.rand(1, 3, 128, 128)).maps]
        [(32, 32), (16, 16), (8, 8), (4, 4)]
    """

    def __init__(
        self,
        *,
        img_size: int | Sequence[int] = 512,
        dim: int = 1024,
        depth: int = 24,
        heads: int = 16,
        interval: int = 6,
        indices: tuple[int, int, int, int] = (7, 11, 15, 23),
        in_channels: int = 3,
        drop_path: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.grid = _grid(img_size)
        if not 0 <= drop_path < 1:
            raise ConfigError(f'drop_path is {drop_path}: expected a probability below 1')
        if dim % heads or not 0 <= indices[0] <= indices[1] <= indices[2] <= indices[3] < depth:
            raise ConfigError(
                f'width is {dim} and indices are {indices}: expected a multiple of the {heads} '
                f'heads, and four increasing blocks of 0 to {depth - 1}'
            )
        self.channels = (dim, dim, dim, dim)
        self.indices = indices
        self.checkpointing = checkpointing
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(in_channels, dim, 16, stride=16)
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.grid), dim))
        # On the CPU, because values cannot be read where a model is built on the meta device.
        drops = torch.linspace(0, drop_path, depth, device='cpu').tolist()
        self.blocks = nn.ModuleList(
            _Block(
                dim,
                FullAttention(dim, heads, self.grid)
                if (index + 1) % interval == 0
                else WindowAttention(dim, heads),
                drop,
            )
            for index, drop in enumerate(drops)
        )
        self.fpn1 = nn.Sequential(
            nn.ConvTranspose2d(dim, dim, 2, stride=2),
            _ChannelNorm(dim),
            nn.GELU(),
            nn.ConvTranspose2d(dim, dim, 2, stride=2),
        )
        self.fpn2 = nn.Sequential(nn.ConvTranspose2d(dim, dim, 2, stride=2))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(
            self,
            img_size=tuple(16 * side for side in self.grid),
            dim=self.channels[0],
            depth=len(self.blocks),
        )

    def forward(self, image: Float[Tensor, 'b c h w']) -> Features:
        """Pyramid of a batch of normalised images; no queries.

        Args:
            image: Normalised images of any size. Sides that are not multiples of 32 are padded at
                the right and bottom, and the maps cropped.
        """
        height, width = image.shape[-2:]
        tokens, grid = self._patches(image)
        taken = {}
        for index, block in enumerate(self.blocks):
            if self.checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, grid, use_reentrant=False)
            else:
                tokens = block(tokens, grid)
            if index in self.indices:
                taken[index] = rearrange(tokens, 'b (h w) c -> b c h w', h=grid[0])
        fine, middle, same, coarse = (taken[index] for index in self.indices)
        maps = (self.fpn1(fine), self.fpn2(middle), same, F.max_pool2d(coarse, 2))
        c4, c8, c16, c32 = (
            crop_to(level, ceil_div(height, stride), ceil_div(width, stride))
            for level, stride in zip(maps, STRIDES, strict=True)
        )
        return Features((c4, c8, c16, c32))

    @torch.no_grad()
    def windows(
        self, image: Float[Tensor, 'b c h w']
    ) -> dict[int, Float[Tensor, 'b m rows cols wh ww xy']]:
        """Where the windows of an image read, to draw them over it.

        Args:
            image: Normalised images of any size, as in `forward`.

        Returns:
            For each block that attends within windows, by its index: the places that every head
            `m` reads for every window, counted row by row, as x to the right and y down in px of
            the image, with 0 at the outer edge of its first pixel. Places may lie outside of the
            image; beyond its padding to multiples of 32 px, zeros are read. A window that does not
            move has its 7×7 places at the centres of patches, 16 px apart.

        Example:
            >>> backbone = RVSA(dim=32, depth=2, heads=2, interval=2, indices=(0, 0, 1, 1))
            >>> windows = backbone.windows(torch.rand(1, 3, 224, 224))
            >>> list(windows), tuple(windows[0].shape)
            ([0], (1, 2, 2, 2, 7, 7, 2))
            >>> windows[0][0, 0, 0, 1, 0, 0].round().tolist()  # first head, upper right window
            [120.0, 8.0]
        """
        tokens, grid = self._patches(image)
        found = {}
        for index, block in enumerate(self.blocks):
            if isinstance(block.attn, WindowAttention):
                # Windows count from the centre of the first patch, pixels from the edge of the
                # image.
                found[index] = 16 * (block.attn.windows(block.norm1(tokens), grid) + 0.5)  # type: ignore[operator]  # a LayerNorm
            tokens = block(tokens, grid)
        return found

    def _patches(self, image: Tensor) -> tuple[Float[Tensor, 'b n c'], tuple[int, int]]:
        """Tokens before the first block, row by row, and their rows and columns."""
        # 32 px instead of one patch, because the coarsest map halves the grid.
        padded = pad_to_multiple(image, 32, 32)
        grid = (padded.shape[-2] // 16, padded.shape[-1] // 16)
        tokens = self.patch_embed.proj(padded).flatten(2).transpose(1, 2)  # type: ignore[operator]  # a Conv2d
        return tokens + _resize_grid(self.pos_embed, self.grid, grid), grid

    def layer_depths(self) -> dict[str, int]:
        """The layer of each parameter, see `Layered`: positions and patches first, then blocks.

        The pyramid is not a layer, as in the training code of MTP.
        """
        names = [name for name, _ in self.named_parameters() if not name.startswith('fpn')]
        return {n: int(n.split('.')[1]) + 1 if n.startswith('blocks.') else 0 for n in names}


class WindowAttention(nn.Module):
    """Attention within windows of 7×7 patches whose keys come from moved windows.

    Each head moves each window by an offset, a scale and an angle that it predicts from the mean
    of the window. Queries stay where they are.

    Args:
        dim: Width of the tokens.
        heads: Number of heads.

    Source:
        RVSA, eq. 4–8.
    """

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        head_dim = dim // heads
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * _WINDOW - 1, head_dim))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * _WINDOW - 1, head_dim))
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * _WINDOW - 1) ** 2, heads))
        self.register_buffer('relative_position_index', _pairs(_WINDOW))
        self.sampling_offsets = _Predictor(dim, 2 * heads)
        self.sampling_scales = _Predictor(dim, 2 * heads)
        self.sampling_angles = _Predictor(dim, heads)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(
        self, tokens: Float[Tensor, 'b n c'], grid: tuple[int, int]
    ) -> Float[Tensor, 'b n c']:
        """Tokens of a grid of patches, row-major, after attention."""
        rows, cols = grid
        left, right, above, below = border = _border(grid)
        image = rearrange(tokens, 'b (h w) c -> b c h w', h=rows)
        qkv = rearrange(
            self.qkv(tokens), 'b (h w) (three m d) -> three (b m) d h w', h=rows, three=3,
            m=self.heads,
        )  # fmt: skip
        query, key, value = (F.pad(part, border) for part in qkv)
        places = self._places(F.pad(image, border), grid)
        # never in half precision, which could not distinguish neighbouring patches of a large image
        key, value = (
            F.grid_sample(part.to(places.dtype), places, align_corners=True).to(part.dtype)
            for part in (key, value)
        )
        query, key, value = (
            rearrange(
                part, '(b m) d (y wh) (x ww) -> (b y x) m (wh ww) d', m=self.heads, wh=_WINDOW,
                ww=_WINDOW,
            )
            for part in (query, key, value)
        )  # fmt: skip
        # decomposed positions use unscaled queries here, but scaled ones in FullAttention
        bias = _positions(query, self.rel_pos_h, self.rel_pos_w, (_WINDOW, _WINDOW))
        table = self.relative_position_bias_table[self.relative_position_index]
        bias = bias + rearrange(table, 'q k m -> m q k')
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = rearrange(
            found, '(b y x) m (wh ww) d -> b (y wh) (x ww) (m d)',
            y=(above + rows + below) // _WINDOW, x=(left + cols + right) // _WINDOW, wh=_WINDOW,
        )  # fmt: skip
        mixed = mixed[:, above : above + rows, left : left + cols]
        projected: Tensor = self.proj(mixed.flatten(1, 2))
        return projected

    def windows(
        self, tokens: Float[Tensor, 'b n c'], grid: tuple[int, int]
    ) -> Float[Tensor, 'b m rows cols wh ww xy']:
        """Where each head's windows read: x, y in patches, with 0 at the centre of the first."""
        image = rearrange(tokens, 'b (h w) c -> b c h w', h=grid[0])
        left, _, above, _ = border = _border(grid)
        padded = F.pad(image, border)
        height, width = padded.shape[-2:]
        places = rearrange(
            self._places(padded, grid), '(b m) (y wh) (x ww) xy -> b m y x wh ww xy',
            m=self.heads, wh=_WINDOW, ww=_WINDOW,
        )  # fmt: skip
        most, first = places.new_tensor([width - 1, height - 1]), places.new_tensor([left, above])
        return (places + 1) / 2 * most - first

    def _places(
        self, image: Float[Tensor, 'b c h w'], grid: tuple[int, int]
    ) -> Float[Tensor, 'bm h w xy']:
        """Where each head's windows read: x, y from −1 to 1 between centres of border pixels."""
        height, width = image.shape[-2:]
        kind = torch.float64 if image.dtype == torch.float64 else torch.float32
        y, x = (
            torch.linspace(-1, 1, side, dtype=kind, device=image.device) for side in (height, width)
        )
        centre_y, centre_x = (axis.view(-1, _WINDOW).mean(1) for axis in (y, x))
        steps = torch.arange(_WINDOW, dtype=kind, device=image.device) - _WINDOW // 2
        # Padded sides are at least one window, so neither divisor is 0.
        within_y, within_x = steps * (2 / (height - 1)), steps * (2 / (width - 1))

        def predicted(predictor: nn.Module, parts: int) -> Tensor:
            values: Tensor = rearrange(
                predictor(image), 'b (m parts) y x -> parts (b m) y 1 x 1', parts=parts
            )
            return values.to(kind)

        # The reference divides x by the rows of windows and y by the columns, both unpadded. Where
        # they are less than one it would divide by zero; here they count as one.
        down, across = (max(side // _WINDOW, 1) for side in grid)
        offset_x, offset_y = predicted(self.sampling_offsets, 2)
        offset_x, offset_y = offset_x / down, offset_y / across
        scale_x, scale_y = predicted(self.sampling_scales, 2) + 1
        (angle,) = predicted(self.sampling_angles, 1)
        # rotated in these coordinates, which are square only if the image is
        local_x = within_x * scale_x
        local_y = within_y[:, None, None] * scale_y
        cos, sin = angle.cos(), angle.sin()
        at_x = centre_x[:, None] + local_x * cos - local_y * sin + offset_x
        at_y = centre_y[:, None, None, None] + local_x * sin + local_y * cos + offset_y
        both = torch.stack([at_x, at_y], dim=-1)
        places: Tensor = rearrange(both, 'n y wh x ww xy -> n (y wh) (x ww) xy')
        return places


class FullAttention(nn.Module):
    """Attention over the whole image, with decomposed relative positions.

    Args:
        dim: Width of the tokens.
        heads: Number of heads.
        grid: Rows and columns of patches that the tables are built for.

    Source:
        "MViTv2" (arXiv 2112.01526), eq. 3, as MTP uses it.
    """

    def __init__(self, dim: int, heads: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.heads = heads
        rows, cols = grid
        self.full_attn_rel_pos_h = nn.Parameter(torch.zeros(2 * rows - 1, dim // heads))
        self.full_attn_rel_pos_w = nn.Parameter(torch.zeros(2 * cols - 1, dim // heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, tokens: Float[Tensor, 'b n c'], grid: tuple[int, int]
    ) -> Float[Tensor, 'b n c']:
        """Tokens of a grid of patches, row-major, after attention."""
        query, key, value = rearrange(
            self.qkv(tokens), 'b n (three m d) -> three b m n d', three=3, m=self.heads
        )
        scaled = query * query.shape[-1] ** -0.5
        along_h = _resize_table(self.full_attn_rel_pos_h, 2 * grid[0] - 1)
        along_w = _resize_table(self.full_attn_rel_pos_w, 2 * grid[1] - 1)
        bias = _positions(scaled, along_h, along_w, grid)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        projected: Tensor = self.proj(rearrange(found, 'b m n d -> b n (m d)'))
        return projected


def _border(grid: tuple[int, int]) -> tuple[int, int, int, int]:
    """Patches to add at the left, right, top and bottom, so that windows fill the grid.

    Half of the padding comes first, because the reference centres it. Padding is not masked: its
    keys are zeros and take their share of the softmax.
    """
    down, right = (ceil_div(side, _WINDOW) * _WINDOW - side for side in grid)
    return right // 2, right - right // 2, down // 2, down - down // 2


def _positions(
    query: Float[Tensor, 'b m n d'],
    along_h: Float[Tensor, 'h2 d'],
    along_w: Float[Tensor, 'w2 d'],
    grid: tuple[int, int],
) -> Float[Tensor, 'b m n n']:
    """What each query adds for the vertical and the horizontal distance of each key."""
    rows, cols = grid

    def table(along: Tensor, side: int) -> Tensor:
        steps = torch.arange(side, device=along.device)
        apart = steps[:, None] - steps + side - 1
        return along[apart]

    square = rearrange(query, 'b m (h w) d -> b m h w d', h=rows)
    vertical = torch.einsum('bmhwd,hkd->bmhwk', square, table(along_h, rows))
    horizontal = torch.einsum('bmhwd,wkd->bmhwk', square, table(along_w, cols))
    both = vertical[..., None] + horizontal[..., None, :]
    return rearrange(both, 'b m h w kh kw -> b m (h w) (kh kw)')


def _pairs(side: int) -> Int64[Tensor, 'n n']:
    """Row of the bias table for each pair of places in a window."""
    place = torch.arange(side * side)
    down = place.div(side, rounding_mode='floor')
    right = place % side
    apart_down = down[:, None] - down + side - 1
    apart_right = right[:, None] - right + side - 1
    return apart_down * (2 * side - 1) + apart_right


def _resize_grid(
    positions: Float[Tensor, '1 n c'], before: tuple[int, int], after: tuple[int, int]
) -> Float[Tensor, '1 m c']:
    if before == after:
        return positions
    square = rearrange(positions, 'one (h w) c -> one c h w', h=before[0])
    resized = F.interpolate(square, after, mode='bicubic', align_corners=False)
    return rearrange(resized, 'one c h w -> one (h w) c')


def _resize_table(table: Float[Tensor, 'l d'], length: int) -> Float[Tensor, 'm d']:
    if table.shape[0] == length:
        return table
    column = rearrange(table, 'l d -> 1 d l 1')
    resized = F.interpolate(column, (length, 1), mode='bicubic', align_corners=False)
    return rearrange(resized, '1 d l 1 -> l d')


class _Predictor(nn.Sequential):
    """A few numbers for each window, from its mean; zeros at first, which leave it unmoved."""

    def __init__(self, dim: int, outputs: int) -> None:
        last = nn.Conv2d(dim, outputs, 1)
        super().__init__(nn.AvgPool2d(_WINDOW), nn.LeakyReLU(), last)
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)


class _Block(nn.Module):
    def __init__(self, dim: int, attention: nn.Module, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Module()
        self.mlp.fc1 = nn.Linear(dim, 4 * dim)
        self.mlp.fc2 = nn.Linear(4 * dim, dim)
        self.drop_path = DropPath(drop)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        mlp: Any = self.mlp  # its parts are the layers set in __init__
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), grid))
        refined: Tensor = tokens + self.drop_path(mlp.fc2(F.gelu(mlp.fc1(self.norm2(tokens)))))
        return refined


class _ChannelNorm(nn.Module):
    """Layer norm over the channels of a map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ln = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, features: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b c h w']:
        normed: Tensor = self.ln(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


def _grid(img_size: int | Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the patches of an image."""
    size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    if len(size) != 2 or min(size) < 16 or any(side % 16 for side in size):
        raise ConfigError(
            f'img_size is {img_size}: expected one side, or height and width, in multiples of 16 px'
        )
    return size[0] // 16, size[1] // 16


def resize_mtp(state: Mapping[str, Tensor], *, img_size: int | Sequence[int]) -> dict[str, Tensor]:
    """Weights of MTP with their position tables resized (bicubic) for another image size.

    Args:
        state: Weights by name. Not changed.
        img_size: Height and width in px (one number for squares) that the tables are resized for.

    Returns:
        The same weights, `pos_embed` and `full_attn_rel_pos_*` resized.

    Example:
        >>> state = {'pos_embed': torch.zeros(1, 64, 8)}
        >>> resize_mtp(state, img_size=256)['pos_embed'].shape
        torch.Size([1, 256, 8])
    """
    rows, cols = _grid(img_size)
    resized = dict(state)
    for name, tensor in state.items():
        if name == 'pos_embed':
            before = _grid_of(state, math.isqrt(tensor.shape[1]))
            resized[name] = _resize_grid(tensor, before, (rows, cols))
        elif name.endswith('full_attn_rel_pos_h'):
            resized[name] = _resize_table(tensor, 2 * rows - 1)
        elif name.endswith('full_attn_rel_pos_w'):
            resized[name] = _resize_table(tensor, 2 * cols - 1)
    return resized


def _grid_of(state: Mapping[str, Tensor], side: int) -> tuple[int, int]:
    """Rows and columns that tables were built for, by their lengths; a square without tables."""
    lengths = {name[-1]: len(table) for name, table in state.items() if 'full_attn_rel_pos' in name}
    square = 2 * side - 1
    return (lengths.get('h', square) + 1) // 2, (lengths.get('w', square) + 1) // 2


def load_mtp(model: RVSA, path: str | Path) -> list[str]:
    """Put the encoder of an MTP file into a backbone, in place.

    Position tables are resized to the model's, and the patch embedding is adapted to its bands. The
    pyramid's layers are left unchanged if the file has none.

    Args:
        model: Backbone of the file's width and depth.
        path: torch file with `state_dict`, or safetensors.

    Returns:
        Names in the file that were not used, such as MTP's last norm.

    Raises:
        CheckpointError: If the file does not exist or does not fit.

    Example:
        >>> import tempfile
        >>> sizes = {'dim': 32, 'depth': 4, 'heads': 2, 'interval': 2, 'indices': (0, 1, 2, 3)}
        >>> published, larger = RVSA(img_size=128, **sizes), RVSA(img_size=256, **sizes)
        >>> state = {**published.state_dict(), 'norm.weight': torch.ones(32)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({'state_dict': state}, f'{folder}/mtp.pth')
        ...     load_mtp(larger, f'{folder}/mtp.pth')
        ['norm.weight']
    """
    encoder = strip_prefix(read_weights(path), model.state_dict(), source=path)
    rows, cols = model.grid
    encoder = resize_mtp(encoder, img_size=(16 * rows, 16 * cols))
    stem = 'patch_embed.proj.weight'
    if stem in encoder:
        encoder[stem] = adapt_bands(encoder[stem], model.patch_embed.proj.in_channels)  # type: ignore[arg-type,union-attr]  # a Conv2d
    return fit_weights(
        model,
        encoder,
        source=path,
        optional=lambda name: not name.startswith(('pos_embed', 'patch_embed.', 'blocks.')),
        advice='Choose the MTP encoder of this width and depth',
    )


def rvsa_vit_base(
    *,
    img_size: int | Sequence[int] = 512,
    in_channels: int = 3,
    drop_path: float = 0.0,
    checkpointing: bool = False,
) -> RVSA:
    """RVSA ViT-B: 768 wide, 12 blocks, whole-image attention in every third.

    Example:
        >>> with torch.device('meta'):  # its shapes, without its 93 million numbers
        ...     backbone = rvsa_vit_base(img_size=224)
        >>> [tuple(m.shape) for m in backbone(torch.rand(1, 3, 224, 224, device='meta')).maps][:2]
        [(1, 768, 56, 56), (1, 768, 28, 28)]
    """
    return RVSA(
        img_size=img_size,
        dim=768,
        depth=12,
        heads=12,
        interval=3,
        indices=(3, 5, 7, 11),
        in_channels=in_channels,
        drop_path=drop_path,
        checkpointing=checkpointing,
    )


def rvsa_vit_large(
    *,
    img_size: int | Sequence[int] = 512,
    in_channels: int = 3,
    drop_path: float = 0.0,
    checkpointing: bool = False,
) -> RVSA:
    """RVSA ViT-L: 1024 wide, 24 blocks, whole-image attention in every sixth.

    305.9 M parameters, 318.5 M with the pyramid, at 512 px.

    Example:
        >>> with torch.device('meta'):  # its shapes, without its numbers
        ...     backbone = rvsa_vit_large()
        >>> sum(p.numel() for p in backbone.parameters()) / 1e6
        318.493056
    """
    return RVSA(
        img_size=img_size,
        in_channels=in_channels,
        drop_path=drop_path,
        checkpointing=checkpointing,
    )
