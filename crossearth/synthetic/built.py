"""Built-up blocks: rows around yards, slabs, offices, works, squares, gardens, terraces.

Every painter takes a lot with a street on all sides, and the taste of its region.
"""

import numpy as np

from crossearth.synthetic.details import (
    BOXES,
    M,
    Taste,
    containers,
    courts,
    heap,
    park_car,
    parking,
    roof_clutter,
    roof_details,
    scatter,
    tree_row,
)
from crossearth.synthetic.plan import Lot, Number, pack

__all__ = [
    'building_site',
    'closed_block',
    'gardens',
    'house',
    'offices',
    'slabs',
    'square',
    'terraces',
    'works',
]


def house(lot: Lot, taste: Taste, storeys: int, *, pitched: bool) -> None:
    """One building that fills its lot."""
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
    """Adjoining houses around a courtyard."""
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
        ((M.METAL_GREY, 4), (M.METAL_BLUE, 2), (M.METAL_RUST, 1), (M.MEMBRANE, 2))
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


def building_site(lot: Lot, taste: Taste) -> None:
    """Bare soil, heaps, containers, machines, and walls under construction."""
    dice = lot.site.dice
    lot.fill(M.BARE_SOIL, dice.between(0.9, 1.1))
    for _ in range(dice.whole(2, 5)):
        radius = dice.between(3, 7)
        u, v = dice.between(0, lot.width), dice.between(0, lot.depth)
        heap(lot.part(u - radius, v - radius, u + radius, v + radius), dice.between(0.85, 1.1))
    frame = lot.part(lot.width * 0.3, lot.depth * 0.3, lot.width * 0.75, lot.depth * 0.72)
    if min(frame.width, frame.depth) > 8:
        frame.fill(M.SAND_HEAP, 0.8)
        for u in np.arange(0, frame.width, 6.0).tolist():
            frame.box(u, 0, u + 0.4, frame.depth, pack(M.BALLAST, 1.4, 2.5))
        frame.box(0, 0, frame.width, 0.4, pack(M.BALLAST, 1.4, 2.5))
    containers(lot, 45)
    lot.box(2, 2, 6, lot.depth - 2, pack(M.GRAVEL, 0.9))
    tree_row(lot, taste, 1.5, every=9, share=0.4)


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
