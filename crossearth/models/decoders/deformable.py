"""Multi-scale deformable attention: each query reads a few points of each level.

Source: "Deformable DETR" (arXiv 2010.04159), eq. 3.
"""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError

__all__ = ['MultiScaleDeformableAttention', 'deformable_attention']

type Sizes = Sequence[tuple[int, int]]


def deformable_attention(
    value: Float[Tensor, 'b s h d'],
    sizes: Sizes,
    locations: Float[Tensor, 'b q h l p xy'],
    weights: Float[Tensor, 'b q h l p'],
) -> Float[Tensor, 'b q hd']:
    """Weighted sums of values at fractional places of several levels.

    Values between pixel centres are interpolated bilinearly; outside of a level they are zero.

    On the CPU each head's sum is one row of a sparse product. It reads four corners per point,
    whose bilinear and attention weights are multiplied beforehand, so the sampled values are never
    stored. Under `torch.compile` and export, and on other devices, levels are sampled one by one
    with `grid_sample`.

    Args:
        value: Values of all levels, one after another, row-major; h heads of width d.
        sizes: Height and width of each level.
        locations: Where each query looks: x, y as fractions of the level, (0, 0) the upper-left
            corner of its upper-left pixel.
        weights: Weight of each point.

    Returns:
        Sums, with the heads concatenated.

    Source:
        Deformable DETR, eq. 3, without the projections.

    Example:
        >>> value = torch.tensor([[[[1.0]], [[3.0]]]])  # one level of 1 × 2 pixels
        >>> between = torch.tensor([0.5, 0.5]).view(1, 1, 1, 1, 1, 2)
        >>> deformable_attention(value, [(1, 2)], between, torch.ones(1, 1, 1, 1, 1)).item()
        2.0
    """
    if value.device.type != 'cpu' or torch.compiler.is_compiling():
        return _by_level(value, sizes, locations, weights)
    kind = torch.float64 if value.dtype == torch.float64 else torch.float32
    inputs = (value.to(kind), locations.to(kind), weights.to(kind))
    if torch.is_grad_enabled() and any(t.requires_grad for t in inputs):
        sums = _SparseSum.apply(*inputs, sizes)
    else:
        sums = _sparse_sum(*inputs, sizes)
    mixed: Tensor = sums.view(value.shape[0], weights.shape[1], -1).to(value.dtype)
    return mixed


