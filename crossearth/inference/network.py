"""Any model that gives logits, run in eval mode and put back as it was."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import BandError, ConfigError, CrossEarthError, ShapeError
from crossearth.labels import LabelSpace
from crossearth.modes import evaluating

__all__ = ['Augment', 'Combine', 'Network', 'evaluating', 'model_device']

type Combine = Literal['softmax', 'logits']
type Augment = Literal['none', 'd4']


def model_device(
    model: nn.Module | Callable[[Tensor], Tensor], device: torch.device | str | None
) -> torch.device:
    """Where the windows go: where the parameters lie, or as asked for a plain callable.

    Raises:
        ConfigError: If the model lies elsewhere than asked.
    """
    lies: torch.device | None = None
    if isinstance(model, nn.Module):
        tensor: Tensor | None = next(model.parameters(), None)
        if tensor is None:
            tensor = next(model.buffers(), None)
        lies = None if tensor is None else tensor.device
    if device is None:
        return lies or torch.device('cpu')
    asked = torch.device(device)
    if lies is not None and lies.type != asked.type:
        raise ConfigError(
            f'the model lies on {lies}, but device is {asked}: move it first, model.to({asked})'
        )
    return lies or asked


class Network:
    """A model as a checked function from windows to scores.

    Args:
        model: Images (b, c, h, w) in [0, 1] to logits (b, k, h, w).
        device: Where it runs.
        combine: Whether scores are probabilities or the logits themselves.
        augment: `'d4'` averages the scores of the eight flips and quarter turns of a window.
        autocast: Half type to compute in, or None. Scores are float32 either way.
        labels: Label space whose classes the logits must be, or None.
        name: Of the scene, for messages.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Tensor], Tensor],
        *,
        name: str,
        device: torch.device,
        combine: Combine,
        augment: Augment = 'none',
        autocast: torch.dtype | None,
        labels: LabelSpace | None,
    ) -> None:
        self._model = model
        self._name = name
        self.device = device
        self._combine = combine
        self._augment = augment
        self._autocast = autocast
        self._labels = labels
        self._tried = False
        self._scores: Tensor | None = None
        self.num_classes: int | None = None if labels is None else labels.num_classes

    @property
    def gives_logits(self) -> bool:
        """Whether scores are logits rather than probabilities."""
        return self._combine == 'logits'

    def count_classes(self, image_chw: tuple[int, int, int]) -> int:
        """Number of classes of what a black window gives; what does not fit fails here, early."""
        if not self._tried:
            self.logits(torch.zeros((1, *image_chw), device=self.device))
            self._tried = True
        assert self.num_classes is not None
        return self.num_classes

    def scores(self, raw: Float[Tensor, 'b k h w']) -> Float[Tensor, 'b k h w']:
        """What is averaged, in float32, from what `run` gave; the next call may overwrite it."""
        if self._augment == 'd4':
            return raw
        return self._scores_of(raw)

    def run(self, images: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b k h w']:
        """The model on a batch: logits, or scores if they had to be averaged already."""
        if self._augment == 'none':
            return self.logits(images)
        total: Tensor | None = None
        for turns in range(4):
            for flipped in (False, True):
                view = images.rot90(turns, (2, 3))
                view = view.flip(3) if flipped else view
                scores = self._scores_of(self.logits(view.contiguous()))
                scores = (scores.flip(3) if flipped else scores).rot90(-turns, (2, 3))
                total = scores.clone() if total is None else total.add_(scores)
        assert total is not None
        return total.div_(8)

    def _scores_of(self, logits: Float[Tensor, 'b k h w']) -> Float[Tensor, 'b k h w']:
        if self._combine == 'logits':
            return logits.float()
        if self._scores is None or self._scores.shape != logits.shape:
            self._scores = torch.empty(logits.shape, device=logits.device)
        return torch.softmax(logits.float(), dim=1, out=self._scores)

    def logits(self, images: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b k h w']:
        """Checked logits of a batch.

        Raises:
            BandError: If the model takes another number of bands.
            ShapeError: If it does not give logits at the size of the images, or other classes.
        """
        precision = (
            nullcontext()
            if self._autocast is None
            else torch.autocast(self.device.type, self._autocast)
        )
        try:
            with precision:
                logits = self._model(images)
        except BandError as error:
            raise BandError(f'{self._name}: {error}') from error
        except CrossEarthError:
            raise
        except RuntimeError as error:
            wanted = _first_channels(self._model)
            if wanted is not None and wanted != images.shape[1]:
                numbers = ', '.join(map(str, range(1, wanted + 1)))
                remedy = f'choose them with View(bands=({numbers}))'
                if images.shape[1] < wanted:
                    remedy = 'map a scene that has them, or name one more than once in bands'
                raise BandError(
                    f'{self._name}: {images.shape[1]} bands are given to a model that takes '
                    f'{wanted}: {remedy}'
                ) from error
            error.add_note(f'raised by the model on {self._name}, images {tuple(images.shape)}')
            raise
        return self._check(logits, images)

    def _check(self, logits: object, images: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b k h w']:
        b, _, h, w = images.shape
        classes = 'k' if self.num_classes is None else str(self.num_classes)
        expected = f'logits ({b}, {classes}, {h}, {w}), at the size of the image'
        if not isinstance(logits, Tensor):
            raise ShapeError(
                f'{self._name}: the model gave {type(logits).__name__}, expected a tensor of '
                f'{expected}: wrap it in a function that returns its logits'
            )
        shape = tuple(logits.shape)
        if len(shape) != 4 or shape[0] != b or shape[2:] != (h, w) or shape[1] < 1:
            raise ShapeError(
                f'{self._name}: the model gave shape {shape}, expected {expected}: upsample its '
                'output'
            )
        if self.num_classes is not None and shape[1] != self.num_classes:
            other = 'its first window' if self._labels is None else repr(self._labels.name)
            raise ShapeError(
                f'{self._name}: the model gave {shape[1]} classes, {other} has {self.num_classes}: '
                'pass the label space that the model was trained with'
            )
        self.num_classes = shape[1]
        return logits


def _first_channels(model: nn.Module | Callable[[Tensor], Tensor]) -> int | None:
    if not isinstance(model, nn.Module):
        return None
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return None
