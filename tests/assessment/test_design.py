import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossearth.assessment import allocate, sample_size
from crossearth.errors import ConfigError

AREAS = np.array([0.02, 0.015, 0.32, 0.645])
SIZES = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_the_sample_size_of_olofsson_2014():
    """Table 5: (0.2531 / 0.01)² = 640.7."""
    assert sample_size(AREAS, np.array([0.7, 0.6, 0.9, 0.95]), standard_error=0.01) == 641


def test_without_a_least_number_allocation_is_proportional():
    """The column "Prop" of Table 5, for 641 units."""
    assert allocate(AREAS, SIZES, n=641, least=2).tolist() == [13, 10, 205, 413]


def test_rare_classes_get_the_least_number_and_the_others_share_the_rest():
    """The rule of section 5.1.2 with 100 units for each change class.

    Table 5 prints 149 and 292 for the others, which are not in proportion to their areas.
    """
    assert allocate(AREAS, SIZES, n=641, least=100).tolist() == [100, 100, 146, 295]


def test_small_strata_are_taken_whole():
    drawn = allocate(np.array([1.0, 1e6]), np.array([7, 10**6]), n=200, least=50)
    assert drawn.tolist() == [7, 193]


@given(
    sizes=st.lists(st.integers(1, 10**6), min_size=1, max_size=12),
    n=st.integers(1, 2000),
    least=st.integers(2, 60),
)
def test_allocation_adds_up_within_its_limits(sizes, n, least):
    pixels = np.array(sizes)
    drawn = allocate(pixels.astype(float), pixels, n=n, least=least)
    floor = np.minimum(least, pixels)
    assert (drawn >= floor).all()
    assert (drawn <= pixels).all()
    assert drawn.sum() == min(max(n, floor.sum()), pixels.sum())


@pytest.mark.parametrize(
    ('error', 'expected', 'message'),
    [(0.0, 0.8, 'standard error is 0.0'), (0.02, 1.2, 'expected accuracies are')],
)
def test_sizes_without_meaning_are_refused(error, expected, message):
    with pytest.raises(ConfigError, match=message):
        sample_size(np.array([1.0]), np.array([expected]), standard_error=error)


def test_one_unit_per_stratum_is_refused():
    with pytest.raises(ConfigError, match='at least 2'):
        allocate(AREAS, SIZES, n=100, least=1)
