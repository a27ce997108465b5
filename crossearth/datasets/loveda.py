"""LoveDA: three Chinese cities and their countryside, seven classes."""

import os
from typing import Literal

from crossearth.datasets.archive import (
    Archive,
    ArchiveDataset,
    Layout,
    Part,
    chip_layouts,
    ids_after_zero,
)
from crossearth.datasets.download import Download
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import LabelSpace

__all__ = ['LOVEDA', 'LoveDA']

LOVEDA = LabelSpace(
    name='loveda',
    classes=('background', 'building', 'road', 'water', 'barren', 'forest', 'agricultural'),
    palette=(
        (255, 255, 255),
        (255, 0, 0),
        (255, 255, 0),
        (0, 0, 255),
        (159, 129, 183),
        (0, 255, 0),
        (255, 195, 128),
    ),
)
"""The seven classes of LoveDA."""

# Images are numbered through the splits and domains, so that a merged tree can be told apart.
_NUMBERS = {
    ('train', 'rural'): range(1366),
    ('train', 'urban'): range(1366, 2522),
    ('val', 'rural'): range(2522, 3514),
    ('val', 'urban'): range(3514, 4191),
}
_FOLDERS = {'train': 'Train', 'val': 'Val', 'test': 'Test'}
_RECORD = 'https://zenodo.org/records/5706578'
_MD5 = {
    'Train': 'de2b196043ed9b4af1690b3f9a7d558f',
    'Val': '84cae2577468ff0b5386758bb386d31d',
    'Test': 'a489be0090465e01fb067795d24e6b47',
}

_ARCHIVE = Archive(
    name='LoveDA',
    title='Nanjing, Changzhou and Wuhan from space: urban and rural, 1024 x 1024, seven classes',
    parts=tuple(
        Part(
            options={'split': split, 'domain': domain},
            sizes=((1024, 1024, len(numbers)),),
            ids=frozenset(map(str, numbers)),
        )
        for (split, domain), numbers in _NUMBERS.items()
    ),
    gsd_m=0.3,
    chip_px=1024,
    georeferencing='none',
    licence='CC BY-NC-SA 4.0',
    citation='Wang et al., LoveDA, NeurIPS Datasets and Benchmarks, 2021',
    url=_RECORD,
    how_to_get='Open it with download=True, or unpack Train.zip and Val.zip below one folder.',
    downloads=tuple(
        Download(f'{_RECORD}/files/{name}.zip', f'{name}.zip', md5, name, split=name.lower())
        for name, md5 in _MD5.items()
    ),
)


class LoveDA(ArchiveDataset):
    """LoveDA, one of its two domains.

    In the files 0 means no data, and classes start at 1. The benchmark tests on the official
    `val`: 992 rural and 677 urban images (its paper prints 667). The official `test` has no labels.

    Args:
        root: Folder of the archive, or of the reference's chips.
        domain: `'urban'` or `'rural'`.
        split: `'train'`, `'val'`, or `'test'` for images without labels.
        dtype: As of `SceneDataset`.
        download: Whether to fetch what is missing of the split first, some gigabytes.
    """

    archive = _ARCHIVE

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        domain: Literal['urban', 'rural'] = 'urban',
        split: Literal['train', 'val', 'test'] = 'train',
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        numbers = None
        if split != 'test':
            numbers = self.archive.part(split=split, domain=domain).ids
        above = rf'(?:.*/)?{_FOLDERS[split]}/{domain.capitalize()}'
        codec = ids_after_zero(LOVEDA.num_classes)
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
            labels=LOVEDA,
            domain=f'loveda_{domain}',
            split=split,
            dtype=dtype,
            download=download,
        )
