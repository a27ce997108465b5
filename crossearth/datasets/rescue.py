"""RescueNet, and the five classes that it shares with Potsdam."""

import os
from collections.abc import Callable
from typing import Literal

from crossearth.datasets.archive import Archive, ArchiveDataset, Layout, Part, chip_layouts
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import IGNORE_INDEX, ISPRS, IdCodec, LabelSpace

__all__ = ['RESCUE', 'RESCUENET', 'LowVegetation', 'RescueNet', 'isprs_to_rescue']

LowVegetation = Literal['clutter', 'ignore', 'tree']

RESCUENET = LabelSpace(
    name='rescuenet',
    classes=(
        'background',
        'water',
        'building_no_damage',
        'building_medium_damage',
        'building_major_damage',
        'building_total_destruction',
        'vehicle',
        'road_clear',
        'road_blocked',
        'tree',
        'pool',
    ),
    palette=(
        (0, 0, 0),
        (61, 230, 250),
        (180, 120, 120),
        (235, 255, 7),
        (255, 184, 6),
        (255, 0, 0),
        (255, 0, 245),
        (140, 140, 140),
        (160, 150, 20),
        (4, 250, 7),
        (255, 235, 0),
    ),
)
"""The eleven classes of RescueNet."""

_SHARED = ('impervious_surface', 'building', 'tree', 'car', 'clutter')
RESCUE = LabelSpace(
    name='rescue',
    classes=_SHARED,
    palette=tuple(ISPRS.palette[ISPRS.classes.index(name)] for name in _SHARED),
)
"""The five classes of Potsdam and RescueNet in the benchmark's disaster settings."""

_RESCUENET_TO_RESCUE = {
    'water': 'clutter',
    'background': 'clutter',
    'pool': 'clutter',
    'vehicle': 'car',
    'road_clear': 'impervious_surface',
    'road_blocked': 'impervious_surface',
    'tree': 'tree',
}

_ARCHIVE = Archive(
    name='RescueNet',
    title='Hurricane Michael, USA, from a drone: 4494 images of about 3000 x 4000, eleven classes',
    parts=tuple(
        Part(options={'split': split}, sizes=((3000, 4000, count),))
        for split, count in (('train', 3595), ('val', 449), ('test', 450))
    ),
    gsd_m=None,
    chip_px=512,
    georeferencing='none',
    licence='CC BY-NC-ND 4.0',
    citation='Rahnemoonfar et al., RescueNet, Scientific Data 10, 913, 2023',
    url='https://doi.org/10.6084/m9.figshare.c.6647354',
    how_to_get=(
        'Fetch RescueNet from its page and unpack it below one folder, so that test-org-img and '
        'test-label-img lie somewhere below it, and those of train and val.'
    ),
)


class RescueNet(ArchiveDataset):
    """RescueNet: damage after a hurricane.

    The paper counts 449 test images, as many as the official `val` has; the released configuration
    reads `test`, of 450. Images are scored after predicting on the whole of one, fitted into 512
    pixels; windows at full resolution are an option of the one who scores.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'`, `'val'` or `'test'`.
        label_space: `'rescuenet'` for the eleven classes, `'rescue'` for the five shared with
            Potsdam.
        dtype: As of `SceneDataset`.
        download: There is no public link: True raises an error that says how to get the archive.

    Source:
        CrossEarth, Table 2 and appendix C.
    """

    archive = _ARCHIVE

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'val', 'test'] = 'test',
        label_space: Literal['rescuenet', 'rescue'] = 'rescuenet',
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        self.archive.part(split=split)
        codec = IdCodec.identity(RESCUENET.num_classes)
        if label_space == 'rescue':
            shared = {i: _shared(name) for i, name in enumerate(RESCUENET.classes)}
            codec = IdCodec({**shared, IGNORE_INDEX: IGNORE_INDEX})
        layouts = [
            Layout(
                name='original',
                images=rf'(?:.*/)?{split}-org-img/(?P<name>[^/]+)\.(?i:jpg)',
                masks=rf'(?:.*/)?{split}-label-img/(?P<name>[^/]+)_lab\.png',
                codec=codec,
            ),
            *chip_layouts(folders=('rescuenet',), split=split, codec=codec),
        ]
        super().__init__(
            root,
            layouts,
            labels=RESCUENET if label_space == 'rescuenet' else RESCUE,
            domain='rescuenet',
            split=split,
            dtype=dtype,
            download=download,
        )


def isprs_to_rescue(low_vegetation: LowVegetation) -> Callable[[int], int]:
    """Class id of ISPRS → one of the five classes, or 255.

    Args:
        low_vegetation: What becomes of low vegetation, which RescueNet does not draw.

    Example:
        >>> [isprs_to_rescue('ignore')(i) for i in range(6)]
        [0, 1, 255, 2, 3, 4]
    """
    ids = {i: RESCUE.classes.index(n) for i, n in enumerate(ISPRS.classes) if n in RESCUE.classes}
    low = IGNORE_INDEX if low_vegetation == 'ignore' else RESCUE.classes.index(low_vegetation)
    return {ISPRS.classes.index('low_vegetation'): low, **ids}.__getitem__


def _shared(name: str) -> int:
    kind = 'building' if name.startswith('building') else _RESCUENET_TO_RESCUE[name]
    return RESCUE.classes.index(kind)
