"""Random scale and crop of images and masks together, without one class filling the crop."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from crossearth.batches import spatial_keys
from crossearth.describing import arguments_of
from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import IGNORE_INDEX

__all__ = ['RandomScaleCrop']


class RandomScaleCrop(nn.Module):
    """Crops of one size from images that are each resized by their own random factor.

    A crop in which one class fills more than `max_class_fraction` of the labelled pixels is drawn
    again, up to `attempts` times, after which the last draw is used. Where a resized image is
    smaller than the crop, the rest is 0 in the image and `IGNORE_INDEX` in the mask. Only the
    pixels of the crop are computed, never the whole resized image.

    Because it looks at masks, it is not a kornia augmentation but maps one batch to another; put it
    before the container. Everything else on the image's grid, such as heights, is cropped
    with it, see `spatial_keys`. Batches without a mask are cropped at the first draw.

    Args:
        size_px: Side of the crops.
        scale_range: Factor of the resizing, uniform between its ends. Images and other maps of
            floats are bilinear without antialiasing; masks and maps of integers take the nearest
            pixel. (1, 1) crops without resizing.
        max_class_fraction: In (0, 1]; 1 takes any crop.
        attempts: Draws for each sample, at least 1.
        ignore_index: Label that does not count as a class.
        generator: Source of the draws; None for torch's global one.

    Raises:
        ConfigError: If an argument is out of range.
        ShapeError: When called, if the mask does not fit the image.

    Source:
        The released training run: images resized by 0.5 to 2, random crop with no class above
        75 %, ten attempts. It draws the factor from sixteen steps of that range.

    Example:
        >>> crop = RandomScaleCrop(4, scale_range=(1.0, 1.0))
        >>> image = torch.arange(64.0).view(1, 1, 8, 8)
        >>> batch = crop({'image': image, 'mask': image[:, 0].long() % 7})
        >>> torch.equal(batch['image'][:, 0].round().long() % 7, batch['mask'])
        True
    """

    def __init__(
        self,
        size_px: int,
        *,
        scale_range: tuple[float, float] = (0.5, 2.0),
        max_class_fraction: float = 0.75,
        attempts: int = 10,
        ignore_index: int = IGNORE_INDEX,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        low, high = scale_range
        if size_px < 1 or not 0 < low <= high or attempts < 1 or not 0 < max_class_fraction <= 1:
            raise ConfigError(
                f'size_px={size_px}, scale_range={scale_range}, attempts={attempts}, '
                f'max_class_fraction={max_class_fraction}: expected at least 1 px, 0 < low ≤ high, '
                'at least 1 attempt, and a fraction above 0 up to 1'
            )
        self.size_px = size_px
        self.scale_range = scale_range
        self.max_class_fraction = max_class_fraction
        self.attempts = attempts
        self.ignore_index = ignore_index
        self.generator = generator

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Crops of `image` (b,c,h,w), `mask` (b,h,w) if there is one, and all other maps.

        Where a resized image is smaller than the crop, other maps are 0.

        Raises:
            ShapeError: If the mask does not fit the image.
        """
        image, mask = batch['image'], batch.get('mask')
        fits = mask is None or tuple(mask.shape) == (len(image), *image.shape[-2:])
        if image.ndim != 4 or not fits:
            raise ShapeError(
                f'image is {tuple(image.shape)} and mask '
                f'{None if mask is None else tuple(mask.shape)}: expected (b, c, h, w) and '
                '(b, h, w)'
            )
        rows, cols = self._draw(len(image), *image.shape[-2:])
        if mask is not None:
            rows, cols = self._varied(mask, rows, cols)
        cropped = {'image': _interpolate(image, rows, cols)}
        for name in spatial_keys(batch):
            values = batch[name]
            if values.is_floating_point() and name != 'mask':
                planes = values if values.ndim == 4 else values[:, None]
                crops = _interpolate(planes, rows, cols)
                cropped[name] = crops if values.ndim == 4 else crops[:, 0]
            else:
                outside = self.ignore_index if name == 'mask' else 0
                cropped[name] = _pick(values, rows, cols, outside)
        return {**batch, **cropped}

    def _varied(
        self, mask: Int64[Tensor, 'b h w'], rows: Float[Tensor, 'b s'], cols: Float[Tensor, 'b s']
    ) -> tuple[Float[Tensor, 'b s'], Float[Tensor, 'b s']]:
        """Places of the crops, drawn again if one class fills too much of them."""
        if self.max_class_fraction == 1:
            return rows, cols
        for _ in range(self.attempts - 1):
            labels = _pick(mask, rows, cols, self.ignore_index)
            again = _largest_fraction(labels, self.ignore_index) > self.max_class_fraction
            if not again.any():
                break
            other_rows, other_cols = self._draw(len(mask), *mask.shape[-2:])
            chosen = again.cpu()[:, None]
            rows = torch.where(chosen, other_rows, rows)
            cols = torch.where(chosen, other_cols, cols)
        return rows, cols

    def _draw(
        self, num_samples: int, height: int, width: int
    ) -> tuple[Float[Tensor, 'b s'], Float[Tensor, 'b s']]:
        """Rows and columns of the image under the crop's pixel centres, measured from its edge."""
        device = 'cpu' if self.generator is None else self.generator.device
        draws = torch.rand(num_samples, 3, generator=self.generator, device=device).double().cpu()
        low, high = self.scale_range
        scale = low + (high - low) * draws[:, :1]
        centres = torch.arange(self.size_px).double() + 0.5
        axes = []
        for side, draw in ((height, draws[:, 1:2]), (width, draws[:, 2:3])):
            resized = (side * scale).round().clamp(min=1)
            # whole pixels of the resized image, with all positions equally likely
            first = (draw * (resized - self.size_px).clamp(min=0).add(1)).floor()
            axes.append((first + centres) * (side / resized))
            # `side / resized`, not 1 / scale: rounding changed the factor, differently per axis
        return axes[0], axes[1]