def _by_level(value: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """The sums by `grid_sample`, level by level, so that memory holds one level's samples."""
    batch, _, heads, width = value.shape
    queries = weights.shape[1]
    # a grid in half precision could not distinguish the pixels of a large level
    kind = torch.float64 if value.dtype == torch.float64 else torch.float32
    value, locations = value.to(kind), locations.to(kind)
    total: Tensor | None = None
    maps = torch.split(value, [rows * cols for rows, cols in sizes], dim=1)
    for level, (rows, cols) in enumerate(sizes):
        image = maps[level].permute(0, 2, 3, 1).reshape(batch * heads, width, rows, cols)
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        sampled = F.grid_sample(image, grid, align_corners=False)
        share = weights[:, :, :, level].transpose(1, 2).reshape(batch * heads, 1, queries, -1)
        part = (sampled * share).sum(-1)
        total = part if total is None else total + part
    assert total is not None
    return total.reshape(batch, heads * width, queries).transpose(1, 2).to(weights.dtype)


def _bordered(value: Tensor, sizes: Sizes) -> Tensor:
    """Values as a table of rows (pixel, head), each level with a border of zeros.

    One pixel before and two after, so that places clamped to the border find four corners there.
    """
    batch, _, heads, width = value.shape
    maps = torch.split(value, [rows * cols for rows, cols in sizes], dim=1)
    bordered = [
        F.pad(level.reshape(batch, rows, cols, heads * width), (0, 0, 1, 2, 1, 2)).flatten(1, 2)
        for level, (rows, cols) in zip(maps, sizes, strict=True)
    ]
    return torch.cat(bordered, dim=1).reshape(-1, width)


def _unbordered(table: Tensor, sizes: Sizes, batch: int, heads: int) -> Tensor:
    """The values of `_bordered` without their borders."""
    levels = torch.split(
        table.view(batch, -1, heads, table.shape[-1]),
        [(rows + 3) * (cols + 3) for rows, cols in sizes],
        dim=1,
    )
    values = [
        level.reshape(batch, rows + 3, cols + 3, heads, -1)[:, 1:-2, 1:-2].flatten(1, 2)
        for level, (rows, cols) in zip(levels, sizes, strict=True)
    ]
    return torch.cat(values, dim=1)


class _Corners(NamedTuple):
    """The four pixels around each location, level by level; n sums of p points in each.

    Args:
        first: Column and row of the upper-left corner in the bordered level.
        fraction: Fraction of the way to the next column and row.
        free: Whether the location was left as it is, not clamped.
    """

    first: Float[Tensor, 'xy l n p']
    fraction: Float[Tensor, 'xy l n p']
    free: Bool[Tensor, 'xy l n p']


def _find_corners(sizes: Sizes, locations: Tensor) -> _Corners:
    # Levels first, so that what differs between them is a scalar in a long inner loop.
    places = rearrange(locations, 'b q h l p xy -> xy l (b q h) p').contiguous()
    sides = _sides(sizes, locations)
    # A fraction of 0 is half a pixel before the first centre, and the border adds one pixel.
    places = torch.addcmul(places.new_tensor(0.5), places, sides)
    # A place clamped to 0 reads the border and the first pixel, whose slope must not move it.
    # Beyond the other end both corners are border, so the slope is 0 anyway.
    free = places > 0
    places = torch.minimum(places.clamp_(min=0), sides + 1)
    first = places.floor()
    return _Corners(first, places.sub_(first), free)


def _sides(sizes: Sizes, like: Tensor) -> Tensor:
    """Columns and rows of each level, (xy, l, 1, 1)."""
    columns_rows = [[cols for _, cols in sizes], [rows for rows, _ in sizes]]
    return like.new_tensor(columns_rows)[:, :, None, None]


def _rows_read(corners: _Corners, sizes: Sizes, batch: int, heads: int) -> Integer[Tensor, 'n k']:
    """Rows of the bordered table that each sum reads, (l, corner, p) per sum."""
    pixels = [(rows + 3) * (cols + 3) for rows, cols in sizes]
    # int32 halves the memory of the indices wherever it can count the rows.
    kind = torch.int32 if batch * heads * sum(pixels) < 2**31 else torch.int64
    pitch = corners.first.new_tensor([cols + 3 for _, cols in sizes])[:, None, None]
    column, row = corners.first
    pixel = torch.addcmul(column, row, pitch).to(kind)  # floats count pixels exactly to 2**24
    queries = pixel.shape[1] // (batch * heads)
    image = torch.arange(batch, dtype=kind)[:, None, None] * sum(pixels)
    head = torch.arange(heads, dtype=kind)
    own = (image * heads + head).expand(batch, queries, heads).reshape(1, -1, 1)
    pixel = torch.add(own, pixel, alpha=heads)
    starts = [0, *accumulate(pixels)][:-1]
    steps = [
        [(start + step) * heads for step in (0, 1, cols + 3, cols + 4)]
        for start, (_, cols) in zip(starts, sizes, strict=True)
    ]
    around = torch.tensor(steps, dtype=kind)[:, :, None]
    return (pixel.transpose(0, 1)[:, :, None] + around).flatten(1)


def _shares(corners: _Corners, weights: Tensor) -> Float[Tensor, 'n k']:
    """The weight of each row read: bilinear times attention weight."""
    x, y = corners.fraction
    weight = rearrange(weights, 'b q h l p -> l (b q h) p')
    lower = weight * y
    upper = weight - lower
    lower_right, upper_right = lower * x, upper * x
    parts = (upper - upper_right, upper_right, lower - lower_right, lower_right)
    return torch.stack([part.transpose(0, 1) for part in parts], dim=2).flatten(1)


def _sparse_sum(value: Tensor, locations: Tensor, weights: Tensor, sizes: Sizes) -> Tensor:
    corners = _find_corners(sizes, locations)
    rows_read = _rows_read(corners, sizes, value.shape[0], value.shape[2])
    return _weigh(_bordered(value, sizes), rows_read, _shares(corners, weights))


def _weigh(table: Tensor, rows_read: Tensor, shares: Tensor) -> Tensor:
    return F.embedding_bag(rows_read, table, per_sample_weights=shares, mode='sum')


class _SparseSum(torch.autograd.Function):
    """The sparse product with gradients that do not store the sampled values either."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, value: Tensor, locations: Tensor, weights: Tensor, sizes: Sizes
    ) -> Tensor:
        ctx.save_for_backward(value, locations, weights)
        ctx.sizes = sizes  # type: ignore[attr-defined]  # how autograd keeps what is not a tensor
        return _sparse_sum(value, locations, weights, sizes)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors  # type: ignore[attr-defined]  # as above
        sizes: Sizes = ctx.sizes  # type: ignore[attr-defined]  # as above
        grad = grad.contiguous()
        corners = _find_corners(sizes, locations)
        rows_read = _rows_read(corners, sizes, value.shape[0], value.shape[2])
        shares = _shares(corners, weights)
        table = _bordered(value, sizes)
        # d sum / d share is the dot product of the row read with grad: embedding_bag has it.
        with torch.enable_grad():
            shares_leaf = shares.detach().requires_grad_()
            (of_shares,) = torch.autograd.grad(
                _weigh(table.detach(), rows_read, shares_leaf), shares_leaf, grad
            )
        of_table = _scatter(rows_read, shares, grad, len(table))
        of_value = _unbordered(of_table, sizes, value.shape[0], value.shape[2])
        of_locations, of_weights = _through_corners(of_shares, corners, sizes, weights)
        return of_value, of_locations, of_weights, None


def _scatter(rows_read: Tensor, shares: Tensor, grad: Tensor, length: int) -> Tensor:
    """Gradient of the table: each row gets the sum over those that read it.

    Sorting turns the scattered additions into another sparse product. On a CPU this is several
    times faster than `index_add_`, and its order is fixed whatever the number of threads.
    """
    ordered, order = rows_read.view(-1).sort(stable=True)
    starts = torch.searchsorted(ordered, torch.arange(length, dtype=ordered.dtype))
    readers = order.div(rows_read.shape[1], rounding_mode='floor')
    ordered_shares = shares.view(-1).index_select(0, order)  # a third of the time of [order]
    return F.embedding_bag(readers, grad, starts, per_sample_weights=ordered_shares, mode='sum')


def _through_corners(
    of_shares: Tensor, corners: _Corners, sizes: Sizes, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of locations and weights from those of the corners' shares."""
    batch, queries, _, levels, points = weights.shape
    x, y = corners.fraction
    by_corner = rearrange(of_shares, 'n (l corner p) -> corner l n p', l=levels, p=points)
    upper_left, upper_right, lower_left, lower_right = by_corner.contiguous()
    along_upper, along_lower = upper_right - upper_left, lower_right - lower_left
    upper = torch.addcmul(upper_left, x, along_upper)
    downwards = torch.addcmul(lower_left, x, along_lower) - upper
    rightwards = torch.addcmul(along_upper, y, along_lower - along_upper)
    of_weight = torch.addcmul(upper, y, downwards)
    slopes = torch.stack([rightwards, downwards]) * _sides(sizes, weights) * corners.free
    slopes *= rearrange(weights, 'b q h l p -> l (b q h) p')
    return (
        rearrange(slopes, 'xy l (b q h) p -> b q h l p xy', b=batch, q=queries),
        rearrange(of_weight, 'l (b q h) p -> b q h l p', b=batch, q=queries),
    )


class MultiScaleDeformableAttention(nn.Module):
    """Deformable attention of every pixel of several levels over all of them.

    Args:
        dim: Width of queries and values.
        heads: Number of heads; divides `dim`.
        levels: Number of levels.
        points: Points that a head reads in each level.

    Raises:
        ConfigError: If the heads do not divide the width.

    Source:
        Deformable DETR, eq. 3; initial offsets point in eight directions, appendix A.4.

    Example:
        >>> attention = MultiScaleDeformableAttention(32, heads=4, levels=2, points=4)
        >>> query = torch.rand(1, 20, 32)
        >>> places = torch.rand(20, 2)
        >>> attention(query, query, places, [(4, 4), (2, 2)]).shape
        torch.Size([1, 20, 32])
    """

    def __init__(self, dim: int, *, heads: int = 8, levels: int = 3, points: int = 4) -> None:
        super().__init__()
        if dim % heads:
            raise ConfigError(f'dim is {dim}, which {heads} heads cannot share: choose a multiple')
        self.shape = (heads, levels, points)
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.sampling_offsets.weight)
        angles = torch.arange(heads) * (2 * math.pi / heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        # Scaled to a square: point p lies p pixels away along the longer axis.
        directions = directions / directions.abs().amax(-1, keepdim=True)
        distances = torch.arange(1, points + 1)
        offsets = directions[:, None, None] * distances[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(*self.shape, 2).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(
            self, **dict(zip(('heads', 'levels', 'points'), self.shape, strict=True))
        )

    def forward(
        self,
        query: Float[Tensor, 'b q c'],
        memory: Float[Tensor, 'b s c'],
        places: Float[Tensor, 'q xy'],
        sizes: Sizes,
    ) -> Float[Tensor, 'b q c']:
        """What each query reads from the levels.

        Args:
            query: Queries, with their positions added.
            memory: Pixels of all levels, one after another.
            places: Place of each query, x, y as fractions.
            sizes: Height and width of each level.
        """
        batch, queries, _ = query.shape
        heads, levels, points = self.shape
        value = self.value_proj(memory).reshape(batch, -1, heads, memory.shape[-1] // heads)
        offsets = self.sampling_offsets(query).reshape(batch, queries, heads, levels, points, 2)
        shares = self.attention_weights(query).reshape(batch, queries, heads, levels * points)
        weights = shares.softmax(-1).reshape(batch, queries, heads, levels, points)
        # stacked scalars, because a tensor made of a list would fix the sizes of an exported model
        extent = torch.stack(
            [
                torch.scalar_tensor(side, device=query.device)
                for size in sizes
                for side in size[::-1]
            ]
        )
        locations = places[:, None, None, None] + offsets / extent.view(levels, 1, 2)
        mixed: Tensor = self.output_proj(deformable_attention(value, sizes, locations, weights))
        return mixed
