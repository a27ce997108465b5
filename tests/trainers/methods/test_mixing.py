import math

import torch

from crossearth.trainers.methods.mixing import draw_classes, pixels_of


def test_half_of_the_classes_that_are_there_are_drawn_and_no_others():
    mask = torch.full((3, 4, 4), 255)
    mask[0, 0, :3] = torch.tensor([0, 2, 4])
    mask[1, 0, 0] = 3
    even = torch.full((5,), 0.2)
    for _ in range(50):
        drawn = draw_classes(mask, even, temperature=math.inf)
        assert drawn.sum(1).tolist() == [2, 1, 0]
        assert not drawn[0, [1, 3]].any()
        assert drawn[1, 3]


def test_probabilities_are_those_of_the_formula():
    mask = torch.tensor([[[0, 1]]]).expand(20000, 1, 2)
    frequency = torch.tensor([0.7, 0.3])
    drawn = draw_classes(
        mask, frequency, temperature=0.5, generator=torch.Generator().manual_seed(0)
    )
    assert (drawn.sum(1) == 1).all()
    expected = 1 / (1 + math.exp((0.3 - 0.7) / 0.5))  # softmax((1 - f) / T) of the rare one
    deviation = math.sqrt(expected * (1 - expected) / 20000)
    assert abs(drawn[:, 1].double().mean() - expected) < 5 * deviation


def test_pixels_are_exactly_those_of_the_drawn_classes():
    mask = torch.tensor([[[0, 1, 2, 255]], [[2, 2, 0, 1]]])
    drawn = torch.tensor([[True, False, True], [False, True, False]])
    assert pixels_of(drawn, mask).tolist() == [
        [[True, False, True, False]],
        [[False, False, False, True]],
    ]
