"""The contract between training methods and the engine that runs them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float, Int64
from torch import Tensor, nn

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError, LabelError, ShapeError
from crossearth.labels import LabelSpace
from crossearth.models import Segmenter
from crossearth.models.decoders import pixel_losses
from crossearth.models.freezing import frozen_names

__all__ = ['Batch', 'Method', 'Role', 'check_classes', 'logits_of', 'roles', 'segmentation_losses']

type Batch = Mapping[str, Tensor]
"""`image` (b,c,h,w) in [0, 1], `mask` int64 (b,h,w) with 255 = ignore, `domain` int64 (b,). If the
data module has a target, also `target_image` (t,c,h,w) in [0, 1] and `target_valid` (t,h,w), true
where it holds data."""

type Role = Literal['trains', 'kept', 'pretrained']
"""What training does with a part: gradients change it (`trains`), the method changes it without
gradients (`kept`), or nothing does (`pretrained`)."""


class Method(nn.Module, ABC):
    """How to learn from a batch: named loss terms, and the modules that they need.

    A method is a module whose submodules are everything that takes part in training. The engine,
    `TrainingTask`, does the rest: optimiser, schedule, precision, processes, logging, scoring,
    checkpoints and exact resuming. Two declarations decide what happens to each submodule:

    - Parameters with `requires_grad` *train*: they are in the optimiser and in checkpoints.
    - Submodules named in `kept` change without gradients, such as the teacher of a mean teacher.
      They are in eval mode, outside the optimiser, and in checkpoints. Frozen parameters that they
      share with the rest of the method are pretrained.
    - All other frozen parameters are *pretrained*: in eval mode, outside the optimiser and not in
      checkpoints, which hold a mark of each instead, to check it when training resumes.

    Random draws come from torch's global generator or from a `torch.Generator` that a submodule
    holds as an attribute; the engine restores both when training resumes.

    Args:
        model: Images (b,c,h,w) in [0, 1] → logits (b,k,h,w).
        labels: The classes; the model has one output for each.

    Attributes:
        kept: Names of submodules that change without gradients.

    Raises:
        ConfigError: If the model is not a module, or the classes are not a `LabelSpace`. This
            happens in recipes, whose parser builds only annotated arguments.

    Example:
        >>> import torch
        >>> from crossearth.labels import ROAD
        >>> class SmoothedLabels(Method):
        ...     def losses(self, batch: Batch) -> dict[str, Tensor]:
        ...         logits = self.model(batch['image'])
        ...         return {'loss_ce': nn.functional.cross_entropy(
        ...             logits, batch['mask'], ignore_index=255, label_smoothing=0.1)}
        >>> method = SmoothedLabels(nn.Conv2d(3, 2, 1), ROAD)
        >>> batch = {'image': torch.rand(1, 3, 4, 4), 'mask': torch.zeros(1, 4, 4).long()}
        >>> list(method.losses(batch))
        ['loss_ce']
    """

    kept: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: nn.Module, labels: LabelSpace) -> None:
        super().__init__()
        for name, given, wanted in ('model', model, nn.Module), ('labels', labels, LabelSpace):
            if not isinstance(given, wanted):
                raise ConfigError(
                    f'{name} of {type(self).__name__} is of type {type(given).__name__}: expected '
                    f'a {wanted.__name__}; to build it in a recipe, annotate the argument: '
                    f'def __init__(self, model: nn.Module, labels: LabelSpace, …)'
                )
        self.model = model
        self.labels = labels

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self, labels=self.labels.name)

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Float[Tensor, '']]:
        """The weighted terms of a batch by name; training minimises their sum.

        The names must be the same at each step and in all processes; a term that a batch does not
        have is 0.
        """

    def after_step(self) -> None:
        """Called after each optimiser step, for example to move a teacher."""

    @property
    def scored(self) -> nn.Module:
        """`model` or its teacher, which is validated, tested and saved as the trained model."""
        return self.model


def roles(method: Method) -> dict[str, Role]:
    """The role of every parameter and buffer of a method, by its name.

    Raises:
        ConfigError: If a submodule named in `kept` does not exist, or has parameters that train.

    Example:
        >>> class Frozen(Method):
        ...     def losses(self, batch: Batch) -> dict[str, Tensor]:
        ...         return {}
        >>> from crossearth.labels import ROAD
        >>> model = nn.Sequential(nn.Conv2d(3, 4, 1).requires_grad_(False), nn.Conv2d(4, 2, 1))
        >>> roles(Frozen(model, ROAD))['model.0.weight']
        'pretrained'
    """
    parts = dict(method.named_modules())
    for name in method.kept:
        if name not in parts:
            raise ConfigError(
                f'{type(method).__name__}.kept names {name!r}, which is not one of its submodules: '
                f'expected some of {[child for child, _ in method.named_children()]}'
            )
        training = [key for key, p in parts[name].named_parameters() if p.requires_grad]
        if training:
            raise ConfigError(
                f'{type(method).__name__}.kept names {name!r}, but the optimiser would train its '
                f'{training[0]}: call {name}.requires_grad_(False)'
            )
    frozen = frozen_names(method)
    # A shared parameter has several names in the state, and each of them needs a role.
    parameters = dict(method.named_parameters(remove_duplicate=False))
    state = method.state_dict()
    kept = {key for key in state if any(key.startswith(f'{name}.') for name in method.kept)}
    rests = {id(p) for key, p in parameters.items() if key in frozen - kept}

    def role(key: str) -> Role:
        if id(parameters.get(key)) in rests:
            return 'pretrained'
        if key in kept:
            return 'kept'
        return 'pretrained' if key in frozen else 'trains'

    return {key: role(key) for key in state}


def segmentation_losses(
    model: nn.Module,
    image: Float[Tensor, 'b c h w'],
    mask: Int64[Tensor, 'b h w'],
    labels: LabelSpace,
) -> dict[str, Float[Tensor, '']]:
    """L_Seg: the losses of a `Segmenter`'s decoder, or cross entropy + Dice for any other model.

    Args:
        model: Images → logits.
        image: In [0, 1].
        mask: Class ids, 255 = ignore.
        labels: The classes.

    Raises:
        LabelError: If the model has another number of classes.
        ShapeError: If its logits do not have the image's size.
    """
    if isinstance(model, Segmenter):
        check_classes(model.num_classes, labels)
        return model.losses(image, mask)
    return pixel_losses(logits_of(model, image, labels), mask)


def logits_of(
    model: nn.Module, image: Float[Tensor, 'b c h w'], labels: LabelSpace
) -> Float[Tensor, 'b k h w']:
    """Logits of a batch, checked to have one value per class and pixel.

    Raises:
        LabelError: If the model has another number of classes.
        ShapeError: If its logits do not have the image's size.
    """
    logits: Float[Tensor, 'b k h w'] = model(image)
    wanted = (image.shape[0], labels.num_classes, *image.shape[-2:])
    if logits.shape != wanted:
        if logits.ndim == 4:
            check_classes(logits.shape[1], labels)
        raise ShapeError(
            f'the model returned {tuple(logits.shape)}, expected {wanted} (batch, classes, rows, '
            "columns): logits must have the input's height and width"
        )
    return logits


def check_classes(num_classes: int, labels: LabelSpace) -> None:
    """Raise if a model was built for another number of classes.

    Raises:
        LabelError: If the numbers differ.
    """
    if num_classes != labels.num_classes:
        raise LabelError(
            f'the model has {num_classes} classes, {labels.name} has {labels.num_classes}: build '
            f'it with num_classes={labels.num_classes}'
        )
