import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossearth.errors import LabelError, ShapeError
from crossearth.metrics import confusion_matrix, iou_per_class, mean_iou


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
