"""The drawing board of the synthetic Earth: a packed raster of surfaces, and what is put on it.

A cell holds height, brightness and material in one integer, height first:

    height above ground in cm << 16  |  brightness, 128 is 1.0 << 8  |  material

so that the larger of two cells is the higher one. `np.maximum` is then enough to put a crown over a
roof, or a gable through another. Coordinates on the board are `u` along columns and `v` along rows,
in metres. Streets run along its axes, and the whole board is rotated and bent when it is put on the
ground.
"""

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import UInt32
from scipy import ndimage

from crossearth.synthetic.spectra import CLASS_OF, Material

__all__ = ['Dice', 'Lot', 'Number', 'Site', 'Sun', 'pack', 'stamp_trees']

type Number = int | float
"""A length, share or factor; an alias because run-time checks do not take an int for a float."""

# Trees stand on grass and pavements, or below another crown, but not in water or through a roof.
_TAKES_ROOTS: Final = np.isin(CLASS_OF, (0, 2, 3))


def pack(material: Material, tone: Number = 1.0, height_m: Number = 0.0) -> int:
    """A cell of a material, at a brightness (0–1.99) and a height above ground (0–655 m)."""
    brightness = min(max(int(tone * 128 + 0.5), 0), 255)
    return int(height_m * 100) << 16 | brightness << 8 | int(material)


