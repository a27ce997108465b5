"""Open blocks: parks, fields, meadows, orchards, forests, farmyards.

Every painter takes a lot with a street on all sides, and the taste of its region.
"""

import math

import numpy as np

from crossearth.synthetic.details import (
    M,
    Taste,
    courts,
    park_car,
    pond,
    scatter,
    tree_row,
)
from crossearth.synthetic.plan import Lot, pack

__all__ = ['farm', 'field', 'forest', 'meadow', 'orchard', 'park']


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


def field(lot: Lot, taste: Taste) -> None:
    """Arable strips with machine tracks, and hedgerows between some of them."""
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
    """Grassland with scattered trees and bales of hay."""
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
    """A closed canopy with a few clearings."""
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
