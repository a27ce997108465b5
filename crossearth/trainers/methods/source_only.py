"""Training on only the labelled source."""

from jaxtyping import Float
from torch import Tensor, nn

from crossearth.labels import LabelSpace
from crossearth.trainers.methods.method import Batch, Method, segmentation_losses

__all__ = ['SourceOnly']


class SourceOnly(Method):
    """L_Seg on the images of the source, or on their styled copies: the baseline.

    A `Segmenter` is trained with the losses of its decoder, any other model with cross entropy and
    Dice.

    Args:
        model: Images (b,c,h,w) in [0, 1] → logits (b,k,h,w).
        labels: The classes; the model has one output for each.
        style: Changes the colours and textures of training images in [0, 1], such as
            `FourierStyle` or `EarthStyleInjection`. It draws which samples it changes.

    Source:
        Paper §3.3, eq. 7 and L_Seg.

    Example:
        >>> import torch
        >>> from crossearth.labels import ROAD
        >>> method = SourceOnly(nn.Conv2d(3, 2, 1), ROAD)
        >>> batch = {'image': torch.rand(1, 3, 4, 4), 'mask': torch.zeros(1, 4, 4).long()}
        >>> list(method.losses(batch))
        ['loss_ce', 'loss_dice']
    """

    def __init__(
        self, model: nn.Module, labels: LabelSpace, *, style: nn.Module | None = None
    ) -> None:
        super().__init__(model, labels)
        self.style = style

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, '']]:
        """The terms of L_Seg for a batch."""
        image = batch['image'] if self.style is None else self.style(batch['image'])
        return segmentation_losses(self.model, image, batch['mask'], self.labels)
