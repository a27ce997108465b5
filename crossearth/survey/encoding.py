"""Guesses how masks encode their classes, from the values that they hold.

Each guess says how it read the values, so that a reader can disagree with it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossearth.errors import LabelError
from crossearth.labels import IGNORE_INDEX, ISPRS, LabelSpace
from crossearth.survey.mask_values import RGB, MaskValues, Value

__all__ = ['Encoding', 'guess_encoding', 'with_vectors']

_MOST_CLASSES = 64
_NEAR = 32  # from black and white, for values that compression has blurred
_CLEAN = 0.98  # share of the pixels that must then be near black or white
_COLOURS = (
    (0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48),
    (145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128),
    (220, 190, 255), (170, 110, 40), (255, 250, 200), (128, 0, 0), (170, 255, 195), (128, 128, 0),
    (255, 215, 180), (0, 0, 128), (128, 128, 128), (255, 255, 255),
)  # fmt: skip
_THINGS = (
    'road', 'building', 'roof', 'house', 'water', 'river', 'lake', 'flood', 'tree', 'forest',
    'field', 'crop', 'parcel', 'vineyard', 'solar', 'car', 'ship', 'burn', 'fire', 'cloud', 'snow',
    'ice', 'landslide', 'glacier', 'shadow',
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Encoding:
    """The classes of masks, and how files encode them.

    Args:
        codec: `class_path` and `init_args` of the codec in a recipe; None for labels from vectors.
        labels: The classes.
        ids: Raw value → class id or 255; values that are not listed follow `threshold`.
        why: How the values were read, in words.
        threshold: For blurred masks: values from this one up are class 1; None for other masks.
    """

    codec: Mapping[str, Any] | None
    labels: LabelSpace
    ids: Mapping[Value, int]
    why: str
    threshold: int | None = None

    def classes(self, counts: Mapping[Value, int]) -> Counter[int]:
        """Pixels of each class id, 255 for ignored ones, from the pixels of each value.

        Raises:
            LabelError: If a value has no class.
        """
        total: Counter[int] = Counter()
        for value, count in counts.items():
            total[self._class_of(value)] += count
        return total

    def reads(self, counts: Iterable[Value]) -> bool:
        """Whether every value has a class."""
        try:
            for value in counts:
                self._class_of(value)
        except LabelError:
            return False
        return True

    def _class_of(self, value: Value) -> int:
        if value in self.ids:
            return self.ids[value]
        if isinstance(value, int) and any(isinstance(known, tuple) for known in self.ids):
            return self._class_of((value, value, value))  # grey, in a picture of colours
        if self.threshold is None:
            raise LabelError(f'value {value} of a mask belongs to no class')
        if isinstance(value, tuple):
            corner = tuple(255 * (part >= self.threshold) for part in value)
            red, green, blue = corner
            return self.ids.get((red, green, blue), IGNORE_INDEX)
        return int(value >= self.threshold)


def guess_encoding(
    masks: Sequence[MaskValues], *, hint: str = '', ignore: Sequence[int] = ()
) -> Encoding:
    """Guess the classes of masks from all values that occur in them.

    Args:
        masks: The masks of one set of images.
        hint: Path of the images and masks. A word in it, such as `roads`, names the class of masks
            that have only one.
        ignore: Numbers that stand for no class.

    Raises:
        LabelError: If the values cannot be classes, or there is only one class.
    """
    if any(mask.coloured for mask in masks):
        # where a class does not occur, a picture of colours may be all black
        masks = [mask.in_colour() if mask.bands >= 3 else mask for mask in masks]
    counts: Counter[Value] = Counter()
    for mask in masks:
        counts.update(mask.counts())
    numbers = Counter({value: count for value, count in counts.items() if isinstance(value, int)})
    if not numbers:
        return _from_colours(counts, masks, hint, ignore)
    if len(numbers) < len(counts):
        plain = next(mask for mask in masks if not mask.coloured)
        other = next(mask for mask in masks if mask.coloured)
        raise LabelError(
            f'{plain.path} holds numbers, but {other.path} holds colours: expected one encoding '
            'for all masks; convert some of them, or keep them in separate folders'
        )
    return _from_numbers(numbers, masks, hint, ignore)


def with_vectors(path: str, *, hint: str = '') -> Encoding:
    """Two classes, for vector features of one kind."""
    space = _two_classes(f'{path} {hint}')
    why = (
        f'features of {path} are {space.classes[1]}, the rest is background '
        '(for several classes: attribute and classes)'
    )
    return Encoding(None, space, {0: 0, 1: 1, IGNORE_INDEX: IGNORE_INDEX}, why)


def _from_numbers(
    counts: Counter[int], masks: Sequence[MaskValues], hint: str, ignore: Sequence[int]
) -> Encoding:
    values = sorted(counts)
    counted = Counter({value: count for value, count in counts.items() if value not in ignore})
    if _is_blurred(counted, most=2 if any(mask.lossy for mask in masks) else 4):
        share = sum(n for v, n in counts.items() if min(v, 255 - v) >= _NEAR) / counts.total()
        return Encoding(
            {'class_path': 'crossearth.labels.ThresholdCodec', 'init_args': {'threshold': 128}},
            _two_classes(hint),
            {},
            f'{len(values)} values, nearly all close to 0 or 255 ({share:.2%} between): black and '
            'white that was compressed or smoothed; 128 and above is the class',
            threshold=128,
        )
    if len(values) > _MOST_CLASSES + 1:
        raise LabelError(
            f'{masks[0].path}: the masks hold {len(values)} values, {values[0]} to {values[-1]}: '
            'expected a few classes. If these are images or object numbers, pass the folder of the '
            'masks, or masks of classes'
        )
    ignored, why_ignored = _ignored(values, masks, ignore)
    kept = [value for value in values if value not in ignored]
    if not kept:
        raise LabelError(f'{masks[0].path}: every pixel of the masks is ignored ({why_ignored})')
    if len(kept) == 1:
        raise LabelError(
            f'{masks[0].path}: all labelled pixels of the masks have the value {kept[0]}: expected '
            'at least two classes, or there is nothing to tell apart'
        )
    ids: dict[Value, int] = {value: i for i, value in enumerate(kept)}
    ids |= dict.fromkeys(ignored, IGNORE_INDEX)
    if kept == list(range(1, len(kept) + 1)) and not ignored:
        why = f'ids from 1: value 1 is class 0, … {len(kept)} is class {len(kept) - 1}'
        ids[0] = IGNORE_INDEX
        why_ignored = '0, which does not occur, would be ignored'
    elif kept == list(range(len(kept))):
        why = f'ids from 0 to {kept[-1]}; if 0 means unlabelled, run start with --ignore 0'
    elif kept == [0, 255]:
        why = '0 is background, 255 the one class'
    else:
        why = f'{len(kept)} values, one class each, in their order: {_shown(kept)}'
    if len(kept) == 2 and kept[0] == 0:
        space = _two_classes(hint)
        why = f'0 is background, {kept[1]} the one class'
    else:
        space = LabelSpace('own', *_numbered([f'class_{value}' for value in kept]))
    ids.setdefault(IGNORE_INDEX, IGNORE_INDEX)  # other images may have it
    whole: dict[int, int] = {v: i for v, i in ids.items() if isinstance(v, int)}
    codec = {'class_path': 'crossearth.labels.IdCodec', 'init_args': {'ids': whole}}
    return Encoding(codec, space, ids, why + (f'; {why_ignored}' if why_ignored else ''))


def _ignored(
    values: Sequence[int], masks: Sequence[MaskValues], ignore: Sequence[int]
) -> tuple[list[int], str]:
    """Values that stand for no class, and why."""
    ignored: dict[int, str] = {}
    nodata = {int(mask.nodata) for mask in masks if mask.nodata is not None}
    for value in values:
        others = [other for other in values if other not in ignored and other != value]
        if value in ignore:
            ignored[value] = f'{value} is ignored, as asked for'
        elif value < 0:
            ignored[value] = f'{value}, a negative number, is ignored'
        elif value in nodata and len(others) >= 2:
            # without two other values, ignoring this one would leave nothing to tell apart
            ignored[value] = f'{value}, which the files mark as nodata, is ignored'
        elif value == IGNORE_INDEX and len(others) >= 2 and max(others) < 128:
            ignored[value] = '255 is ignored'
    return list(ignored), ', '.join(ignored.values())


def _is_blurred(counts: Counter[int], *, most: int) -> bool:
    """Whether values lie near 0 and 255, and there are too many of them to be classes.

    255 next to ids such as 0, 1 and 2 stands for no class. Blurring leaves values between as well.
    """
    near = sum(n for v, n in counts.items() if 0 <= v < _NEAR or 255 - _NEAR < v <= 255)
    ends = any(v < _NEAR for v in counts) and any(v > 255 - _NEAR for v in counts)
    between = most < 4 or any(_NEAR <= v < IGNORE_INDEX for v in counts)
    return (
        len(counts) >= most
        and ends
        and between
        and max(counts) <= 255
        and near >= _CLEAN * counts.total()
    )


def _from_colours(
    counts: Counter[Value], masks: Sequence[MaskValues], hint: str, ignore: Sequence[int]
) -> Encoding:
    palette = masks[0].palette or {}
    without = [n for n in ignore if n not in palette]
    if without:
        raise LabelError(
            f'{masks[0].path}: {without[0]} is to be ignored, but the masks hold colours, and none '
            'has this number: run start without it, and give the colour the id 255 in the codec of '
            'the recipe'
        )
    ignored = {palette[n] for n in ignore}
    # reversed, so that of several numbers with one colour the first one counts
    number = {colour: i for i, colour in sorted(palette.items(), reverse=True)}
    colours = sorted(
        {value for value in counts if isinstance(value, tuple)},
        key=lambda colour: (number.get(colour, len(palette)), colour),
    )
    source = 'the colours of their palettes' if palette else 'their colours'
    if set(colours) <= {(0, 0, 0), (255, 255, 255)} | set(ISPRS.palette) and len(colours) > 3:
        ids = {colour: i for i, colour in enumerate(ISPRS.palette) if colour not in ignored}
        return _colour_encoding(ISPRS, ids, colours, f'the colours of the ISPRS classes, {source}')
    blurred = len(colours) > _MOST_CLASSES or any(mask.lossy for mask in masks)
    if blurred:
        corners: Counter[RGB] = Counter()
        near = 0
        for (red, green, blue), count in (
            (v, n) for v, n in counts.items() if isinstance(v, tuple)
        ):
            corner = (255 * (red > 127), 255 * (green > 127), 255 * (blue > 127))
            corners[corner] += count
            distance = max(abs(a - b) for a, b in zip(corner, (red, green, blue), strict=True))
            near += count * (distance < _NEAR)
        if near < _CLEAN * counts.total():
            raise LabelError(
                f'{masks[0].path}: the masks hold {len(colours)} colours: expected a few, one per '
                'class. If these are images, pass the folder of the masks; lossy formats blur '
                'colours, so save masks as PNG, for example'
            )
        colours = sorted(corners)
    seen, colours = colours, [colour for colour in colours if colour not in ignored]
    if len(colours) < 2:
        raise LabelError(
            f'{masks[0].path}: all pixels that count have the colour {(colours or seen)[0]}: '
            'expected at least two classes, or there is nothing to tell apart'
        )
    if len(colours) == 2 and colours[0] == (0, 0, 0):
        space = _two_classes(hint, colours[1])
    else:
        names = ['background' if c == (0, 0, 0) else f'colour_{_hex(c)[1:]}' for c in colours]
        space = LabelSpace('own', tuple(names), tuple(colours))
    why = f'{len(colours)} classes, {source}'
    if blurred:
        why += ', with each channel set to 0 or 255, because compression had blurred them'
    return _colour_encoding(space, {c: i for i, c in enumerate(colours)}, seen, why, blurred)


def _colour_encoding(
    space: LabelSpace,
    ids: Mapping[RGB, int],
    seen: Sequence[RGB],
    why: str,
    blurred: bool = False,
) -> Encoding:
    by_colour = dict(ids)
    unknown = [colour for colour in seen if colour not in by_colour]
    by_colour |= dict.fromkeys(unknown, IGNORE_INDEX)
    if unknown:
        why += f'; {", ".join(map(_hex, unknown))} ignored'
    arguments: dict[str, Any] = {'colours': {_hex(c): i for c, i in by_colour.items()}}
    if blurred:
        arguments['match'] = 'threshold'
    codec = {'class_path': 'crossearth.labels.colour_codec', 'init_args': arguments}
    values: dict[Value, int] = {colour: i for colour, i in by_colour.items()}  # noqa: C416  # wider keys
    return Encoding(codec, space, values, why, threshold=128 if blurred else None)


def _two_classes(hint: str, colour: RGB = (255, 255, 255)) -> LabelSpace:
    words = {word.removesuffix('s') for word in re.findall('[a-z]+', hint.lower())}
    name = next((thing for thing in _THINGS if thing in words), 'foreground')
    return LabelSpace(name, ('background', name), ((0, 0, 0), colour), scored=(1,))


def _numbered(names: list[str]) -> tuple[tuple[str, ...], tuple[RGB, ...]]:
    palette = [_COLOURS[i % len(_COLOURS)] for i in range(len(names))]
    return tuple(names), tuple(palette)


def _hex(colour: RGB) -> str:
    return '#' + ''.join(f'{part:02x}' for part in colour)


def _shown(values: Sequence[int]) -> str:
    more = ', …' if len(values) > 12 else ''
    return ', '.join(map(str, values[:12])) + more
