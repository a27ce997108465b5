"""Million-AID: a million scenes of the Earth, for their styles."""

import os
from typing import Literal

from crossearth.datasets.archive import Archive, ArchiveDataset, Layout, Part
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import LabelSpace

__all__ = ['MillionAID']

_UNLABELLED = LabelSpace(name='unlabelled', classes=('background',), palette=((0, 0, 0),))

_ARCHIVE = Archive(
    name='MillionAID',
    title='A million scenes of the Earth from Google Earth, without pixel labels: a style source',
    parts=tuple(Part(options={'split': split}, labelled=False) for split in ('train', 'test')),
    gsd_m=None,
    chip_px=512,
    georeferencing='none',
    licence='terms of its authors: research only',
    citation='Long et al., On Creating Benchmark Dataset for Aerial Image Interpretation, 2021',
    url='https://captain-whu.github.io/DiRS/',
    how_to_get=(
        'Fetch train.zip (MD5 1b40503cafa9b0601653ca36cd788852) or test.zip (MD5 '
        '51a63ee3eeb1351889eacff349a983d8) from its page and unpack it below one folder, so that '
        'train or test lies there.'
    ),
)


class MillionAID(ArchiveDataset):
    """Million-AID: images without labels.

    Any folder of images serves as a style source, see `read_style_images`; this class reads the
    archive's own tree.

    Args:
        root: Folder of the archive.
        split: `'train'` or `'test'`.
        dtype: As of `SceneDataset`.
        download: There is no public link: True raises an error that says how to get the archive.
    """

    archive = _ARCHIVE

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'test'] = 'train',
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        self.archive.part(split=split)
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
