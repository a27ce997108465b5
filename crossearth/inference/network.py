"""Runs any model in eval mode as a checked function from windows to scores."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import BandError, ConfigError, CrossEarthError, ShapeError
from crossearth.inference.model_output import ModelOutput
from crossearth.labels import LabelSpace
from crossearth.modes import evaluating

__all__ = ['Augment', 'Combine', 'Network', 'evaluating', 'model_device']

type Combine = Literal['softmax', 'logits']
type Augment = Literal['none', 'd4']

_OTHER_TYPES = (torch.float16, torch.bfloat16, torch.float64)
_LEAST = 1e-12  # stands in for probability 0, whose logarithm is infinite


def model_device(
    model: nn.Module | Callable[[Tensor], Tensor], device: torch.device | str | None
) -> torch.device:
    """Where windows are sent: to the device of the parameters, or as asked for plain functions.

    Raises:
        ConfigError: If the model is on another device than asked.
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
    # only kinds are compared, because `cuda` and `cuda:0` may be the same device
    if lies is not None and lies.type != asked.type:
        raise ConfigError(
            f'the model is on {lies}, but device is {asked}: move it first, model.to({asked})'
        )
    return lies or asked


class Network:
    """A model as a checked function from windows to scores.

    Args:
        model: Maps images (b, c, h, w) in [0, 1], or normalised with `mean` and `std`, to what
            `model_output` describes. Images are cast to the type of its weights.
        device: Where it runs.
        combine: Whether scores are probabilities or logits.
        augment: `'d4'` averages the scores of the eight flips and quarter turns of a window.
        autocast: Half type to compute in, or None. Scores are float32 either way.
        labels: Label space whose number of classes the output must have, or None.
        name: Name of the scene, for messages.
        model_output: What the model returns.
        mean: Subtracted from each band before the model sees it; None for nothing.
        std: Divides each band after that; None for nothing.
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
        model_output: ModelOutput = ModelOutput(),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self._model = model
        self._name = name
        self.device = device
        self._combine = combine
        self._augment = augment
        self._autocast = autocast
        self._labels = labels
        self._output = model_output
        self._mean, self._std = (
            None if values is None else torch.tensor(values, device=device)[:, None, None]
            for values in (mean, std)
        )
        self._dtype = _weights_dtype(model)
        self._tried = False
        self._scores: Tensor | None = None
        self.num_classes: int | None = None if labels is None else labels.num_classes

    @property
    def gives_logits(self) -> bool:
        """Whether scores are logits rather than probabilities."""
        return self._combine == 'logits'

    def count_classes(self, image_chw: tuple[int, int, int]) -> int:
        """Number of classes that a black window gives. A model that does not fit fails here."""
        if not self._tried:
            for name, values in (('mean', self._mean), ('std', self._std)):
                if values is not None and len(values) != image_chw[0]:
                    raise ConfigError(
                        f'{self._name}: {name} has {len(values)} numbers for images of '
                        f'{image_chw[0]} bands: expected one per band'
                    )
            first = self.logits(torch.zeros((1, *image_chw), device=self.device))
            try:
                self._output.check_unambiguous(first)
            except ShapeError as error:
                raise ShapeError(f'{self._name}: {error}') from error
            self._tried = True
        assert self.num_classes is not None
        return self.num_classes

    def scores(self, raw: Float[Tensor, 'b k h w']) -> Float[Tensor, 'b k h w']:
        """Float32 scores to average, from the output of `run`; the next call may overwrite them."""
        if self._augment == 'd4':
            return raw
        return self._scores_of(raw)

    def run(self, images: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b k h w']:
        """Run the model on a batch: gives what `logits` gives, or scores if already averaged."""
        if self._augment == 'none':
            return self.logits(images)
        total: Tensor | None = None
        for turns in range(4):
            for flipped in (False, True):
                view = images.rot90(turns, (2, 3))
                view = view.flip(3) if flipped else view
                scores = self._scores_of(self.logits(view.contiguous()))
                # the inverse runs backwards: first the flip, then the turn
                scores = (scores.flip(3) if flipped else scores).rot90(-turns, (2, 3))
                total = scores.clone() if total is None else total.add_(scores)
        assert total is not None
        return total.div_(8)

    def _scores_of(self, raw: Float[Tensor, 'b k h w']) -> Float[Tensor, 'b k h w']:
        if self._output.gives_probabilities:
            probabilities = raw.float()
            if self._combine == 'softmax':
                return probabilities
            # softmax(log p) = p, so the logarithms serve as logits
            return probabilities.clamp_min(_LEAST).log_()
        if self._combine == 'logits':
            return raw.float()
        # reused, because a new tensor for every batch would be allocated and cleared each time
        if self._scores is None or self._scores.shape != raw.shape:
            self._scores = torch.empty(raw.shape, device=raw.device)
        return torch.softmax(raw.float(), dim=1, out=self._scores)

    def logits(self, images: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b k h w']:
        """Checked logits of a batch, or probabilities if the model returns those.

        Raises:
            BandError: If the model takes another number of bands.
            ShapeError: If the output is not what `model_output` describes, at the size of the
                images, or has other classes.
        """
        seen = images if self._mean is None else images - self._mean
        seen = seen if self._std is None else seen / self._std
        precision = (
            nullcontext()
            if self._autocast is None
            else torch.autocast(self.device.type, self._autocast)
        )
        try:
            with precision:
                output = self._model(seen.to(self._dtype))
        except BandError as error:
            raise BandError(f'{self._name}: {error}') from error
        except CrossEarthError:
            raise
        except RuntimeError as error:
            wanted = _first_channels(self._model) or _channels_in(error, images)
            if wanted is not None and wanted != images.shape[1]:
                numbers = ', '.join(map(str, range(1, wanted + 1)))
                remedy = f'choose them with View(bands=({numbers}))'
                if images.shape[1] < wanted:
                    remedy = 'map a scene that has that many, or repeat a band in bands'
                raise BandError(
                    f'{self._name}: the model takes {wanted} bands, but {images.shape[1]} are '
                    f'given: {remedy}'
                ) from error
            if isinstance(self._model, torch.jit.ScriptModule):  # its stack trace helps nobody
                reason = str(error).strip().splitlines()[-1]
                raise ShapeError(
                    f'{self._name}: the TorchScript program fails on '
                    f'images {tuple(images.shape)} ({reason}): if it was made for another size, '
                    'choose that with Windows(tile_px=…) (--tile-px), and map scenes at least that '
                    'large'
                ) from error
            error.add_note(f'raised by the model on {self._name}, images {tuple(images.shape)}')
            raise
        return self._check(output, images)

    def _check(self, output: object, images: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b k h w']:
        try:
            tensor = self._output.tensor_of(output)
            classes = self._output.classes_of(tensor, images, num_classes=self.num_classes)
        except ShapeError as error:
            raise ShapeError(f'{self._name}: {error}') from error
        if self.num_classes is not None and classes.shape[1] != self.num_classes:
            other = 'its first window' if self._labels is None else repr(self._labels.name)
            raise ShapeError(
                f'{self._name}: the model gave {classes.shape[1]} classes, but {other} has '
                f'{self.num_classes}: pass the label space that the model was trained with'
            )
        self.num_classes = classes.shape[1]
        return classes


def _weights_dtype(model: nn.Module | Callable[[Tensor], Tensor]) -> torch.dtype:
    """The type that a model computes in: that of its first floating-point weight."""
    if not isinstance(model, nn.Module):
        return torch.float32
    tensors: Iterator[Tensor] = chain(model.parameters(), model.buffers())
    if isinstance(model, torch.jit.ScriptModule):
        tensors = chain(tensors, _constants_of(model))
    dtype = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)
    return dtype if dtype in _OTHER_TYPES else torch.float32


def _constants_of(model: torch.jit.ScriptModule) -> Iterator[Tensor]:
    """Tensors in the graph of a frozen model, which has no other weights."""
    for node in model.inlined_graph.nodes():
        is_constant = node.kind() == 'prim::Constant' and node.hasAttribute('value')
        if is_constant and node.kindOf('value') == 't':
            yield node.t('value')


def _channels_in(error: RuntimeError, images: Float[Tensor, 'b c h w']) -> int | None:
    """How many channels a convolution expects according to torch's error, also in a program."""
    shape = re.escape(str(list(images.shape)))
    found = re.search(rf'expected input{shape} to have (\d+) channels', str(error))
    return None if found is None else int(found[1])


def _first_channels(model: nn.Module | Callable[[Tensor], Tensor]) -> int | None:
    if not isinstance(model, nn.Module):
        return None
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return None
