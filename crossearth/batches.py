"""Finds the tensors of a batch that have one value per pixel of its images."""

from collections.abc import Mapping

from torch import Tensor

__all__ = ['spatial_keys']

_MAPS = (3, 4)  # (b,h,w) and (b,c,h,w)


def spatial_keys(batch: Mapping[str, Tensor]) -> list[str]:
    """Names of the entries that have a value for every pixel of `image`, other than `image`.

    Whatever crops or flips the images must do the same to these: to masks, and to any other map
    that a dataset adds, such as heights.

    Args:
        batch: `image` (b,c,h,w), and any other tensors.

    Returns:
        Names of tensors (b,h,w) or (b,n,h,w), in the order of the batch.

    Example:
        >>> import torch
        >>> batch = {'image': torch.rand(2, 3, 8, 9), 'dsm': torch.rand(2, 8, 9)}
        >>> spatial_keys({**batch, 'transform': torch.rand(2, 9), 'domain': torch.zeros(2)})
        ['dsm']
    """
    num_samples, height, width = len(batch['image']), *batch['image'].shape[-2:]
    return [
        name
        for name, value in batch.items()
        if name != 'image'
        and value.ndim in _MAPS
        and len(value) == num_samples
        and value.shape[-2:] == (height, width)
    ]
