import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossearth.synthetic.plan import Dice, Lot, Site, Sun, pack, stamp_trees
from crossearth.synthetic.spectra import CLASS_OF, Material


def make_lot(rows=60, cols=80, px_per_m=2.0, sun=None) -> Lot:
    sun = sun or Sun(0.6, 0.0, 0.8)
    site = Site(px_per_m, Dice(0, 0), Dice(0, 1), sun)
    return Lot(np.zeros((rows, cols), np.uint32), site)


def test_the_higher_of_two_cells_is_the_larger():
    low, high = pack(Material.CAR_WHITE, 1.9, 1.40), pack(Material.BITUMEN, 0.1, 1.41)
    assert high > low
    assert (high >> 16, high >> 8 & 255, high & 255) == (141, 13, Material.BITUMEN)


def test_every_material_has_a_class_of_its_own_kind():
    kinds = {0: Material.ASPHALT, 1: Material.SLATE, 2: Material.LAWN, 3: Material.CONIFER}
    kinds |= {4: Material.CAR_RED, 5: Material.WATER}
    assert {k: CLASS_OF[material] for k, material in kinds.items()} == {k: k for k in range(6)}
    assert len(Material) <= 128  # the rendering tables keep their upper half for shadows


@given(
    turns=st.integers(0, 3),
    u0=st.integers(0, 10),
    v0=st.integers(0, 10),
    u=st.integers(0, 8),
    v=st.integers(0, 8),
    outer=st.integers(0, 3),
)
def test_a_tree_stands_where_paint_goes_in_every_frame(turns, u0, v0, u, v, outer):
    lot = board = make_lot()
    for _ in range(outer):
        lot = lot.turned()
    lot = lot.part(u0, v0, u0 + 12, v0 + 9)
    for _ in range(turns):
        lot = lot.turned()
    lot.tree(u, v, 2.0, Material.BROADLEAF)
    lot.box(u, v, u + 0.5, v + 0.5, 7)  # one cell
    col, row = board.site.trees[0][:2]
    assert board.cells.sum() in (0, 7)  # beyond the part where it is narrow, else once
    if board.cells.any():
        assert board.cells[row, col] == 7


def test_sides_each_put_the_own_border_at_the_top():
    lot = make_lot(rows=4, cols=6)
    for number, side in enumerate(lot.sides(), start=1):
        side.cells[0, 1:-1] = number
    assert lot.cells[0, 1:-1].tolist() == [1] * 4
    assert lot.cells[1:-1, -1].tolist() == [2] * 2
    assert lot.cells[-1, 1:-1].tolist() == [3] * 4
    assert lot.cells[1:-1, 0].tolist() == [4] * 2


@pytest.mark.parametrize('turns', [0, 1, 2, 3])
def test_the_slope_that_faces_the_sun_is_the_bright_one(turns):
    board = make_lot(sun=Sun(0.0, -0.6, 0.8))  # the sun stands at the top of the board
    lot = board
    for _ in range(turns):
        lot = lot.turned()
    lot.gable(Material.SLATE, 1.0, 5.0, 0.6)
    tone = board.cells >> 8 & 255
    if turns % 2 == 0:  # ridge across: the upper slope looks at the sun
        assert tone[5, 40] > 1.5 * tone[-5, 40]
    else:  # ridge along the light: both slopes alike
        assert abs(int(tone[30, 5]) - int(tone[30, -5])) <= 1


def test_a_gable_rises_from_the_eaves_to_the_ridge():
    lot = make_lot(rows=40, cols=30, px_per_m=2.0)
    lot.gable(Material.TILE_RED, 1.0, 4.0, 0.5)
    height_cm = (lot.cells >> 16)[:, 7]
    assert height_cm[0] == 412  # the middle of the first cell lies 0.25 m up the slope
    assert height_cm.max() == 887
    assert np.array_equal(height_cm, height_cm[::-1])


def test_flat_roofs_have_a_parapet_and_crossing_roofs_keep_the_higher():
    lot = make_lot(rows=20, cols=20)
    lot.flat(Material.BITUMEN, 1.0, 6.0)
    assert lot.cells[0, 5] >> 16 == 650
    assert lot.cells[5, 5] >> 16 == 600
    lot.flat(Material.MEMBRANE, 1.0, 3.0)
    assert (lot.cells & 255 == Material.BITUMEN).all()


def test_trees_stand_on_grass_and_not_in_water_or_through_roofs():
    lot = make_lot(rows=200, cols=200)
    lot.fill(Material.LAWN)
    lot.box(50, 0, 100, 50, pack(Material.WATER))
    lot.box(50, 50, 100, 100, pack(Material.BITUMEN, 1.0, 3.0))
    for u, v in ((25, 25), (75, 25), (75, 75)):
        lot.tree(u, v, 4.0, Material.BROADLEAF)
    stamp_trees(lot.cells, lot.site, np.ones(3, bool))
    wood = CLASS_OF[lot.cells & 255] == 3
    assert 130 < wood[:100, :100].sum() < 300  # a disc of 4 m, 2 cells a metre
    assert wood.sum() == wood[:100, :100].sum()


def test_a_low_tree_under_a_roof_does_not_show_and_a_high_one_overhangs():
    for height, shows in ((30.0, False), (2.0, True)):
        lot = make_lot(rows=80, cols=80)
        lot.fill(Material.LAWN)
        lot.box(20, 0, 40, 40, pack(Material.BITUMEN, 1.0, height))
        lot.tree(19, 20, 4.0, Material.BROADLEAF)
        stamp_trees(lot.cells, lot.site, np.ones(1, bool))
        over_roof = CLASS_OF[lot.cells[:, 41:] & 255] == 3
        assert over_roof.any() == shows


def test_weighted_dice_follow_their_weights():
    dice = Dice(1)
    thrown = [dice.weighted((('a', 3), ('b', 1), ('c', 0))) for _ in range(4000)]
    assert 0.72 < thrown.count('a') / 4000 < 0.78
    assert 'c' not in thrown
    assert {dice.whole(2, 4) for _ in range(100)} == {2, 3, 4}
