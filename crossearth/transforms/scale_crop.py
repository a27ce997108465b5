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
        cropped = {}
        if mask is not None:
            rows, cols, cropped['mask'] = self._varied(mask, rows, cols)
        cropped['image'] = _interpolate(image, rows, cols)
        for name in spatial_keys(batch):
            values = batch[name]
            if name == 'mask':
                continue
            if values.is_floating_point():
                planes = values if values.ndim == 4 else values[:, None]
                crops = _interpolate(planes, rows, cols)
                cropped[name] = crops if values.ndim == 4 else crops[:, 0]
            else:
                cropped[name] = _pick(values, rows, cols, 0)
        return {**batch, **cropped}

    def _varied(
        self, mask: Int64[Tensor, 'b h w'], rows: Float[Tensor, 'b s'], cols: Float[Tensor, 'b s']
    ) -> tuple[Float[Tensor, 'b s'], Float[Tensor, 'b s'], Int64[Tensor, 'b s s']]:
        """Places and masks of the crops, drawn again if one class fills too much of them."""
        labels = _pick(mask, rows, cols, self.ignore_index)
        if self.max_class_fraction == 1:
            return rows, cols, labels
        fractions = _largest_fraction(labels, self.ignore_index)
        for _ in range(self.attempts - 1):
            again = (fractions > self.max_class_fraction).nonzero().flatten()
            if not len(again):
                break
            chosen = again.cpu()
            other_rows, other_cols = self._draw(len(mask), *mask.shape[-2:])
            rows = rows.index_copy(0, chosen, other_rows[chosen])
            cols = cols.index_copy(0, chosen, other_cols[chosen])
            labels[again] = _pick(mask[again], rows[chosen], cols[chosen], self.ignore_index)
            fractions[again] = _largest_fraction(labels[again], self.ignore_index)
        return rows, cols, labels

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
    size, (height, width) = rows.shape[1], values.shape[-2:]
    row, col = rows.floor().long().to(values.device), cols.floor().long().to(values.device)
    planes = values if values.ndim == 4 else values[:, None]
    picked = values.new_full((*planes.shape[:2], size, size), outside)
    for index, (bottom, right) in enumerate(_corners(rows, cols, height, width)):
        lines = planes[index].index_select(1, row[index, :bottom])
        along = col[index, :right].expand(*lines.shape[:2], right)
        picked[index, :, :bottom, :right] = lines.gather(2, along)
    return picked if values.ndim == 4 else picked[:, 0]


def _interpolate(
    image: Float[Tensor, 'b c h w'], rows: Float[Tensor, 'b s'], cols: Float[Tensor, 'b s']
) -> Float[Tensor, 'b c s s']:
    """Bilinear values at pixel centres, 0 outside the image."""
    size, (height, width) = rows.shape[1], image.shape[-2:]
    at_y = (rows * (2 / height) - 1).to(image.device, image.dtype)
    at_x = (cols * (2 / width) - 1).to(image.device, image.dtype)
    values = image.new_zeros(*image.shape[:2], size, size)
    for index, (bottom, right) in enumerate(_corners(rows, cols, height, width)):
        y, x = torch.meshgrid(at_y[index, :bottom], at_x[index, :right], indexing='ij')
        # Centres may lie less than half a pixel from the edge, where zeros outside would darken
        # them.
        values[index, :, :bottom, :right] = F.grid_sample(
            image[index, None],
            torch.stack([x, y], -1)[None],
            padding_mode='border',
            align_corners=False,
        )[0]
    return values


def _corners(
    rows: Float[Tensor, 'b s'], cols: Float[Tensor, 'b s'], height: int, width: int
) -> list[tuple[int, int]]:
    """End row and end column (exclusive) of what lies on the image; only that is computed.

    Places ascend, so it is the upper left corner of each crop.
    """
    ends = torch.stack([(rows < height).sum(1), (cols < width).sum(1)], 1)
    return [(bottom, right) for bottom, right in ends.tolist()]


def _largest_fraction(labels: Int64[Tensor, 'b s s'], ignore_index: int) -> Float[Tensor, ' b']:
    """Share of the most frequent class among labelled pixels; 1 where nothing is labelled."""
    first = min(ignore_index, 0)
    fractions = []
    for sample in labels:
        # bincount takes no negative numbers, and the ignore index may be one.
        ids = sample.flatten() - first if first else sample.flatten()
        counts = ids.bincount(minlength=ignore_index - first + 1)
        counts[ignore_index - first] = 0
        fractions.append(counts.max() / counts.sum())
    return torch.stack(fractions).nan_to_num(nan=1.0)
