"""Platforms, and what varies from scene to scene: light, haze, gain, and the bends of the plan."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from rasterio.warp import transform as transform_points

from crossearth.synthetic.regions import RegionStyle
from crossearth.synthetic.render import Bend, Light, Optics
from crossearth.synthetic.spectra import Climate

__all__ = ['SENSORS', 'Platform', 'Sensor', 'draw_bends', 'draw_light', 'draw_optics']

type Platform = Literal['aerial', 'drone', 'satellite']


@dataclass(frozen=True, slots=True)
class Sensor:
    """A platform: its pixel size, and the ranges within which its scenes vary.

    A blur of σ pixels has a modulation transfer function of `exp(−π²σ²/2)` at Nyquist. That of the
    aeroplane is 0.37 to 0.17, as for a sharp sensor. That of the satellite is 0.018 to 0.003, as
    for imagery that a provider resampled and mosaicked, which is what people mostly label.
    """

    gsd_m: float
    blur_px: tuple[float, float]
    noise: tuple[float, float]
    haze: tuple[float, float]
    gain: tuple[float, float]
    gamma: tuple[float, float]
    tint: float


SENSORS: Final[dict[Platform, Sensor]] = {
    'aerial': Sensor(
        0.25, (0.45, 0.6), (0.003, 0.005), (0.004, 0.014), (1.6, 1.95), (1.65, 1.85), 0.03
    ),
    'drone': Sensor(0.12, (0.5, 0.8), (0.006, 0.012), (0.0, 0.004), (1.6, 2.1), (1.5, 1.9), 0.06),
    'satellite': Sensor(
        1.0, (0.9, 1.1), (0.004, 0.008), (0.018, 0.045), (1.2, 1.6), (1.5, 1.9), 0.06
    ),
}
_ELEVATION_DEG: Final[dict[Climate, tuple[float, float]]] = {
    'temperate': (38, 56),
    'arid': (45, 65),
    'tropical': (48, 70),
    'winter': (19, 27),
}


@lru_cache(maxsize=64)
def _southern(crs: str, x: float, y: float) -> bool:
    return bool(transform_points(crs, 'EPSG:4326', [x], [y])[1][0] < 0)


def draw_light(
    climate: Climate, crs: str, origin_xy: tuple[float, float], rng: np.random.Generator
) -> Light:
    """Sun and sky in late morning or early afternoon, with the sun to the south or to the north."""
    elevation = math.radians(rng.uniform(*_ELEVATION_DEG[climate]))
    azimuth = math.radians(180 + rng.uniform(-48, 48))
    if _southern(crs, *origin_xy):
        azimuth = math.pi - azimuth
    share = rng.uniform(0.26, 0.34)  # of the light comes from the sky, which is bluer than the sun
    sky = (share * 1.22, share, share * 0.86, share * 0.62)
    total = 0.8 + 0.3 * math.sin(elevation)
    sun = (total - sky[0], total - sky[1], total - sky[2], total - sky[3])
    to_sun = (math.sin(azimuth), -math.cos(azimuth))
    return Light(to_sun, math.tan(elevation), sun, sky)


def draw_optics(sensor: Sensor, rng: np.random.Generator, spread: float) -> Optics:
    """The sensor of one scene. A spread above 1 widens the ranges around their middles."""

    def draw(limits: tuple[float, float]) -> float:
        middle, half = sum(limits) / 2, (limits[1] - limits[0]) / 2 * spread
        # A wide spread must not reach 0 or less.
        return float(max(rng.uniform(middle - half, middle + half), 0.25 * limits[1]))

    haze = draw(sensor.haze)
    tint = np.clip(rng.normal(1, sensor.tint * spread, 4), 0.75, 1.25)
    gain = draw(sensor.gain) * tint * np.array([1.05, 1.0, 0.97, 0.62])
    return Optics(
        blur_px=draw(sensor.blur_px),
        noise=float(rng.uniform(*sensor.noise)),
        haze=(haze * 1.6, haze, haze * 0.7, haze * 0.25),
        gain=(float(gain[0]), float(gain[1]), float(gain[2]), float(gain[3])),
        gamma=draw(sensor.gamma),
    )


def draw_bends(style: RegionStyle, gsd: float, rng: np.random.Generator) -> tuple[Bend, ...]:
    """Two waves in independent directions; drawn even if unused, to keep the stream."""
    waves = []
    for _ in range(2):
        length = rng.uniform(*style.bend_length) / gsd
        direction, phase = rng.uniform(0, 2 * math.pi, 2)
        number = 2 * math.pi / length
        waves.append(
            Bend(
                style.bend / gsd * rng.uniform(0.6, 1.0),
                number * math.cos(direction),
                number * math.sin(direction),
                phase,
            )
        )
    return tuple(waves) if style.bend else ()
