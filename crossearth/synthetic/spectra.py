"""The materials of the synthetic Earth: one table of reflectances, and how a climate changes it.

Numbers are typical surface reflectances in four broad bands, rounded from the ranges of published
spectral libraries (USGS, ECOSTRESS); they are plausible, not measured at any one place.
"""

from enum import IntEnum, auto
from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

__all__ = ['BANDS', 'CLASS_OF', 'Climate', 'Material', 'draw_spectra']

type Climate = Literal['temperate', 'arid', 'tropical', 'winter']

BANDS: Final = ('blue', 'green', 'red', 'nir')
"""Bands of every spectrum, in this order."""


class Material(IntEnum):
    """Surfaces; the order within a class has no meaning."""

    ASPHALT = 0
    ASPHALT_NEW = auto()
    COBBLES = auto()
    CONCRETE = auto()
    PAVING = auto()
    PAVING_RED = auto()
    GRAVEL = auto()
    DIRT_ROAD = auto()
    MARKING = auto()
    TILE_RED = auto()
    TILE_ORANGE = auto()
    TILE_BROWN = auto()
    SLATE = auto()
    BITUMEN = auto()
    GRAVEL_ROOF = auto()
    MEMBRANE = auto()
    METAL_GREY = auto()
    METAL_BLUE = auto()
    METAL_RUST = auto()
    SOLAR = auto()
    ROOF_GLASS = auto()
    LAWN = auto()
    MEADOW = auto()
    DRY_GRASS = auto()
    CROP_GREEN = auto()
    CROP_RIPE = auto()
    FALLOW = auto()
    HEDGE = auto()
    BROADLEAF = auto()
    BROADLEAF_LIGHT = auto()
    BROADLEAF_DARK = auto()
    CONIFER = auto()
    CAR_WHITE = auto()
    CAR_SILVER = auto()
    CAR_GREY = auto()
    CAR_BLACK = auto()
    CAR_RED = auto()
    CAR_BLUE = auto()
    CAR_GLASS = auto()
    WATER = auto()
    POOL = auto()
    BARE_SOIL = auto()
    SAND_HEAP = auto()
    CLAY = auto()
    COURT_LINE = auto()
    BALLAST = auto()
    RAIL = auto()
    BOX_RED = auto()
    BOX_BLUE = auto()
    BOX_GREEN = auto()
    BOX_WHITE = auto()


class Spectrum(NamedTuple):
    """How a material reflects.

    Args:
        class_id: ISPRS class.
        blue: Reflectance, 0–1.
        green: Reflectance, 0–1.
        red: Reflectance, 0–1.
        nir: Reflectance, 0–1.
        grain: Relative standard deviation from pixel to pixel.
        mottle: How far one standard deviation of the patchy, large-scale noise moves the spectrum
            towards `towards`, or scales it if `towards` is None.
        towards: The material that patches tend towards.
    """

    class_id: int
    blue: float
    green: float
    red: float
    nir: float
    grain: float = 0.05
    mottle: float = 0.05
    towards: Material | None = None


