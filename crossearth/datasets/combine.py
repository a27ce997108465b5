"""Datasets over the same ground, put together by torchgeo's `&` and `|`.

torchgeo concatenates every value of a sample (its transform too, and fails on numbers), or takes
the larger one, by which an ignored label always wins. Here each value is joined by what it means.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
import torch
from torch import Tensor
from torchgeo.datasets import GeoDataset, IntersectionDataset, UnionDataset

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import IGNORE_INDEX

__all__ = ['Combinable', 'SceneIntersection', 'SceneUnion', 'fill_samples', 'overlay_samples']

type Sample = dict[str, Tensor]


def overlay_samples(samples: Iterable[Sample]) -> Sample:
    """Samples of one place as one: the bands of all images, and the first value of all else.

    Args:
        samples: At least one; images (c, h, w) of one size.

    Returns:
        `image` with the bands in the order of the samples, in the type that holds all of theirs;
        `mask`, `transform`, `domain`, `index` and others of the first sample that has them.

    Raises:
        ShapeError: If images differ in size.

    Example:
        >>> here = {'image': torch.zeros(3, 4, 4), 'index': torch.tensor(7)}
        >>> there = {'image': torch.ones(1, 4, 4), 'mask': torch.ones(4, 4)}
        >>> both = overlay_samples([here, there])
        >>> both['image'].shape, both['index'].item(), both['mask'].sum().item()
        (torch.Size([4, 4, 4]), 7, 16.0)
    """
    kept = list(samples)
    _check_sizes(kept)
    together: Sample = {}
    for sample in kept:
        together = {**sample, **together}
    images = [sample['image'] for sample in kept if 'image' in sample]
    if images:
        together['image'] = torch.cat(images)
    return together


def fill_samples(samples: Iterable[Sample]) -> Sample:
    """Samples of one place as one: each shows where all before it are black, as padding is.

    Args:
        samples: At least one; images (c, h, w) of one size and number of bands.

    Returns:
        `image`, and `mask` of the sample that the pixel comes from, 255 where that one has none;
        `transform`, `domain`, `index` and others of the first sample that has them.

    Raises:
        ShapeError: If images differ in size or number of bands.

    Example:
        >>> left = {'image': torch.tensor([[[5, 0]]]), 'mask': torch.tensor([[1, 255]])}
        >>> right = {'image': torch.tensor([[[0, 6]]]), 'mask': torch.tensor([[255, 0]])}
        >>> filled = fill_samples([left, right])
        >>> filled['image'].tolist(), filled['mask'].tolist()
        ([[[5, 6]]], [[1, 0]])
    """
    kept = list(samples)
    _check_sizes(kept)
    bands = {sample['image'].shape[0] for sample in kept if 'image' in sample}
    if len(bands) > 1:
        raise ShapeError(
            f'images of {sorted(bands)} bands over one place: | needs the same bands, & joins them'
        )
    together: Sample = {}
    for sample in kept:
        if 'image' in sample and 'image' in together:
            black = (together['image'] == 0).all(dim=0)
            filled = {'image': torch.where(black, sample['image'], together['image'])}
            if 'mask' in sample or 'mask' in together:
                nothing = torch.full(black.shape, IGNORE_INDEX)
                over, under = (s.get('mask', nothing) for s in (together, sample))
                filled['mask'] = torch.where(black, under, over)
            together = {**sample, **together, **filled}
        else:
            together = {**sample, **together}
    return together


class Combinable(GeoDataset):
    """A dataset whose `&` and `|` join samples by what their values mean.

    Where a dataset of torchgeo comes first, its own rules would hold, which do not know what the
    values mean; reading from such a pair raises a `ConfigError`. Write ours first, or
    `IntersectionDataset(theirs, ours, collate_fn=overlay_samples)`.
    """

    def __and__(self, other: GeoDataset) -> IntersectionDataset:
        """Where both datasets are: their bands side by side, see `overlay_samples`."""
        return SceneIntersection(self, other, collate_fn=overlay_samples)

    def __or__(self, other: GeoDataset) -> UnionDataset:
        """Where one of them is: the second fills what the first leaves black (`fill_samples`)."""
        return SceneUnion(self, other, collate_fn=fill_samples)


class SceneIntersection(Combinable, IntersectionDataset):
    """Two datasets where and when both are.

    A slice that names no time is read at the time of the pair of scenes that covers most of it.
    """

    def __getitem__(self, index: slice | tuple[slice, ...]) -> Sample:
        """The sample of a geographic slice.

        Raises:
            WindowError: If the slice touches no scene.
            ShapeError: If images differ in size.
        """
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) == 3 and parts[2] != slice(None):
            return super().__getitem__((parts[0], parts[1], parts[2]))
        x, y, _ = (*parts, slice(None), slice(None))[:3]
        whole_x, whole_y, _ = self.bounds
        box = shapely.box(
            whole_x.start if x.start is None else x.start,
            whole_y.start if y.start is None else y.start,
            whole_x.stop if x.stop is None else x.stop,
            whole_y.stop if y.stop is None else y.stop,
        )
        shared = shapely.area(shapely.intersection(self.index.geometry.to_numpy(), box))
        time = self.index.index[int(np.argmax(shared))]
        return super().__getitem__((x, y, slice(time.left, time.right)))


class SceneUnion(Combinable, UnionDataset):
    """Two datasets where one of them is."""


class Meaning(Tensor):
    """A value that joins only by what it means: the rules of torchgeo for samples refuse it.

    torchgeo puts `theirs & ours` together by concatenating and `theirs | ours` by taking the larger
    of all values, and asks neither dataset. This is the only place where ours can object.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What torch does with plain tensors, but for concatenation and the larger of two."""
        for rule, sign, theirs in (
            (torch.cat, '&', 'IntersectionDataset(theirs, ours, collate_fn=overlay_samples)'),
            (torch.maximum, '|', 'UnionDataset(theirs, ours, collate_fn=fill_samples)'),
        ):
            if func is rule:
                raise ConfigError(
                    f'theirs {sign} ours: a dataset of torchgeo that comes first joins samples by '
                    'its own rule, by which ignored labels and transforms lose their meaning: '
                    f'write ours {sign} theirs, or {theirs}'
                )
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def _check_sizes(samples: list[Sample]) -> None:
    sizes = {tuple(s[key].shape[-2:]) for s in samples for key in ('image', 'mask') if key in s}
    if len(sizes) > 1:
        raise ShapeError(
            f'windows of {sorted(sizes)} pixels over one place: datasets that are combined need '
            'one pixel size; open both with the same gsd_m'
        )
