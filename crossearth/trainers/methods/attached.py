"""A module on a stage of the model while a method learns."""

from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models import attach
from crossearth.models.hooks import stage_at
from crossearth.trainers.methods.method import Batch, Method
from crossearth.trainers.methods.wrapping import Wrapping

__all__ = ['Attached']


class Attached(Wrapping):
    """A method whose model passes a stage through a module, such as `MixStyle`.

    The module acts only while the losses are computed in training mode. It does not act in
    validation, in tests, in a teacher, or in the saved model. Its parameters, if any, are trained
    and stored in checkpoints; its generator is part of exact resuming.

    Args:
        method: The method inside, which computes the losses.
        path: Name of the stage in the model, such as `'backbone.model.layer1'`.
        module: Tensor → tensor of the same shape.

    Raises:
        ConfigError: See `attach`. When called, if the model does not use the stage.

    Example:
        >>> import torch
        >>> from crossearth.labels import ROAD
        >>> from crossearth.models import MixStyle, fpn_timm
        >>> from crossearth.trainers.methods import SourceOnly
        >>> source = SourceOnly(fpn_timm('resnet18', num_classes=2, width=8), ROAD)
        >>> mixed = Attached(source, 'backbone.model.layer1', MixStyle(p=1.0))
        >>> batch = {'image': torch.rand(2, 3, 32, 32), 'mask': torch.zeros(2, 32, 32).long()}
        >>> list(mixed.losses(batch))
        ['loss_ce', 'loss_dice']
    """

    def __init__(self, method: Method, path: str, module: nn.Module) -> None:
        super().__init__(method)
        stage_at(self.model, path)
        self.path = path
        self.module = module

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the method inside."""
        used: list[bool] = []
        watch = self.module.register_forward_hook(lambda *_: used.append(True))
        try:
            with attach(self.model, self.path, self.module):
                terms = self.method.losses(batch)
        finally:
            watch.remove()
        if self.model.training and not used:
            raise ConfigError(
                f'{self.path} took no part in the losses: attach {type(self.module).__name__} to a '
                'stage that the model calls'
            )
        return terms