_M = Material
_TEMPERATE: Final[dict[Material, Spectrum]] = {
    _M.ASPHALT: Spectrum(0, 0.098, 0.105, 0.112, 0.130, 0.07, 0.07),
    _M.ASPHALT_NEW: Spectrum(0, 0.060, 0.063, 0.066, 0.076, 0.07, 0.06),
    _M.COBBLES: Spectrum(0, 0.125, 0.140, 0.150, 0.180, 0.14, 0.08),
    _M.CONCRETE: Spectrum(0, 0.225, 0.250, 0.265, 0.300, 0.05, 0.06),
    _M.PAVING: Spectrum(0, 0.165, 0.185, 0.198, 0.230, 0.08, 0.06),
    _M.PAVING_RED: Spectrum(0, 0.110, 0.135, 0.195, 0.270, 0.09, 0.06),
    _M.GRAVEL: Spectrum(0, 0.190, 0.220, 0.245, 0.290, 0.11, 0.08),
    _M.DIRT_ROAD: Spectrum(0, 0.130, 0.170, 0.215, 0.280, 0.10, 0.10),
    _M.MARKING: Spectrum(0, 0.420, 0.440, 0.450, 0.460, 0.06, 0.08),
    _M.TILE_RED: Spectrum(1, 0.070, 0.098, 0.205, 0.330, 0.09, 0.07),
    _M.TILE_ORANGE: Spectrum(1, 0.095, 0.145, 0.280, 0.420, 0.09, 0.07),
    _M.TILE_BROWN: Spectrum(1, 0.068, 0.082, 0.115, 0.190, 0.10, 0.07),
    _M.SLATE: Spectrum(1, 0.085, 0.090, 0.095, 0.120, 0.08, 0.06),
    _M.BITUMEN: Spectrum(1, 0.066, 0.070, 0.075, 0.095, 0.07, 0.10),
    _M.GRAVEL_ROOF: Spectrum(1, 0.175, 0.190, 0.200, 0.235, 0.09, 0.09),
    _M.MEMBRANE: Spectrum(1, 0.400, 0.420, 0.425, 0.440, 0.03, 0.05),
    _M.METAL_GREY: Spectrum(1, 0.245, 0.255, 0.262, 0.280, 0.04, 0.05),
    _M.METAL_BLUE: Spectrum(1, 0.230, 0.185, 0.125, 0.230, 0.04, 0.05),
    _M.METAL_RUST: Spectrum(1, 0.090, 0.115, 0.185, 0.270, 0.10, 0.14),
    _M.SOLAR: Spectrum(1, 0.052, 0.045, 0.040, 0.055, 0.03, 0.03),
    _M.ROOF_GLASS: Spectrum(1, 0.150, 0.165, 0.160, 0.150, 0.05, 0.05),
    _M.LAWN: Spectrum(2, 0.046, 0.100, 0.064, 0.400, 0.08, 0.22, _M.DRY_GRASS),
    _M.MEADOW: Spectrum(2, 0.050, 0.098, 0.076, 0.350, 0.13, 0.28, _M.DRY_GRASS),
    _M.DRY_GRASS: Spectrum(2, 0.085, 0.130, 0.145, 0.310, 0.12, 0.25, _M.MEADOW),
    _M.CROP_GREEN: Spectrum(2, 0.038, 0.084, 0.044, 0.470, 0.07, 0.10, _M.DRY_GRASS),
    _M.CROP_RIPE: Spectrum(2, 0.105, 0.160, 0.205, 0.340, 0.08, 0.12, _M.DRY_GRASS),
    _M.FALLOW: Spectrum(2, 0.085, 0.115, 0.150, 0.225, 0.09, 0.12),
    _M.HEDGE: Spectrum(2, 0.028, 0.064, 0.040, 0.380, 0.16, 0.06),
    _M.BROADLEAF: Spectrum(3, 0.025, 0.058, 0.034, 0.400, 0.17, 0.05),
    _M.BROADLEAF_LIGHT: Spectrum(3, 0.032, 0.078, 0.046, 0.450, 0.16, 0.05),
    _M.BROADLEAF_DARK: Spectrum(3, 0.024, 0.048, 0.032, 0.340, 0.18, 0.05),
    _M.CONIFER: Spectrum(3, 0.022, 0.040, 0.028, 0.240, 0.20, 0.04),
    _M.CAR_WHITE: Spectrum(4, 0.480, 0.490, 0.490, 0.490, 0.03, 0.0),
    _M.CAR_SILVER: Spectrum(4, 0.270, 0.275, 0.275, 0.280, 0.03, 0.0),
    _M.CAR_GREY: Spectrum(4, 0.115, 0.115, 0.115, 0.120, 0.03, 0.0),
    _M.CAR_BLACK: Spectrum(4, 0.030, 0.030, 0.030, 0.035, 0.03, 0.0),
    _M.CAR_RED: Spectrum(4, 0.045, 0.050, 0.270, 0.340, 0.03, 0.0),
    _M.CAR_BLUE: Spectrum(4, 0.190, 0.095, 0.055, 0.140, 0.03, 0.0),
    _M.CAR_GLASS: Spectrum(4, 0.050, 0.048, 0.046, 0.045, 0.02, 0.0),
    _M.WATER: Spectrum(5, 0.050, 0.058, 0.044, 0.014, 0.03, 0.05),
    _M.POOL: Spectrum(5, 0.240, 0.350, 0.230, 0.045, 0.06, 0.02),
    _M.BARE_SOIL: Spectrum(5, 0.140, 0.190, 0.245, 0.320, 0.09, 0.13),
    _M.SAND_HEAP: Spectrum(5, 0.230, 0.300, 0.350, 0.410, 0.07, 0.05),
    _M.CLAY: Spectrum(5, 0.070, 0.095, 0.210, 0.300, 0.05, 0.05),
    _M.COURT_LINE: Spectrum(5, 0.380, 0.400, 0.410, 0.420, 0.04, 0.0),
    _M.BALLAST: Spectrum(5, 0.105, 0.112, 0.124, 0.150, 0.15, 0.06),
    _M.RAIL: Spectrum(5, 0.175, 0.175, 0.185, 0.200, 0.05, 0.0),
    _M.BOX_RED: Spectrum(5, 0.055, 0.060, 0.245, 0.330, 0.04, 0.03),
    _M.BOX_BLUE: Spectrum(5, 0.230, 0.125, 0.060, 0.180, 0.04, 0.03),
    _M.BOX_GREEN: Spectrum(5, 0.070, 0.165, 0.095, 0.230, 0.04, 0.03),
    _M.BOX_WHITE: Spectrum(5, 0.430, 0.440, 0.440, 0.450, 0.04, 0.03),
}

