import pytest
import torch

from crossearth.models.decoders import dice_loss, pixel_losses
from tests.rounding import rounding_error


def total(logits, mask):
    return sum(pixel_losses(logits, mask).values())


def test_dice_of_a_worked_example():
    probability = torch.tensor([0.8, 0.4]).view(1, 1, 1, 2)
    logits = torch.cat([probability, 1 - probability], dim=1).log()
    mask = torch.tensor([[[0, 0]]])
    expected = 1 - (2 * 1.2 + 1) / (1.2 + 2 + 1)
    # logarithm, softmax (2 + 2), sums (3), quotient and difference of numbers up to 1
    assert dice_loss(logits, mask).item() == pytest.approx(expected, abs=rounding_error(10))


def test_ignored_pixels_change_neither_loss_nor_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    mask = torch.randint(0, 3, (2, 4, 5), generator=generator)
    mask[:, :, 3:] = 255
    noisy = logits.clone()
    noisy[..., 3:] = 1e3
    values, gradients = [], []
    for given in (logits, noisy):
        given.requires_grad_()
        value = total(given, mask)
        value.backward()
        values.append(value.item())
        gradients.append(given.grad)
    cut = total(logits[..., :3], mask[..., :3]).item()
    assert values[0] == pytest.approx(cut, rel=1e-6)
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert (gradients[0][..., 3:] == 0).all()
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)


def test_a_batch_of_ignored_pixels_gives_zero_not_nan():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = total(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_an_absent_class_costs_nothing_beyond_its_false_alarms():
    mask = torch.zeros(1, 2, 2, dtype=torch.long)
    sure = torch.tensor([50.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert dice_loss(sure, mask).item() == pytest.approx(0, abs=1e-6)
