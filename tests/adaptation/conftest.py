import pytest
import torch
from torch import nn

from crossearth.adaptation.windows import SceneWindows


def images(count=3, *, bands=1, side=16, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return [torch.rand(bands, side, side, generator=draws) for _ in range(count)]


@pytest.fixture
def windows():
    """Three windows without nodata."""
    return SceneWindows([], [(one, torch.ones(16, 16, dtype=torch.bool)) for one in images()])


@pytest.fixture
def model():
    """A batch norm between convolutions, and 2 classes."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)
    return nn.Sequential(*layers).eval()
