"""Builds a town on the board: streets in both directions from the centre, and blocks in between."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from crossearth.synthetic.built import building_site, square
from crossearth.synthetic.details import M, Taste, park_car, tree_row
from crossearth.synthetic.plan import Dice, Lot, Number, pack
from crossearth.synthetic.regions import RegionStyle

__all__ = ['build_town', 'largest_lot_m']

type Kind = Literal['blocks', 'river', 'railway']
type Seen = Callable[[Number, Number, Number], bool]

PIECE_M: Final = 96.0
_COLUMN, _CUT, _STREET, _CROSS, _BLOCK, _RIVER = range(6)  # keys of dice, by their use


def largest_lot_m(style: RegionStyle) -> float:
    """How far a block or a street can extend beyond its own reference point."""
    return float(max(style.column[1], style.block[1], PIECE_M) + style.avenue[1] + 10)


def build_town(
    board: Lot, style: RegionStyle, taste: Taste, seen: Seen, *, reach: tuple[Number, Number]
) -> None:
    """Covers the board with streets and blocks, outwards from its centre.

    Every street and block rolls its own dice, so a place looks the same however much of it is
    drawn, and in any light.

    Args:
        board: The whole board.
        style: Plan of the region.
        taste: How it builds and plants, climate included.
        seen: Whether anything within a radius (m) of a point (m from the centre) is visible; the
            rest is left out.
        reach: How far from the centre anything can be visible, along `u` and along `v`.
    """
    columns = _columns(board, style, reach)
    for column in columns:
        _long_street(board, style, taste, column, seen, reach[1])
    centre_u, centre_v = board.width / 2, board.depth / 2
    for number, column in enumerate(columns):
        right = columns[number + 1] if number + 1 < len(columns) else None
        start, stop = centre_u + column.start, centre_u + column.stop
        strip = board.part(start, 0, stop, board.depth).keyed(_RIVER, column.key)
        if column.kind == 'river':
            _river(strip, taste)
        elif column.kind == 'railway':
            _railway(strip, taste)
        middle = (column.start + column.stop) / 2
        for cut in column.cuts:
            radius = math.hypot(column.stop - column.start, cut.stop - cut.start + cut.road) / 2
            if not seen(middle, (cut.start + cut.stop) / 2, radius + cut.road):
                continue
            # Every third street crosses a river or railway.
            if column.kind == 'blocks' or cut.key % 3 == 0:
                _cross_street(board, style, taste, column, right, cut)
            if column.kind == 'blocks':
                lot = board.part(start, centre_v + cut.start, stop, centre_v + cut.stop)
                _fill(lot.keyed(_BLOCK, column.key, cut.key), style, taste)


@dataclass(frozen=True, slots=True)
class _Cut:
    """A block within a column, and the cross street before it; metres from the centre."""

    key: int
    start: Number
    stop: Number
    road: Number


@dataclass(frozen=True, slots=True)
class _Column:
    """What lies between two long streets, and the street to its left, pavements included."""

    key: int
    start: Number
    stop: Number
    road: Number
    surface: int
    kind: Kind
    cuts: tuple[_Cut, ...]


def _outwards[T](
    reach: Number, dice: Dice, offset: Number, measure: Callable[[Dice], tuple[Number, T]]
) -> list[tuple[int, float, T]]:
    """Steps along an axis from `-offset`, both ways, until the reach is covered.

    Each step has its own dice for length and content, keyed by its number. The result holds key,
    start and content.
    """
    steps: list[tuple[int, float, T]] = []
    key, start = 0, -float(offset)
    while start < reach:
        length, content = measure(dice.of(key))
        steps.append((key, start, content))
        key, start = key + 1, start + length
    key, start = -1, -float(offset)
    while start > -reach:
        length, content = measure(dice.of(key))
        start -= length
        steps.append((key, start, content))
        key -= 1
    # In the order of their places, so that neighbours follow one another.
    return sorted(steps, key=lambda step: step[0])


def _columns(board: Lot, style: RegionStyle, reach: tuple[Number, Number]) -> list[_Column]:
    def measure(dice: Dice) -> tuple[float, tuple[float, float, int, Kind]]:
        road = _road_width(style, dice, style.avenue_share)
        surface = pack(dice.weighted(style.roads), dice.between(0.88, 1.12))
        wide = dice.between(*style.column)
        chance = dice.roll()
        kind: Kind = 'blocks'
        if chance < style.waterway:
            kind, wide = 'river', max(wide * 0.6, 24.0)
        elif chance < style.waterway + style.railway:
            kind, wide = 'railway', 26.0
        return road + wide, (road, wide, surface, kind)

    dice = board.site.dice.of(_COLUMN)
    columns = []
    steps = _outwards(reach[0], dice, dice.between(0, style.column[1]), measure)
    for key, first, (road, wide, surface, kind) in steps:
        # Columns that share dice have their cross streets in line.
        cuts = _cuts(style, board.site.dice.of(_CUT, 0 if style.shared_cross else key), reach[1])
        start = first + road
        columns.append(_Column(key, start, start + wide, road, surface, kind, cuts))
    return columns


def _cuts(style: RegionStyle, dice: Dice, reach: Number) -> tuple[_Cut, ...]:
    def measure(dice: Dice) -> tuple[float, tuple[float, float]]:
        road, long = _road_width(style, dice, 0.1), dice.between(*style.block)
        return road + long, (road, long)

    steps = _outwards(reach, dice, dice.between(0, style.block[1]), measure)
    return tuple(
        _Cut(key, first + road, first + road + long, road) for key, first, (road, long) in steps
    )


def _fill(lot: Lot, style: RegionStyle, taste: Taste) -> None:
    dice = lot.site.dice
    painter = dice.weighted(style.fills)
    if painter is building_site or painter is square:  # never a whole quarter of them
        lot_half, rest = _halves(lot)
        painter(lot_half, taste)
        if rest is not None:
            style.fills[0][0](rest, taste)
        return
    painter(lot, taste)


def _halves(lot: Lot) -> tuple[Lot, Lot | None]:
    lot = lot if lot.width > lot.depth else lot.turned()
    if lot.width < 70:
        return lot, None
    cut = min(lot.width / 2, 60.0)
    return lot.part(0, 0, cut, lot.depth), lot.part(cut, 0, lot.width, lot.depth)


def _road_width(style: RegionStyle, dice: Dice, avenues: Number) -> float:
    width = dice.between(*(style.avenue if dice.chance(avenues) else style.street))
    return width + 2 * style.pavement


def _long_street(
    board: Lot, style: RegionStyle, taste: Taste, column: _Column, seen: Seen, reach: Number
) -> None:
    """The street left of a column, in pieces, so that invisible ones are skipped."""
    first = column.start - column.road
    centre_u, centre_v = board.width / 2, board.depth / 2
    for piece in range(-math.ceil(reach / PIECE_M), math.ceil(reach / PIECE_M)):
        v = piece * PIECE_M
        if seen(first + column.road / 2, v + PIECE_M / 2, PIECE_M / 2 + column.road):
            lot = board.part(
                centre_u + first, centre_v + v, centre_u + column.start, centre_v + v + PIECE_M
            )
            lot = lot.keyed(_STREET, column.key, piece).turned()
            _street(lot, style, taste, column.surface)


def _cross_street(
    board: Lot,
    style: RegionStyle,
    taste: Taste,
    column: _Column,
    right: _Column | None,
    cut: _Cut,
) -> None:
    """The street across a column, and its mouths in the long streets at both ends."""
    left, top = board.width / 2, board.depth / 2 + cut.start - cut.road
    bottom = top + cut.road
    across = board.part(left + column.start, top, left + column.stop, bottom)
    across = across.keyed(_CROSS, column.key, cut.key)
    dice = across.site.dice
    surface = pack(dice.weighted(style.roads), dice.between(0.88, 1.12))
    _street(across, style, taste, surface, junctions=True)
    kerb = _kerb(style)
    mouths = [(column.start - column.road + kerb, column.start, column.surface)]
    if right is not None:
        mouths.append((column.stop, column.stop + right.road - kerb, right.surface))
    for start, stop, asphalt in mouths:
        mouth = board.part(left + start, top + kerb, left + stop, bottom - kerb)
        mouth.cells[...] = asphalt


def _kerb(style: RegionStyle) -> float:
    """Width of what lies on either side of a carriageway: a pavement, or a strip of grass."""
    return style.pavement or 0.4


def _street(
    lot: Lot, style: RegionStyle, taste: Taste, surface: int, *, junctions: bool = False
) -> None:
    """A street along `u`: pavements, lanes, kerbside cars, trees, crossings at its ends."""
    dice = lot.site.dice
    if min(lot.cells.shape) < 2:
        return
    side = style.pavement
    lot.fill(M.PAVING if side else M.MEADOW, dice.between(0.9, 1.1) if side else 0.9)
    kerb = _kerb(style)
    road = lot.part(0, kerb, lot.width, lot.depth - kerb)
    road.cells[...] = surface
    if not road.cells.size:
        return
    material, tone = M(surface & 255), (surface >> 8 & 255) / 128
    for _ in range(int(lot.width / 40 + dice.roll())):  # patches of later repairs
        at, wide = dice.roll() * road.width, dice.between(2, 9)
        v = dice.roll() * road.depth * 0.6
        road.box(
            at, v, at + wide, v + dice.between(1, 3), pack(material, tone * dice.between(0.75, 1.2))
        )
    if style.marked:
        _lane_marks(road, wide=road.depth > 13)
        if junctions and dice.chance(0.6):
            for start in (1.0, road.width - 4.5):
                for v in np.arange(0.5, road.depth - 0.5, 1.0).tolist():
                    road.box(start, v, start + 3.0, v + 0.5, pack(M.MARKING, 1.0))
    margin = 7.0 if junctions else 2.0
    u = margin
    while u + 5.5 < road.width - margin:
        if dice.chance(style.parked) and road.depth > 5.5:
            park_at = 0.25 if dice.chance(0.5) or road.depth < 7.5 else road.depth - 2.1
            park_car(road, u, park_at)
        if dice.chance(style.parked * 0.6) and road.depth > 7.5:
            park_car(road, u, road.depth - 2.1)
        if dice.chance(0.05):
            park_car(road, u, road.depth * (0.28 if dice.chance(0.5) else 0.58))
        u += dice.between(5.6, 6.6)
    if side > 1.2 and dice.chance(style.street_trees):
        every = dice.between(8, 13)
        for v in (side * 0.45, lot.depth - side * 0.45):
            tree_row(lot, taste, v, every=every, share=0.75)
    elif not side and dice.chance(style.street_trees):
        tree_row(lot, taste, 0.2, every=dice.between(7, 12), share=0.6)


def _lane_marks(road: Lot, *, wide: bool) -> None:
    mark = pack(M.MARKING, 0.9)
    middle = road.depth / 2
    if wide:
        road.box(0, middle - 0.9, road.width, middle + 0.9, pack(M.LAWN, 0.95))
        lines = [middle - road.depth * 0.25, middle + road.depth * 0.25]
    else:
        lines = [middle]
    dashed = np.arange(road.cells.shape[1]) / road.site.px_per_m % 9 < 4
    for v in lines:
        row = int(v * road.site.px_per_m)
        road.cells[row : row + max(round(0.18 * road.site.px_per_m), 1), dashed] = mark


def _river(lot: Lot, taste: Taste) -> None:
    """A river along `v` with wavy banks."""
    dice = lot.site.dice
    lot.fill(M.MEADOW, 0.95)
    rows, cols = lot.cells.shape
    v = np.arange(rows) / lot.site.px_per_m
    banks = []
    for side in (0.16, 0.84):
        wave = sum(
            dice.between(0.02, 0.05) * np.sin(v / dice.between(12, 50) + dice.between(0, 7))
            for _ in range(3)
        )
        banks.append(((side + wave) * cols).astype(np.int64))
    col = np.arange(cols)
    tone = dice.between(0.85, 1.15)
    for first in range(0, rows, 256):
        near, far = (bank[first : first + 256, None] for bank in banks)
        inside = (col >= near) & (col < far)
        lot.cells[first : first + 256][inside] = pack(M.WATER, tone)
    for side_lot in (lot.turned(), lot.turned().turned().turned()):
        tree_row(side_lot, taste, lot.width * 0.06 + 1, every=7, share=0.55)


def _railway(lot: Lot, taste: Taste) -> None:
    """Tracks along `v` on ballast between green banks."""
    lot.fill(M.MEADOW, 0.9)
    lot.part(5, 0, lot.width - 5, lot.depth).fill(M.BALLAST, 1.0)
    for u in np.arange(7, lot.width - 7, 4.6).tolist():
        for rail in (u, u + 1.5):
            lot.box(rail, 0, rail + 0.15, lot.depth, pack(M.RAIL, 1.0))
    tree_row(lot.turned(), taste, 2.0, every=6, share=0.5)
