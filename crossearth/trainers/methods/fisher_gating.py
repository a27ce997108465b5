"""Fisher information chooses which modules of CrossEarth-Gate's toolbox train."""

from collections.abc import Iterator

import torch
from torch import Tensor, distributed

from crossearth.errors import ConfigError
from crossearth.models.adapters import choose, gated_modules, importance
from crossearth.models.decoders.losses import one_process
from crossearth.modes import evaluating
from crossearth.trainers.methods.method import Batch, Method, segmentation_losses
from crossearth.trainers.methods.wrapping import Wrapping

__all__ = ['FisherGating']


class FisherGating(Wrapping):
    """A method that opens, every `interval` steps, the modules of a `Gate` that matter most.

    All modules are opened for the measurement. The gradients of the segmentation loss of each
    labelled image of the batch are squared and averaged, which is the empirical Fisher information.
    It is divided by its sum over the modules of the same kind and ranks the modules. The `top` ones
    stay open and train. The others are closed: they have no effect and keep their weights until
    they are opened again.

    Args:
        method: The method inside.
        interval: Optimiser steps from one choice to the next.
        top: How many modules are open.

    Raises:
        ConfigError: If an argument is out of range, or the model has no gated modules.

    Source:
        CrossEarth-Gate (arXiv 2511.20302), "Fisher-guided Adaptive Selection", from two published
        summaries: 100 steps and 18 modules for domain generalisation. They do not settle how many
        samples are measured (here the images of one batch, of every process), and whether a closed
        module still adds what it has learnt (here not).

    Example:
        >>> from crossearth.labels import ROAD
        >>> from crossearth.models import adapted_fpn
        >>> from crossearth.trainers.methods import SourceOnly
        >>> model = adapted_fpn('vit_tiny_patch16_224', 'gate', num_classes=2, img_size=32,
        ...                     rank=2, width=8)
        >>> gating = FisherGating(SourceOnly(model, ROAD), top=3)
        >>> batch = {'image': torch.rand(1, 3, 32, 32), 'mask': torch.zeros(1, 32, 32).long()}
        >>> _ = gating.train().losses(batch)
        >>> len(gating.opened())
        3
    """

    step: Tensor
    chosen_at: Tensor

    def __init__(self, method: Method, *, interval: int = 100, top: int = 18) -> None:
        super().__init__(method)
        gated = gated_modules(self.model)
        if not gated:
            raise ConfigError(
                f'{type(self.model).__name__} has no gated modules: build it with '
                "adapted_fpn(…, adapter='gate')"
            )
        if interval < 1 or not 1 <= top <= len(gated):
            raise ConfigError(
                f'interval={interval}, top={top}: expected at least 1 step, and 1 to {len(gated)} '
                'modules, as many as the model has'
            )
        self.interval = interval
        self.top = top
        self.register_buffer('step', torch.zeros((), dtype=torch.int64))
        self.register_buffer('chosen_at', torch.full((), -1, dtype=torch.int64))
        self._resting: list[tuple[Tensor, Tensor]] | None = None  # closed weights, and their values

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the method inside."""
        step = int(self.step)
        due = step - step % self.interval
        if self.model.training and self.chosen_at < due and self._choose(batch):
            self.chosen_at.fill_(due)  # several batches may be accumulated to one step
            self._resting = None
        if self._resting is None:
            self._resting = self._closed_weights()
        return self.method.losses(batch)

    def after_step(self) -> None:
        """Restore closed modules: weight decay and momentum also move weights without gradients."""
        with torch.no_grad():
            for parameter, value in self._resting or ():
                parameter.copy_(value)
        super().after_step()  # where a teacher may follow the weights
        self.step += 1

    def opened(self) -> list[str]:
        """Names of the modules that are open."""
        return [name for name, part in gated_modules(self.model).items() if part.opened > 0]

    def _choose(self, batch: Batch) -> bool:
        """Open the modules that matter most, unless the batch has no labels to tell by."""
        gated = gated_modules(self.model)

        def losses() -> Iterator[Tensor]:
            images, masks = torch.split(batch['image'], 1), torch.split(batch['mask'], 1)
            for image, mask in zip(images, masks, strict=True):
                with one_process():  # losses of this image, without those of other processes
                    terms = segmentation_losses(self.model, image, mask, self.labels)
                yield torch.stack(list(terms.values())).sum()

        with evaluating(self.model):  # a single image has no batch statistics
            scores = importance(gated, losses)
        if distributed.is_available() and distributed.is_initialized():
            together = torch.stack(list(scores.values()))
            # A sum serves as well as a mean, because only shares of the scores count.
            distributed.all_reduce(together)
            scores = dict(zip(scores, together, strict=True))
        if not any(score > 0 for score in scores.values()):
            return False
        choose(gated, scores, self.top)
        return True

    def _closed_weights(self) -> list[tuple[Tensor, Tensor]]:
        return [
            (parameter, parameter.detach().clone())
            for part in gated_modules(self.model).values()
            if not part.opened
            for parameter in part.own_parameters()
        ]
