"""Textures whose structures have a known size on the ground, and features that show it."""

import torch
import torch.nn.functional as F
from torch import nn

from crossearth.resolution import GsdNetwork


def texture(gsd_m, *, seed, side=160, structure_m=4.0):
    """Smooth noise (3, side, side) in [0, 1], whose structures have a width on the ground."""
    draws = torch.Generator().manual_seed(seed)
    sigma = structure_m / gsd_m
    reach = int(3 * sigma) + 1
    kernel = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    noise = torch.randn(1, 1, side + 2 * reach, side + 2 * reach, generator=draws)
    smooth = F.conv2d(F.conv2d(noise, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))[0]
    smooth = (smooth - smooth.mean()) / smooth.std()
    return (0.5 + 0.15 * smooth).clamp(0, 1).expand(3, -1, -1)


class Differences(nn.Module):
    """Log of the mean difference between pixels that lie 1, 2, 4, 8 and 16 px apart."""

    width = 5

    def forward(self, grey):
        lags = [2**power for power in range(self.width)]
        parts = [(grey[..., lag:] - grey[..., :-lag]).abs().mean((1, 2, 3)) for lag in lags]
        return torch.stack(parts, 1).clamp_min(1e-6).log()


def tiny_network():
    return GsdNetwork(Differences(), width=Differences.width)