# Only what a climate changes. In winter trees are bare and the ground is damp: twigs over litter,
# pale lawns.
_CHANGES: Final[dict[Climate, dict[Material, Spectrum]]] = {
    'temperate': {},
    'arid': {
        _M.LAWN: Spectrum(2, 0.090, 0.135, 0.150, 0.300, 0.10, 0.30, _M.DRY_GRASS),
        _M.MEADOW: Spectrum(2, 0.125, 0.170, 0.210, 0.310, 0.14, 0.30, _M.FALLOW),
        _M.DRY_GRASS: Spectrum(2, 0.150, 0.200, 0.250, 0.340, 0.12, 0.20, _M.FALLOW),
        _M.CROP_GREEN: Spectrum(2, 0.055, 0.100, 0.080, 0.380, 0.09, 0.20, _M.FALLOW),
        _M.CROP_RIPE: Spectrum(2, 0.160, 0.215, 0.270, 0.360, 0.09, 0.15, _M.FALLOW),
        _M.FALLOW: Spectrum(2, 0.180, 0.245, 0.315, 0.400, 0.10, 0.10),
        _M.HEDGE: Spectrum(2, 0.050, 0.080, 0.072, 0.270, 0.18, 0.06),
        _M.BROADLEAF: Spectrum(3, 0.040, 0.066, 0.054, 0.290, 0.20, 0.06),
        _M.BROADLEAF_LIGHT: Spectrum(3, 0.052, 0.084, 0.072, 0.310, 0.20, 0.06),
        _M.BROADLEAF_DARK: Spectrum(3, 0.035, 0.055, 0.046, 0.260, 0.20, 0.06),
        _M.DIRT_ROAD: Spectrum(0, 0.190, 0.255, 0.325, 0.400, 0.09, 0.08),
        _M.BARE_SOIL: Spectrum(5, 0.200, 0.275, 0.350, 0.440, 0.09, 0.13),
        _M.WATER: Spectrum(5, 0.075, 0.095, 0.080, 0.025, 0.03, 0.05),
    },
    'tropical': {
        _M.LAWN: Spectrum(2, 0.038, 0.100, 0.045, 0.470, 0.10, 0.12, _M.DRY_GRASS),
        _M.MEADOW: Spectrum(2, 0.040, 0.096, 0.050, 0.450, 0.15, 0.15, _M.FALLOW),
        _M.CROP_GREEN: Spectrum(2, 0.036, 0.105, 0.042, 0.520, 0.07, 0.10, _M.DRY_GRASS),
        _M.CROP_RIPE: Spectrum(2, 0.080, 0.150, 0.140, 0.400, 0.08, 0.12, _M.CROP_GREEN),
        _M.FALLOW: Spectrum(2, 0.060, 0.090, 0.175, 0.265, 0.10, 0.15),
        _M.BROADLEAF: Spectrum(3, 0.018, 0.054, 0.025, 0.450, 0.20, 0.05),
        _M.BROADLEAF_LIGHT: Spectrum(3, 0.026, 0.088, 0.036, 0.540, 0.18, 0.05),
        _M.BROADLEAF_DARK: Spectrum(3, 0.014, 0.038, 0.020, 0.370, 0.20, 0.05),
        _M.DIRT_ROAD: Spectrum(0, 0.085, 0.125, 0.230, 0.320, 0.09, 0.10),
        _M.BARE_SOIL: Spectrum(5, 0.085, 0.125, 0.255, 0.340, 0.09, 0.13),
        _M.WATER: Spectrum(5, 0.070, 0.095, 0.100, 0.030, 0.03, 0.05),
    },
    'winter': {
        _M.LAWN: Spectrum(2, 0.062, 0.095, 0.088, 0.270, 0.09, 0.30, _M.DRY_GRASS),
        _M.MEADOW: Spectrum(2, 0.080, 0.104, 0.116, 0.230, 0.13, 0.30, _M.DRY_GRASS),
        _M.DRY_GRASS: Spectrum(2, 0.105, 0.130, 0.150, 0.240, 0.12, 0.25, _M.MEADOW),
        _M.CROP_GREEN: Spectrum(2, 0.050, 0.085, 0.072, 0.270, 0.09, 0.35, _M.FALLOW),
        _M.CROP_RIPE: Spectrum(2, 0.105, 0.128, 0.150, 0.220, 0.10, 0.20, _M.FALLOW),
        _M.FALLOW: Spectrum(2, 0.062, 0.078, 0.098, 0.150, 0.10, 0.12),
        _M.HEDGE: Spectrum(2, 0.050, 0.062, 0.064, 0.170, 0.20, 0.06),
        _M.BROADLEAF: Spectrum(3, 0.072, 0.080, 0.092, 0.165, 0.28, 0.06),
        _M.BROADLEAF_LIGHT: Spectrum(3, 0.086, 0.096, 0.108, 0.180, 0.28, 0.06),
        _M.BROADLEAF_DARK: Spectrum(3, 0.060, 0.066, 0.076, 0.140, 0.28, 0.06),
        _M.CONIFER: Spectrum(3, 0.024, 0.038, 0.030, 0.190, 0.22, 0.04),
        _M.ASPHALT: Spectrum(0, 0.082, 0.086, 0.090, 0.104, 0.07, 0.10),
        _M.BARE_SOIL: Spectrum(5, 0.095, 0.122, 0.155, 0.210, 0.09, 0.15),
    },
}

