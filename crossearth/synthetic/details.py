"""Details of every block: trees, cars, car parks, containers, courts, things on roofs.

Lengths are metres.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossearth.synthetic.plan import Lot, Number, pack
from crossearth.synthetic.spectra import Material

__all__ = [
    'BOXES',
    'M',
    'Painter',
    'Taste',
    'Weighted',
    'containers',
    'courts',
    'heap',
    'park_car',
    'parking',
    'plant',
    'pond',
    'roof_clutter',
    'roof_details',
    'scatter',
    'tree_row',
]

M = Material  # a short name, because the painters use it on every other line

type Weighted = tuple[tuple[M, Number], ...]
type Painter = Callable[[Lot, 'Taste'], None]

CAR_COLOURS: Weighted = (
    (M.CAR_WHITE, 0.24),
    (M.CAR_SILVER, 0.22),
    (M.CAR_GREY, 0.20),
    (M.CAR_BLACK, 0.16),
    (M.CAR_RED, 0.09),
    (M.CAR_BLUE, 0.09),
)
BOXES = (M.BOX_RED, M.BOX_BLUE, M.BOX_GREEN, M.BOX_WHITE)


@dataclass(frozen=True, slots=True)
class Taste:
    """How a region builds and plants.

    Args:
        pitched: Roofs with a slope, by weight.
        level: Flat roofs, by weight.
        pitched_share: How many buildings of a closed row have a slope.
        storeys: Smallest and largest number of storeys of a closed row.
        frontage: Smallest and largest width of a house in a closed row.
        row_depth: Smallest and largest depth of a closed row.
        trees: Deciduous and other crowns, by weight.
        greenness: Factor on the number of trees.
        yards: What courtyards are made of, by weight.
        crops: What fields grow, by weight.
    """

    pitched: Weighted
    level: Weighted
    pitched_share: Number
    storeys: tuple[int, int]
    frontage: tuple[Number, Number]
    row_depth: tuple[Number, Number]
    trees: Weighted
    greenness: Number
    yards: Weighted
    crops: Weighted


def plant(lot: Lot, taste: Taste, u: Number, v: Number, *, largest: Number = 5.0) -> None:
    """Plants one tree; most have a medium size."""
    dice = lot.site.flora
    radius = 1.3 + (largest - 1.3) * (dice.roll() + dice.roll()) / 2
    lot.tree(u, v, radius, dice.weighted(taste.trees))


def scatter(lot: Lot, taste: Taste, per_ha: Number, *, largest: Number = 5.0) -> None:
    """Plants trees anywhere in a lot."""
    dice = lot.site.flora
    expected = lot.width * lot.depth / 1e4 * per_ha * taste.greenness
    for _ in range(int(expected + dice.roll())):
        plant(lot, taste, dice.roll() * lot.width, dice.roll() * lot.depth, largest=largest)


def tree_row(lot: Lot, taste: Taste, v: Number, *, every: Number, share: Number = 0.8) -> None:
    """Plants an avenue of trees along `u`."""
    dice = lot.site.flora
    material = dice.weighted(taste.trees)
    radius = dice.between(2.0, 3.6)
    for k in range(int(lot.width / every)):
        if dice.chance(min(share * taste.greenness, 1)):
            lot.tree((k + 0.5) * every, v, radius * dice.between(0.8, 1.15), material)


def park_car(lot: Lot, u: Number, v: Number, *, van: Number = 0.08) -> None:
    """Puts a car, or a van, on the ground: its rear corner at a point, its length along `u`."""
    dice = lot.site.dice
    colour = dice.weighted(CAR_COLOURS)
    tone = dice.between(0.85, 1.1)
    if dice.chance(van):
        lot.box(u, v, u + 5.6, v + 2.1, pack(M.CAR_WHITE, tone, 2.3))
        lot.box(u + 4.7, v + 0.2, u + 5.2, v + 1.9, pack(M.CAR_GLASS, 1.0, 1.8))
        return
    forth = dice.chance(0.5)
    length = dice.between(4.0, 4.7)
    lot.box(u, v, u + length, v + 1.8, pack(colour, tone, 0.9))
    front, rear = (0.62, 0.14) if forth else (0.26, 0.76)
    lot.box(
        u + front * length,
        v + 0.15,
        u + (front + 0.13) * length,
        v + 1.65,
        pack(M.CAR_GLASS, 1.0, 1.2),
    )
    lot.box(
        u + rear * length, v + 0.2, u + (rear + 0.09) * length, v + 1.6, pack(M.CAR_GLASS, 1.0, 1.2)
    )
    low, high = sorted((front, rear))
    lot.box(
        u + (low + 0.11) * length,
        v + 0.15,
        u + high * length,
        v + 1.65,
        pack(colour, tone * 1.08, 1.45),
    )


def parking(lot: Lot, taste: Taste, *, filled: Number = 0.65) -> None:
    """Asphalt with marked bays across `v`, an aisle between two rows."""
    dice = lot.site.dice
    lot.fill(M.ASPHALT, dice.between(0.85, 1.15))
    line = pack(M.MARKING, 0.85)
    v = 0.6
    down = False
    while v + 5.2 <= lot.depth:
        bays = int((lot.width - 1.2) / 2.6)
        strip = lot.part(0.6, v, lot.width - 0.6, v + 5.0)
        for k in range(bays + 1):
            strip.box(k * 2.6, 0, k * 2.6 + 0.12, 5.0, line)
        upright = strip.turned()  # cars stand across the row
        for k in range(bays):
            if dice.chance(filled):
                at = strip.width - (k + 1) * 2.6 + dice.between(0.3, 0.5)
                park_car(upright, dice.between(0.2, 0.5), max(at, 0.0))
        if down and dice.chance(0.7):
            tree_row(strip, taste, 5.1, every=10.4, share=0.5)
        v += 5.0 if down else 11.0
        down = not down


def roof_clutter(lot: Lot, top_m: Number) -> None:
    """Puts machines, skylights and solar panels on a flat roof."""
    dice = lot.site.dice
    if min(lot.width, lot.depth) < 7:
        return
    for _ in range(int(lot.width * lot.depth / 140 * dice.roll() + 0.6)):
        u, v = dice.between(1.5, lot.width - 4), dice.between(1.5, lot.depth - 4)
        size_u, size_v = dice.between(1.2, 3.0), dice.between(1.2, 3.0)
        kind = dice.pick((M.METAL_GREY, M.METAL_GREY, M.ROOF_GLASS, M.BITUMEN))
        rise = 0.3 if kind is M.ROOF_GLASS else dice.between(0.8, 2.2)
        lot.box(u, v, u + size_u, v + size_v, pack(kind, dice.between(0.8, 1.1), top_m + rise))
    if dice.chance(0.12):
        rows = int((lot.depth - 4) / 2.2)
        for k in range(rows):
            lot.box(2, 2 + k * 2.2, lot.width - 2, 3.4 + k * 2.2, pack(M.SOLAR, 1.0, top_m + 0.4))


def roof_details(lot: Lot, ridge_m: Number, material: M) -> None:
    """Puts chimneys, dormers, windows and solar panels on a sloped roof."""
    dice = lot.site.dice
    half = lot.depth / 2
    for _ in range(dice.whole(0, 2)):
        u = dice.between(1, max(lot.width - 2, 1.1))
        v = half + dice.between(-1.2, 0.6)
        lot.box(u, v, u + 0.7, v + 0.7, pack(M.TILE_BROWN, 1.1, ridge_m + 0.8))
    if lot.width > 8 and half > 4 and dice.chance(0.35):
        top = pack(material, 1.1, ridge_m - 1.0)
        for u in np.arange(1.8, lot.width - 2.6, dice.between(3, 4.2)).tolist():
            lot.box(u, half * 0.35, u + 1.6, half * 0.8, top)
    elif dice.chance(0.16):
        side = half * 0.25 if dice.chance(0.5) else half * 1.15
        cell = pack(M.SOLAR, 1.0, ridge_m - half * 0.3)
        lot.box(lot.width * 0.2, side, lot.width * dice.between(0.5, 0.8), side + half * 0.6, cell)


def containers(lot: Lot, per_ha: Number) -> None:
    """Stacks of shipping containers, side by side."""
    dice = lot.site.dice
    for _ in range(int(lot.width * lot.depth / 1e4 * per_ha / 4 + dice.roll())):
        u, v = dice.roll() * max(lot.width - 13, 1), dice.roll() * max(lot.depth - 10, 1)
        for k in range(dice.whole(1, 5)):
            cell = pack(dice.pick(BOXES), dice.between(0.8, 1.1), 2.6 * dice.whole(1, 2))
            lot.box(u, v + k * 2.6, u + dice.pick((6.1, 12.2)), v + k * 2.6 + 2.4, cell)


def heap(lot: Lot, tone: Number) -> None:
    """A cone of sand or gravel."""
    rows, cols = lot.cells.shape
    if min(rows, cols) < 3:
        return
    v, u = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : cols * 1j]
    out = np.hypot(u, v)
    lit = tone * (1 - 0.35 * (u * lot.tone(-1, 0) + v * lot.tone(0, -1) - (u + v) * 0.7))
    brightness = np.clip(lit * 128, 40, 250).astype(np.uint32)
    height = (np.clip(1 - out, 0, 1) * 300).astype(np.uint32)
    cells = height << 16 | brightness << 8 | np.uint32(M.SAND_HEAP)
    np.maximum(lot.cells, np.where(out < 1, cells, np.uint32(0)), out=lot.cells)


def courts(lot: Lot) -> None:
    """A pair of tennis courts on red clay; they are clutter, as in the ISPRS labels."""
    line = pack(M.COURT_LINE, 1.0)
    for u in (1.0, 19.0):
        court = lot.part(u, 1, u + 17, 35)
        court.fill(M.CLAY, lot.site.dice.between(0.9, 1.1))
        for side in (3.0, 4.4, 12.6, 14.0):
            court.box(side, 5, side + 0.1, 29, line)
        for end in (5.0, 10.6, 17.0, 23.4, 29.0):
            court.box(3, end, 14, end + 0.1, line)


def pond(lot: Lot) -> None:
    """Still water with a wavy bank and a fringe of meadow."""
    dice = lot.site.dice
    rows, cols = lot.cells.shape
    v, u = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : cols * 1j]
    angle = np.arctan2(v, u)
    bank = (
        0.78
        + 0.1 * np.cos(2 * angle + dice.between(0, 7))
        + 0.07 * np.cos(3 * angle + dice.between(0, 7))
    )
    out = np.hypot(u, v) / bank
    lot.cells[out < 1.06] = pack(M.MEADOW, 0.85)
    lot.cells[out < 1] = pack(M.WATER, dice.between(0.85, 1.15))