def _pick(
    values: Shaped[Tensor, 'b ... h w'],
    rows: Float[Tensor, 'b s'],
    cols: Float[Tensor, 'b s'],
    outside: int,
) -> Shaped[Tensor, 'b ... s s']:
    """The value of the nearest pixel; `outside` off the image."""
    height, width = values.shape[-2:]
    row, col = rows.floor().long().to(values.device), cols.floor().long().to(values.device)
    inside = (row < height)[:, :, None] & (col < width)[:, None, :]
    sample = torch.arange(len(values), device=values.device)[:, None, None]
    planes = values if values.ndim == 4 else values[:, None]
    # indices on both sides of a slice put the sliced axis last
    picked = planes[
        sample, :, row.clamp(max=height - 1)[:, :, None], col.clamp(max=width - 1)[:, None, :]
    ]
    kept = torch.where(inside[..., None], picked, outside).movedim(-1, 1).to(values.dtype)
    return kept if values.ndim == 4 else kept[:, 0]


def _interpolate(
    image: Float[Tensor, 'b c h w'], rows: Float[Tensor, 'b s'], cols: Float[Tensor, 'b s']
) -> Float[Tensor, 'b c s s']:
    """Bilinear values at pixel centres, 0 outside the image."""
    height, width = image.shape[-2:]
    size = rows.shape[1]
    at_y = (rows * (2 / height) - 1).to(image.device, image.dtype)[:, :, None]
    at_x = (cols * (2 / width) - 1).to(image.device, image.dtype)[:, None, :]
    grid = torch.stack([at_x.expand(-1, size, -1), at_y.expand(-1, -1, size)], -1)
    values = F.grid_sample(image, grid, padding_mode='border', align_corners=False)
    inside = (rows < height)[:, None, :, None] & (cols < width)[:, None, None, :]
    return torch.where(inside.to(image.device), values, 0)


def _largest_fraction(labels: Int64[Tensor, 'b s s'], ignore_index: int) -> Float[Tensor, ' b']:
    """Share of the most frequent class among labelled pixels; 1 where nothing is labelled."""
    flat = labels.flatten(1)
    known = flat != ignore_index
    num_classes = int(flat.masked_fill(~known, 0).max()) + 1
    counts = torch.zeros(len(flat), num_classes, device=flat.device)
    counts.scatter_add_(1, flat.masked_fill(~known, 0), known.float())
    # ignored pixels are counted as class 0, but with weight 0
    total = counts.sum(1)
    return torch.where(total > 0, counts.amax(1) / total.clamp(min=1), 1.0)
