"""Million-AID: a million scenes of the Earth, for their styles."""

import os
from typing import Literal

from crossearth.archives.millionaid import MILLION_AID
from crossearth.datasets.archive import ArchiveDataset, Layout
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import LabelSpace

__all__ = ['MillionAID']

_UNLABELLED = LabelSpace(name='unlabelled', classes=('background',), palette=((0, 0, 0),))


class MillionAID(ArchiveDataset):
    """Million-AID: images without labels.

    Any folder of images can be a source of styles, see `read_style_images`; this class reads the
    archive's own tree.

    Args:
        root: Folder of the archive.
        split: `'train'` or `'test'`.
        dtype: See `SceneDataset`.
        download: True raises an error that explains how to get the archive, which has no link.
    """

    archive = MILLION_AID

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'test'] = 'train',
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        layout = Layout(
            name='original',
            images=rf'(?:.*/)?{split}/(?P<name>.+)\.(?i:jpe?g)',
            masks=None,
        )
        super().__init__(
            root,
            [layout],
            labels=_UNLABELLED,
            domain='millionaid',
            split=split,
            dtype=dtype,
            download=download,
        )
