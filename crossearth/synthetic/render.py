"""From the board to an image: put on the ground, lit by the sun, seen by a sensor.

The radiance of a band is reflectance × (sky + sun where there is no shadow). It is seen through
haze, blurred by the optics, gets noise, a gain and a tone curve, and is stored in 8 bits.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8, UInt32
from scipy import fft

from crossearth.synthetic.spectra import CLASS_OF, Spectra

__all__ = ['Bend', 'Light', 'Noise', 'Optics', 'Placement', 'lay_out', 'render', 'shadows']

STRIP_ROWS: Final = 48
"""Rows processed at once, so that a strip's arrays stay in the processor's cache."""
NOISE_PX: Final = 512
LEVELS: Final = 4096


class Bend(NamedTuple):
    """One wave that bends the board: `amplitude * sin(kx x + ky y + phase)`, in pixels."""

    amplitude: float
    kx: float
    ky: float
    phase: float


@dataclass(frozen=True, slots=True)
class Placement:
    """The place of the board on the ground: image pixels → board cells, both from their centres.

    Args:
        angle: Rotation of the board, in radians.
        bends_u: Waves added to the board's columns.
        bends_v: Waves added to the board's rows.
    """

    angle: float
    bends_u: tuple[Bend, ...] = ()
    bends_v: tuple[Bend, ...] = ()

    @property
    def slack_px(self) -> float:
        """How far the bends can move a point."""
        return math.fsum(abs(bend.amplitude) for bend in (*self.bends_u, *self.bends_v))

    def board_shape(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a board that covers an image."""
        cos, sin = abs(math.cos(self.angle)), abs(math.sin(self.angle))
        slack = 2 * self.slack_px + 4
        rows, cols = height * cos + width * sin + slack, width * cos + height * sin + slack
        return math.ceil(rows), math.ceil(cols)


class Light(NamedTuple):
    """Sun and sky.

    Args:
        to_sun: Image direction to the sun, along columns and along rows, of unit length.
        rise: Tangent of the sun's elevation.
        sun: Direct light by band; with `sky` it adds up to about 1 on level ground.
        sky: Light by band that also reaches shadows.
    """

    to_sun: tuple[float, float]
    rise: float
    sun: tuple[float, float, float, float]
    sky: tuple[float, float, float, float]


