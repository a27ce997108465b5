"""Domains of the synthetic Earth: the settings that cause the gaps, and seven ready domains."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from rasterio.crs import CRS
from rasterio.errors import CRSError

from crossearth.errors import ConfigError
from crossearth.synthetic.regions import Region
from crossearth.synthetic.sensors import Platform
from crossearth.synthetic.spectra import Climate

__all__ = ['EARTH_DOMAINS', 'EarthDomain']

type Bands = Literal['rgb', 'irrg', 'rgbnir']

CHOICES: Final = {'region': Region, 'bands': Bands, 'platform': Platform, 'climate': Climate}


@dataclass(frozen=True, slots=True)
class EarthDomain:
    """One domain: a place, its season, and the sensor that sees it.

    The name of a domain seeds its scenes, so two domains with different names show different
    places. A domain in which only the bands are replaced shows the same places in other bands.

    Args:
        name: Names folders and files; letters, digits, `_` and `-`.
        region: How the place is built. `'grid_city'`: straight wide streets, large blocks, flat
            roofs. `'old_town'`: narrow bent streets, closed blocks under red tiles. `'suburb'`:
            winding streets of houses in gardens. `'village'`: farms, houses, fields, meadows.
        bands: Bands of the image, in order: red green blue, near-infrared red green, or red green
            blue near-infrared. All come from the same reflectances.
        platform: Ground sampling distance and image quality. `'aerial'`: 0.25 m, sharp. `'drone'`:
            0.12 m, noisier. `'satellite'`: 1 m, soft, hazy, low contrast.
        climate: Phenology, soils, number of trees and height of the sun: `'temperate'` (summer),
            `'arid'`, `'tropical'`, `'winter'` (leafless, low sun, no snow).
        crs: A projected CRS in metres that rasterio knows.
        origin_xy: Upper-left corner of scene 0 in that CRS; the others lie on a grid of 5 km east
            and south of it.

    Raises:
        ConfigError: If a choice is unknown, the name cannot name a folder, or the CRS is unknown
            or not projected in metres.

    Example:
        >>> EARTH_DOMAINS['region_climate'].climate, EARTH_DOMAINS['region_climate'].crs
        ('tropical', 'EPSG:32748')
    """

    name: str
    region: Region
    bands: Bands = 'rgb'
    platform: Platform = 'aerial'
    climate: Climate = 'temperate'
    crs: str = 'EPSG:32633'
    origin_xy: tuple[float, float] = (366_000.0, 5_808_000.0)

    def __post_init__(self) -> None:
        if not self.name or not all(c.isascii() and (c.isalnum() or c in '_-') for c in self.name):
            raise ConfigError(
                f'domain name {self.name!r} cannot name a folder: use letters, digits, _ and -'
            )
        for knob, choices in CHOICES.items():
            allowed = get_args(choices.__value__)
            if getattr(self, knob) not in allowed:
                raise ConfigError(
                    f'domain {self.name!r} has {knob} {getattr(self, knob)!r}: expected one of '
                    + ', '.join(allowed)
                )
        try:
            crs = CRS.from_user_input(self.crs)
        except CRSError as error:
            raise ConfigError(
                f'domain {self.name!r} has CRS {self.crs!r}, which PROJ does not know: pass a '
                "projected CRS such as 'EPSG:32633'"
            ) from error
        if not crs.is_projected or crs.linear_units_factor[1] != 1.0:
            raise ConfigError(
                f'domain {self.name!r} has CRS {self.crs!r}, whose units are not metres: pass a '
                "projected CRS such as 'EPSG:32633'"
            )


EARTH_DOMAINS: Final[Mapping[str, EarthDomain]] = MappingProxyType(
    {
        domain.name: domain
        for domain in (
            # Berlin and Potsdam
            EarthDomain('source', 'grid_city', origin_xy=(366_000.0, 5_838_000.0)),
            # the Stuttgart basin, towards Vaihingen
            EarthDomain('region', 'old_town', crs='EPSG:25832', origin_xy=(496_000.0, 5_424_000.0)),
            # Brandenburg, west of the source
            EarthDomain(
                'band',
                'grid_city',
                bands='irrg',
                crs='EPSG:32633',
                origin_xy=(266_000.0, 5_838_000.0),
            ),
            # the plain of the Saône, north of Lyon
            EarthDomain(
                'region_band',
                'village',
                bands='irrg',
                crs='EPSG:2154',
                origin_xy=(846_000.0, 6_560_000.0),
            ),
            # Canterbury, around Christchurch
            EarthDomain(
                'region_platform',
                'suburb',
                platform='satellite',
                crs='EPSG:2193',
                origin_xy=(1_470_000.0, 5_200_000.0),
            ),
            # Otago, around Dunedin
            EarthDomain(
                'region_drone',
                'suburb',
                platform='drone',
                crs='EPSG:2193',
                origin_xy=(1_400_000.0, 4_915_000.0),
            ),
            # Java, around Bandung
            EarthDomain(
                'region_climate',
                'suburb',
                climate='tropical',
                crs='EPSG:32748',
                origin_xy=(740_000.0, 9_260_000.0),
            ),
        )
    }
)
"""A source, and an unseen domain for each of the five gaps of the paper's Table 1. The gap between
platforms has two, one with coarser pixels and one with finer ones."""
