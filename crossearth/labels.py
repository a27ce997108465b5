"""Label spaces, and how mask files encode them.

A label space names the classes. A codec translates the values of a mask file into class ids.
Anything that a codec cannot place (no-data, boundaries, unmapped values) becomes `IGNORE_INDEX`.
"""

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from crossearth.describing import colour_legend, html_table
from crossearth.errors import LabelError
from crossearth.spelling import check_choice

__all__ = [
    'BUILDING',
    'IGNORE_INDEX',
    'ISPRS',
    'LABEL_SPACES',
    'ROAD',
    'ColourCodec',
    'Decoded',
    'IdCodec',
    'LabelCodec',
    'LabelSpace',
    'ThresholdCodec',
    'colour_codec',
]

RawMask = Integer[np.ndarray, 'c h w']
"""Raw values of a mask file; a single object, because recipes compare types by identity."""

IGNORE_INDEX = 255
"""Label of pixels that are neither trained on nor scored."""

_FEW = 4
_GREY = 32  # bands of grey lie this close together

type RGB = tuple[int, int, int]
ColourMatch = Literal['exact', 'threshold']

# The values below have no slots: the parser of recipes reads them with vars() where they are
# defaults of an argument, such as `labels: LabelSpace = ROAD` of a dataset of yours.


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a task, in the order of their ids.

    Args:
        name: Short name, shown in tables.
        classes: Class names; the position is the id.
        palette: One colour per class, as red, green, blue in 0–255.
        scored: Ids whose IoU makes up the mean; None for all. One-class tasks keep a background
            class at 0 and score `(1,)`.

    Raises:
        LabelError: If names and colours differ in number, repeat, or are out of range.

    Example:
        >>> ISPRS.num_classes, ISPRS.classes[1], ISPRS.palette[1]
        (6, 'building', (0, 0, 255))
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    scored: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < len(self.classes) <= IGNORE_INDEX or len(self.palette) != len(self.classes):
            raise LabelError(
                f'label space {self.name!r} has {len(self.classes)} classes and '
                f'{len(self.palette)} colours: expected 1 to {IGNORE_INDEX} classes, and one '
                'colour per class'
            )
        if len(set(self.classes)) != len(self.classes):
            raise LabelError(
                f'label space {self.name!r} names a class twice, in {self.classes}: give each '
                'class its own name'
            )
        if any(not 0 <= part <= 255 for colour in self.palette for part in colour):
            raise LabelError(
                f'label space {self.name!r} has a colour outside 0–255: give red, green and blue '
                'as bytes'
            )
        if self.scored is not None and any(not 0 <= i < len(self.classes) for i in self.scored):
            raise LabelError(
                f'label space {self.name!r} scores ids {self.scored}, but has ids 0 to '
                f'{len(self.classes) - 1}'
            )

    def _repr_html_(self) -> str:
        return html_table(self.name, {'classes': colour_legend(self.classes, self.palette)})

    @property
    def background(self) -> int | None:
        """Id of the class named background, which maps show as transparent; None without one."""
        names = [name.lower() for name in self.classes]
        return names.index('background') if 'background' in names else None

    @property
    def num_classes(self) -> int:
        """Number of classes, without the ignored label."""
        return len(self.classes)

    def colour(self, ids: UInt8[np.ndarray, 'h w']) -> UInt8[np.ndarray, 'h w 3']:
        """A picture of a label map in the palette; ignored pixels are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: self.num_classes] = self.palette
        coloured: UInt8[np.ndarray, 'h w 3'] = table[ids]
        return coloured


class Decoded(NamedTuple):
    """Class ids of a mask, and the raw values that belong to no class, with their pixel counts."""

    ids: UInt8[np.ndarray, 'h w']
    unknown: dict[int | RGB, int]


@runtime_checkable
class LabelCodec(Protocol):
    """How a mask file encodes class ids."""

    def decode(self, raw: RawMask) -> Decoded:
        """Class ids of raw mask values."""
        ...


@dataclass(frozen=True)
class IdCodec:
    """Masks of one band that hold numbers.

    Args:
        ids: Raw value → class id or `IGNORE_INDEX`. A value that is not listed is an error, because
            it means that the data are wrong or that the wrong label space was chosen.

    Example:
        >>> IdCodec.identity(2).decode(np.array([[[0, 1, 255]]], np.uint8)).ids.tolist()
        [[0, 1, 255]]
    """

    ids: Mapping[int, int]

    def __post_init__(self) -> None:
        _check_ids(self.ids)

    @classmethod
    def identity(cls, num_classes: int) -> 'IdCodec':
        """Raw values are class ids already; 255 is ignored."""
        return cls({**{i: i for i in range(num_classes)}, IGNORE_INDEX: IGNORE_INDEX})

    def decode(self, raw: RawMask) -> Decoded:
        """Class ids of a one-band mask.

        Args:
            raw: Values as the file holds them.

        Returns:
            Class ids; `unknown` is always empty, since unlisted values raise an error.

        Raises:
            LabelError: If the mask has several bands, or a value that is not listed.
        """
        band = _single_band(raw)
        if band.dtype != np.uint8:
            if band.min(initial=0) < 0 or band.max(initial=0) > 255:
                return Decoded(self._decode_wide(band), {})
            band = band.astype(np.uint8)
        table, stray, classes, few = _byte_table(tuple(self.ids.items()))
        if int((band + np.uint8(1)).max(initial=0)) <= classes:  # 255 wraps around to 0
            return Decoded(band.copy(), {})
        ids = _translate(band, table) if not few else _sum_of_few(band, few, stray)
        if stray is not None and (ids == stray).any():
            raise self._unlisted(np.flatnonzero(np.bincount(band.ravel(), minlength=256)))
        return Decoded(ids, {})

    def _decode_wide(self, band: Integer[np.ndarray, 'h w']) -> UInt8[np.ndarray, 'h w']:
        """The plain definition, for values that do not fit in a byte."""
        values = np.unique(band)
        if any(int(value) not in self.ids for value in values):
            raise self._unlisted(values)
        table = np.array([self.ids[int(value)] for value in values], np.uint8)
        found: UInt8[np.ndarray, 'h w'] = table[np.searchsorted(values, band)]
        return found

    def _unlisted(self, values: Integer[np.ndarray, ' n']) -> LabelError:
        stray = [int(value) for value in values if int(value) not in self.ids]
        known = ', '.join(str(value) for value in sorted(self.ids))
        return LabelError(
            f'mask holds ids {stray[:8]}, expected only {known}: choose the label space and '
            'encoding that the masks were made with'
        )


@dataclass(frozen=True)
class ThresholdCodec:
    """Masks of one class: raw values of at least `threshold` are class 1, lower ones class 0.

    Files with several equal bands (a grey picture saved as RGB) are read from their first band,
    and masks with a palette by its colours.

    Example:
        >>> ThresholdCodec().decode(np.array([[[0, 127, 128, 255]]], np.uint8)).ids.tolist()
        [[0, 0, 1, 1]]
    """

    threshold: int = 128

    def decode(self, raw: RawMask) -> Decoded:
        """Class ids, 0 or 1.

        Raises:
            LabelError: If the mask is coloured.
        """
        # lossy formats give grey a little colour
        if raw.shape[0] >= 3 and (raw[:3].max(axis=0) - raw[:3].min(axis=0) > _GREY).any():
            raise LabelError(
                'mask is coloured, expected black, white and grey to compare with a threshold: '
                'choose a colour encoding'
            )
        return Decoded((raw[0] >= self.threshold).view(np.uint8), {})


@dataclass(frozen=True)
class ColourCodec:
    """Masks whose colours stand for classes.

    Args:
        colours: Red, green, blue → class id or `IGNORE_INDEX`.
        match: `'exact'` compares colours as they are. `'threshold'` first sets every channel to 0
            (below 128) or 255, which recovers labels that were blended or compressed. It needs
            colours made of 0 and 255.

    Raises:
        LabelError: If `'threshold'` is used with colours that contain values other than 0 and 255,
            or a class id is out of range.
        ConfigError: If `match` is neither of the two.

    Example:
        >>> codec = ColourCodec({(255, 255, 0): 4, (0, 0, 255): 1}, match='threshold')
        >>> codec.decode(np.array([[[252]], [[255]], [[0]]], np.uint8)).ids.tolist()
        [[4]]
    """

    colours: Mapping[RGB, int]
    match: ColourMatch = 'exact'

    def __post_init__(self) -> None:
        _check_ids(self.colours)
        check_choice('match', self.match, get_args(ColourMatch))
        corners = all(part in (0, 255) for colour in self.colours for part in colour)
        if self.match == 'threshold' and not corners:
            raise LabelError(
                "match='threshold' needs colours made of 0 and 255 only: pass match='exact'"
            )

    def decode(self, raw: RawMask) -> Decoded:
        """Class ids of an RGB mask; an alpha band is ignored.

        Args:
            raw: Red, green, blue (and alpha) in 0–255.

        Returns:
            Class ids, and the colours that belong to no class with their pixel counts.

        Raises:
            LabelError: If the mask has fewer than three bands.
        """
        if raw.shape[0] < 3:
            raise LabelError(
                f'mask has {raw.shape[0]} band(s), but its classes are colours: expected RGB; '
                'choose an id encoding for masks of one band'
            )
        rgb = raw[:3]
        if self.match == 'threshold':
            rgb = (rgb >= 128).view(np.uint8) * np.uint8(255)
        ids, known = _match_colours(rgb, tuple(self.colours.items()))
        if known.all():
            return Decoded(ids, {})
        # one number per colour, because `np.unique` over rows is slow
        red, green, blue = rgb[:, ~known].astype(np.uint32)
        values, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
        unknown: dict[int | RGB, int] = {
            (int(value) >> 16, int(value) >> 8 & 255, int(value) & 255): int(count)
            for value, count in zip(values, counts, strict=True)
        }
        return Decoded(ids, unknown)


def colour_codec(colours: Mapping[str, int], *, match: ColourMatch = 'exact') -> ColourCodec:
    """A `ColourCodec` from colours written as text, as in a recipe file.

    Args:
        colours: `'#rrggbb'` → class id or `IGNORE_INDEX`.
        match: As in `ColourCodec`.

    Raises:
        LabelError: If a colour is not written as `'#rrggbb'`.

    Example:
        >>> colour_codec({'#000000': 0, '#ff8000': 1}).colours[255, 128, 0]
        1
    """
    return ColourCodec({_rgb(text): class_id for text, class_id in colours.items()}, match=match)


def _rgb(text: str) -> RGB:
    digits = text.removeprefix('#')
    if len(text) != 7 or len(digits) != 6 or not set(digits.lower()) <= set('0123456789abcdef'):
        raise LabelError(f"colour {text!r}: expected red, green, blue as '#rrggbb', like '#ff8000'")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


class _ByteTable(NamedTuple):
    """Class ids of all 256 byte values.

    Args:
        ids: The id of each byte.
        stray: Placeholder for bytes without an id; None if every byte has one.
        identical: Bytes from 0 up to this count, and 255, are their own ids; -1 if 255 is not.
        few: Bytes and ids, if only a few bytes have one; empty if more do.
    """

    ids: bytes
    stray: int | None
    identical: int
    few: tuple[tuple[int, int], ...]


class _ColourTable(NamedTuple):
    """Colours told apart by one byte, red × first + green × second + blue modulo 256.

    Args:
        first: Factor of red.
        second: Factor of green.
        ids: The id of each byte.
        reds: Red of the only colour with this byte.
        greens: Green of that colour.
        empty: Placeholder for bytes that no colour has.
        corners: Whether all colours are made of 0 and 255; the table then tells all eight apart.
    """

    first: np.uint8
    second: np.uint8
    ids: bytes
    reds: bytes
    greens: bytes
    empty: int
    corners: bool


def _match_colours(
    rgb: Integer[np.ndarray, '3 h w'], colours: tuple[tuple[RGB, int], ...]
) -> tuple[UInt8[np.ndarray, 'h w'], Bool[np.ndarray, 'h w']]:
    """The class of each pixel (255 for an unknown colour), and whether its colour is known."""
    table = _colour_table(colours) if rgb.dtype == np.uint8 else None
    if table is None:
        return _match_in_turn(rgb, colours)
    red, green, blue = (np.ascontiguousarray(band) for band in rgb)
    byte = red * table.first + green * table.second + blue
    ids = _translate(byte, table.ids)
    if table.corners:
        one = np.uint8(1)
        known = ((red + one) | (green + one) | (blue + one)) <= 1  # 255 wraps around to 0
    else:  # blue follows from the byte, red and green
        known = red == _translate(byte, table.reds)
        known &= green == _translate(byte, table.greens)
    known &= ids != table.empty
    if not known.all():
        ids[~known] = IGNORE_INDEX
    return ids, known


def _match_in_turn(
    rgb: Integer[np.ndarray, '3 h w'], colours: tuple[tuple[RGB, int], ...]
) -> tuple[UInt8[np.ndarray, 'h w'], Bool[np.ndarray, 'h w']]:
    """The plain definition of `_match_colours`, for wider types and thousands of colours."""
    ids = np.full(rgb.shape[1:], IGNORE_INDEX, np.uint8)
    known = np.zeros(rgb.shape[1:], bool)
    for colour, class_id in colours:
        here = (rgb == np.array(colour)[:, None, None]).all(axis=0)
        ids[here] = class_id
        known |= here
    return ids, known


@functools.lru_cache(maxsize=64)
def _colour_table(colours: tuple[tuple[RGB, int], ...]) -> _ColourTable | None:
    """Factors that map each colour to a different byte; None if the search finds none."""
    colours = tuple((rgb, i) for rgb, i in colours if all(0 <= part <= 255 for part in rgb))
    if not colours:
        return None
    empty = _unused({class_id for _, class_id in colours})
    corners = all(part in (0, 255) for rgb, _ in colours for part in rgb)
    # any of the eight corners may occur, and none that is not listed may pass for a class
    eight = list(itertools.product((0, 255), repeat=3))
    apart = np.array(eight if corners else [rgb for rgb, _ in colours])
    for first, second in itertools.product(range(1, 256, 4), repeat=2):
        factors = np.array([first, second, 1])
        if empty is not None and len(np.unique(apart @ factors % 256)) == len(apart):
            held = {int(np.array(rgb) @ factors % 256): (i, rgb[0], rgb[1]) for rgb, i in colours}
            entries = [held.get(place, (empty, 0, 0)) for place in range(256)]
            ids, reds, greens = (bytes(column) for column in zip(*entries, strict=True))
            return _ColourTable(
                np.uint8(first), np.uint8(second), ids, reds, greens, empty, corners
            )
    return None


@functools.lru_cache(maxsize=64)
def _byte_table(ids: tuple[tuple[int, int], ...]) -> _ByteTable:
    known = {value: class_id for value, class_id in ids if 0 <= value <= 255}
    own = (value for value in range(256) if known.get(value) != value)
    identical = next(own, 255) if known.get(IGNORE_INDEX) == IGNORE_INDEX else -1
    stray = _unused(set(known.values())) if len(known) < 256 else None
    return _ByteTable(
        bytes(known[value] if stray is None else known.get(value, stray) for value in range(256)),
        stray,
        identical,
        tuple(known.items()) if len(known) <= _FEW else (),
    )


def _check_ids(classes: Mapping[Any, int]) -> None:
    wrong = [value for value in classes.values() if not 0 <= value <= IGNORE_INDEX]
    if wrong:
        raise LabelError(f'class ids {wrong} are out of range: expected 0 to {IGNORE_INDEX}')


def _unused(ids: set[int]) -> int | None:
    return next((i for i in range(256) if i not in ids), None)


def _sum_of_few(
    band: UInt8[np.ndarray, 'h w'], few: tuple[tuple[int, int], ...], stray: int | None
) -> UInt8[np.ndarray, 'h w']:
    """The same ids as `_translate`, but faster when at most four bytes have one."""
    assert stray is not None  # holds because not every byte has an id
    ids = np.full(band.shape, stray, np.uint8)
    for value, class_id in few:
        # sums of bytes wrap around, so negative differences come out right as well
        ids += (band == value).view(np.uint8) * np.uint8((class_id - stray) % 256)
    return ids


def _translate(band: UInt8[np.ndarray, 'h w'], table: bytes) -> UInt8[np.ndarray, 'h w']:
    """`table[band]`, six times faster than numpy."""
    found: UInt8[np.ndarray, 'h w'] = np.frombuffer(
        bytearray(np.ascontiguousarray(band)).translate(table), np.uint8
    ).reshape(band.shape)
    return found


def _single_band(raw: RawMask) -> Integer[np.ndarray, 'h w']:
    if raw.dtype.kind not in 'iub':
        raise LabelError(
            f'mask holds {raw.dtype} values, but its classes are ids: expected integers'
        )
    grey = raw.shape[0] == 3 and (raw[0] == raw[1]).all() and (raw[0] == raw[2]).all()
    if raw.shape[0] != 1 and not grey:  # WebP cannot store one band: it saves grey as three equal
        raise LabelError(
            f'mask has {raw.shape[0]} bands, but its classes are ids: expected one band; choose a '
            'colour encoding for masks that are pictures'
        )
    band: Integer[np.ndarray, 'h w'] = raw[0]
    return band


ISPRS = LabelSpace(
    name='isprs',
    classes=('impervious_surface', 'building', 'low_vegetation', 'tree', 'car', 'clutter'),
    palette=(
        (255, 255, 255),
        (0, 0, 255),
        (0, 255, 255),
        (0, 255, 0),
        (255, 255, 0),
        (255, 0, 0),
    ),
)
"""The six classes of the ISPRS Potsdam and Vaihingen benchmarks, in their published colours."""

ROAD = LabelSpace(
    name='road',
    classes=('background', 'road'),
    palette=((0, 0, 0), (255, 255, 255)),
    scored=(1,),
)
"""Road extraction: the IoU of roads alone is the score."""

BUILDING = LabelSpace(
    name='building',
    classes=('background', 'building'),
    palette=((0, 0, 0), (255, 255, 255)),
    scored=(1,),
)
"""Building extraction: the IoU of buildings alone is the score."""

LABEL_SPACES: Mapping[str, LabelSpace] = {space.name: space for space in (BUILDING, ISPRS, ROAD)}
"""The label spaces above, by name."""