class Optics(NamedTuple):
    """A sensor and the air before it.

    Args:
        blur_px: Standard deviation of the point spread function.
        noise: Standard deviation of the noise, as a reflectance.
        haze: Path radiance by band, as a reflectance.
        gain: Reflectance → share of full scale, by band, before the tone curve.
        gamma: Exponent of the tone curve; smaller lifts the shadows.
    """

    blur_px: float
    noise: float
    haze: tuple[float, float, float, float]
    gain: tuple[float, float, float, float]
    gamma: float


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise that every scene reuses, periodic, so that any window of it is seamless.

    Args:
        grain: Independent from pixel to pixel, standard normal within ±3.
        patches: Of all scales, its power falling with the wavelength; standardised, within ±2.5.
    """

    grain: Float32[np.ndarray, 'n 2*n']
    patches: Float32[np.ndarray, 'm 2*m']

    @classmethod
    def draw(cls, rng: np.random.Generator) -> 'Noise':
        """Noise tiles of a generator, stored twice along columns so that windows need no seam."""
        grain = np.clip(rng.standard_normal((NOISE_PX, NOISE_PX)), -3, 3)
        size = 2 * NOISE_PX
        wave = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None])
        wave[0, 0] = np.inf
        spectrum = fft.rfft2(rng.standard_normal((size, size))) / (wave + 0.004) ** 1.35
        patches = fft.irfft2(spectrum, s=(size, size))
        patches = np.clip((patches - patches.mean()) / patches.std(), -2.5, 2.5)
        return cls(
            np.tile(grain.astype(np.float32), (1, 2)), np.tile(patches.astype(np.float32), (1, 2))
        )


def lay_out(
    board: UInt32[np.ndarray, 'v u'],
    placement: Placement,
    *,
    rows: range,
    cols: range,
    hw: tuple[int, int],
) -> UInt32[np.ndarray, 'h w']:
    """The board as it lies under an image, nearest cells.

    Args:
        board: Packed cells.
        placement: Place of the board on the ground.
        rows: Image rows wanted; may reach beyond the image.
        cols: Image columns wanted; may reach beyond the image.
        hw: Height and width of the image, whose centre lies on the board's.

    Returns:
        Packed cells, one per pixel; beyond the board, its border is repeated.
    """
    x = np.arange(cols.start, cols.stop) + 0.5 - hw[1] / 2
    y = np.arange(rows.start, rows.stop) + 0.5 - hw[0] / 2
    cos, sin = math.cos(placement.angle), math.sin(placement.angle)
    board_rows, board_cols = board.shape
    base_y = [
        (along + size / 2).astype(np.float32)
        for along, size in ((sin * y, board_cols), (cos * y, board_rows))
    ]
    waves_u, waves_v = _waves(placement.bends_u, x, y), _waves(placement.bends_v, x, y)
    base_u, base_v = (cos * x).astype(np.float32), (-sin * x).astype(np.float32)
    flat = board.ravel()
    out = np.empty((len(y), len(x)), np.uint32)
    shape = (STRIP_ROWS, len(x))
    u, v, spare = (np.empty(shape, np.float32) for _ in range(3))
    index, column = (np.empty(shape, np.int32) for _ in range(2))
    for first in range(0, len(y), STRIP_ROWS):
        n = min(STRIP_ROWS, len(y) - first)
        part = slice(first, first + n)
        for along, base, waves, into in (
            (base_y[0], base_u, waves_u, u),
            (base_y[1], base_v, waves_v, v),
        ):
            np.add(base, along[part, None], out=into[:n])
            for along_y, along_x in waves:
                np.multiply(along_y[part, None], along_x, out=spare[:n])
                np.add(into[:n], spare[:n], out=into[:n])
        np.clip(u[:n], 0, board_cols - 1, out=u[:n])
        np.clip(v[:n], 0, board_rows - 1, out=v[:n])
        # Truncation is the floor here, because places are clipped at 0.
        np.copyto(index[:n], v[:n], casting='unsafe')
        np.copyto(column[:n], u[:n], casting='unsafe')
        np.multiply(index[:n], board_cols, out=index[:n])
        np.add(index[:n], column[:n], out=index[:n])
        np.take(flat, index[:n], out=out[part], mode='clip')  # 'raise' would buffer the output
    return out


def _waves(
    bends: tuple[Bend, ...], x: np.ndarray, y: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Waves as sums of products along the axes: sin(a + b) = sin a cos b + cos a sin b."""
    terms = []
    for amplitude, kx, ky, phase in bends:
        for outer, inner in ((np.sin, np.cos), (np.cos, np.sin)):
            along_y = (amplitude * inner(ky * y)).astype(np.float32)
            terms.append((along_y, outer(kx * x + phase).astype(np.float32)))
    return terms


def shadows(height_cm: np.ndarray, light: Light, *, gsd_m: float, reach_px: int) -> np.ndarray:
    """Where the sun does not reach, given the heights of everything in between.

    A pixel is in shadow if some height towards the sun exceeds the ray from the pixel to the sun.
    Doubling the distance in every pass, `log2(reach)` passes look that far.

    Args:
        height_cm: Heights above ground in cm, (h, w), int16.
        light: Where the sun stands.
        gsd_m: Metres per pixel.
        reach_px: Longest shadow that can fall.

    Returns:
        True in shadow, (h, w).
    """
    reach = height_cm.copy()
    drop = light.rise * gsd_m * 100
    step = 1
    while step < 2 * reach_px:
        shift_col, shift_row = (round(part * step) for part in light.to_sun)
        # A copy, so that no pixel sees what this pass has raised. At most 32,000, because int16
        # ends at −32,768 and heights are not negative.
        lower = reach - np.int16(min(round(drop * step), 32000))
        target, source = _overlap(reach.shape, shift_row, shift_col)
        np.maximum(reach[target], lower[source], out=reach[target])
        step *= 2
    return reach > height_cm + np.int16(35)  # lower roughness casts no shadow


