"""What a model gives, said by whoever calls it, and brought into one form.

Most models give logits, one channel per class. Others give one logit for two classes,
probabilities, class ids, or a dictionary with one of these in it. What a tensor cannot say about
itself has to be said, for a wrong guess would be a wrong map without any error.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from crossearth.errors import ConfigError, ShapeError

__all__ = ['ModelOutput', 'OutputKind']

type OutputKind = Literal['auto', 'logits', 'probabilities', 'logit', 'probability', 'ids']

_KNOWN_KEYS = ('out', 'logits')  # of torchvision, and of transformers
_ONE_CHANNEL = ('logit', 'probability', 'ids')
_ROUNDING = 1e-2  # of probabilities in half precision, summed over some hundred classes


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """What a model gives for images (b, c, h, w).

    Args:
        kind: `'logits'`: (b, k, h, w) before a softmax. `'probabilities'`: (b, k, h, w) after it,
            in [0, 1], with sum 1. `'logit'`: (b, 1, h, w) or (b, h, w) before a sigmoid, which
            makes a map of two classes: 1 where the probability is at least `threshold`, 0
            elsewhere.
            `'probability'`: the same after the sigmoid. `'ids'`: class ids (b, h, w) or
            (b, 1, h, w); windows vote where they overlap. `'auto'`: logits of two or more classes;
            anything that could be something else is an error.
        key: Which entry holds it, if the model gives a dictionary, a tuple or a list. None for the
            only one, `'out'` or `'logits'` of a dictionary, and the first of the others.
        threshold: Probability from which on a pixel is class 1, between 0 and 1; None for 0.5. Only
            of `'logit'` and `'probability'`.
        num_classes: Number of classes of `'ids'`; None for those of the label space.

    Raises:
        ConfigError: If a value is out of range, or has no meaning for the kind.

    Example:
        >>> ModelOutput('logit', threshold=0.3).threshold
        0.3
        >>> ModelOutput('logits', threshold=0.3)
        Traceback (most recent call last):
        crossearth.errors.ConfigError: threshold is 0.3, but kind is 'logits': ...
    """

    kind: OutputKind = 'auto'
    key: str | int | None = None
    threshold: float | None = None
    num_classes: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(OutputKind.__value__):
            raise ConfigError(
                f'kind is {self.kind!r}: choose one of {", ".join(get_args(OutputKind.__value__))}'
            )
        if self.threshold is not None:
            if not self.is_binary:
                raise ConfigError(
                    f'threshold is {self.threshold}, but kind is {self.kind!r}: it belongs to '
                    "'logit' and 'probability', which give one channel; for a map of more classes "
                    'leave it out'
                )
            if not 0 < self.threshold < 1:
                raise ConfigError(f'threshold is {self.threshold}: expected between 0 and 1')
        if self.num_classes is not None:
            if self.kind != 'ids':
                raise ConfigError(
                    f"num_classes is {self.num_classes}, but kind is {self.kind!r}: only 'ids' do "
                    'not tell their number of classes'
                )
            if self.num_classes < 1:
                raise ConfigError(f'num_classes is {self.num_classes}: expected at least 1')

    @property
    def is_binary(self) -> bool:
        """Whether one channel stands for two classes."""
        return self.kind in ('logit', 'probability')

    @property
    def gives_probabilities(self) -> bool:
        """Whether `classes_of` gives probabilities rather than logits."""
        return self.kind in ('probabilities', 'probability', 'ids')

    def describe(self) -> dict[str, Any]:
        """What the pixels of a map depend on, by name, as JSON values."""
        return {'model_output': asdict(self)}

    def tensor_of(self, output: object) -> Tensor:
        """The tensor in what a model gave.

        Raises:
            ShapeError: If there is none, or nothing tells which.
        """
        found = output
        if isinstance(output, Mapping):
            found = output[self._key_in(output)]
        elif isinstance(output, tuple | list):
            index = 0 if self.key is None else self.key
            if not isinstance(index, int) or not -len(output) <= index < len(output):
                raise ShapeError(
                    f'the model gave a {type(output).__name__} of {len(output)} entries, but key '
                    f'is {index!r}: choose a number from 0 to {len(output) - 1}'
                )
            found = output[index]
        elif self.key is not None:
            raise ShapeError(
                f'the model gave {type(output).__name__}, but key is {self.key!r}, which belongs '
                'to a dictionary or a tuple: leave it out'
            )
        if not isinstance(found, Tensor):
            where = '' if found is output else f' in its {type(output).__name__}'
            raise ShapeError(
                f'the model gave {type(found).__name__}{where}, expected a tensor: name the entry '
                'that holds it with ModelOutput(key=…) (--output-key), or wrap the model in a '
                'function that returns the tensor'
            )
        return found

    def _key_in(self, output: Mapping[Any, Any]) -> Any:
        keys = list(output)
        if self.key is not None:
            if self.key not in output:
                raise ShapeError(
                    f'the model gave a dictionary with {keys}, but key is {self.key!r}: choose one '
                    'of these'
                )
            return self.key
        known = keys if len(keys) == 1 else [key for key in _KNOWN_KEYS if key in output]
        if len(known) != 1:
            raise ShapeError(
                f'the model gave a dictionary with {keys}: say which entry is meant with '
                'ModelOutput(key=…) (--output-key)'
            )
        return known[0]

    def classes_of(
        self, tensor: Tensor, images: Float[Tensor, 'b c h w'], *, num_classes: int | None
    ) -> Float[Tensor, 'b k h w']:
        """One channel per class: logits, or probabilities as `gives_probabilities` says.

        Args:
            tensor: As `tensor_of` found it.
            images: What it was made of.
            num_classes: That of the label space, or of an earlier window; None if not known.

        Raises:
            ShapeError: If the tensor is not of the kind.
        """
        b, _, h, w = images.shape
        shape = tuple(tensor.shape)
        if self.kind in _ONE_CHANNEL and shape == (b, h, w):
            tensor = tensor[:, None]
        if tensor.ndim != 4 or tensor.shape[0] != b or tensor.shape[2:] != (h, w):
            raise ShapeError(
                f'the model gave shape {shape}, expected {self._expected(b, h, w, num_classes)}, '
                f'at the size of the image: {_remedy_of_size(shape, b, h, w)}'
            )
        channels = tensor.shape[1]
        if self.kind in _ONE_CHANNEL and channels != 1:
            raise ShapeError(
                f'the model gave shape {shape}, but {self.kind!r} is one channel, '
                f"{self._expected(b, h, w, num_classes)}: choose 'logits' or 'probabilities'"
            )
        if self.kind == 'ids':
            return self._votes(tensor[:, 0], num_classes)
        if not tensor.is_floating_point():
            raise ShapeError(
                f'the model gave {tensor.dtype} of shape {shape}, expected floating-point '
                f'{self._name}: for class ids pass '
                "ModelOutput('ids', num_classes=…) (--output-kind ids)"
            )
        if self.kind not in _ONE_CHANNEL and channels < 2:
            raise ShapeError(
                f'the model gave shape {shape}, one channel, of which a choice among classes would '
                'be class 0 everywhere: for a map of two classes pass '
                "ModelOutput('logit', threshold=0.5) if a sigmoid is still to be applied, or "
                "ModelOutput('probability', threshold=0.5) if it was (--output-kind logit, "
                '--threshold 0.5)'
            )
        if self.gives_probabilities:
            self._check_probabilities(tensor)
        if self.kind == 'logit':
            return torch.cat([torch.zeros_like(tensor), tensor], dim=1)
        if self.kind == 'probability':
            return torch.cat([1 - tensor, tensor], dim=1)
        return tensor

    def check_unambiguous(self, first: Float[Tensor, 'b k h w']) -> None:
        """Stop at what could be probabilities, if nobody said what it is.

        Args:
            first: What a model gave for a first window.

        Raises:
            ShapeError: If `kind` is `'auto'` and all pixels hold numbers in [0, 1] with sum 1.
        """
        if self.kind != 'auto' or bool(((first < 0) | (first > 1)).any()):
            return
        if bool(((first.float().sum(1) - 1).abs() < _ROUNDING / 10).all()):
            raise ShapeError(
                f'the model gave shape {tuple(first.shape)} with numbers in [0, 1] whose sum is 1 '
                'at every pixel, which look like probabilities: pass '
                "ModelOutput('probabilities') (--output-kind probabilities), or "
                "ModelOutput('logits') if a softmax is still to be applied"
            )

    @property
    def _name(self) -> str:
        return 'logits' if self.kind == 'auto' else self.kind

    def _expected(self, b: int, h: int, w: int, num_classes: int | None) -> str:
        if self.kind in _ONE_CHANNEL:
            return f'{self._name} ({b}, 1, {h}, {w}) or ({b}, {h}, {w})'
        return f'{self._name} ({b}, {"k" if num_classes is None else num_classes}, {h}, {w})'

    def _votes(self, ids: Tensor, num_classes: int | None) -> Tensor:
        if self.num_classes is not None:
            num_classes = self.num_classes
        if num_classes is None:
            raise ShapeError(
                'class ids do not tell how many classes there are: pass '
                "ModelOutput('ids', num_classes=…) (--num-classes), or a label space"
            )
        whole = ids.long()
        if ids.is_floating_point() and not bool((whole == ids).all()):
            raise ShapeError('the model gave numbers with a fraction, expected class ids')
        low, high = (int(value) for value in torch.aminmax(whole))
        if low < 0 or high >= num_classes:
            raise ShapeError(
                f'the model gave class ids from {low} to {high}, expected 0 to {num_classes - 1}: '
                'give the number of classes that it has'
            )
        votes = torch.zeros((len(ids), num_classes, *ids.shape[1:]), device=ids.device)
        return votes.scatter_(1, whole[:, None], 1)

    def _check_probabilities(self, tensor: Tensor) -> None:
        low, high = (float(value) for value in torch.aminmax(tensor))
        if low < -_ROUNDING or high > 1 + _ROUNDING:  # False for NaN, which has its own error
            other = 'logit' if self.kind == 'probability' else 'logits'
            raise ShapeError(
                f'the model gave numbers from {low:.4g} to {high:.4g}, expected {self.kind} in '
                f'[0, 1]: pass ModelOutput({other!r}) (--output-kind {other})'
            )
        if self.kind == 'probabilities':
            off = float((tensor.float().sum(1) - 1).abs().max())
            if math.isfinite(off) and off > _ROUNDING:
                raise ShapeError(
                    f'the model gave probabilities whose sum differs from 1 by up to {off:.3g}: '
                    'classes that do not exclude each other, as of one sigmoid per class, make no '
                    'map of one class per pixel; pass a function that returns what you mean'
                )


def _remedy_of_size(shape: tuple[int, ...], b: int, h: int, w: int) -> str:
    if len(shape) == 4 and shape[:3] == (b, h, w):
        return 'its channels are last, return output.movedim(-1, 1)'
    if len(shape) == 3 and shape == (b, h, w):
        return "for class ids pass ModelOutput('ids', …), for one logit ModelOutput('logit')"
    if len(shape) == 4 and shape[0] == b:
        return (
            "upsample its output, F.interpolate(output, images.shape[-2:], mode='bilinear'), in a "
            'function that you pass as the model'
        )
    return 'wrap it in a function that returns this'
