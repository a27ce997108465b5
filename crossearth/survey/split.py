"""Splits validation off by place: which ground, or which range of names, is held out of training.

Scenes with a georeference are grouped into blocks on the ground. Others are grouped by folder, by
how their names begin, or into runs of neighbouring names. Many choices of groups are tried. The one
closest to the wanted share of pixels and to the overall shares of the classes is held out.
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import shapely
from jaxtyping import Float64
from pyproj import CRS

from crossearth.datasets.cut import footprint_of
from crossearth.datasets.files import natural_key
from crossearth.datasets.holdout import HoldOut
from crossearth.datasets.scene import Scene
from crossearth.describing import plural
from crossearth.errors import ConfigError, SceneNotFoundError
from crossearth.labels import IGNORE_INDEX
from crossearth.rasters import transformer_between
from crossearth.survey.encoding import Encoding
from crossearth.survey.scenes import Look

__all__ = ['Split', 'split_by_place']

_SHARE = 0.2
_DRAWS = 400
_BLOCKS = 30  # target number
_LEAST_WINDOWS = 2  # training windows that must fit into a block when scenes are cut


@dataclass(frozen=True, slots=True)
class Split:
    """What is held out.

    Args:
        hold_out: The rule.
        text: The rule in words.
        share: Share of the labelled pixels that is held out.
        classes: Pixels of each class in the held-out part, among those that were read.
        left_out: Number of images that overlap the held-out part, and are in neither part.
    """

    hold_out: HoldOut
    text: str
    share: float
    classes: Mapping[int, int]
    left_out: int = 0


@dataclass(slots=True)
class _Unit:
    """A group that is held out, or not, as a whole."""

    counts: Counter[int] = field(default_factory=Counter)
    box: tuple[float, float, float, float] | None = None
    names: list[str] = field(default_factory=list)


def split_by_place(looks: Sequence[Look], encoding: Encoding, *, window_px: int) -> Split:
    """Choose what is held out for validation.

    Args:
        looks: The images of the source.
        encoding: Their classes.
        window_px: Side of a training window, in pixels of the files.

    Raises:
        ConfigError: If there is too little to split.
    """
    placed = [look for look in looks if look.raster.crs is not None]
    if len(placed) == len(looks):
        return _on_the_ground(placed, encoding, window_px=window_px)
    if len(looks) >= 5:
        return _by_names(looks, encoding)
    if min(look.raster.height for look in looks) < 2 * 32:
        raise ConfigError(
            f'{looks[0].raster.path}: {plural(len(looks), "image")} of '
            f'{looks[0].raster.height} rows {"is" if len(looks) == 1 else "are"} too little for '
            'training and validation: expected at least 5 images, or 64 rows'
        )
    hold_out = HoldOut(bottom=_SHARE)
    counts: Counter[int] = Counter()
    for look in looks:
        at = look.raster.height * (1 - _SHARE)
        for tile in look.tiles:
            if tile.row + tile.height > at:
                counts += _labelled(encoding.classes(tile.counts))
    return Split(
        hold_out,
        f'the lowest {_SHARE:.0%} of the rows of each image, because some have no transform that '
        'places them on the ground',
        _SHARE,
        counts,
    )


def _on_the_ground(looks: Sequence[Look], encoding: Encoding, *, window_px: int) -> Split:
    crs = _common_crs(looks)
    bounds = shapely.bounds(np.array([footprint_of(Scene(look.raster), crs) for look in looks]))
    sides = (bounds[:, 2:] - bounds[:, :2]).max(axis=1)
    longest = [max(look.raster.height, look.raster.width) for look in looks]
    pixel = float(np.median(sides / longest))
    few, large = len(looks) < 10, float(np.median(longest)) >= 4 * window_px
    cut = len(looks) < 5 or (few and large)
    units, side = _units(looks, bounds, encoding, crs, pixel=pixel, window_px=window_px, cut=cut)
    if len(units) < 2 and few and not cut:
        cut = True
        units, side = _units(
            looks, bounds, encoding, crs, pixel=pixel, window_px=window_px, cut=cut
        )
    if len(units) < 2:
        raise ConfigError(
            f'{looks[0].raster.path}: all images lie within {np.max(sides):g} by '
            f'{np.max(sides):g} units of their CRS: expected enough ground for separate training '
            'and validation areas'
        )
    chosen = _choose(list(units.values()))
    digits = 6 if crs.is_geographic else 2
    boxes = [tuple(round(v, digits) for v in unit.box) for unit in chosen if unit.box is not None]
    name = crs.to_authority()
    hold_out = HoldOut(
        boxes=[(a, b, c, d) for a, b, c, d in boxes],
        crs=':'.join(name) if name else crs.to_wkt(),
        whole=not cut,
    )
    text = f'{len(chosen)} of {len(units)} blocks on the ground, {_length(side, crs)} a side'
    left_out = 0
    if not cut:
        scenes = [Scene(look.raster) for look in looks]
        try:
            rest = hold_out.portion(scenes, 'rest', folder='.')
        except SceneNotFoundError as error:
            raise ConfigError(
                f'{looks[0].raster.path}: the images overlap so much that none is left to train on '
                'apart from those held out: expected images next to each other'
            ) from error
        kept = [len(rest), len(hold_out.portion(scenes, 'held_out', folder='.'))]
        left_out = len(looks) - sum(kept)
    return _split(hold_out, text, chosen, list(units.values()), left_out)


def _units(
    looks: Sequence[Look],
    bounds: Float64[np.ndarray, 'n 4'],
    encoding: Encoding,
    crs: CRS,
    *,
    pixel: float,
    window_px: int,
    cut: bool,
) -> tuple[dict[tuple[int, int], _Unit], float]:
    """Blocks of one size, and their side."""
    least = bounds[:, :2].min(axis=0)
    extent = float((bounds[:, 2:].max(axis=0) - least).max())
    sides = (bounds[:, 2:] - bounds[:, :2]).max(axis=1)
    smallest = _LEAST_WINDOWS * window_px * pixel if cut else 2 * float(np.median(sides))
    side = _block_side(bounds, extent, least_side=smallest, cut=cut)
    if cut and side >= extent:  # only one or a few small scenes, so use thirds of the extent
        side = extent / 3
    return _blocks(looks, bounds, encoding, crs, least=least, side=side, cut=cut), side


def _common_crs(looks: Sequence[Look]) -> CRS:
    systems = {look.raster.crs.to_wkt() for look in looks if look.raster.crs is not None}
    first = looks[0].raster.crs
    assert first is not None  # all looks here have a georeference
    return first if len(systems) == 1 else CRS.from_epsg(4326)


def _block_side(
    bounds: Float64[np.ndarray, 'n 4'], extent: float, *, least_side: float, cut: bool
) -> float:
    """Side of blocks of which about 30 hold images, no smaller than `least_side`."""
    side = extent
    middles = (bounds[:, :2] + bounds[:, 2:]) / 2 - bounds[:, :2].min(axis=0)
    while side / 1.25 > least_side:
        if cut:
            areas = np.prod(np.ceil((bounds[:, 2:] - bounds[:, :2]) / side), axis=1)
            occupied = int(areas.sum())
        else:
            occupied = len(np.unique(np.floor(middles / side), axis=0))
        if occupied >= _BLOCKS:
            break
        side /= 1.25
    return side


def _blocks(
    looks: Sequence[Look],
    bounds: Float64[np.ndarray, 'n 4'],
    encoding: Encoding,
    crs: CRS,
    *,
    least: Float64[np.ndarray, '2'],
    side: float,
    cut: bool,
) -> dict[tuple[int, int], _Unit]:
    """Blocks that hold images, with the classes in them."""
    units: dict[tuple[int, int], _Unit] = defaultdict(_Unit)

    def add(middle: Float64[np.ndarray, '2'], counts: Counter[int], name: str) -> None:
        col, row = np.floor((middle - least) / side).astype(int).tolist()
        unit = units[col, row]
        unit.counts += counts
        unit.names.append(name)
        x, y = least + np.array([col, row]) * side
        unit.box = (float(x), float(y), float(x + side), float(y + side))

    for look, edges in zip(looks, bounds, strict=True):
        if not cut:
            counts: Counter[int] = Counter()
            for tile in look.tiles:
                counts += _labelled(encoding.classes(tile.counts))
            add((edges[:2] + edges[2:]) / 2, counts, look.name)
            continue
        assert look.raster.crs is not None  # placed
        mask_hw = _label_hw(look)
        for tile in look.tiles:
            spread = _labelled(encoding.classes(tile.counts))
            # a tile may span several blocks: its classes are shared out over them evenly
            across = [(tile.col + tile.width * f) / mask_hw[1] for f in _STEPS]
            down = [(tile.row + tile.height * f) / mask_hw[0] for f in _STEPS]
            for v in down:
                for u in across:
                    point = look.raster.transform @ (
                        u * look.raster.width,
                        v * look.raster.height,
                    )
                    xy = transformer_between(look.raster.crs, crs).transform(*point)
                    part = Counter({k: -(-n // len(_STEPS) ** 2) for k, n in spread.items()})
                    add(np.array(xy), part, look.name)
    return dict(units)


_STEPS = (1 / 8, 3 / 8, 5 / 8, 7 / 8)


def _label_hw(look: Look) -> tuple[int, int]:
    """Height and width that the tiles of the labels count in, as far as they were read."""
    if look.mask is None:
        return look.raster.height, look.raster.width
    return (
        max(tile.row + tile.height for tile in look.tiles),
        max(tile.col + tile.width for tile in look.tiles),
    )


def _by_names(looks: Sequence[Look], encoding: Encoding) -> Split:
    ordered = sorted(looks, key=lambda look: natural_key(look.name))
    groups: dict[str, list[Look]] = defaultdict(list)
    for look in ordered:
        groups[_group(look.name)].append(look)
    largest = max(map(len, groups.values()))
    own = 4 <= len(groups) <= len(ordered) / 2 and largest <= len(ordered) / 2
    what = 'groups of images whose names begin alike'
    if own:
        runs = list(groups.values())
    else:
        what = 'runs of neighbouring names'
        count = min(len(ordered), max(5, min(_BLOCKS, len(ordered) // 4)))
        edges = np.linspace(0, len(ordered), count + 1).round().astype(int)
        runs = [ordered[a:b] for a, b in itertools.pairwise(edges)]
    units = []
    for run in runs:
        unit = _Unit(names=[look.name for look in run])
        for look in run:
            for tile in look.tiles:
                unit.counts += _labelled(encoding.classes(tile.counts))
        units.append(unit)
    chosen = _choose(units)
    hold_out = HoldOut(names=[(unit.names[0], unit.names[-1]) for unit in chosen])
    text = f'{len(chosen)} of {len(units)} {what}, for they have no place on the ground'
    return _split(hold_out, text, chosen, units, 0)


def _group(name: str) -> str:
    """The folder of an image, and how its name begins, without its last number."""
    path = PurePosixPath(name)
    stem = re.sub(r'\d+\D*$', '', path.stem)
    return f'{path.parent}/{stem}'


def _labelled(counts: Counter[int]) -> Counter[int]:
    return Counter({i: n for i, n in counts.items() if i != IGNORE_INDEX and n})


def _choose(units: Sequence[_Unit]) -> list[_Unit]:
    """The units to hold out: near to the wanted share, with the classes of the whole."""
    classes = sorted(set().union(*(unit.counts for unit in units)))
    table = np.array([[unit.counts[i] for i in classes] for unit in units], np.float64)
    if not classes:
        table = np.ones((len(units), 1))
    total = table.sum(axis=0)
    # a fixed seed, so that the same images always give the same split
    rng = np.random.default_rng(0)
    best: tuple[float, list[int]] = (np.inf, [0])
    for _ in range(_DRAWS):
        order = rng.permutation(len(units))
        sums = np.cumsum(table[order], axis=0)
        reached = sums.sum(axis=1) / total.sum()
        # at least one unit is left to train on
        count = min(int(np.abs(reached - _SHARE).argmin()) + 1, len(units) - 1)
        share = sums[count - 1] / total  # of each class
        off = abs(reached[count - 1] - _SHARE) + float(np.abs(share - _SHARE).mean())
        off += float((share == 0).sum() + (share == 1).sum())  # a class on one side alone
        if off < best[0]:
            best = (off, sorted(order[:count].tolist()))
    return [units[i] for i in best[1]]


def _split(
    hold_out: HoldOut, text: str, chosen: Sequence[_Unit], units: Sequence[_Unit], left_out: int
) -> Split:
    held: Counter[int] = Counter()
    every: Counter[int] = Counter()
    for unit in chosen:
        held.update(unit.counts)
    for unit in units:
        every.update(unit.counts)
    # without a labelled pixel, the share is 0 and not 0 / 0
    share = sum(held.values()) / max(sum(every.values()), 1)
    return Split(hold_out, text, share, held, left_out)


def _length(side: float, crs: CRS) -> str:
    if crs.is_geographic:
        return f'{side:.2g}°'
    metres = side * crs.axis_info[0].unit_conversion_factor
    return f'{metres:.0f} m' if metres < 10_000 else f'{metres / 1000:.0f} km'