def _overlap(
    shape: tuple[int, ...], row: int, col: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of two equal arrays such that the second, shifted, lies on the first."""
    pairs = []
    for size, shift in zip(shape, (row, col), strict=True):
        low, high = max(0, -shift), min(size, size - shift)
        pairs.append((slice(low, max(high, low)), slice(low + shift, max(high, low) + shift)))
    return (pairs[0][0], pairs[1][0]), (pairs[0][1], pairs[1][1])


def render(
    packed: UInt32[np.ndarray, 'h w'],
    spectra: Spectra,
    light: Light,
    optics: Optics,
    noise: Noise,
    rng: np.random.Generator,
    *,
    bands: tuple[int, ...],
    gsd_m: float,
    margins: tuple[int, int, int, int],
) -> tuple[UInt8[np.ndarray, 'c y x'], UInt8[np.ndarray, 'y x']]:
    """Image and mask of laid-out cells.

    Args:
        packed: Cells of the image and of margins around it, from which shadows fall in.
        spectra: Reflectances of the materials.
        light: Sun and sky.
        optics: Sensor and air.
        noise: Noise tiles.
        rng: Source of the places of the tiles, drawn for all bands whichever are requested.
        bands: Bands wanted, in order, as positions in `BANDS`.
        gsd_m: Metres per pixel.
        margins: Pixels of margin: top, bottom, left, right; at least the blur's reach.

    Returns:
        Image in 8 bits and class ids, both without margins.
    """
    passes = max(math.ceil(optics.blur_px**2 / 0.5), 1)  # a [a, 1-2a, a] kernel has variance 2a
    side = optics.blur_px**2 / passes / 2
    top, bottom, left, right = margins
    height, width = packed.shape[0] - top - bottom, packed.shape[1] - left - right
    octets = packed.view(np.uint8)  # little-endian: material, tone, height, height
    height_cm = (packed >> 16).astype(np.int16)
    reach_px = max(top, bottom, left, right)
    dark = shadows(height_cm, light, gsd_m=gsd_m, reach_px=reach_px)
    del height_cm
    lit = np.add(light.sun, light.sky)
    mean, drift = (np.zeros((256, 4), np.float32) for _ in range(2))  # material, + 128 in shadow
    count = len(spectra.mean)
    for table, values in ((mean, spectra.mean), (drift, spectra.drift)):
        table[:count] = values * lit
        table[128 : 128 + count] = values * np.array(light.sky)
    grain_of = np.zeros(256, np.float32)
    grain_of[:count] = grain_of[128 : 128 + count] = spectra.grain
    curves = _curves(optics)
    corners = rng.integers(0, NOISE_PX, (6, 2)).tolist()  # patches, grain, and noise for all bands
    image = np.empty((len(bands), height, width), np.uint8)
    mask = np.empty((height, width), np.uint8)
    halo = passes
    col0, col1 = left - halo, left + width + halo
    shape = (STRIP_ROWS + 2 * halo, col1 - col0)
    patch_row, grain_row = (np.empty(shape, np.float32) for _ in range(2))
    common, tone, value, spare = (np.empty(shape, np.float32) for _ in range(4))
    index = np.empty(shape, np.uint8)
    level = np.empty((STRIP_ROWS, width), np.uint16)
    for first in range(0, height, STRIP_ROWS):
        n = min(STRIP_ROWS, height - first)
        m = n + 2 * halo
        rows = slice(top + first - halo, top + first + n + halo)
        dim = dark[rows, col0:col1].view(np.uint8)
        cells = octets[rows, 4 * col0 : 4 * col1]
        np.copyto(index[:m], cells[:, ::4])
        np.copyto(tone[:m], cells[:, 1::4])
        np.take(
            CLASS_OF,
            index[halo : halo + n, halo : halo + width],
            out=mask[first : first + n],
            mode='clip',
        )
        np.add(index[:m], dim << 7, out=index[:m])
        _tile(noise.patches, corners[0], first, patch_row[:m])
        _tile(noise.grain, corners[1], first, grain_row[:m])
        np.take(grain_of, index[:m], out=common[:m], mode='clip')
        np.multiply(common[:m], grain_row[:m], out=common[:m])
        np.add(common[:m], 1, out=common[:m])
        np.multiply(common[:m], tone[:m], out=common[:m])
        for position, band in enumerate(bands):
            np.take(np.ascontiguousarray(drift[:, band]), index[:m], out=value[:m], mode='clip')
            np.multiply(value[:m], patch_row[:m], out=value[:m])
            np.take(np.ascontiguousarray(mean[:, band]), index[:m], out=spare[:m], mode='clip')
            np.add(value[:m], spare[:m], out=value[:m])
            np.multiply(value[:m], common[:m], out=value[:m])  # 128 times the reflectance
            for _ in range(passes):
                _blur(value[:m], spare[:m], side)
            inner = value[halo : halo + n, halo : halo + width]
            # The noise of the sensor comes after its optics, which must not blur it.
            _tile(noise.grain, corners[2 + band], first, spare[:n, :width])
            np.multiply(spare[:n, :width], optics.noise * 128, out=spare[:n, :width])
            np.add(inner, spare[:n, :width], out=inner)
            np.multiply(inner, LEVELS / 128, out=inner)
            np.clip(inner, 0, LEVELS - 1, out=inner)
            np.copyto(level[:n], inner, casting='unsafe')
            np.take(curves[band], level[:n], out=image[position, first : first + n], mode='clip')
    return image, mask


def _blur(value: np.ndarray, spare: np.ndarray, side: float) -> None:
    """One pass of [side, 1 - 2 side, side] along both axes, in place; borders keep half of it."""
    # The kernel divided by its middle: one factor at the end serves both axes.
    ratio = np.float32(side / (1 - 2 * side))
    scale = np.float32((1 - 2 * side) ** 2)
    np.add(value[:-2], value[2:], out=spare[1:-1])
    np.multiply(spare[1:-1], ratio, out=spare[1:-1])
    np.add(value[1:-1], spare[1:-1], out=value[1:-1])
    np.add(value[:, :-2], value[:, 2:], out=spare[:, 1:-1])
    np.multiply(spare[:, 1:-1], ratio, out=spare[:, 1:-1])
    np.add(value[:, 1:-1], spare[:, 1:-1], out=value[:, 1:-1])
    np.multiply(value, scale, out=value)


def _tile(tile: np.ndarray, corner: list[int], first: int, out: np.ndarray) -> None:
    """Copies a window of an endlessly repeated tile; tiles are stored twice along columns."""
    size = tile.shape[0]
    rows, cols = out.shape
    row_index = (np.arange(first + corner[0], first + corner[0] + rows)) % size
    for col in range(0, cols, size):
        n = min(size, cols - col)
        out[:, col : col + n] = tile[row_index, corner[1] : corner[1] + n]


def _curves(optics: Optics) -> list[np.ndarray]:
    """8-bit values of reflectance levels, by band: haze, gain and tone curve in one table."""
    level = (np.arange(LEVELS) + 0.5) / LEVELS
    tables = []
    for haze, gain in zip(optics.haze, optics.gain, strict=True):
        seen = np.clip((level * (1 - 1.5 * haze) + haze) * gain, 0, 1)
        tables.append(np.rint(255 * seen ** (1 / optics.gamma)).astype(np.uint8))
    return tables
