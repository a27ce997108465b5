"""Measures how adapting a model changes its map."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from crossearth.adaptation.method import device_of
from crossearth.adaptation.windows import SceneWindows
from crossearth.modes import evaluating

__all__ = ['Change', 'Predicted', 'measure_change']


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a model predicts for some windows.

    Args:
        areas: Share of each class among the pixels with data.
        confidence: Mean probability of the chosen class.
        entropy: Mean entropy, from 0, where the model is sure, to 1.
    """

    areas: tuple[float, ...]
    confidence: float
    entropy: float


@dataclass(frozen=True, slots=True)
class Change:
    """A model before and after it was adapted, on the same windows.

    Args:
        before: Predictions of the original model.
        after: Predictions of the adapted model.
        changed: Share of the pixels with data whose class changes.
    """

    before: Predicted
    after: Predicted
    changed: float


@torch.no_grad()
def measure_change(before: nn.Module, after: nn.Module, windows: SceneWindows) -> Change:
    """Compare two models, window by window.

    Args:
        before: Images (b, c, h, w) in [0, 1] → logits (b, k, h, w).
        after: The same for the adapted model.
        windows: Windows; pixels without data do not count.
    """
    sums: list[Float64[Tensor, ' _']] = [torch.zeros(0), torch.zeros(0)]
    changed = pixels = 0
    for image, valid in windows:
        chosen = []
        for index, model in enumerate((before, after)):
            with evaluating(model):
                logits = model(image[None].to(device_of(model)))[0]
            probabilities = logits.float().softmax(0)[:, valid.to(logits.device)].double()
            confidence, classes = probabilities.max(0)
            entropy = torch.special.entr(probabilities).sum() / math.log(max(len(logits), 2))
            counts = classes.bincount(minlength=len(logits)).double()
            parts = torch.cat([counts, torch.stack([confidence.sum(), entropy])]).cpu()
            sums[index] = parts if not len(sums[index]) else sums[index] + parts
            chosen.append(classes)
        changed += int((chosen[0] != chosen[1].to(chosen[0].device)).sum())
        pixels += chosen[0].numel()
    made = [
        Predicted(tuple(part[:-2].tolist()), float(part[-2]), float(part[-1]))
        for part in (one / pixels for one in sums)
    ]
    return Change(made[0], made[1], changed / pixels)
