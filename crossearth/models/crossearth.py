"""CrossEarth: one encoder, a decoder that segments and one that restores masked images."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.features import Backbone
from crossearth.models.padding import crop_to
from crossearth.models.rein_vit import ReinViT
from crossearth.models.segmenter import Segmenter

__all__ = ['CrossEarth']


class CrossEarth(Segmenter):
    """A segmentation model that can also restore images, for multi-task training.

    `model(image)` and `model.losses(image, mask)` are the segmentation flow, with the geospatial
    parts of the encoder; `model.restore(image)` is the flow of masked image modelling, without.

    Args:
        encoder: Backbone shared by both flows.
        decoder: Features → logits.
        restorer: Features, size → image; None for a model that only segments.
        mean: Mean a band, in [0, 1].
        std: Standard deviation a band, in [0, 1].
        multiple_px: Images are padded to a multiple of this.

    Source:
        CrossEarth, section 3.1 and 3.3.

    Example:
        >>> import torch
        >>> from crossearth.models import crossearth_vit_small
        >>> model = crossearth_vit_small(6, img_size=64)
        >>> image = torch.rand(1, 3, 50, 60)
        >>> model.restore(image).shape
        torch.Size([1, 3, 50, 60])
    """

    def __init__(
        self,
        encoder: Backbone,
        decoder: nn.Module,
        restorer: nn.Module | None = None,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        multiple_px: int = 32,
    ) -> None:
        super().__init__(encoder, decoder, mean=mean, std=std, multiple_px=multiple_px)
        self.restorer = restorer

    def restore(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b c h w']:
        """The restored image, normalised: compare it with `model.normalize(target)`.

        Args:
            image: Floating point, in [0, 1], of any size; masked or styled.

        Returns:
            Prediction at the image's size, in units of the standard deviation of each band.

        Raises:
            ConfigError: If the model was built without a restorer.
            BandError: If the number of bands is not the model's.
            ShapeError: If the image is empty.
        """
        if self.restorer is None:
            raise ConfigError('this model has no restorer: build it with one to restore images')
        height, width = image.shape[-2:]
        padded = self._pad(image)
        encoder = self.backbone
        if isinstance(encoder, ReinViT):
            features = encoder(padded, geospatial=False)
        else:  # has no geospatial part to switch off
            features = encoder(padded)
        size = (padded.shape[-2], padded.shape[-1])
        return crop_to(self.restorer(features, size), height, width)
