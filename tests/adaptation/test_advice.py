import pytest

from crossearth.adaptation.advice import advise, evenness
from crossearth.adaptation.change import Change, Predicted
from crossearth.adaptation.gap import Gap
from crossearth.appearance import Appearance

LOOKS = Appearance((0.5,), (0.1,), ((0.1,) * 5,), 0.1, 1)


def gap(distance):
    norms = {} if distance is None else {'bn': distance}
    return Gap((), LOOKS, None, None, None, None, norms)


def change(before, after):
    parts = (Predicted((1 - road, road), 0.9, 0.1) for road in (before, after))
    return Change(*parts, 0.1)


@pytest.mark.parametrize(
    ('distance', 'before', 'after', 'use'),
    [
        (0.57, 0.003, 0.175, True),  # Tianjin to Ottawa: 2 % IoU before, 42 after
        (0.39, 0.110, 0.032, False),  # Massachusetts to ETH at half size: 27 before, 9 after
        (0.47, 0.492, 0.077, False),  # Dubai to Tianjin: 39 before, 16 after
        (0.18, 0.133, 0.141, False),  # Dubai to itself
        (None, 0.003, 0.175, True),
        (0.5, 0.1, 0.1, False),
    ],
)
def test_advice_follows_the_gap_and_the_areas(distance, before, after, use):
    assert advise(gap(distance), change(before, after)).use is use


def test_every_reason_against_is_given():
    advice = advise(gap(0.1), change(0.2, 0.1))
    assert str(advice).startswith('ADVISED AGAINST')
    assert [word in str(advice) for word in ('not far from', 'more one-sided')] == [True, True]


def test_evenness_of_areas():
    assert evenness((0.25,) * 4) == pytest.approx(1)
    assert evenness((0.9, 0.1)) == pytest.approx(0.468996, abs=1e-6)
