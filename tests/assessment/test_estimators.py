import numpy as np
import pytest

from crossearth.assessment import Sample, Strata, assess_sample
from crossearth.errors import ConfigError, ShapeError


def units_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mapped and reference class of each unit of an error matrix."""
    mapped, reference = np.indices(counts.shape)
    return (np.repeat(part.ravel(), counts.ravel()) for part in (mapped, reference))


def test_the_example_of_olofsson_2014_to_the_printed_digit():
    """Tables 8 and 9 of the paper: 30 m pixels, areas in hectares, 1.96 standard errors."""
    counts = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
    mapped, reference = units_of(counts)
    areas = np.array([200_000, 150_000, 3_200_000, 6_450_000]) * 0.09
    found = assess_sample(Sample(mapped, mapped, reference), Strata(areas), num_classes=4)

    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(
        found.proportions.round(4),
        [
            [0.0176, 0, 0.0013, 0.0011],
            [0, 0.0110, 0.0016, 0.0024],
            [0.0019, 0, 0.2967, 0.0213],
            [0.0040, 0.0020, 0.0179, 0.6212],
        ],
    )
    classes = found.classes
    assert [round(one.area.value) for one in classes] == [21158, 11686, 285770, 581386]
    assert [round(1.96 * one.area.standard_error) for one in classes] == [6158, 3756, 15510, 16282]
    assert [round(one.users.value, 2) for one in classes] == [0.88, 0.73, 0.93, 0.96]
    assert [round(1.96 * one.users.standard_error, 2) for one in classes] == [0.07, 0.1, 0.04, 0.02]
    assert [round(one.producers.value, 2) for one in classes] == [0.75, 0.85, 0.93, 0.96]
    assert (round(found.overall.value, 2), round(1.96 * found.overall.standard_error, 2)) == (
        0.95,
        0.02,
    )
    # In pixels, the paper prints 235,086 ± 68,418 of deforestation.
    assert round(classes[0].area.value / 0.09) == 235_086
    assert round(1.96 * classes[0].area.standard_error / 0.09) == 68_418
    # Of the producer's accuracies, the paper prints 0.21, 0.23, 0.03 and 0.01. The second and
    # fourth do not follow from its equation 7, which gives these:
    errors = [round(1.96 * one.producers.standard_error, 3) for one in classes]
    assert errors == [0.213, 0.254, 0.034, 0.018]


def test_the_example_of_stehman_2014_whose_strata_are_not_the_classes():
    """Table 2 of the paper: ten units in each of four strata of 100,000 pixels."""

    def ids(letters: str) -> np.ndarray:
        return np.array([ord(letter) - ord('A') for letter in letters])

    strata = Strata(
        np.array([40_000.0, 30_000, 20_000, 10_000]), np.array([40_000, 30_000, 20_000, 10_000])
    )
    sample = Sample(
        np.repeat(np.arange(4), 10),
        ids('AAAAAAABBB' + 'ABBBBBBBBB' + 'BBCCCCCCBB' + 'DDDDDDDDDD'),
        ids('AAAAACBABC' + 'ABBBBBAABB' + 'CCCCCDDBBA' + 'DDDDDDDCCB'),
    )
    found = assess_sample(sample, strata, num_classes=4)
    a, b, c, _ = found.classes
    assert (round(found.overall.value, 2), round(found.overall.standard_error, 3)) == (0.63, 0.085)
    shares = [part / found.total_area for part in (*a.area[:2], *c.area[:2])]
    assert [round(part, 3) for part in shares] == [0.35, 0.082, 0.2, 0.064]
    assert [round(part, 3) for part in b.users[:2]] == [0.574, 0.125]
    assert round(b.producers.value, 3) == 0.794
    # Transcriptions of the paper have 0.114 here, which its equation 28 does not give.
    assert round(b.producers.standard_error, 4) == 0.1165
    assert round(found.proportions[1, 2], 2) == 0.08


def test_areas_of_units_count_only_relative_to_one_another():
    rng = np.random.default_rng(0)
    strata, mapped, reference = rng.integers(0, 3, (3, 200))
    areas = Strata(np.array([3.0, 2, 1]))
    equal = assess_sample(Sample(strata, mapped, reference), areas, num_classes=3)
    same = assess_sample(Sample(strata, mapped, reference, np.full(200, 7.5)), areas, num_classes=3)
    assert same.mean_iou[:2] == pytest.approx(equal.mean_iou[:2])
    for one, other in zip(same.classes, equal.classes, strict=True):
        assert one.iou[:2] == pytest.approx(other.iou[:2])
        assert one.iou.interval == pytest.approx(other.iou.interval)
        assert one.area[:2] == pytest.approx(other.area[:2])


def test_pixels_of_different_size_are_weighed_by_area_without_bias():
    """A map in degrees from the equator to 80° north, with errors in the north."""
    rng = np.random.default_rng(1)
    size = np.repeat(np.cos(np.radians(np.linspace(0, 80, 100))), 50)
    mapped = rng.integers(0, 2, 5000)
    wrong = rng.random(5000) < np.repeat(np.linspace(0, 0.6, 100), 50)
    reference = np.where(wrong, 1 - mapped, mapped)
    pixels, areas = np.bincount(mapped), np.bincount(mapped, size)
    truth = size[~wrong].sum() / size.sum()
    strata = Strata(areas, pixels)

    found = []
    for _ in range(300):
        drawn = np.concatenate(
            [rng.choice(np.flatnonzero(mapped == k), 100, replace=False) for k in range(2)]
        )
        sample = Sample(mapped[drawn], mapped[drawn], reference[drawn], size[drawn])
        found.append(assess_sample(sample, strata, num_classes=2).overall)
    values = np.array([estimate.value for estimate in found])
    errors = np.array([estimate.standard_error for estimate in found])
    assert abs((~wrong).mean() - truth) > 0.05  # pixels that are merely counted are off by this
    assert values.mean() == pytest.approx(truth, abs=3 * values.std() / 300**0.5)
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(), rel=0.1)


def test_a_stratum_that_is_labelled_whole_has_no_uncertainty():
    mapped = np.array([0, 0, 1, 1])
    strata = Strata(np.array([2.0, 2.0]), np.array([2, 2]))
    found = assess_sample(Sample(mapped, mapped, np.array([0, 1, 1, 1])), strata, num_classes=2)
    assert found.overall.standard_error == 0
    assert found.overall.interval == pytest.approx((0.75, 0.75))


def test_a_class_without_units_has_no_accuracy_but_an_area():
    mapped = np.zeros(30, np.int64)
    found = assess_sample(Sample(mapped, mapped, mapped), Strata(np.array([5.0])), num_classes=2)
    absent = found.classes[1]
    assert np.isnan([absent.users.value, absent.producers.value, absent.iou.value]).all()
    assert absent.area.value == 0
    assert 0 < absent.area.interval.high < 5 * 0.1
    assert found.mean_iou.value == 1


def test_nothing_found_wrong_does_not_mean_that_nothing_is():
    mapped = np.zeros(300, np.int64)
    found = assess_sample(Sample(mapped, mapped, mapped), Strata(np.array([1.0])), num_classes=2)
    assert found.overall.standard_error == 0
    assert found.classes[0].users.interval.low == pytest.approx(1 - 2.5 / 300, abs=1e-3)


@pytest.mark.parametrize(
    ('sample', 'strata', 'message'),
    [
        (([0, 1], [0, 0], [0, 0]), ([1.0], None), 'units are in strata 0 to 1: expected 0 to 0'),
        (([0, 0], [0, 2], [0, 0]), ([1.0], None), 'mapped classes run from 0 to 2: expected 0'),
        (([0, 0], [0, 0], [-1, 0]), ([1.0], None), 'reference classes run from -1'),
        (([0, 0, 1], [0, 0, 0], [0, 0, 0]), ([1.0, 1.0], None), r'strata \[1\] have \[1\]'),
        (([0, 0], [0, 0], [0, 0]), ([1.0, 1.0], None), r'strata \[1\] have \[0\] labelled'),
        (([0, 0, 0], [0, 0, 0], [0, 0, 0]), ([1.0], [2]), 'expected each pixel at most once'),
    ],
)
def test_samples_that_do_not_fit_their_strata_are_refused(sample, strata, message):
    areas, sizes = strata
    with pytest.raises(ConfigError, match=message):
        assess_sample(
            Sample(*(np.array(part) for part in sample)),
            Strata(np.array(areas), None if sizes is None else np.array(sizes)),
            num_classes=2,
        )


@pytest.mark.usefixtures('unchecked')
def test_strata_and_samples_are_checked_when_they_are_made():
    with pytest.raises(ConfigError, match='areas and sizes above 0'):
        Strata(np.array([1.0, 0.0]))
    with pytest.raises(ShapeError, match='got 2 areas and 1 sizes'):
        Strata(np.array([1.0, 1.0]), np.array([4]))
    with pytest.raises(ShapeError, match=r'lengths \[1, 2\]'):
        Sample(*(np.zeros(length, np.int64) for length in (2, 2, 1)))
