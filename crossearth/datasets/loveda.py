"""LoveDA: three Chinese cities and their countryside, seven classes."""

import os
from typing import Literal

from crossearth.archives import Part
from crossearth.archives.loveda import LOVEDA, LOVEDA_CLASSES
from crossearth.datasets.archive import ArchiveDataset, Layout, chip_layouts, ids_after_zero
from crossearth.datasets.scene_dataset import PixelType

__all__ = ['LoveDA']

_FOLDERS = {'train': 'Train', 'val': 'Val', 'test': 'Test'}


class LoveDA(ArchiveDataset):
    """LoveDA, one of its two domains.

    In the files 0 means no data, and classes start at 1. The benchmark tests on the official
    `val`: 992 rural and 677 urban images (its paper prints 667). The official `test` has no labels.

    Args:
        root: Folder of the archive, or of the reference's chips.
        domain: `'urban'` or `'rural'`.
        split: `'train'`, `'val'`, or `'test'` for images without labels.
        dtype: See `SceneDataset`.
        download: Whether to fetch what is missing of the split first, several gigabytes.
    """

    archive = LOVEDA

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        domain: Literal['urban', 'rural'] = 'urban',
        split: Literal['train', 'val', 'test'] = 'train',
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        if split == 'test':  # its number of images per domain was never published
            part = Part(options={'split': split, 'domain': domain}, labelled=False)
        else:
            part = self.archive.part(split=split, domain=domain)
        numbers = part.ids
        above = rf'(?:.*/)?{_FOLDERS[split]}/{domain.capitalize()}'
        codec = ids_after_zero(LOVEDA_CLASSES.num_classes)
        layouts = [
            Layout(
                name='original',
                images=rf'{above}/images_png/(?P<id>\d+)\.png',
                masks=None if split == 'test' else rf'{above}/masks_png/(?P<id>\d+)\.png',
                codec=codec,
                ids=numbers,
            )
        ]
        if numbers is not None:
            layouts += chip_layouts(
                folders=(domain, f'loveda_{domain}'), split=split, codec=codec, ids=numbers,
                id_pattern=r'(?P<id>\d+)',
            )  # fmt: skip
        super().__init__(
            root,
            layouts,
            labels=LOVEDA_CLASSES,
            domain=f'loveda_{domain}',
            split=split,
            part=part,
            dtype=dtype,
            download=download,
        )
