"""What methods share that extend another method."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace
from crossearth.models import Features
from crossearth.trainers.methods.method import Batch, Method

__all__ = [
    'Pass',
    'SeenDomains',
    'Wrapping',
    'backbone_of',
    'first_pass',
    'recorded_passes',
    'trained_backbone',
    'with_term',
]

_PATIENCE = 100  # batches within which a second domain has to occur


class Wrapping(Method):
    """A method around another one; model, labels and saved parts are those of the method inside.

    The model is registered once, under `method`, so that its weights have one name.

    Args:
        method: The method inside.
    """

    def __init__(self, method: Method) -> None:
        nn.Module.__init__(self)  # not Method's: model and labels are those of the method inside
        self.method = method

    @property
    def model(self) -> nn.Module:  # type: ignore[override]  # never assigned
        """The model of the method inside."""
        return self.method.model

    @property
    def labels(self) -> LabelSpace:  # type: ignore[override]  # never assigned
        """The classes of the method inside."""
        return self.method.labels

    @property
    def kept(self) -> tuple[str, ...]:  # type: ignore[override]  # depends on the method inside
        """What the method inside keeps, by its name in this method."""
        return tuple(f'method.{name}' for name in self.method.kept)

    @property
    def scored(self) -> nn.Module:
        """The model that the method inside scores."""
        return self.method.scored

    def after_step(self) -> None:
        """Call the same function of the method inside."""
        self.method.after_step()


class Pass(NamedTuple):
    """One use of a backbone during training.

    Args:
        image: Its input, normalised and padded.
        features: Its output.
    """

    image: Float[Tensor, 'b c h w']
    features: Features


def backbone_of(model: nn.Module) -> nn.Module:
    """The backbone of a segmentation model.

    Raises:
        ConfigError: If the model has no module of that name with four channels.
    """
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, nn.Module) or not hasattr(backbone, 'channels'):
        raise ConfigError(
            f'{type(model).__name__} has no backbone that gives Features: expected a Segmenter, '
            'such as one from a builder of crossearth.models'
        )
    return backbone


def trained_backbone(method: Method, why: str) -> nn.Module:
    """The backbone of a method's model, for a method that changes its features.

    Args:
        method: The method that needs it.
        why: What a frozen backbone cannot do, for the message.

    Raises:
        ConfigError: If there is no backbone, or nothing of it trains.
    """
    backbone = backbone_of(method.model)
    if not any(p.requires_grad for p in backbone.parameters()):
        raise ConfigError(
            f'{type(backbone).__name__} is frozen, so {why}: leave out {type(method).__name__}, or '
            'build the model with a backbone that trains'
        )
    return backbone


@contextmanager
def recorded_passes(model: nn.Module, *, trained_only: bool = True) -> Iterator[list[Pass]]:
    """The passes through the backbone that are made inside a `with` block.

    A term of the features thus needs no extra pass.

    Args:
        model: A model with a `backbone`.
        trained_only: Leave out passes without gradients, or in another mode than at the start.

    Raises:
        ConfigError: If it has none.

    Example:
        >>> from crossearth.models import fpn_timm
        >>> model = fpn_timm('resnet18', num_classes=2, width=8)
        >>> with recorded_passes(model) as passes:
        ...     logits = model(torch.rand(2, 3, 32, 32))
        >>> [tuple(part.features.maps[-1].shape) for part in passes]
        [(2, 512, 1, 1)]
    """
    passes: list[Pass] = []
    is_training = model.training

    def record(_: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
        # neither a teacher's pass nor a measurement in eval mode is trained
        is_trained = torch.is_grad_enabled() and model.training == is_training
        if is_trained or not trained_only:
            passes.append(Pass(given[0], returned))

    handle = backbone_of(model).register_forward_hook(record)
    try:
        yield passes
    finally:
        handle.remove()


def first_pass(passes: list[Pass], num_images: int) -> Pass:
    """The first pass, checked to be over the images of the batch.

    Raises:
        ConfigError: If there was none, or over another number of images.
    """
    if not passes:
        raise ConfigError(
            'the method inside made no usable pass through model.backbone: CrossEarthTraining runs '
            'both of its flows through a ReinViT in another way; wrap SourceOnly, or a method that '
            'calls the model'
        )
    if len(passes[0].image) != num_images:
        raise ConfigError(
            f'the method inside showed the backbone {len(passes[0].image)} images first, the batch '
            f'has {num_images}: wrap a method that shows it the whole batch; GroupDRO must be the '
            'outermost one'
        )
    return passes[0]


def with_term(
    terms: dict[str, Float[Tensor, '']], name: str, value: Float[Tensor, '']
) -> dict[str, Float[Tensor, '']]:
    """The terms of the method inside, plus another one.

    Raises:
        ConfigError: If there already is one of that name, as when a method wraps itself.

    Example:
        >>> list(with_term({'loss_ce': torch.tensor(1.0)}, 'loss_mine', torch.tensor(2.0)))
        ['loss_ce', 'loss_mine']
    """
    if name in terms:
        raise ConfigError(
            f'the method inside already has a term {name!r}, and one of the two would be lost: '
            'expected other names, so wrap a method only once in the same one, or rename your '
            'term'
        )
    return {**terms, name: value}


class SeenDomains(nn.Module):
    """The domain of each image, checked and counted in buffers that checkpoints hold.

    Args:
        num_domains: Domains in the training data.
        user: Name of the method that needs several of them, for the message.
    """

    images: Tensor
    batches: Tensor

    def __init__(self, num_domains: int, user: str) -> None:
        super().__init__()
        self.num_domains = num_domains
        self.user = user
        self.register_buffer('images', torch.zeros(num_domains, dtype=torch.int64))
        self.register_buffer('batches', torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> Int64[Tensor, ' b']:
        """The domain of each image of a batch.

        Raises:
            ConfigError: If the batch lacks it, it is not one of the domains, or if nearly all
                batches had a single domain.
        """
        if 'domain' not in batch:
            raise ConfigError(
                f"the batch has {sorted(batch)}, but no 'domain': expected the number of each "
                "image's domain, as merge_domains and ShiftDataModule give it"
            )
        domain = batch['domain']
        if domain.numel() and not 0 <= int(domain.min()) <= int(domain.max()) < self.num_domains:
            raise ConfigError(
                f'the batch has images of domain {int(domain.max())}, expected 0 to '
                f'{self.num_domains - 1}: set num_domains to the number of domains in the training '
                'data'
            )
        if self.training:
            self.images += domain.bincount(minlength=self.num_domains)
            self.batches += 1
        if self.num_domains > 1 and self.batches > _PATIENCE and (self.images > 0).sum() < 2:
            raise ConfigError(
                f'all {int(self.images.sum())} images in {int(self.batches)} batches are of domain '
                f'{int(self.images.argmax())}: {self.user} needs several source domains, see '
                'crossearth.datasets.merge_domains'
            )
        return domain
