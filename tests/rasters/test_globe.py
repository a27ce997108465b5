import numpy as np
import pytest
from pyproj import CRS

from crossearth.rasters.globe import turn_of


@pytest.mark.parametrize(
    ('crs', 'turn'),
    [
        ('EPSG:4326', 360.0),
        ('EPSG:4326+5773', 360.0),
        ('EPSG:4807', 400.0),  # in gon
        ('EPSG:3857', 2 * np.pi * 6_378_137),
        ('EPSG:3395', 2 * np.pi * 6_378_137),
        ('EPSG:3832', 2 * np.pi * 6_378_137),  # around 150° east
        ('EPSG:6933', 34_735_060.89),
    ],
)
def test_cylinders_go_once_around(crs: str, turn: float) -> None:
    assert turn_of(CRS(crs)) == pytest.approx(turn, rel=1e-9)


@pytest.mark.parametrize('crs', ['EPSG:32633', 'EPSG:3413', 'EPSG:3035', 'EPSG:2056', 'ESRI:54008'])
def test_other_projections_do_not(crs: str) -> None:
    assert turn_of(CRS(crs)) is None
