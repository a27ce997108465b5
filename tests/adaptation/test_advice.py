import pytest

from crossearth.adaptation.advice import advise, evenness
from crossearth.adaptation.change import Change, Predicted
from crossearth.adaptation.gap import Gap
from crossearth.appearance import Appearance

LOOKS = Appearance((0.5,), (0.1,), ((0.1,) * 5,), 0.1, 1)


def gap(distance, *, norms=9.0):
    features = None if distance is None else (distance - 0.05, distance + 0.05)
    return Gap((), LOOKS, None, None, None, features, {} if norms is None else {'bn': norms})


def change(before, after):
    parts = (Predicted((1 - road, road), 0.9, 0.1) for road in (before, after))
    return Change(*parts, 0.1)


@pytest.mark.parametrize(
    ('distance', 'before', 'after', 'use'),
    [
        (0.64, 0.003, 0.175, True),  # Tianjin to Ottawa: 2 % IoU before, 42 after
        (0.40, 0.110, 0.032, False),  # Massachusetts to ETH at half size: 27 before, 9 after
        (0.47, 0.492, 0.077, False),  # Dubai to Tianjin: 39 before, 16 after
        (0.14, 0.133, 0.141, False),  # Dubai to itself
        (None, 0.003, 0.175, True),
        (0.5, 0.1, 0.1, False),
    ],
)
def test_advice_follows_the_gap_and_the_areas(distance, before, after, use):
    assert advise(gap(distance), change(before, after)).use is use


def test_batch_norms_stand_in_where_features_are_not_recorded():
    assert not advise(gap(None, norms=0.1), change(0.1, 0.2)).use
    assert advise(gap(None, norms=0.5), change(0.1, 0.2)).use
    assert advise(gap(None, norms=None), change(0.1, 0.2)).use


def test_every_reason_against_is_given():
    advice = advise(gap(0.1), change(0.2, 0.1))
    assert str(advice).startswith('ADVISED AGAINST')
    assert [word in str(advice) for word in ('close to the source', 'less even')] == [True, True]


def test_a_map_that_stays_as_it_was_is_not_called_less_even():
    assert 'as even as before (0.000)' in str(advise(gap(0.5), change(0.0, 0.0)))


def test_evenness_of_areas():
    assert evenness((0.25,) * 4) == pytest.approx(1)
    assert evenness((0.9, 0.1)) == pytest.approx(0.468996, abs=1e-6)
