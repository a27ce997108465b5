"""Datasets over the same ground, combined by torchgeo's `&` and `|`.

torchgeo either concatenates every value of a sample, even its transform, and fails on numbers. Or
it takes the larger value, so that an ignored label always wins. Here each value is combined
according to its meaning.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
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
    """Combine samples of one place: the bands of all images, and the first value of all else.

    Args:
        samples: At least one; images (c, h, w) of one size.

    Returns:
        `image` with the bands in the order of the samples, in a type that holds all of theirs;
        `mask`, `transform`, `domain`, `index` and others from the first sample that has them.

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
        # numpy promotes every pair of types; torch does not know uint8 with uint16
        together['image'] = torch.from_numpy(np.concatenate([image.numpy() for image in images]))
    return together


def fill_samples(samples: Iterable[Sample], *, black: float = 0.0) -> Sample:
    """Combine samples of one place: each fills in where all before it are black, as padding is.

    Args:
        samples: At least one; images (c, h, w) of one size and number of bands.
        black: The value of padding.

    Returns:
        `image`, and `mask` from the sample that the pixel comes from, 255 if that one has none, or
        from the first that labels it if all are black there;
        `transform`, `domain`, `index` and others from the first sample that has them.

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
            f'images have {sorted(bands)} bands over one place: | needs equal bands, & joins them'
        )
    together: Sample = {}
    for sample in kept:
        if 'image' in sample and 'image' in together:
            empty = (together['image'] == black).all(dim=0)
            filled = {'image': torch.where(empty, sample['image'], together['image'])}
            if 'mask' in sample or 'mask' in together:
                nothing = torch.full(empty.shape, IGNORE_INDEX)
                over, under = (s.get('mask', nothing) for s in (together, sample))
                # black is also a value: where both are black, a label counts more than none
                bare = (sample['image'] == black).all(dim=0)
                filled['mask'] = torch.where(empty & (~bare | (over == IGNORE_INDEX)), under, over)
            together = {**sample, **together, **filled}
        else:
            together = {**sample, **together}
    return together


class Combinable(GeoDataset):
    """A dataset whose `&` and `|` combine samples according to the meaning of their values.

    If a torchgeo dataset comes first, torchgeo's own rules would apply, which ignore the meaning.
    Reading from such a pair raises a `ConfigError`. Put this dataset first, or write
    `IntersectionDataset(theirs, ours, collate_fn=overlay_samples)`.
    """

    def __and__(self, other: GeoDataset) -> IntersectionDataset:
        """The overlap of both datasets, with the bands of both, see `overlay_samples`."""
        return SceneIntersection(self, other, collate_fn=overlay_samples)

    def __or__(self, other: GeoDataset) -> UnionDataset:
        """The area of either; the second fills what the first leaves black, see `fill_samples`.

        Raises:
            ConfigError: If padding is not the same value in all images.
        """
        blacks = self.blacks | (other.blacks if isinstance(other, Combinable) else {0.0})
        if len(blacks) > 1:
            raise ConfigError(
                f'padding is {" or ".join(f"{black:g}" for black in sorted(blacks))}, depending on '
                "the image, so what one leaves empty cannot be told: open both with dtype='unit', "
                'in which it is 0'
            )
        return SceneUnion(self, other, collate_fn=partial(fill_samples, black=blacks.pop()))

    @property
    def blacks(self) -> set[float]:
        """The values that padding has in the images."""
        raise NotImplementedError


class _Pair(Combinable):
    """Two datasets in one."""

    datasets: list[GeoDataset]

    @property
    def blacks(self) -> set[float]:
        """The values that padding has in the images."""
        return {
            black
            for one in self.datasets
            for black in (one.blacks if isinstance(one, Combinable) else {0.0})
        }


class SceneIntersection(_Pair, IntersectionDataset):
    """Two datasets where and when both have data.

    A slice without a time is read at the time of the pair of scenes that covers most of it.
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


class SceneUnion(_Pair, UnionDataset):
    """Two datasets where at least one has data."""


class Meaning(Tensor):
    """A tensor that refuses torchgeo's rules for combining samples.

    torchgeo computes `theirs & ours` by concatenating and `theirs | ours` by taking the larger of
    all values, without asking either dataset. Only here can our dataset object.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The behaviour of plain tensors, except concatenation and the larger of two."""
        for rule, sign, theirs in (
            (torch.cat, '&', 'IntersectionDataset(theirs, ours, collate_fn=overlay_samples)'),
            (torch.maximum, '|', 'UnionDataset(theirs, ours, collate_fn=fill_samples)'),
        ):
            if func is rule:
                raise ConfigError(
                    f'theirs {sign} ours: a torchgeo dataset that comes first combines samples by '
                    'its own rule, which corrupts ignored labels and transforms: '
                    f'write ours {sign} theirs, or {theirs}'
                )
        # so that the result is a plain tensor again
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def _check_sizes(samples: list[Sample]) -> None:
    sizes = {tuple(s[key].shape[-2:]) for s in samples for key in ('image', 'mask') if key in s}
    if len(sizes) > 1:
        raise ShapeError(
            f'windows have {sorted(sizes)} pixels over one place: datasets that are combined need '
            'one pixel size, so open both with the same gsd_m'
        )
