"""Describes what a model returns, and brings it into one form.

Most models return logits, one channel per class. Others return one logit for two classes,
probabilities, class ids, or a dictionary that holds one of these. A tensor does not say which of
these it is, so the caller has to. A wrong guess would give a wrong map without any error.
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

_KNOWN_KEYS = ('out', 'logits')  # of models of torchvision and transformers
_ONE_CHANNEL = ('logit', 'probability', 'ids')
_ROUNDING = 1e-2  # error of half-precision probabilities summed over a few hundred classes


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """What a model returns for images (b, c, h, w).

    Args:
        kind: `'logits'`: (b, k, h, w) before a softmax. `'probabilities'`: (b, k, h, w) after it,
            in [0, 1], with sum 1. `'logit'`: (b, 1, h, w) or (b, h, w) before a sigmoid, for a map
            of two classes, which is 1 where the probability is at least `threshold` and 0
            elsewhere. `'probability'`: the same after the sigmoid. `'ids'`: class ids (b, h, w) or
            (b, 1, h, w); where windows overlap, they vote. `'auto'`: logits of two or more classes;
            anything ambiguous is an error.
        key: The entry that holds it, if the model returns a dictionary, a tuple or a list. None for
            the only entry, for `'out'` or `'logits'` of a dictionary, or for the first entry of a
            tuple or list.
        threshold: Probability from which a pixel is class 1, between 0 and 1; None for 0.5. Only
            for `'logit'` and `'probability'`.
        num_classes: Number of classes for `'ids'`; None to take it from the label space.

    Raises:
        ConfigError: If a value is out of range, or does not apply to the kind.

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
                    f'threshold is {self.threshold}, but kind is {self.kind!r}: it only applies to '
                    "'logit' and 'probability', which have one channel; leave it out for a map of "
                    'more classes'
                )
            if not 0 < self.threshold < 1:
                raise ConfigError(f'threshold is {self.threshold}: expected between 0 and 1')
        if self.num_classes is not None:
            if self.kind != 'ids':
                raise ConfigError(
                    f"num_classes is {self.num_classes}, but kind is {self.kind!r}: only 'ids' "
                    'need it, because the others have one channel per class; leave it out'
                )
            if self.num_classes < 1:
                raise ConfigError(f'num_classes is {self.num_classes}: expected at least 1')

    @property
    def is_binary(self) -> bool:
        """Whether one channel stands for two classes."""
        return self.kind in ('logit', 'probability')

    @property
    def gives_probabilities(self) -> bool:
        """Whether `classes_of` returns probabilities rather than logits."""
        return self.kind in ('probabilities', 'probability', 'ids')

    def describe(self) -> dict[str, Any]:
        """Everything here that the pixels of a map depend on, by name, as JSON values."""
        return {'model_output': asdict(self)}

    def tensor_of(self, output: object) -> Tensor:
        """The tensor in what a model returned.

        Raises:
            ShapeError: If there is no tensor, or it is unclear which entry is meant.
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
                f'the model gave {type(output).__name__}, but key is {self.key!r}, which needs a '
                'dictionary or a tuple: leave it out'
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
                f'the model gave a dictionary with {keys}: choose an entry with '
                'ModelOutput(key=…) (--output-key)'
            )
        return known[0]

    def classes_of(
        self, tensor: Tensor, images: Float[Tensor, 'b c h w'], *, num_classes: int | None
    ) -> Float[Tensor, 'b k h w']:
        """One channel per class: logits, or probabilities if `gives_probabilities`.

        Args:
            tensor: The tensor that `tensor_of` found.
            images: The images that the model saw.
            num_classes: Number of classes of the label space or of an earlier window; None if
                unknown.

        Raises:
            ShapeError: If the tensor does not match the kind.
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
                f'the model gave shape {shape}, which is one channel, so every pixel would be '
                'class 0: for a map of two classes pass '
                "ModelOutput('logit', threshold=0.5) if a sigmoid still has to be applied, or "
                "ModelOutput('probability', threshold=0.5) if it already was (--output-kind logit, "
                '--threshold 0.5)'
            )
        if self.gives_probabilities:
            self._check_probabilities(tensor)
        if self.kind == 'logit':
            # softmax((0, z)) = (1 − sigmoid(z), sigmoid(z)), so one logit becomes two
            return torch.cat([torch.zeros_like(tensor), tensor], dim=1)
        if self.kind == 'probability':
            return torch.cat([1 - tensor, tensor], dim=1)
        return tensor

    def check_unambiguous(self, first: Float[Tensor, 'b k h w']) -> None:
        """Refuse output that could be probabilities if the caller did not specify the kind.

        Args:
            first: What a model returned for its first window.

        Raises:
            ShapeError: If `kind` is `'auto'` and every pixel has numbers in [0, 1] with sum 1.
        """
        if self.kind != 'auto' or bool(((first < 0) | (first > 1)).any()):
            return
        if bool(((first.float().sum(1) - 1).abs() < _ROUNDING / 10).all()):
            raise ShapeError(
                f'the model gave shape {tuple(first.shape)} with numbers in [0, 1] whose sum is 1 '
                'at every pixel, which look like probabilities: pass '
                "ModelOutput('probabilities') (--output-kind probabilities), or "
                "ModelOutput('logits') if a softmax still has to be applied"
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
                'the model gave class ids, which do not tell how many classes there are: pass '
                "ModelOutput('ids', num_classes=…) (--num-classes), or a label space"
            )
        whole = ids.long()
        if ids.is_floating_point() and not bool((whole == ids).all()):
            raise ShapeError(
                'the model gave numbers with a fraction, expected class ids: check its output, or '
                'choose another kind'
            )
        low, high = (int(value) for value in torch.aminmax(whole))
        if low < 0 or high >= num_classes:
            raise ShapeError(
                f'the model gave class ids from {low} to {high}, expected 0 to {num_classes - 1}: '
                'pass the number of classes that the model really has'
            )
        votes = torch.zeros((len(ids), num_classes, *ids.shape[1:]), device=ids.device)
        return votes.scatter_(1, whole[:, None], 1)

    def _check_probabilities(self, tensor: Tensor) -> None:
        low, high = (float(value) for value in torch.aminmax(tensor))
        if low < -_ROUNDING or high > 1 + _ROUNDING:  # False for NaN, which is reported elsewhere
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
                    'a map has one class per pixel, so classes must exclude each other, unlike '
                    'those of one sigmoid per class; pass a function that returns what you mean'
                )


def _remedy_of_size(shape: tuple[int, ...], b: int, h: int, w: int) -> str:
    if len(shape) == 4 and shape[:3] == (b, h, w):
        return 'its channels are last, so return output.movedim(-1, 1)'
    if len(shape) == 3 and shape == (b, h, w):
        return "for class ids pass ModelOutput('ids', …), for one logit ModelOutput('logit')"
    if len(shape) == 4 and shape[0] == b:
        return (
            "upsample its output, F.interpolate(output, images.shape[-2:], mode='bilinear'), in a "
            'function that you pass as the model'
        )
    return 'wrap it in a function that returns this shape'
