"""Trains the weights of norms so that the model is more certain about the scenes."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import nn

from crossearth.adaptation.method import (
    averaging_norms,
    device_of,
    pixel_entropy,
    scaling_norms,
)
from crossearth.adaptation.norms import Norms, check_alpha
from crossearth.adaptation.windows import SceneWindows
from crossearth.errors import ConfigError
from crossearth.modes import evaluating

__all__ = ['Tent', 'check_steps', 'drawn_windows', 'training_nothing_but']

_WINDOWS_A_STEP = 2


@dataclass(frozen=True, slots=True)
class Tent:
    """Changes the scale and shift of norms so that predictions have less entropy.

    First, batch norms get the statistics of the scenes, see `Norms`. Then Adam takes a few steps.
    Each step lowers the mean entropy of the pixels in two windows drawn at random. Layer and group
    norms have no statistics, so only the second part applies to them.

    Args:
        alpha: Weight of the scenes in the statistics of batch norms, from 0 to 1.
        steps: Training steps. Too many make the model assign everything to one class.
        lr: Learning rate.

    Raises:
        ConfigError: If a number is out of range; from `adapt`, if no norm of the model has weights.

    Source:
        TENT, Wang et al. 2021, arXiv 2006.10726. Here the statistics are fixed beforehand and not
        taken from each batch, because the map of a whole scene needs a single model.
    """

    alpha: float = 0.5
    steps: int = 10
    lr: float = 1e-4

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_steps(self.steps, self.lr)

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return 'tent'

    def options(self) -> Mapping[str, float | int]:
        """Its options, for the record in the model's file."""
        return asdict(self)

    def adapt(self, model: nn.Module, windows: SceneWindows, *, seed: int = 0) -> nn.Module:
        """A copy with new statistics and new weights of norms."""
        if not scaling_norms(model):
            raise ConfigError(
                'the model has no norm with weights, so tent has nothing to change: choose '
                '--method self-training'
            )
        has_averages = bool(averaging_norms(model))
        adapted = Norms(self.alpha).adapt(model, windows) if has_averages else copy.deepcopy(model)
        weights = [
            parameter
            for norm in scaling_norms(adapted).values()
            for parameter in norm.parameters(recurse=False)
        ]
        optimizer = torch.optim.Adam(weights, lr=self.lr)
        draws = drawn_windows(windows, seed)
        with torch.enable_grad(), evaluating(adapted), training_nothing_but(adapted, weights):
            for _ in range(self.steps):
                optimizer.zero_grad()
                for _ in range(_WINDOWS_A_STEP):
                    image, valid = windows[next(draws)]
                    logits = adapted(image[None].to(device_of(adapted)))
                    # Gradients add up window by window, so memory holds the activations of one.
                    loss = pixel_entropy(logits, valid.to(logits.device)) / _WINDOWS_A_STEP
                    torch.autograd.backward(loss)
                optimizer.step()
        return adapted


class training_nothing_but:  # noqa: N801  # used like a function
    """Computes gradients only for some weights of a model inside the block."""

    def __init__(self, model: nn.Module, weights: list[nn.Parameter]) -> None:
        self._before = [(weight, weight.requires_grad) for weight in model.parameters()]
        self._weights = weights

    def __enter__(self) -> None:
        for weight, _ in self._before:
            weight.requires_grad_(False)
        for weight in self._weights:
            weight.requires_grad_(True)

    def __exit__(self, *error: object) -> None:
        for weight, trained in self._before:
            weight.requires_grad_(trained)
            weight.grad = None


def drawn_windows(windows: SceneWindows, seed: int) -> Iterator[int]:
    """Window indices without end: all of them in random order, then again in another order."""
    draws = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(len(windows), generator=draws).tolist()


def check_steps(steps: int, lr: float) -> None:
    """Refuse a number of steps or a learning rate that is out of range.

    Raises:
        ConfigError: If one of them is.
    """
    if steps < 1 or not 0 < lr < 1:
        raise ConfigError(
            f'steps={steps}, lr={lr}: expected at least 1 step, and a rate above 0 and below 1'
        )
