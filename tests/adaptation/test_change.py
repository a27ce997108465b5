import math

import pytest
import torch
from torch import nn

from crossearth.adaptation.change import measure_change
from crossearth.adaptation.windows import SceneWindows


class Constant(nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, image):  # noqa: ARG002
        return self.logits[None]


def test_areas_confidence_and_entropy_are_of_the_pixels_with_data():
    valid = torch.tensor([[True, True, True, True, False]])
    before = torch.tensor([[[0.0, 0, 0, 0, 9]], [[-50, -50, 0, 50, -9]]])
    after = torch.tensor([[[0.0, 0, 0, 0, 9]], [[-50, 50, 50, 50, 9]]])
    windows = SceneWindows([], [(torch.zeros(1, 1, 5), valid)] * 2)
    change = measure_change(Constant(before), Constant(after), windows)
    assert change.before.areas == (0.75, 0.25)
    assert change.after.areas == (0.25, 0.75)
    assert change.changed == 0.5
    assert change.before.confidence == pytest.approx(3.5 / 4)
    assert change.before.entropy == pytest.approx(math.log(2) / math.log(2) / 4)
    assert change.after.entropy == pytest.approx(0, abs=1e-6)
