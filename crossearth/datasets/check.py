"""Checks a copy of an archive for missing or damaged files and unknown labels."""

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from rasterio.errors import RasterioIOError
from rasterio.windows import Window

from crossearth.archives import Part
from crossearth.datasets.archive import ArchiveDataset
from crossearth.datasets.casid import CASID
from crossearth.datasets.isprs import Potsdam, Vaihingen
from crossearth.datasets.loveda import LoveDA
from crossearth.datasets.millionaid import MillionAID
from crossearth.datasets.rescue import RescueNet
from crossearth.datasets.roads import DeepGlobeRoads, MassachusettsRoads
from crossearth.datasets.whu import WHUBuildingAerial, WHUBuildingSatellite
from crossearth.errors import (
    ConfigError,
    CrossEarthError,
    SceneNotFoundError,
    UnknownLabelWarning,
)
from crossearth.progress import progress_bar
from crossearth.rasters import gdal_environment, open_raster

_ROWS = 512  # rows read at once

__all__ = ['ARCHIVE_DATASETS', 'Finding', 'check_archive']

ARCHIVE_DATASETS: Mapping[str, type[ArchiveDataset]] = MappingProxyType(
    {
        dataset.archive.name: dataset
        for dataset in (
            Potsdam,
            Vaihingen,
            LoveDA,
            DeepGlobeRoads,
            MassachusettsRoads,
            RescueNet,
            WHUBuildingAerial,
            WHUBuildingSatellite,
            CASID,
            MillionAID,
        )
    }
)
"""The class that reads each archive of `crossearth.archives.ARCHIVES`, by the archive's name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a part of an archive.

    Args:
        part: The domain and split.
        text: What was found and what was expected.
        wrong: Whether it needs to be fixed.
    """

    part: str
    text: str
    wrong: bool


def check_archive(
    dataset: type[ArchiveDataset],
    root: str | os.PathLike[str],
    *,
    options: dict[str, Any] | None = None,
    headers_only: bool = False,
    progress: bool = False,
) -> list[Finding]:
    """Check a copy of an archive.

    Args:
        dataset: Class of the archive.
        root: Folder of the copy.
        options: Further arguments of the class, such as `bands` or `label_encoding`.
        headers_only: Read neither pixels nor labels. This takes seconds, and does not notice
            truncated files.
        progress: Whether to show a progress bar.

    Returns:
        What each part holds, what it lacks, and what is unknown in its labels. Completely missing
        parts are mentioned once, and are not wrong if another part is there.

    Raises:
        ConfigError: If the class does not take these options.
    """
    findings: list[Finding] = []
    absent: list[Finding] = []
    for part in dataset.archive.parts:
        name = ', '.join(part.options.values()) or 'whole archive'
        try:
            opened = dataset(root, **{**part.options, **(options or {})})
        except SceneNotFoundError as error:
            # images without masks are damage; without images, the part is just not there
            lacks_masks = 'has no mask' in str(error)
            (findings if lacks_masks else absent).append(Finding(name, str(error), wrong=True))
            continue
        except CrossEarthError as error:
            findings.append(Finding(name, str(error), wrong=True))
            continue
        except TypeError as error:
            raise ConfigError(
                f'{dataset.__name__}: {error}; pass the arguments that it needs as name=value'
            ) from error
        findings += [
            Finding(name, text, wrong)
            for text, wrong in (
                *_count(opened),
                *_sizes(part, opened),
                *_copies(opened),
                *(() if headers_only else _contents(opened, part, progress=progress)),
            )
        ]
    if not findings:
        return absent[:1]
    return findings + [Finding(f.part, 'is not there', wrong=False) for f in absent]


def _count(opened: ArchiveDataset) -> Iterator[tuple[str, bool]]:
    coverage = opened.coverage
    kind = 'chips' if opened.layout.name == 'chips' else 'images'
    yield f'{coverage} {kind}', coverage.expected not in (None, coverage.found)
    missing = coverage.missing
    if missing:
        more = f' and {len(missing) - 20} more' if len(missing) > 20 else ''
        yield f'missing: {", ".join(missing[:20])}{more}', True


def _copies(opened: ArchiveDataset) -> Iterator[tuple[str, bool]]:
    """Files that are there twice, and which of the two is read."""
    if opened.twice:
        read, other = opened.twice[0]
        yield f'{len(opened.twice)} files are there twice: {read} is read, {other} is not', False
    for name in opened.unread:
        yield f'there are also {name}, which are not read, because {opened.layout.name} are', False


def _contents(opened: ArchiveDataset, part: Part, *, progress: bool) -> Iterator[tuple[str, bool]]:
    yield from _pixels(opened, progress=progress)
    if part.labelled:
        yield from _labels(opened, progress=progress)


def _pixels(opened: ArchiveDataset, *, progress: bool) -> Iterator[tuple[str, bool]]:
    """Images whose header is intact but that cannot be read to their end."""
    for scene in progress_bar(opened.scenes, shown=progress, unit='image', leave=False):
        try:
            # GDAL looks at its options when it reads, too, so they cover more than the opening
            with gdal_environment(), open_raster(scene.image) as source:
                # in strips, so that memory does not grow with the image
                for row in range(0, source.height, _ROWS):
                    rows = min(_ROWS, source.height - row)
                    source.read(window=Window(0, row, source.width, rows))
        except (CrossEarthError, RasterioIOError) as error:
            yield f'{scene.image}: cannot be read to its end ({error}); fetch it again', True


def _sizes(part: Part, opened: ArchiveDataset) -> Iterator[tuple[str, bool]]:
    if opened.layout.name == 'chips' or not part.sizes:
        return
    known = {(height, width) for height, width, _ in part.sizes}
    for scene in opened.scenes:
        if (scene.height, scene.width) not in known:
            several = ' or '.join(f'{h}x{w}' for h, w in sorted(known)[:3])
            yield f'{scene.image}: {scene.height}x{scene.width} pixels, expected {several}', True


def _labels(opened: ArchiveDataset, *, progress: bool) -> Iterator[tuple[str, bool]]:
    drawn: set[int] = set()
    for index in progress_bar(range(len(opened)), shown=progress, unit='mask', leave=False):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always', UnknownLabelWarning)
            try:
                ids = opened.read_labels(opened.whole(index))
                drawn.update(np.flatnonzero(np.bincount(ids.ravel())).tolist())
            except CrossEarthError as error:
                yield str(error), True
        for warning in caught:
            yield str(warning.message), True
    if opened.labels.scored is not None and drawn and drawn.isdisjoint(opened.labels.scored):
        lacks = opened.labels.classes[opened.labels.scored[0]]
        yield f'no mask holds any {lacks}: they may be encoded in another way', True
