import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossearth.errors import LabelError, ShapeError
from crossearth.metrics import (
    _count_all,
    _count_kept,
    confusion_matrix,
    iou_per_class,
    mean_iou,
)


@given(st.integers(0, 10_000))
def test_matrix_equals_a_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    guess, true = rng.integers(0, 4, (2, 6, 5))
    true[rng.random(true.shape) < 0.2] = 255
    expected = np.zeros((4, 4), int)
    for t, g in zip(true.ravel(), guess.ravel(), strict=True):
        if t != 255:
            expected[t, g] += 1
    matrix = confusion_matrix(torch.tensor(guess), torch.tensor(true), num_classes=4)
    assert (matrix.numpy() == expected).all()


@given(
    st.integers(0, 10_000),
    st.sampled_from([255, 3, 1, 0, -1, -100]),
    st.sampled_from([torch.int16, torch.int32, torch.int64]),
)
@settings(deadline=None)
def test_counting_all_pixels_at_once_equals_counting_those_kept(seed, ignore, dtype):
    generator = torch.Generator().manual_seed(seed)
    guess, true = torch.randint(0, 4, (2, 3, 5), generator=generator)
    true[torch.rand(true.shape, generator=generator) < 0.3] = ignore
    sorts = {'num_classes': 4, 'ignore_index': ignore}
    expected = _count_kept(guess, true, **sorts)
    assert torch.equal(confusion_matrix(guess.to(dtype), true.to(dtype), **sorts), expected)
    at_once = _count_all(guess, true, **sorts)
    assert at_once is None if (true < 0).any() else torch.equal(at_once, expected)


@pytest.mark.parametrize(
    ('guess', 'true'), [(0, 7), (4, 0), (-1, 0), (0, -1), (0, 254), (0, 256), (0, 10**12)]
)
def test_no_wrong_id_is_counted_as_another(guess, true):
    pair = torch.tensor([0, guess]), torch.tensor([0, true])
    assert _count_all(*pair, num_classes=4, ignore_index=255) is None
    with pytest.raises(LabelError, match='expected 0 to 3, or 255 to ignore a pixel'):
        confusion_matrix(*pair, num_classes=4)


def test_what_was_predicted_where_nothing_is_labelled_does_not_matter():
    guess, true = torch.tensor([1, 99, -5]), torch.tensor([1, 255, 255])
    assert confusion_matrix(guess, true, num_classes=2).tolist() == [[0, 0], [0, 1]]
    none = torch.zeros(0, dtype=torch.int64)
    assert confusion_matrix(none, none, num_classes=2).tolist() == [[0, 0], [0, 0]]


def test_many_classes_are_counted_too():
    ids = torch.arange(700)
    matrix = confusion_matrix(ids, ids, num_classes=700, ignore_index=-1)
    assert torch.equal(matrix, torch.eye(700).long())


def test_iou_of_a_worked_example():
    matrix = torch.tensor([[50, 10, 0], [5, 30, 5], [0, 0, 0]])
    assert iou_per_class(matrix).tolist() == pytest.approx([50 / 65, 30 / 50, 0.0])
    assert mean_iou(matrix, scored=(1,)) == pytest.approx(0.6)


def test_a_class_that_never_occurs_does_not_lower_the_mean():
    matrix = torch.tensor([[3, 0, 0], [0, 5, 0], [0, 0, 0]])
    assert torch.isnan(iou_per_class(matrix)[2])
    assert mean_iou(matrix) == 1.0


def test_matrices_of_parts_add_up_to_that_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    guess, true = torch.randint(0, 3, (2, 10, 8), generator=generator)
    parts = [
        confusion_matrix(guess[i : i + 3], true[i : i + 3], num_classes=3) for i in (0, 3, 6, 9)
    ]
    assert torch.equal(sum(parts), confusion_matrix(guess, true, num_classes=3))


def test_shapes_and_ids_out_of_range_are_refused(unchecked):
    with pytest.raises(ShapeError, match='take the argmax'):
        confusion_matrix(torch.zeros(2, dtype=int), torch.zeros(3, dtype=int), num_classes=2)
    with pytest.raises(LabelError, match='target holds ids from 0 to 2'):
        confusion_matrix(torch.tensor([0, 0]), torch.tensor([0, 2]), num_classes=2)