CLASS_OF: Final[UInt8[np.ndarray, ' materials']] = np.array(
    [_TEMPERATE[material].class_id for material in Material], np.uint8
)
"""ISPRS class of every material."""


class Spectra(NamedTuple):
    """The spectra of one scene: reflectance = mean + patchy noise × drift, then × (1 + grain).

    Args:
        mean: Reflectance, (materials, bands).
        drift: Reflectance added at one standard deviation of the patchy noise.
        grain: Relative standard deviation from pixel to pixel, (materials,).
    """

    mean: Float32[np.ndarray, 'materials 4']
    drift: Float32[np.ndarray, 'materials 4']
    grain: Float32[np.ndarray, ' materials']


def draw_spectra(climate: Climate, rng: np.random.Generator, *, jitter: float = 0.06) -> Spectra:
    """The spectra of a scene: the table of its climate, with small changes to every material.

    Args:
        climate: Phenology of vegetation, soils and water.
        rng: Source of the scene's variation.
        jitter: Relative standard deviation of a material's brightness from scene to scene; its
            colour varies by a third of that.

    Returns:
        Spectra in the order of `Material` and `BANDS`.
    """
    rows = [(_CHANGES[climate].get(material) or _TEMPERATE[material]) for material in Material]
    table = np.array([row[1:5] for row in rows])
    brightness = rng.normal(1, jitter, (len(rows), 1))
    mean = table * np.clip(brightness + rng.normal(0, jitter / 3, table.shape), 0.7, 1.3)
    target = mean.copy()
    for material, row in zip(Material, rows, strict=True):
        # Without a target, patches differ in brightness only: the drift follows the spectrum
        # itself.
        target[material] = mean[row.towards] if row.towards is not None else 2 * mean[material]
    drift = np.array([[row.mottle] for row in rows]) * (target - mean)
    grain = np.array([row.grain for row in rows])
    return Spectra(mean.astype(np.float32), drift.astype(np.float32), grain.astype(np.float32))
