import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth, render
from crossearth.synthetic.render import Bend, Light, Placement, lay_out, shadows
from crossearth.synthetic.sensors import draw_light

NO_LIGHT = (0.0, 0.0, 0.0, 0.0)


def sunlight(azimuth_deg: float, rise: float) -> Light:
    azimuth = math.radians(azimuth_deg)
    return Light((math.sin(azimuth), -math.cos(azimuth)), rise, NO_LIGHT, NO_LIGHT)


@given(
    heights=st.lists(st.integers(0, 2000), min_size=2, max_size=70),
    drop_cm=st.integers(10, 200),
    from_east=st.booleans(),
)
def test_doubling_finds_the_same_shadows_as_walking_to_the_sun(heights, drop_cm, from_east):
    row = np.array(heights, np.int16)
    light = sunlight(90 if from_east else 270, drop_cm / 100)
    found = shadows(row[None], light, gsd_m=1.0, reach_px=len(row))[0]
    towards = row if from_east else row[::-1]
    expected = [
        any(
            int(towards[k + step]) - drop_cm * step > int(towards[k]) + 35
            for step in range(1, len(row) - k)
        )
        for k in range(len(row))
    ]
    assert found.tolist() == (expected if from_east else expected[::-1])


@pytest.mark.parametrize('azimuth', [0, 35, 135, 160, 200, 250, 310])
@pytest.mark.parametrize('elevation', [22, 45, 60])
def test_a_tower_casts_a_shadow_of_the_right_length_away_from_the_sun(azimuth, elevation):
    height = np.zeros((241, 241), np.int16)
    height[119:122, 119:122] = 2000  # 20 m, at 0.5 m a pixel
    rise = math.tan(math.radians(elevation))
    dark = shadows(height, sunlight(azimuth, rise), gsd_m=0.5, reach_px=128)
    row, col = np.argwhere(dark).T - 120
    far = np.argmax(np.hypot(row, col))
    assert np.hypot(row, col)[far] == pytest.approx(20 / rise / 0.5, abs=3.5)
    direction = math.degrees(math.atan2(col[far], -row[far])) % 360
    off = (direction - azimuth - 180 + 180) % 360 - 180
    assert abs(off) < 6
    # one piece, as broad as the tower: nothing but the ray below it is dark
    across = np.abs(row * math.sin(math.radians(azimuth)) + col * math.cos(math.radians(azimuth)))
    assert across.max() < 5


def test_level_ground_and_roughness_cast_no_shadow():
    rough = np.random.default_rng(0).integers(0, 36, (50, 50)).astype(np.int16)
    assert not shadows(rough, sunlight(180, 0.5), gsd_m=0.5, reach_px=20).any()


def test_an_unturned_board_lies_as_it_is_and_a_quarter_turn_as_turned():
    board = np.arange(48 * 64, dtype=np.uint32).reshape(48, 64)
    at = {'rows': range(40), 'cols': range(60), 'hw': (40, 60)}
    assert np.array_equal(lay_out(board, Placement(0.0), **at), board[4:-4, 2:-2])
    at = {'rows': range(64), 'cols': range(48), 'hw': (64, 48)}
    turned = lay_out(board, Placement(math.pi / 2 + 1e-9), **at)
    assert np.array_equal(turned, np.rot90(board, -1))


def test_any_window_of_a_bent_board_is_cut_from_the_whole():
    board = np.random.default_rng(0).integers(0, 2**31, (300, 300)).astype(np.uint32)
    bends = (Bend(6.0, 0.05, 0.03, 1.0), Bend(4.0, -0.02, 0.04, 2.0))
    placement = Placement(0.4, bends, bends[::-1])
    whole = lay_out(board, placement, rows=range(150), cols=range(170), hw=(150, 170))
    part = lay_out(board, placement, rows=range(31, 149), cols=range(7, 100), hw=(150, 170))
    assert np.array_equal(part, whole[31:149, 7:100])


def test_bends_move_pixels_by_the_waves_they_name():
    rows, cols = np.mgrid[:400, :400]
    bend = Bend(9.0, 0.021, 0.034, 0.7)
    at = {'rows': range(200), 'cols': range(200), 'hw': (200, 200)}
    found = lay_out(cols.astype(np.uint32), Placement(0.0, (bend,), ()), **at).astype(float)
    x = np.arange(200) + 0.5 - 100
    wave = 9.0 * np.sin(0.021 * x[None] + 0.034 * x[:, None] + 0.7)
    assert np.abs(found + 0.5 - (x[None] + 200 + wave)).max() <= 0.501
    straight = lay_out(rows.astype(np.uint32), Placement(0.0, (bend,), ()), **at)
    assert (straight == straight[:, :1]).all()  # the other axis is left alone


@pytest.mark.parametrize('angle', [0.0, 0.5, -0.7])
def test_the_board_reaches_under_every_pixel(angle):
    placement = Placement(angle, (Bend(7.0, 0.01, 0.02, 0.3),), (Bend(5.0, 0.03, -0.02, 0.1),))
    board = np.ones(placement.board_shape(90, 160), np.uint32)
    board[[0, -1]] = 0
    board[:, [0, -1]] = 0
    laid = lay_out(board, placement, rows=range(90), cols=range(160), hw=(90, 160))
    assert laid.all()  # the border, which stands for what is beyond, is never touched


def test_strips_leave_no_trace(monkeypatch):
    domain = EARTH_DOMAINS['region_platform']
    whole = SyntheticEarth(seed=0).draw(domain, index=0, height=150, width=120)
    for rows in (7, 64):
        monkeypatch.setattr(render, 'STRIP_ROWS', rows)
        strips = SyntheticEarth(seed=0).draw(domain, index=0, height=150, width=120)
        assert np.array_equal(strips.image, whole.image)
        assert np.array_equal(strips.mask, whole.mask)


def test_the_blur_keeps_the_mean_and_has_the_variance_it_names():
    value = np.zeros((41, 41), np.float32)
    value[20, 20] = 1
    for _ in range(2):
        render._blur(value, np.empty_like(value), 0.2)
    assert value.sum() == pytest.approx(1, abs=1e-5)
    offset = np.arange(41) - 20
    for profile in (value.sum(0), value.sum(1)):
        assert (profile * offset**2).sum() == pytest.approx(2 * 2 * 0.2, abs=1e-4)


def test_noise_tiles_repeat_without_a_seam():
    tile = render.Noise.draw(np.random.default_rng(0)).grain
    out = np.empty((700, 1300), np.float32)
    render._tile(tile, [100, 500], 30, out)
    row, col = np.mgrid[:700, :1300]
    assert np.array_equal(out, tile[(row + 130) % 512, (col + 500) % 512])


def test_the_sun_stands_in_the_south_north_of_the_equator_and_in_the_north_south_of_it():
    for name, south in (('source', True), ('region_platform', False), ('region_climate', False)):
        for seed in range(5):
            domain, rng = EARTH_DOMAINS[name], np.random.default_rng(seed)
            light = draw_light(domain.climate, domain.crs, domain.origin_xy, rng)
            assert (light.to_sun[1] > 0.5) == south  # rows grow to the south
            assert (light.to_sun[1] < -0.5) == (not south)
