"""What fills the blocks between the streets: houses, yards, gardens, fields, parks, works.

Every painter takes a lot, street on all sides, and the taste of its region. Lengths are metres.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossearth.datasets.synthetic.plan import Lot, Number, pack
from crossearth.datasets.synthetic.spectra import Material

__all__ = ['Taste', 'park_car']

M = Material  # named on every other line below

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
        storeys: Fewest and most storeys of a closed row.
        frontage: Narrowest and widest house of a closed row.
        row_depth: Least and greatest depth of a closed row.
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
    """Plants one tree; most are of middling size."""
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
    """What stands on flat roofs: machines, skylights, solar panels."""
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
    """What sits on sloped roofs: chimneys, dormers, windows, solar panels."""
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


def house(lot: Lot, taste: Taste, storeys: int, *, pitched: bool) -> None:
    """One building that takes up its lot."""
    dice = lot.site.dice
    eave = storeys * 3.0 + dice.between(0.2, 1.4)
    tone = dice.between(0.82, 1.18)
    if not pitched:
        lot.flat(dice.weighted(taste.level), tone, eave)
        roof_clutter(lot, eave)
        return
    material = dice.weighted(taste.pitched)
    pitch = dice.between(0.45, 0.9)
    lot.gable(material, tone, eave, pitch)
    roof_details(lot, eave + pitch * lot.depth / 2, material)


def closed_block(lot: Lot, taste: Taste) -> None:
    """Houses wall to wall around a courtyard."""
    dice = lot.site.dice
    lot.fill(dice.weighted(taste.yards), dice.between(0.85, 1.15))
    deep = dice.between(*taste.row_depth)
    if min(lot.width, lot.depth) < 2.3 * deep:
        row = lot if lot.width >= lot.depth else lot.turned()
        _row(row, taste, 0.0, row.width, row.depth)
        return
    courtyard = lot.part(deep, deep, lot.width - deep, lot.depth - deep)
    _courtyard(courtyard, taste)
    for side in lot.sides():
        _row(side, taste, 0.0, side.width - deep, deep)


def _row(lot: Lot, taste: Taste, start: Number, stop: Number, deep: Number) -> None:
    dice = lot.site.dice
    storeys = dice.whole(*taste.storeys)
    u = start
    while u < stop - 3:
        wide = min(dice.between(*taste.frontage), stop - u)
        if stop - u - wide < 5:
            wide = stop - u
        if dice.chance(0.06) and wide < 14:  # a gap, or a gateway
            u += wide
            continue
        tall = max(storeys + dice.whole(-1, 1), 1)
        back = deep + dice.between(-1.5, 1.5)
        unit = lot.part(u, dice.between(0, 0.6), u + wide, back)
        house(unit, taste, tall, pitched=dice.chance(taste.pitched_share))
        if dice.chance(0.2) and wide > 8:  # a wing into the yard
            wing = lot.part(u, back - 3, u + dice.between(5, 7), back + dice.between(4, 9)).turned()
            house(wing, taste, max(tall - 1, 1), pitched=dice.chance(taste.pitched_share))
        u += wide


def _courtyard(lot: Lot, taste: Taste) -> None:
    dice = lot.site.dice
    kind = dice.roll()
    if kind < 0.25 and lot.width > 18 and lot.depth > 12:
        parking(lot, taste, filled=0.55)
    elif kind < 0.75:
        lot.part(2, 2, lot.width - 2, lot.depth - 2).fill(M.LAWN, dice.between(0.85, 1.1))
        lot.box(lot.width / 2, 0, lot.width / 2 + 1.6, lot.depth, pack(M.PAVING, 1.0))
        if dice.chance(0.3):
            containers(lot.part(1, 1, lot.width - 1, lot.depth - 1), 25)
        scatter(lot, taste, 110)
    else:
        scatter(lot, taste, 45)
        for _ in range(dice.whole(0, 2)):
            u, v = dice.between(0, lot.width), dice.between(0, lot.depth)
            lot.part(u, v, u + dice.between(4, 9), v + 5).flat(M.BITUMEN, 1.0, 3.0)


def slabs(lot: Lot, taste: Taste) -> None:
    """Long flat-roofed buildings among lawns and trees."""
    dice = lot.site.dice
    lot.fill(M.LAWN, dice.between(0.85, 1.1))
    lot = lot if lot.width > lot.depth else lot.turned()
    tall = dice.whole(4, 8) * 2.9
    material, tone = dice.weighted(taste.level), dice.between(0.85, 1.1)
    v = 5.0
    while v + 12 < lot.depth:
        u = dice.between(3, 9)
        while u + 20 < lot.width:
            wide = min(dice.between(28, 55), lot.width - u - 3)
            block = lot.part(u, v, u + wide, v + 12)
            lot.box(u - 2, v + 12, u + wide, v + 13.8, pack(M.PAVING, 1.0))
            block.flat(material, tone, tall)
            roof_clutter(block, tall)
            u += wide + dice.between(8, 14)
        if v + 30 < lot.depth and dice.chance(0.6):
            bays = lot.part(6, v + 15, lot.width - 6, v + 21.2)
            parking(bays, taste)
        v += dice.between(26, 34)
    if lot.depth - v > 38 or dice.chance(0.3):
        courts(lot.part(lot.width - 42, lot.depth - 40, lot.width - 5, lot.depth - 3))
    scatter(lot, taste, 75)


def offices(lot: Lot, taste: Taste) -> None:
    """A few large buildings of several levels on a paved ground."""
    dice = lot.site.dice
    lot.fill(dice.pick((M.PAVING, M.CONCRETE, M.ASPHALT)), dice.between(0.85, 1.1))
    lot = lot if lot.width > lot.depth else lot.turned()
    half = lot.width * dice.between(0.4, 0.6)
    for u0, u1 in ((3.0, half - 5), (half + 5, lot.width - 3)):
        site = lot.part(u0, 4, u1, lot.depth - 4)
        if min(site.width, site.depth) < 9:
            continue
        if dice.chance(0.2):
            parking(site, taste)
            continue
        base = dice.between(5, 12)
        material, tone = dice.weighted(taste.level), dice.between(0.85, 1.15)
        site.flat(material, tone, base)
        roof_clutter(site, base)
        wide = site.width * dice.between(0.35, 0.7)
        tower = site.part(2, 2, 2 + wide, site.depth * dice.between(0.5, 0.9))
        top = base + dice.between(6, 18)
        tower.flat(dice.weighted(taste.level), dice.between(0.85, 1.15), top)
        roof_clutter(tower, top)
    tree_row(lot, taste, 2.0, every=9)
    tree_row(lot, taste, lot.depth - 2.0, every=9)


def works(lot: Lot, taste: Taste) -> None:
    """Halls under long metal roofs, yards with containers, a car park."""
    dice = lot.site.dice
    lot.fill(dice.pick((M.ASPHALT, M.CONCRETE, M.ASPHALT)), dice.between(0.8, 1.1))
    lot = lot if lot.width > lot.depth else lot.turned()
    share = lot.width * dice.between(0.5, 0.7)
    hall = lot.part(4, 4, share, lot.depth - 5)
    material = dice.weighted(
        ((M.METAL_GREY, 4), (M.METAL_BLUE, 2), (M.METAL_RUST, 2), (M.MEMBRANE, 2))
    )
    tone, eave = dice.between(0.8, 1.1), dice.between(5, 9)
    bays = max(int(hall.depth / dice.between(14, 22)), 1)
    for k in range(bays):
        bay = hall.part(0, k * hall.depth / bays, hall.width, (k + 1) * hall.depth / bays)
        bay.gable(material, tone, eave, 0.16)
        light = pack(M.ROOF_GLASS, 1.0, eave + 2.5)
        for u in np.arange(6, bay.width - 4, 9).tolist():
            bay.box(u, bay.depth * 0.15, u + 1.2, bay.depth * 0.4, light)
    yard = lot.part(share + 4, 3, lot.width - 3, lot.depth - 3)
    if dice.chance(0.45):
        parking(yard, taste)
    else:
        containers(yard, 60)
    tree_row(lot, taste, lot.depth - 1.5, every=8, share=0.5)


def containers(lot: Lot, per_ha: Number) -> None:
    """Stacks of shipping containers, side by side."""
    dice = lot.site.dice
    for _ in range(int(lot.width * lot.depth / 1e4 * per_ha / 4 + dice.roll())):
        u, v = dice.roll() * max(lot.width - 13, 1), dice.roll() * max(lot.depth - 10, 1)
        for k in range(dice.whole(1, 5)):
            cell = pack(dice.pick(BOXES), dice.between(0.8, 1.1), 2.6 * dice.whole(1, 2))
            lot.box(u, v + k * 2.6, u + dice.pick((6.1, 12.2)), v + k * 2.6 + 2.4, cell)


def building_site(lot: Lot, taste: Taste) -> None:
    """Bare soil, heaps, containers, machines, and walls that have begun to rise."""
    dice = lot.site.dice
    lot.fill(M.BARE_SOIL, dice.between(0.9, 1.1))
    for _ in range(dice.whole(2, 5)):
        radius = dice.between(3, 7)
        u, v = dice.between(0, lot.width), dice.between(0, lot.depth)
        _heap(lot.part(u - radius, v - radius, u + radius, v + radius), dice.between(0.85, 1.1))
    frame = lot.part(lot.width * 0.3, lot.depth * 0.3, lot.width * 0.75, lot.depth * 0.72)
    if min(frame.width, frame.depth) > 8:
        frame.fill(M.SAND_HEAP, 0.8)
        for u in np.arange(0, frame.width, 6.0).tolist():
            frame.box(u, 0, u + 0.4, frame.depth, pack(M.BALLAST, 1.4, 2.5))
        frame.box(0, 0, frame.width, 0.4, pack(M.BALLAST, 1.4, 2.5))
    containers(lot, 45)
    lot.box(2, 2, 6, lot.depth - 2, pack(M.GRAVEL, 0.9))
    tree_row(lot, taste, 1.5, every=9, share=0.4)


def _heap(lot: Lot, tone: Number) -> None:
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


def park(lot: Lot, taste: Taste) -> None:
    """Lawns, gravel paths, a pond, groups of old trees."""
    dice = lot.site.dice
    lot.fill(M.LAWN, dice.between(0.9, 1.1))
    path = pack(M.GRAVEL, dice.between(0.85, 1.05))
    for share in (dice.between(0.2, 0.4), dice.between(0.6, 0.8)):
        lot.box(lot.width * share, 0, lot.width * share + 2.2, lot.depth, path)
    lot.box(0, lot.depth * 0.5, lot.width, lot.depth * 0.5 + 2.2, path)
    if dice.chance(0.55) and min(lot.width, lot.depth) > 35:
        pond(lot.part(lot.width * 0.25, lot.depth * 0.2, lot.width * 0.8, lot.depth * 0.8))
    elif min(lot.width, lot.depth) > 44:
        courts(lot.part(5, 5, 42, 41))
    for side in lot.sides():
        tree_row(side, taste, 3.0, every=8.5, share=0.7)
    scatter(lot, taste, 130, largest=6.4)


def courts(lot: Lot) -> None:
    """A pair of tennis courts on red clay; clutter, as in the ISPRS labels."""
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


def square(lot: Lot, taste: Taste) -> None:
    """A market place with a church, stalls and a few trees."""
    dice = lot.site.dice
    lot.fill(M.COBBLES, dice.between(0.95, 1.2))
    lot = lot if lot.width > lot.depth else lot.turned()
    deep = min(lot.depth * 0.45, 15.0)
    nave = lot.part(lot.width * 0.12, lot.depth * 0.3, lot.width * 0.5, lot.depth * 0.3 + deep)
    material = dice.weighted(taste.pitched)
    nave.gable(material, 1.0, 11, 1.1)
    transept = lot.part(
        lot.width * 0.33, lot.depth * 0.3 - 4, lot.width * 0.33 + 9, lot.depth * 0.3 + deep + 4
    )
    transept.turned().gable(material, 1.0, 10, 1.1)
    tower = lot.part(
        lot.width * 0.12 - 3,
        lot.depth * 0.3 + deep / 2 - 3.5,
        lot.width * 0.12 + 4,
        lot.depth * 0.3 + deep / 2 + 3.5,
    )
    tower.hip(M.SLATE, 1.0, 18, 2.2)
    stalls = lot.part(lot.width * 0.58, lot.depth * 0.2, lot.width - 4, lot.depth * 0.8)
    for v in np.arange(0, stalls.depth - 3, 7.0).tolist():
        for u in np.arange(0, stalls.width - 3, 5.0).tolist():
            if dice.chance(0.6):
                stalls.box(
                    u, v, u + 3.2, v + 2.6, pack(dice.pick(BOXES), dice.between(0.8, 1.1), 2.4)
                )
    tree_row(lot, taste, 2.5, every=8, share=0.6)


def gardens(lot: Lot, taste: Taste) -> None:
    """Detached houses, back to back, each in its garden."""
    dice = lot.site.dice
    lot.fill(M.LAWN, 1.0)
    lot = lot if lot.width > lot.depth else lot.turned()
    half = lot.depth / 2
    for side in (lot, lot.turned().turned()):
        u = 0.0
        while u + 11 < side.width:
            wide = min(dice.between(15, 25), side.width - u)
            if side.width - u - wide < 12:
                wide = side.width - u
            _parcel(side.part(u, 0, u + wide, half), taste)
            u += wide


def _parcel(lot: Lot, taste: Taste) -> None:
    dice = lot.site.dice
    wide, deep = lot.width, lot.depth
    lot.fill(dice.weighted(((M.LAWN, 6), (M.MEADOW, 2), (M.DRY_GRASS, 1))), dice.between(0.8, 1.15))
    hedge = pack(M.HEDGE, dice.between(0.85, 1.1), 1.5)
    if dice.chance(0.6):
        lot.box(0, 0, 0.9, deep, hedge)
    if dice.chance(0.5):
        lot.box(0, deep - 0.8, wide, deep, hedge)
    if dice.chance(0.4):
        lot.box(0, 0, wide * 0.6, 0.8, hedge)
    long, short = dice.between(9.5, 14), dice.between(8, 10.5)
    front = dice.between(4, 8)
    long = min(long, wide - 5.5)
    if long < 5 or deep < front + short + 2:
        scatter(lot, taste, 150)
        return
    left = 1.8
    drive = pack(dice.pick((M.PAVING, M.ASPHALT, M.GRAVEL, M.PAVING_RED)), dice.between(0.85, 1.1))
    lot.box(left + long + 0.5, 0, left + long + 3.6, front + 2.5, drive)
    lot.box(left + long / 2, 0, left + long / 2 + 1.3, front, drive)
    lot.box(left + 1, front + short, left + long - 1, front + short + dice.between(2, 4), drive)
    body = lot.part(left, front, left + long, front + short)
    tone, eave = dice.between(0.82, 1.18), dice.between(3.0, 6.2)
    style = dice.roll()
    if style < 1 - taste.pitched_share:
        body.flat(dice.weighted(taste.level), tone, eave)
        roof_clutter(body, eave)
    else:
        material, pitch = dice.weighted(taste.pitched), dice.between(0.5, 0.9)
        if dice.chance(0.3):
            body.hip(material, tone, eave, pitch * 0.8)
        else:
            body = body if dice.chance(0.65) else body.turned()
            body.gable(material, tone, eave, pitch)
            roof_details(body, eave + pitch * body.depth / 2, material)
        if dice.chance(0.3):
            lot.part(left + 1, front + short - 4, left + 6, front + short + 3).turned().gable(
                material, tone, eave - 0.3, pitch
            )
    if dice.chance(0.6):
        garage = lot.part(left + long + 0.4, front + 2.5, left + long + 3.6, front + 8.5)
        garage.flat(dice.pick((M.BITUMEN, M.GRAVEL_ROOF, M.BITUMEN)), dice.between(0.9, 1.2), 2.7)
    if dice.chance(0.55):
        drive_lot = lot.part(left + long + 0.5, 0, left + long + 3.4, front + 2.5).turned()
        park_car(drive_lot, dice.between(0.4, 1.8), 0.5)
    back = lot.part(0, front + short + 3, wide, deep)
    if back.depth > 7:
        u, v = dice.between(1, max(wide - 7, 1.5)), dice.between(0.5, max(back.depth - 6, 1))
        extra = dice.roll()
        if extra < 0.14:
            back.box(u - 0.7, v - 0.7, u + 8.2, v + 4.7, pack(M.PAVING, 1.15))
            back.box(u, v, u + 7.5, v + 4, pack(M.POOL, 1.0))
        elif extra < 0.5:
            back.part(u, v, u + 3.5, v + 3).gable(dice.weighted(taste.pitched), 0.95, 2.1, 0.4)
        elif extra < 0.65:
            back.box(u, v, u + 5, v + 4, pack(M.FALLOW, dice.between(0.8, 1.0)))
    scatter(back, taste, 130, largest=4.8)
    scatter(lot.part(0, 0, wide, front), taste, 60, largest=3.2)


def terraces(lot: Lot, taste: Taste) -> None:
    """Rows of narrow houses with strips of garden."""
    dice = lot.site.dice
    lot.fill(M.LAWN, dice.between(0.85, 1.1))
    lot = lot if lot.width > lot.depth else lot.turned()
    half = lot.depth / 2
    material, tone, pitch = (
        dice.weighted(taste.pitched),
        dice.between(0.85, 1.1),
        dice.between(0.5, 0.8),
    )
    pitched = dice.chance(taste.pitched_share)
    for side in (lot, lot.turned().turned()):
        u = dice.between(3, 8)
        while u + 18 < side.width:
            units = dice.whole(3, 7)
            long = min(units * 6.2, side.width - u - 3)
            row = side.part(u, 5, u + long, 14.5)
            if pitched:
                row.gable(material, tone * dice.between(0.95, 1.05), 5.8, pitch)
            else:
                row.flat(dice.weighted(taste.level), tone, 6.2)
            for k in range(int(long / 6.2)):
                at = u + k * 6.2
                side.box(at + 1, 0, at + 2.4, 5, pack(M.PAVING, 1.0))
                side.box(at + 0.5, 14.5, at + 5.5, 17, pack(M.PAVING, dice.between(0.9, 1.1)))
                side.box(at, 14.5, at + 0.5, half, pack(M.HEDGE, 1.0, 1.4))
                if pitched:
                    row.box(k * 6.2, 4.6, k * 6.2 + 0.7, 5.3, pack(M.TILE_BROWN, 1.1, 10.5))
            u += long + dice.between(5, 10)
    scatter(lot.part(0, 18, lot.width, lot.depth - 18), taste, 130, largest=3.6)


def field(lot: Lot, taste: Taste) -> None:
    """Arable strips with the lines of the machines, hedgerows between some."""
    dice = lot.site.dice
    lot = lot if dice.chance(0.5) else lot.turned()
    v = 0.0
    while v < lot.depth:
        deep = dice.between(25, 80)
        strip = lot.part(0, v, lot.width, min(v + deep, lot.depth))
        if strip.cells.size:
            _crop(strip, dice.weighted(taste.crops))
        if dice.chance(0.35):
            lot.box(0, v, lot.width, v + 1.6, pack(M.MEADOW, 0.95))
            tree_row(lot, taste, v + 0.8, every=7, share=0.45)
        v += deep


def _crop(lot: Lot, material: M) -> None:
    dice = lot.site.dice
    tone = dice.between(0.85, 1.12)
    rows = lot.cells.shape[0]
    v = np.arange(rows) / lot.site.px_per_m
    every = dice.between(1.4, 2.6)
    waves = 1 + 0.07 * np.sin(v * 2 * math.pi / every)
    waves[(v % dice.between(14, 22)) < 0.9] = 0.82  # tramlines
    brightness = np.clip(tone * waves * 128, 0, 255).astype(np.uint32)
    tall = {M.CROP_GREEN: 60, M.CROP_RIPE: 80}.get(material, 0)
    lot.cells[...] = (np.uint32(tall << 16 | material) | brightness << 8)[:, None]


def meadow(lot: Lot, taste: Taste) -> None:
    """Grassland with loose trees and bales of hay."""
    dice = lot.site.dice
    lot.fill(M.MEADOW, dice.between(0.85, 1.1))
    if dice.chance(0.4):
        for _ in range(dice.whole(4, 14)):
            u, v = dice.roll() * lot.width, dice.roll() * lot.depth
            lot.box(u, v, u + 1.5, v + 1.4, pack(M.DRY_GRASS, 1.3, 1.3))
    if dice.chance(0.25) and min(lot.width, lot.depth) > 35:
        pond(lot.part(lot.width * 0.2, lot.depth * 0.3, lot.width * 0.7, lot.depth * 0.8))
    scatter(lot, taste, 22)


def orchard(lot: Lot, taste: Taste) -> None:
    """Trees of one kind on a grid."""
    dice = lot.site.dice
    lot.fill(M.MEADOW, 1.0)
    every, radius, material = dice.between(5, 8), dice.between(1.5, 2.6), dice.weighted(taste.trees)
    for v in np.arange(every / 2, lot.depth, every).tolist():
        for u in np.arange(every / 2, lot.width, every).tolist():
            if dice.chance(0.93):
                lot.tree(u, v, radius, material)


def forest(lot: Lot, taste: Taste) -> None:
    """Closed canopy, with a clearing now and then."""
    lot.fill(M.MEADOW, 0.7)
    scatter(lot, taste, min(520 / max(taste.greenness, 0.5), 620), largest=6.2)


def farm(lot: Lot, taste: Taste) -> None:
    """A yard between barns, a house, silage and machines."""
    dice = lot.site.dice
    lot.fill(M.MEADOW, 0.95)
    lot = lot if lot.width > lot.depth else lot.turned()
    yard = lot.part(lot.width * 0.15, lot.depth * 0.15, lot.width * 0.85, lot.depth * 0.85)
    yard.fill(dice.pick((M.CONCRETE, M.GRAVEL, M.PAVING)), 0.9)
    roofs = ((M.METAL_GREY, 2), (M.METAL_RUST, 2), (M.TILE_BROWN, 2), (M.SLATE, 1))
    for side in yard.sides()[: dice.whole(2, 4)]:
        long = side.width * dice.between(0.4, 0.75)
        deep = min(dice.between(11, 18), side.depth * 0.4)
        side.part(1, 0, 1 + long, deep).gable(dice.weighted(roofs), dice.between(0.85, 1.1), 5, 0.4)
    home = yard.part(yard.width - 15, yard.depth - 12, yard.width - 2, yard.depth - 2)
    home.gable(dice.weighted(taste.pitched), 1.0, 5.5, 0.8)
    for _ in range(dice.whole(1, 4)):
        u, v = dice.between(0.3, 0.6) * yard.width, dice.between(0.4, 0.6) * yard.depth
        park_car(yard, u, v, van=0.4)
    heap = lot.part(lot.width * 0.02, lot.depth * 0.3, lot.width * 0.12, lot.depth * 0.6)
    heap.fill(M.BARE_SOIL, 0.7, 1.5)
    scatter(lot, taste, 40)
