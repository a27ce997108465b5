"""RescueNet, and the five classes that it shares with Potsdam."""

import os
from collections.abc import Callable
from typing import Literal, get_args

from crossearth.archives.rescue import RESCUE_CLASSES, RESCUENET, RESCUENET_CLASSES
from crossearth.datasets.archive import ArchiveDataset, Layout, chip_layouts
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import IGNORE_INDEX, ISPRS, IdCodec
from crossearth.spelling import check_choice

__all__ = ['LowVegetation', 'RescueNet', 'isprs_to_rescue']

LowVegetation = Literal['clutter', 'ignore', 'tree']
RescueLabels = Literal['rescuenet', 'rescue']

_RESCUENET_TO_RESCUE = {
    'water': 'clutter',
    'background': 'clutter',
    'pool': 'clutter',
    'vehicle': 'car',
    'road_clear': 'impervious_surface',
    'road_blocked': 'impervious_surface',
    'tree': 'tree',
}


class RescueNet(ArchiveDataset):
    """RescueNet: damage after a hurricane.

    The paper counts 449 test images, as many as the official `val` has; the released configuration
    reads `test`, of 450. Images are scored after predicting on each as a whole, resized to 512
    pixels. For windows at full resolution, score with other settings.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'`, `'val'` or `'test'`.
        label_space: `'rescuenet'` for the eleven classes, `'rescue'` for the five shared with
            Potsdam.
        dtype: See `SceneDataset`.
        download: True raises an error that explains how to get the archive, which has no link.

    Source:
        CrossEarth, Table 2 and appendix C.
    """

    archive = RESCUENET

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'val', 'test'] = 'test',
        label_space: RescueLabels = 'rescuenet',
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        check_choice('label_space', label_space, get_args(RescueLabels))
        codec = IdCodec.identity(RESCUENET_CLASSES.num_classes)
        if label_space == 'rescue':
            shared = {i: _shared(name) for i, name in enumerate(RESCUENET_CLASSES.classes)}
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
            labels=RESCUENET_CLASSES if label_space == 'rescuenet' else RESCUE_CLASSES,
            domain='rescuenet',
            split=split,
            dtype=dtype,
            download=download,
        )


def isprs_to_rescue(low_vegetation: LowVegetation) -> Callable[[int], int]:
    """Class id of ISPRS → one of the five classes, or 255.

    Args:
        low_vegetation: What low vegetation becomes, which RescueNet does not draw.

    Raises:
        ConfigError: If it can become no such class.

    Example:
        >>> [isprs_to_rescue('ignore')(i) for i in range(6)]
        [0, 1, 255, 2, 3, 4]
    """
    check_choice('low_vegetation', low_vegetation, get_args(LowVegetation))
    ids = {
        i: RESCUE_CLASSES.classes.index(n)
        for i, n in enumerate(ISPRS.classes)
        if n in RESCUE_CLASSES.classes
    }
    low = (
        IGNORE_INDEX if low_vegetation == 'ignore' else RESCUE_CLASSES.classes.index(low_vegetation)
    )
    return {ISPRS.classes.index('low_vegetation'): low, **ids}.__getitem__


def _shared(name: str) -> int:
    kind = 'building' if name.startswith('building') else _RESCUENET_TO_RESCUE[name]
    return RESCUE_CLASSES.classes.index(kind)
