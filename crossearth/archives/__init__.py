"""Published archives as values: their contents, classes and terms, and how to get each.

Nothing here reads a file. The class that reads a copy of an archive has the archive's name, and is
in `crossearth.datasets`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from crossearth.archives.archive import Archive, Download, Part
from crossearth.archives.casid import CASID, CASID_CLASSES
from crossearth.archives.isprs import POTSDAM, VAIHINGEN
from crossearth.archives.loveda import LOVEDA, LOVEDA_CLASSES
from crossearth.archives.millionaid import MILLION_AID
from crossearth.archives.rescue import RESCUE_CLASSES, RESCUENET, RESCUENET_CLASSES
from crossearth.archives.roads import DEEPGLOBE_ROADS, MASSACHUSETTS_ROADS
from crossearth.archives.whu import WHU_BUILDING_AERIAL, WHU_BUILDING_SATELLITE

ARCHIVES: Mapping[str, Archive] = MappingProxyType(
    {
        archive.name: archive
        for archive in (
            POTSDAM,
            VAIHINGEN,
            LOVEDA,
            DEEPGLOBE_ROADS,
            MASSACHUSETTS_ROADS,
            RESCUENET,
            WHU_BUILDING_AERIAL,
            WHU_BUILDING_SATELLITE,
            CASID,
            MILLION_AID,
        )
    }
)
"""Every published archive that has a class, by name."""

__all__ = [
    'ARCHIVES',
    'CASID_CLASSES',
    'LOVEDA_CLASSES',
    'RESCUENET_CLASSES',
    'RESCUE_CLASSES',
    'Archive',
    'Download',
    'Part',
]
