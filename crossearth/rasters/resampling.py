"""The one resampler: area averages where pixels become larger, bilinear where they do not.

A pixel takes the average of the source over a box around its centre, as wide and high as the pixel
itself but never smaller than a pixel of the source. The average over a box of one pixel is bilinear
interpolation, so one formula serves both. Pixels without data have no weight. Boxes begin and end
at multiples of 1/256 pixel, so weights of whole numbers are exact, and a value depends only on its
own place.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int32, Shaped

from crossearth.rasters.positions import FRACTIONS, Places, Positions

__all__ = ['resample_axes', 'resample_box', 'resample_nearest']

_WIDE = frozenset({'int32', 'uint32', 'int64', 'uint64', 'float64'})  # more digits than float32
_SHIFT = 8  # FRACTIONS is 2 to the power of it
_TILE_SOURCE_PX = 512  # side of what is averaged at once
_EXACT_SIZE = (1 << 11) - 1  # up to here, coordinates of 1/256 pixel are exact in float32


def resample_box(
    pixels: Shaped[np.ndarray, 'c a b'],
    valid: Bool[np.ndarray, 'a b'] | None,
    positions: Positions,
    *,
    top: int,
    left: int,
) -> tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w'] | None]:
    """Averages over the boxes of pixels.

    Args:
        pixels: A block of the source with everything inside it that the boxes touch.
        valid: Which of its pixels hold data; None for all.
        positions: Where the pixels lie in the source.
        top: Row of the source that the block starts at.
        left: Column of the source that it starts at.

    Returns:
        Averages in the type of the block, rounded for whole numbers (halves to even), 0 without
        data. And which pixels hold data, None for all: those that touch any; or, if they are not
        larger than a pixel of the source, those whose centre lies on a pixel with data.
    """
    height, width = pixels.shape[1:]
    cols = positions.cols - np.int32(left * FRACTIONS)
    rows = positions.rows - np.int32(top * FRACTIONS)
    finer = positions.widths is None and positions.heights is None
    first_row, last_row, first_col, last_col = positions.extent
    spans = (
        (first_row - top * FRACTIONS, last_row - top * FRACTIONS),
        (first_col - left * FRACTIONS, last_col - left * FRACTIONS),
    )
    everywhere = all(
        low >= 0 and high < length * FRACTIONS
        for (low, high), length in zip(spans, (height, width), strict=True)
    )
    if finer and valid is None and _is_fast(pixels):
        sampled = _bilinear(pixels, cols, rows, spans)
        if everywhere:
            return sampled, None
        within = _within(cols, width) & _within(rows, height)
        sampled[:, ~within] = 0
        return sampled, within
    boxes = _Boxes(cols, rows, positions.widths, positions.heights)
    image = np.empty((len(pixels), *cols.shape), pixels.dtype)
    shown = np.empty(cols.shape, bool)
    for tile in boxes.tiles():
        part = boxes.part(tile)
        touched = part.touched(height, width)
        image[:, *tile], shown[tile] = _averages(
            pixels[:, *touched],
            None if valid is None else valid[touched],
            part.counted_from(touched),
            finer=finer,
        )
    return image, None if shown.all() else shown


def resample_axes(
    pixels: Shaped[np.ndarray, 'c a b'],
    valid: Bool[np.ndarray, 'a b'] | None,
    rows: Places,
    cols: Places,
    *,
    top: int,
    left: int,
) -> tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w'] | None]:
    """The result of `resample_box` for a grid along the axes of its source, one axis at a time.

    Sums are taken in another order, so values that are not multiples of 1/2¹⁶ may differ in their
    last bit. A window at a third of the resolution takes a quarter of the time.

    Args:
        pixels: A block of the source with everything inside it that the boxes touch.
        valid: Which of its pixels hold data; None for all.
        rows: Where the rows of pixels lie in the source.
        cols: Where the columns of pixels lie in it.
        top: Row of the source that the block starts at.
        left: Column of the source that it starts at.

    Returns:
        See `resample_box`.
    """
    height, width = pixels.shape[1:]
    rows, cols = rows.counted_from(top), cols.counted_from(left)
    kind = np.float64 if pixels.dtype.name in _WIDE else np.float32
    down, across = (
        (first.numpy(), weights.numpy().astype(kind))
        for first, weights in (
            _Axis(places.centres, np.full((1, 1), places.side, np.int32), length).boxes()
            for places, length in ((rows, height), (cols, width))
        )
    )
    shown = rows.inside(height)[:, None] & cols.inside(width)
    if valid is None:
        sums = _along_axes(pixels, down, across)
        areas = np.multiply.outer(down[1].sum(1), across[1].sum(1))
    else:
        # the weights do not know which pixels hold data, so the others must add nothing
        sums = _along_axes(np.where(valid, pixels, 0), down, across)
        areas = _along_axes(valid[None], down, across)[0]
        # without averaging, the pixel that holds the centre decides alone
        if max(rows.side, cols.side) > FRACTIONS:
            shown &= areas > 0
        else:
            shown &= valid[rows.nearest(height)][:, cols.nearest(width)]
    # pixels without weight are set to 0 below
    with np.errstate(divide='ignore', invalid='ignore'):
        sums /= areas
    if pixels.dtype.kind in 'iu':
        np.rint(sums, out=sums)
    if shown.all():
        return sums.astype(pixels.dtype), None
    sums[:, ~shown] = 0
    return sums.astype(pixels.dtype), shown


def _along_axes(
    planes: Shaped[np.ndarray, 'c a b'],
    down: tuple[np.ndarray, np.ndarray],
    across: tuple[np.ndarray, np.ndarray],
) -> Float[np.ndarray, 'c h w']:
    """Weighted sums along the columns of planes, then along the rows of the result."""
    return _along(_along(planes, *down, axis=1), *across, axis=2)


def _along(
    planes: Shaped[np.ndarray, 'c a b'],
    first: Int32[np.ndarray, ' n'],
    weights: Float[np.ndarray, 'n t'],
    *,
    axis: int,
) -> Float[np.ndarray, 'c h w']:
    """Weighted sums of `t` neighbours from each given first one, in the type of the weights."""
    shape = (*planes.shape[:axis], len(first), *planes.shape[axis + 1 :])
    sums: Float[np.ndarray, 'c h w'] = np.zeros(shape, weights.dtype)
    for tap in range(weights.shape[1]):
        shares = weights[:, tap, None] if axis == 1 else weights[:, tap]
        sums += planes.take(first + tap, axis=axis) * shares
    return sums


def resample_nearest(
    values: Shaped[np.ndarray, 'a b'], positions: Positions, *, top: int, left: int
) -> Shaped[np.ndarray, 'h w']:
    """The value of the source pixel that each pixel centre lies in.

    Args:
        values: A block of the source.
        positions: Where the pixels lie in the source.
        top: Row of the source that the block starts at.
        left: Column of the source that it starts at.

    Returns:
        Values; outside the block, those of its nearest edge.
    """
    return _nearest(
        values,
        positions.cols - np.int32(left * FRACTIONS),
        positions.rows - np.int32(top * FRACTIONS),
    )


def _nearest(
    values: Shaped[np.ndarray, 'a b'],
    cols: Int32[np.ndarray, 'h w'],
    rows: Int32[np.ndarray, 'h w'],
) -> Shaped[np.ndarray, 'h w']:
    height, width = values.shape
    at_rows = np.clip(rows // FRACTIONS, 0, height - 1)
    at_cols = np.clip(cols // FRACTIONS, 0, width - 1)
    found: Shaped[np.ndarray, 'h w'] = np.take(values, at_rows * width + at_cols)
    return found


def _within(places: Int32[np.ndarray, 'h w'], length: int) -> Bool[np.ndarray, 'h w']:
    inside: Bool[np.ndarray, 'h w'] = (places >= 0) & (places < length * FRACTIONS)
    return inside


def _is_fast(pixels: Shaped[np.ndarray, 'c a b']) -> bool:
    """Whether float32 holds every weighted sum of these pixels exactly."""
    return pixels.dtype == np.uint8 and max(pixels.shape[1:]) <= _EXACT_SIZE


def _bilinear(
    pixels: Shaped[np.ndarray, 'c a b'],
    cols: Int32[np.ndarray, 'h w'],
    rows: Int32[np.ndarray, 'h w'],
    spans: tuple[tuple[int, int], tuple[int, int]],
) -> Shaped[np.ndarray, 'c h w']:
    """Averages over boxes of one pixel, for whole blocks of bytes, by torch's kernel.

    The block is put into a square whose side is a power of two, so that the conversion to the
    kernel's coordinates, from -1 to 1, and back is exact.
    """
    channels, height, width = pixels.shape
    # strictly larger than the block, so that a row and a column next to it exist
    side = 1 << max(height, width).bit_length()
    square = torch.empty((1, channels, side, side))
    square[0, :, :height, :width] = torch.from_numpy(pixels)
    # What lies next to the block has no weight, but 0 times NaN would be NaN.
    square[0, :, height, : width + 1] = 0
    square[0, :, :height, width] = 0
    flow = torch.empty((1, *cols.shape, 2))
    half = FRACTIONS // 2
    for axis, (places, span, length) in enumerate(
        ((cols, spans[1], width), (rows, spans[0], height))
    ):
        flow[0, ..., axis] = torch.from_numpy(places)
        if span[0] < half or span[1] > length * FRACTIONS - half:
            # Beyond the centres of the border pixels, only these have weight.
            flow[0, ..., axis].clamp_(half, length * FRACTIONS - half)
    flow *= 2 / (FRACTIONS * side)
    flow -= 1
    # `align_corners=False`: −1 and 1 are edges of pixels, from which places count, too
    sampled = F.grid_sample(square, flow, align_corners=False)[0]
    result: Shaped[np.ndarray, 'c h w'] = sampled.round_().to(torch.uint8).numpy()
    return result


@dataclass(frozen=True, slots=True)
class _Boxes:
    """The boxes of pixels in a block of the source, in `FRACTIONS` of its pixels."""

    cols: Int32[np.ndarray, 'h w']
    rows: Int32[np.ndarray, 'h w']
    widths: Int32[np.ndarray, 'h w'] | None
    heights: Int32[np.ndarray, 'h w'] | None

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Parts whose share of the source stays in the processor's cache."""
        sides = [plane.max() for plane in (self.widths, self.heights) if plane is not None]
        side = max(_TILE_SOURCE_PX * FRACTIONS // max([FRACTIONS, *sides]), 1)
        height, width = self.cols.shape
        for row in range(0, height, side):
            for col in range(0, width, side):
                yield slice(row, row + side), slice(col, col + side)

    def part(self, tile: tuple[slice, slice]) -> '_Boxes':
        """The boxes of some pixels."""
        planes = (self.cols, self.rows, self.widths, self.heights)
        return _Boxes(*(None if plane is None else plane[tile] for plane in planes))  # type: ignore[arg-type]  # the first two are arrays

    def touched(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and columns of a block of that size that they touch, at least one of each."""
        found = []
        for places, sides, length in (
            (self.rows, self.heights, height),
            (self.cols, self.widths, width),
        ):
            half = (FRACTIONS if sides is None else int(sides.max())) // 2 + 1
            low = min(max((int(places.min()) - half) // FRACTIONS, 0), length - 1)
            high = (int(places.max()) + half) // FRACTIONS + 1
            found.append(slice(low, min(max(high, low + 1), length)))
        return found[0], found[1]

    def counted_from(self, block: tuple[slice, slice]) -> '_Boxes':
        """The same boxes, with places counted from the corner of a part of the block."""
        return _Boxes(
            self.cols - np.int32(block[1].start * FRACTIONS),
            self.rows - np.int32(block[0].start * FRACTIONS),
            self.widths,
            self.heights,
        )


def _averages(
    pixels: Shaped[np.ndarray, 'c a b'],
    valid: Bool[np.ndarray, 'a b'] | None,
    boxes: _Boxes,
    *,
    finer: bool,
) -> tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w']]:
    """Averages over boxes, and which of them hold data."""
    sums = _weighted_sums(pixels, valid, boxes)
    weights = sums[..., -1:]
    shown = _within(boxes.cols, pixels.shape[2]) & _within(boxes.rows, pixels.shape[1])
    if not finer:
        shown &= weights[..., 0].numpy() > 0
    elif valid is not None:
        shown &= _nearest(valid, boxes.cols, boxes.rows)
    # dividing by the weight of the pixels with data is what gives no-data no weight
    averages = sums[..., :-1].div_(weights)
    if pixels.dtype.kind in 'iu':
        averages = averages.round_()
    if not shown.all():
        averages[torch.from_numpy(~shown)] = 0
    return averages.permute(2, 0, 1).numpy().astype(pixels.dtype), shown


def _weighted_sums(
    pixels: Shaped[np.ndarray, 'c a b'], valid: Bool[np.ndarray, 'a b'] | None, boxes: _Boxes
) -> Float[torch.Tensor, 'h w d']:
    """Sums over boxes, in source pixels: of each band, and, last, of the pixels with data."""
    channels, height, width = pixels.shape
    kind = torch.float64 if pixels.dtype.name in _WIDE else torch.float32
    # One row per source pixel: its values, and whether it holds data.
    table = torch.empty((height, width, channels + 1), dtype=kind)
    plain = _plain(pixels.dtype)
    for channel, band in enumerate(pixels):
        table[..., channel] = torch.from_numpy(band.astype(plain, copy=False))
    if valid is None:
        table[..., channels] = 1
    else:
        table[..., channels] = torch.from_numpy(valid)
        table[torch.from_numpy(~valid)] = 0
    axes = [
        _Axis(boxes.rows.reshape(-1), boxes.heights, height),
        _Axis(boxes.cols.reshape(-1), boxes.widths, width),
    ]
    inner = torch.arange(axes[0].taps, dtype=torch.int32)[:, None] * width + torch.arange(
        axes[1].taps, dtype=torch.int32
    )
    (first_rows, row_weights), (first_cols, col_weights) = (axis.boxes() for axis in axes)
    indexes = (first_rows * width + first_cols)[:, None] + inner.reshape(-1)
    weights = (row_weights[:, :, None] * col_weights[:, None, :]).reshape(indexes.shape)
    # a bag per box: one kernel gathers the weighted source pixels and sums them
    sums = F.embedding_bag(
        indexes,
        table.reshape(height * width, channels + 1),
        mode='sum',
        per_sample_weights=weights.to(kind),
    )
    return sums.reshape(*boxes.cols.shape, channels + 1)


class _Axis:
    """Boxes along one axis of a block of `length` source pixels."""

    def __init__(
        self, places: Int32[np.ndarray, ' n'], sides: Int32[np.ndarray, 'h w'] | None, length: int
    ) -> None:
        self._places = torch.from_numpy(places)
        self._sides = None if sides is None else torch.from_numpy(sides.reshape(-1))
        self._length = length
        widest = FRACTIONS if sides is None else int(sides.max())
        # a box that begins inside a pixel touches one more than its own width
        self.taps = min(-(-widest // FRACTIONS) + 1, length)

    def boxes(self) -> tuple[Int32[torch.Tensor, ' n'], Float[torch.Tensor, 'n t']]:
        """First source pixels of the boxes, and how much of each following pixel is inside."""
        places = self._places
        sides = FRACTIONS if self._sides is None else self._sides
        half = FRACTIONS // 2 if self._sides is None else self._sides // 2
        low = places - half
        # an arithmetic shift rounds down for negative places as well
        first = (low >> _SHIFT).clamp_(0, self._length - self.taps)
        start = (low - (first << _SHIFT)).float().div_(FRACTIONS)
        stop = (low + sides - (first << _SHIFT)).float().div_(FRACTIONS)
        # The part of [start, stop] within [tap, tap + 1]; nothing lies outside the block.
        taps = torch.arange(self.taps, dtype=torch.float32)
        weights = (stop[:, None] - taps).clamp_(0, 1)
        weights -= (start[:, None] - taps).clamp_(0, 1)
        return first, weights


def _plain(dtype: np.dtype) -> np.dtype:
    """A type that torch converts; it supports unsigned integers of more than 8 bits only partly."""
    return np.dtype(
        {'uint16': 'int32', 'uint32': 'int64', 'uint64': 'float64'}.get(dtype.name, dtype.name)
    )
