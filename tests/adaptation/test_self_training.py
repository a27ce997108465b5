import pytest
import torch
from torch import nn

from crossearth.adaptation.self_training import PseudoLabels, confident_labels
from crossearth.errors import ConfigError


def test_rare_classes_keep_the_same_share_of_their_pixels():
    draws = torch.Generator().manual_seed(0)
    logits = torch.stack([torch.full((50, 40), 3.0), torch.zeros(50, 40)])
    logits += torch.rand(2, 50, 40, generator=draws)
    logits[1, :5] = 9 + torch.rand(5, 40, generator=draws)
    valid = torch.ones(50, 40, dtype=torch.bool)
    labels = confident_labels(logits, valid, share=0.25)
    assert [int((labels == i).sum()) for i in (0, 1)] == [450, 50]
    confidence = logits.softmax(0).max(0).values
    kept, left = confidence[labels == 1], confidence[:5][labels[:5] == 255]
    assert kept.min() >= left.max()


def test_pixels_without_data_get_no_label():
    valid = torch.zeros(4, 4, dtype=torch.bool)
    valid[0, 0] = True
    labels = confident_labels(torch.rand(2, 4, 4), valid, share=1.0)
    assert int((labels != 255).sum()) == 1


def test_the_student_moves_and_the_teacher_follows_at_the_given_pace(model, windows):
    slow, fast = (
        PseudoLabels(alpha=0, steps=1, lr=1e-2, decay=decay).adapt(model, windows, seed=0)
        for decay in (0.75, 0.0)
    )
    moved = fast[3].weight - model[3].weight
    assert moved.abs().max() > 5e-3
    torch.testing.assert_close(slow[3].weight - model[3].weight, 0.25 * moved)


def test_the_same_seed_gives_the_same_bits_and_no_global_generator_is_used(model, windows):
    method = PseudoLabels(steps=2, lr=1e-2)
    state = torch.get_rng_state()
    first, again, other = (method.adapt(model, windows, seed=s)[3].weight for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_frozen_weights_stay_and_all_frozen_is_refused(model, windows):
    model[0].requires_grad_(False)
    adapted = PseudoLabels(steps=2, lr=1e-2).adapt(model, windows)
    assert torch.equal(adapted[0].weight, model[0].weight)
    assert not torch.equal(adapted[3].weight, model[3].weight)
    assert all(p.grad is None for p in adapted.parameters())
    with pytest.raises(ConfigError, match='all weights of the model are frozen'):
        PseudoLabels().adapt(nn.Conv2d(1, 2, 1).requires_grad_(False), windows)


@pytest.mark.parametrize('numbers', [{'share': 0}, {'share': 1.5}, {'decay': 1.0}, {'steps': 0}])
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(ConfigError, match='expected'):
        PseudoLabels(**numbers)