class Dice:
    """Scalar draws by a key: dice with different keys are independent, in whatever order they roll.

    Draws are fetched in batches, which is ten times faster than one by one.

    Args:
        seed: Seed of the Earth.
        key: What the dice are for.
    """

    def __init__(self, seed: int, *key: int) -> None:
        self._seed, self._key = seed, key
        self._rng: np.random.Generator | None = None
        self._pool: list[float] = []
        self._batch = 32

    def of(self, *key: int) -> 'Dice':
        """Other dice, which depend on this key and the further one, not on earlier rolls."""
        # Keys of numpy's seeds must not be negative: even numbers from 0 up, odd ones below.
        return Dice(self._seed, *self._key, *(2 * k if k >= 0 else -2 * k - 1 for k in key))

    def _generator(self) -> np.random.Generator:
        if self._rng is None:
            sequence = np.random.SeedSequence(self._seed, spawn_key=self._key)
            self._rng = np.random.default_rng(sequence)
        return self._rng

    def roll(self) -> float:
        """A number in [0, 1)."""
        if not self._pool:
            self._pool = self._generator().random(self._batch).tolist()
            self._batch = 512
        return self._pool.pop()

    def between(self, low: Number, high: Number) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.roll()

    def chance(self, probability: Number) -> bool:
        """True with a probability."""
        return self.roll() < probability

    def whole(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int(self.roll() * (high - low + 1))

    def pick[T](self, items: Sequence[T]) -> T:
        """One of the items, with equal probability."""
        return items[int(self.roll() * len(items))]

    def weighted[T](self, items: Sequence[tuple[T, Number]]) -> T:
        """One of the items, by weights."""
        steps = []
        total = 0.0
        for _, weight in items:
            total += weight
            steps.append(total)
        return items[min(bisect(steps, self.roll() * total), len(items) - 1)][0]

    def array(self, *shape: int) -> np.ndarray:
        """Standard normal numbers."""
        return self._generator().standard_normal(shape)


@dataclass(frozen=True, slots=True)
class Sun:
    """The unit vector to the sun, on the board: along columns, along rows, up."""

    u: Number
    v: Number
    up: Number

    def tone(self, rise_u: Number, rise_v: Number) -> float:
        """Brightness of a plane by its rise in metres per metre; 1 if it is level."""
        facing = self.up - self.u * rise_u - self.v * rise_v
        facing /= math.sqrt(1 + rise_u**2 + rise_v**2) * self.up
        return 0.42 + 0.58 * min(max(facing, 0.0), 1.75)


@dataclass(slots=True)
class Site:
    """What all lots of a scene share.

    Args:
        px_per_m: Cells per metre.
        dice: Source of every choice of what is built.
        flora: Separate source of every choice of what is planted, so that a climate with more or
            fewer trees builds the same town.
        sun: Where the light comes from.
        leafless: Whether deciduous crowns are bare.
        trees: Crowns to stamp at the end: column, row, radius in m, material,
            one of two shapes.
    """

    px_per_m: Number
    dice: Dice
    flora: Dice
    sun: Sun
    leafless: bool = False
    trees: list[tuple[int, int, float, Material, int]] = field(default_factory=list)

    def keyed(self, *key: int) -> 'Site':
        """The same site with its own dice, so that what happens elsewhere has no influence."""
        return replace(self, dice=self.dice.of(*key), flora=self.flora.of(*key))


@dataclass(frozen=True)
class Lot:
    """A rectangle of the board with its own axes; what is painted on it is on the board.

    Args:
        cells: View of the board; its rows run along the lot's `v`.
        site: What all lots share.
        corner: Board column and row of the lot's first cell.
        axis_u: Board direction of one step along `u`: ±1 in columns or in rows.
        axis_v: Board direction of one step along `v`.
    """

    cells: UInt32[np.ndarray, 'v u']
    site: Site
    corner: tuple[int, int] = (0, 0)
    axis_u: tuple[int, int] = (1, 0)
    axis_v: tuple[int, int] = (0, 1)

    @cached_property
    def width(self) -> float:
        """Extent along `u` in metres."""
        return float(self.cells.shape[1] / self.site.px_per_m)

    @cached_property
    def depth(self) -> float:
        """Extent along `v` in metres."""
        return float(self.cells.shape[0] / self.site.px_per_m)

    def keyed(self, *key: int) -> 'Lot':
        """The same lot with its own dice."""
        return Lot(self.cells, self.site.keyed(*key), self.corner, self.axis_u, self.axis_v)

    def part(self, u0: Number, v0: Number, u1: Number, v1: Number) -> 'Lot':
        """The lot between two corners in metres, cut at the border."""
        scale = self.site.px_per_m
        rows, cols = self.cells.shape
        col0, row0 = (min(max(int(x * scale + 0.5), 0), n) for x, n in ((u0, cols), (v0, rows)))
        col1, row1 = max(int(u1 * scale + 0.5), col0), max(int(v1 * scale + 0.5), row0)
        corner = (
            self.corner[0] + self.axis_u[0] * col0 + self.axis_v[0] * row0,
            self.corner[1] + self.axis_u[1] * col0 + self.axis_v[1] * row0,
        )
        view = self.cells[row0:row1, col0:col1]
        return Lot(view, self.site, corner, self.axis_u, self.axis_v)

    def turned(self) -> 'Lot':
        """The same lot by a quarter turn: the side at the largest `u` becomes the one at `v` 0."""
        last = self.cells.shape[1] - 1
        corner = (
            self.corner[0] + self.axis_u[0] * last,
            self.corner[1] + self.axis_u[1] * last,
        )
        back = (-self.axis_u[0], -self.axis_u[1])
        return Lot(np.rot90(self.cells), self.site, corner, self.axis_v, back)

    def sides(self) -> tuple['Lot', 'Lot', 'Lot', 'Lot']:
        """The lot seen from each of its four sides, each in turn at `v` 0."""
        second = self.turned()
        third = second.turned()
        return self, second, third, third.turned()

    def box(self, u0: Number, v0: Number, u1: Number, v1: Number, cell: int) -> None:
        """Paints a rectangle given in metres, at least one cell wide, over what is there."""
        scale = self.site.px_per_m
        col, row = max(int(u0 * scale + 0.5), 0), max(int(v0 * scale + 0.5), 0)
        self.cells[
            row : max(int(v1 * scale + 0.5), row + 1), col : max(int(u1 * scale + 0.5), col + 1)
        ] = cell

    def fill(self, material: Material, tone: Number = 1.0, height_m: Number = 0.0) -> None:
        """Paints the whole lot over what is there."""
        self.cells[...] = pack(material, tone, height_m)

    def tree(self, u: Number, v: Number, radius_m: Number, material: Material) -> None:
        """Plants a tree at a point in metres; it is drawn after everything is built."""
        scale = self.site.px_per_m
        col, row = int(u * scale), int(v * scale)
        self.site.trees.append(
            (
                self.corner[0] + self.axis_u[0] * col + self.axis_v[0] * row,
                self.corner[1] + self.axis_u[1] * col + self.axis_v[1] * row,
                radius_m,
                material,
                self.site.flora.whole(0, 1),
            )
        )

    def tone(self, rise_u: Number, rise_v: Number) -> float:
        """Brightness of a plane of the lot, by its rise along the lot's own axes."""
        return self.site.sun.tone(
            rise_u * self.axis_u[0] + rise_v * self.axis_v[0],
            rise_u * self.axis_u[1] + rise_v * self.axis_v[1],
        )

    def gable(self, material: Material, tone: Number, eave_m: Number, pitch: Number) -> None:
        """Puts a gabled roof over the lot, its ridge along `u`, through whatever is lower."""
        rows = self.cells.shape[0]
        if rows < 3:
            return
        middle = rows / 2
        row = np.arange(rows) + 0.5
        height = eave_m + pitch * (middle - np.abs(row - middle)) / self.site.px_per_m
        near, far = (tone * self.tone(0.0, rise) for rise in (pitch, -pitch))
        brightness = np.where(row < middle, near, far)
        brightness[int(middle)] = tone * 1.12  # the ridge
        cells = _packed(material, brightness, height)
        np.maximum(self.cells, cells[:, None], out=self.cells)

    def hip(self, material: Material, tone: Number, eave_m: Number, pitch: Number) -> None:
        """Puts a hipped roof over the lot: four planes, rising from every side."""
        rows, cols = self.cells.shape
        if rows < 3 or cols < 3:
            return
        row, col = np.arange(rows)[:, None] + 0.5, np.arange(cols)[None] + 0.5
        from_v, from_u = np.minimum(row, rows - row), np.minimum(col, cols - col)
        planes = [
            tone * self.tone(*rise) for rise in ((0, pitch), (0, -pitch), (pitch, 0), (-pitch, 0))
        ]
        along_v = np.where(row < rows / 2, planes[0], planes[1])
        along_u = np.where(col < cols / 2, planes[2], planes[3])
        brightness = np.where(from_v <= from_u, along_v, along_u)
        height = eave_m + pitch * np.minimum(from_v, from_u) / self.site.px_per_m
        np.maximum(self.cells, _packed(material, brightness, height), out=self.cells)

    def flat(self, material: Material, tone: Number, top_m: Number) -> None:
        """Puts a flat roof with a parapet over the lot, through whatever is lower."""
        if min(self.cells.shape) < 3:
            return
        inner, rim = pack(material, tone, top_m), pack(material, tone * 1.18, top_m + 0.5)
        cells = np.full(self.cells.shape, rim, np.uint32)
        cells[1:-1, 1:-1] = inner
        np.maximum(self.cells, cells, out=self.cells)


def _packed(material: Material, tone: np.ndarray, height_m: np.ndarray) -> np.ndarray:
    brightness = np.clip(tone * 128 + 0.5, 0, 255).astype(np.uint32)
    return (height_m * 100).astype(np.uint32) << 16 | brightness << 8 | np.uint32(material)


def stamp_trees(cells: UInt32[np.ndarray, 'v u'], site: Site, seen: np.ndarray) -> None:
    """Draws the planted trees.

    Args:
        cells: The board.
        site: What lots share, the trees among it.
        seen: Whether a tree is visible, by its index in the list; the others are skipped.
    """
    stamps: dict[tuple[int, int, int], np.ndarray] = {}
    rows, cols = cells.shape
    for number in np.flatnonzero(seen).tolist():
        col, row, radius, material, shape = site.trees[number]
        if not (0 <= row < rows and 0 <= col < cols and _TAKES_ROOTS[cells[row, col] & 255]):
            continue
        size = max(round(radius * 2), 2)  # crowns have steps of half a metre, with two shapes each
        key = (size, int(material), shape)
        stamp = stamps.get(key)
        if stamp is None:
            stamp = stamps[key] = _crown(size / 2, material, shape, site)
        half = stamp.shape[0] // 2
        top, left = row - half, col - half
        if top < 0 or left < 0 or top + stamp.shape[0] > rows or left + stamp.shape[0] > cols:
            continue
        here = cells[top : top + stamp.shape[0], left : left + stamp.shape[0]]
        np.maximum(here, stamp, out=here)


def _crown(radius_m: Number, material: Material, shape: int, site: Site) -> np.ndarray:
    """A crown seen from above: lumpy outline, bumpy dome or cone, lit by the sun."""
    # Keyed by the stamp, so that a crown does not depend on which trees are drawn before it.
    scale, dice = site.px_per_m, site.flora.of(round(radius_m * 2), material, shape)
    half = math.ceil(radius_m * 1.3 * scale)
    v, u = np.mgrid[-half : half + 1, -half : half + 1] / (radius_m * scale)
    angle = np.arctan2(v, u)
    conifer = material is Material.CONIFER
    lobes = ((7, 0.1), (3, 0.05)) if conifer else ((2, 0.09), (3, 0.08), (5, 0.06), (8, 0.04))
    outline = 0.95 + sum(size * np.cos(k * angle + dice.between(0, 7)) for k, size in lobes)
    out = np.hypot(u, v) / outline
    bumps = ndimage.gaussian_filter(dice.array(*u.shape), max(0.42 * scale, 0.6), mode='wrap')
    bumps /= bumps.std() + 1e-9
    dome = 1 - out if conifer else np.sqrt(np.clip(1 - out**2, 0, 1))
    tall = radius_m * (2.6 if conifer else 1.2)
    height = 1.0 + radius_m * 0.9 + tall * dome + (0.16 + 0.05 * radius_m) * bumps
    rise_v, rise_u = np.gradient(height * scale)
    facing = site.sun.up - site.sun.u * rise_u - site.sun.v * rise_v
    facing /= np.sqrt(1 + rise_u**2 + rise_v**2) * site.sun.up
    tone = dice.between(0.88, 1.12) * (0.38 + 0.62 * np.clip(facing, 0, 1.7)) + 0.06 * bumps
    if site.leafless and not conifer:  # light passes through: twigs, and litter below
        tone = 0.62 + 0.3 * tone + 0.10 * bumps
        height = np.where(dice.array(*u.shape) > 0.35, height, 0.6)
    cells = _packed(material, tone, np.clip(height, 0.5, 60.0))
    return np.where(out < 1 + 0.07 * bumps, cells, np.uint32(0))
