"""The domains of the RSDG benchmark: which parts of which archives are for training and testing."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from crossearth.archives import (
    ARCHIVES,
    CASID_CLASSES,
    LOVEDA_CLASSES,
    RESCUE_CLASSES,
    Archive,
    Part,
)
from crossearth.errors import ConfigError
from crossearth.labels import BUILDING, ISPRS, ROAD, LabelSpace

if TYPE_CHECKING:
    from crossearth.datasets import ArchiveDataset

__all__ = ['DOMAINS', 'Domain']

Role = Literal['train', 'test']


@dataclass(frozen=True, slots=True)
class Domain:
    """Images of one place, sensor and season, with their classes.

    Args:
        name: Short name.
        archive: The published archive.
        labels: The classes.
        options: Arguments of the class that reads it.
        folder: Name of the archive's folder, inside the folder of all archives.
        test_split: Official split that the benchmark tests on.
        tested_whole: Whether images are tested whole and not cut into chips.
        fitted: Whether whole images are resized to fit a window for prediction, and then scored at
            their own size.
        reader: The class that reads the archive; None for the one named after the archive.
    """

    name: str
    archive: Archive
    labels: LabelSpace
    options: Mapping[str, str]
    folder: str
    test_split: str
    tested_whole: bool = False
    fitted: bool = False
    reader: 'type[ArchiveDataset] | None' = None

    @property
    def dataset(self) -> 'type[ArchiveDataset]':
        """The class that reads the archive; imported only when needed, because it loads PyTorch."""
        from crossearth.datasets import ARCHIVE_DATASETS

        if self.reader is not None:
            return self.reader
        return ARCHIVE_DATASETS[self.archive.name]

    @property
    def class_path(self) -> str:
        """Import path of the class, as recipes write it."""
        if self.reader is not None:
            return f'{self.reader.__module__}.{self.reader.__qualname__}'
        return f'crossearth.datasets.{self.dataset.__name__}'

    def open(self, root: str | os.PathLike[str], role: Role, **options: Any) -> 'ArchiveDataset':
        """Open its scenes for training or testing.

        Args:
            root: Folder of the archive.
            role: `'train'` or `'test'`.
            **options: Further arguments of the class, such as `label_encoding` of CASID.

        Raises:
            ConfigError: If the class lacks a required argument, or does not have one that is given.
            SceneNotFoundError: If the root does not hold the archive.
        """
        chosen = {**self.arguments(role), **options}
        try:
            return self.dataset(root, **chosen)
        except TypeError as error:
            raise ConfigError(f'{self.name}: {error}: give it as an option') from error

    def arguments(self, role: Role) -> dict[str, str]:
        """Arguments that open it with its class, apart from the root."""
        return {**self.options, 'split': 'train' if role == 'train' else self.test_split}

    def part(self, role: Role) -> Part:
        """What a complete archive holds of it."""
        return self.archive.part(**self.arguments(role))

    def count(self, role: Role, *, chip_px: int) -> int:
        """Number of images that the benchmark trains or tests on, chips or whole."""
        part = self.part(role)
        return part.images if role == 'test' and self.tested_whole else part.chips(chip_px)


def _domains() -> list[Domain]:
    potsdam = [
        Domain(f'potsdam_{bands}', ARCHIVES['Potsdam'], ISPRS, {'bands': bands}, 'potsdam', 'test')
        for bands in ('rgb', 'irrg')
    ]
    five = [
        dataclasses.replace(
            domain,
            name=f'{domain.name}_5c',
            labels=RESCUE_CLASSES,
            options={**domain.options, 'label_space': 'rescue'},
        )
        for domain in potsdam
    ]
    loveda = [
        Domain(
            f'loveda_{area}', ARCHIVES['LoveDA'], LOVEDA_CLASSES, {'domain': area}, 'loveda', 'val'
        )
        for area in ('urban', 'rural')
    ]
    casid = [
        Domain(
            f'casid_{climate}',
            ARCHIVES['CASID'],
            CASID_CLASSES,
            {'climate': climate},
            'casid',
            'test',
        )
        for climate in ('subms', 'temms', 'troms', 'trorf')
    ]
    massachusetts = Domain(
        'massachusetts_road',
        ARCHIVES['MassachusettsRoads'],
        ROAD,
        {},
        'massachusetts',
        'test',
        tested_whole=True,
    )
    rescuenet = Domain(
        'rescuenet_5c',
        ARCHIVES['RescueNet'],
        RESCUE_CLASSES,
        {'label_space': 'rescue'},
        'rescuenet',
        'test',
        tested_whole=True,
        fitted=True,
    )
    return [
        *potsdam,
        *five,
        Domain('vaihingen_irrg', ARCHIVES['Vaihingen'], ISPRS, {}, 'vaihingen', 'test'),
        *loveda,
        Domain('deepglobe_road', ARCHIVES['DeepGlobeRoads'], ROAD, {}, 'deepglobe', 'test'),
        massachusetts,
        rescuenet,
        Domain('whu_aerial', ARCHIVES['WHUBuildingAerial'], BUILDING, {}, 'whu_aerial', 'val'),
        Domain(
            'whu_satellite2',
            ARCHIVES['WHUBuildingSatellite'],
            BUILDING,
            {},
            'whu_satellite',
            'test',
        ),
        *casid,
    ]


DOMAINS: Mapping[str, Domain] = MappingProxyType({domain.name: domain for domain in _domains()})
"""Every domain, by name."""
