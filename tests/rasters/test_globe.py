import numpy as np
import pytest
from pyproj import CRS, Transformer

from crossearth.rasters.globe import centred, nearest_turn, seam_of, turn_of


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
    assert seam_of(CRS(crs)) is None


@pytest.mark.parametrize('crs', ['EPSG:4326', 'EPSG:4267', 'EPSG:3857', 'EPSG:3832'])
@pytest.mark.parametrize('lon', [-179.9, -130.0, 0.3, 89.0, 179.9])
def test_coordinates_in_the_moved_system_differ_by_the_shift_alone(crs: str, lon: float) -> None:
    own = CRS(crs)
    x, y = Transformer.from_crs(4326, own, always_xy=True).transform(lon, 40.0)
    seam, turn = seam_of(own), turn_of(own)
    assert seam is not None
    assert turn is not None
    moved, shift = centred(own, x + turn / 7)
    new_x, new_y = Transformer.from_crs(4326, moved, always_xy=True).transform(lon, 40.0)
    assert float(nearest_turn(np.array([new_x + shift]), x, turn=turn)[0]) == pytest.approx(
        x, abs=1e-9 * turn
    )
    assert new_y == pytest.approx(y, abs=1e-9 * turn)
    middle = (seam[0] + seam[1]) / 2
    assert abs(x + turn / 7 - shift - middle) <= turn / 720  # to half a degree
