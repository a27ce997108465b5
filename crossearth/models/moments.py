"""Mean and standard deviation of each channel of feature maps, over many batches."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64
from torch import Tensor

__all__ = ['ChannelMoments', 'on_grid_of']


class ChannelMoments:
    """Moments over all batches, in which every value has the same weight, whatever its batch.

    Example:
        >>> moments = ChannelMoments()
        >>> moments.add(torch.tensor([[[[1.0, 3.0]]]]))
        >>> moments.add(torch.tensor([[[[5.0]]]]))
        >>> moments.mean.tolist(), round(float(moments.var), 4)
        ([3.0], 2.6667)
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Float64[Tensor, ' c'] = torch.zeros(0, dtype=torch.float64)
        self._squares: Float64[Tensor, ' c'] = torch.zeros(0, dtype=torch.float64)

    @property
    def var(self) -> Float64[Tensor, ' c']:
        """Variance of each channel, without a correction for the sample size."""
        return self._squares / self.count

    def add(
        self, values: Float[Tensor, 'b c *grid'], valid: Bool[Tensor, 'b h w'] | None = None
    ) -> None:
        """Count a batch.

        Args:
            values: Feature maps. Those without two spatial axes are counted as a whole.
            valid: True where an image has data, on the grid of the images; None for everywhere.
        """
        # Autocast gives half precision, which is too coarse for a variance over many cells.
        flat = values.detach().transpose(0, 1).flatten(1).float()
        if valid is not None and values.ndim == 4 and not bool(valid.all()):
            flat = flat[:, on_grid_of(valid, values).flatten()]
        if not flat.shape[1]:
            return
        new_var, new_mean = torch.var_mean(flat, dim=1, correction=0)
        mean, squares = new_mean.double(), new_var.double() * flat.shape[1]
        if self.count:  # merges the moments of two groups: Chan et al. 1979
            both = self.count + flat.shape[1]
            shift = mean - self.mean
            squares = self._squares + squares + shift**2 * self.count * flat.shape[1] / both
            mean = self.mean + shift * flat.shape[1] / both
        self.count += flat.shape[1]
        self.mean, self._squares = mean, squares


def on_grid_of(
    valid: Bool[Tensor, 'b h w'], values: Float[Tensor, 'b c grid_h grid_w']
) -> Bool[Tensor, 'b grid_h grid_w']:
    """Which cells of feature maps have data in at least half of their pixels.

    Example:
        >>> valid = torch.tensor([[[True, True, True, False]]])
        >>> on_grid_of(valid, torch.zeros(1, 7, 1, 2)).tolist()
        [[[True, True]]]
    """
    share = F.adaptive_avg_pool2d(
        valid[:, None].float().to(values.device), (values.shape[-2], values.shape[-1])
    )
    return share[:, 0] >= 0.5
