"""Scenes of published archives, found by the layout of their files."""

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from crossearth.archives import Archive, Part
from crossearth.datasets.download import fetch_all
from crossearth.datasets.files import natural_key, unpacking
from crossearth.datasets.scene import Scene, read_scenes
from crossearth.datasets.scene_dataset import PixelType, SceneDataset
from crossearth.errors import ConfigError, SceneNotFoundError
from crossearth.folders import walk
from crossearth.labels import IGNORE_INDEX, IdCodec, LabelCodec, LabelSpace
from crossearth.rasters import Alpha

EITHER_BINARY = IdCodec({0: 0, 255: 1, 1: 1})
"""Masks of one class that copies of an archive write as 0 and 1, or as 0 and 255."""

_NAMED = 20  # files named in one message

__all__ = [
    'EITHER_BINARY',
    'ArchiveDataset',
    'Coverage',
    'Layout',
    'chip_layouts',
    'ids_after_zero',
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way in which the files of a part are laid out below a root.

    Args:
        name: `'original'`, or `'chips'` for the tree that the reference release was trained from.
        images: Regular expression of image paths below the root, with `/`. Its groups identify the
            image; one called `id` is the name in `ids`.
        masks: The same for masks, whose groups must be equal; None without masks.
        codec: How masks encode the classes.
        bands: 1-based bands to read; None for all except alpha.
        ids: Images that belong to the part; None for all.
        alpha: What a band that a file calls alpha is, see `read_scenes`.
        nodata: No-data value in all bands, where files do not state it.
        choose: Selects the files below a root that may be from this archive, if another archive
            has the same names; None for all of them.
    """

    name: str
    images: str
    masks: str | None
    codec: LabelCodec | None = None
    bands: tuple[int, ...] | None = None
    ids: frozenset[str] | None = None
    alpha: Alpha = 'auto'
    nodata: float | None = None
    choose: Callable[[Sequence[str]], Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a part of an archive a copy holds.

    Args:
        found: Images, or the reference's chips, that were found.
        expected: Number in a complete copy; None if it is not known.
        missing: Names of missing images, if the archive fixes the names.
    """

    found: int
    expected: int | None = None
    missing: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be missing, and nothing is there twice."""
        return self.expected in (None, self.found) and not self.missing

    def __str__(self) -> str:
        return f'{self.found}' if self.expected is None else f'{self.found} of {self.expected}'


@dataclass(slots=True)
class _Found:
    images: dict[tuple[str, ...], str] = field(default_factory=dict)
    masks: dict[tuple[str, ...], str] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    twice: list[tuple[str, str]] = field(default_factory=list)


class ArchiveDataset(SceneDataset):
    """Scenes of a published archive, read where they are.

    The layouts are tried in order, and the first one with images is read.

    Args:
        root: Folder of the archive; its own folders may be nested below.
        layouts: Layouts that its files may have.
        labels: The classes.
        domain: Name of the domain.
        split: Name of the split.
        part: The part of the archive that is read; None for the part of the split.
        ignore_nodata: Whether pixels without image data are also ignored in the mask.
        dtype: See `SceneDataset`.
        gsd_m: See `SceneDataset`.
        download: Whether to fetch the split into `root` first, if it has a public link.

    Attributes:
        layout: The layout of the files that are read.
        twice: Files that are there twice: the one that is read, and the other.
        unread: Names of other layouts that also have images.

    Raises:
        SceneNotFoundError: If the root holds no such images, or one of them has no mask. The
            message explains how to get the archive.
        SceneError: If a file is not a raster, or a download is damaged.
        WriteError: If a download cannot be written.
        LabelError: If a mask differs in size from its image.
        ConfigError: If a download is requested and there is no public link.
    """

    archive: ClassVar[Archive]
    no_effect: ClassVar = ('root', 'download')  # where a copy is, not what it contains

    def __init__(
        self,
        root: str | os.PathLike[str],
        layouts: Sequence[Layout],
        *,
        labels: LabelSpace,
        domain: str,
        split: str,
        part: Part | None = None,
        ignore_nodata: bool = True,
        dtype: PixelType = 'native',
        gsd_m: float | None = None,
        download: bool = False,
    ) -> None:
        self.part = self.archive.part(split=split) if part is None else part
        folder = Path(root)
        if download:
            _require_link(self.archive, folder)
            fetch_all([d for d in self.archive.downloads if d.split in ('', split)], folder)
        found = _find(self.archive, folder, layouts, split)
        self.layout, self.ids, self.twice, self.unread = (
            found.layout, found.ids, found.twice, found.unread,
        )  # fmt: skip
        scenes = read_scenes(
            found.pairs,
            folder=folder,
            bands=self.layout.bands,
            alpha=self.layout.alpha,
            domain=domain,
            split=split,
            crs=self.archive.crs,
        )
        super().__init__(
            [self._place(_with_nodata(scene, self.layout.nodata)) for scene in scenes],
            labels,
            codec=self.layout.codec,
            ignore_nodata=ignore_nodata,
            dtype=dtype,
            gsd_m=gsd_m,
        )
        self.root = folder

    @property
    def gsd_range_m(self) -> tuple[float, float] | None:
        """See `SceneDataset`; the archive's nominal size if its files are not georeferenced."""
        found, nominal = super().gsd_range_m, self.archive.gsd_m
        return found if found is not None or nominal is None else (nominal, nominal)

    @property
    def coverage(self) -> Coverage:
        """How many of the images of a complete copy are there."""
        chips = self.layout.name == 'chips'
        expected = self.part.chips(self.archive.chip_px) if chips else self.part.images
        missing = sorted((self.part.ids or frozenset()) - self.ids)
        return Coverage(len(self.scenes), expected or None, tuple(missing))

    def _place(self, scene: Scene) -> Scene:
        """The scene, with what its archive implies about its place."""
        return scene


def chip_layouts(
    *,
    folders: Sequence[str],
    split: str,
    codec: LabelCodec,
    ids: frozenset[str] | None = None,
    id_pattern: str | None = None,
    bands: tuple[int, ...] | None = None,
) -> list[Layout]:
    """The tree of the reference release: `img_dir/{train,val}` and `ann_dir/{train,val}`.

    It is at the root, or in a folder named after the domain. A copy without folders for the splits
    is read if the names of its images tell the split.

    Args:
        folders: Names that the folder of the domain may have.
        split: `'train'`; anything else is the reference's `val`.
        codec: How its masks encode the classes.
        ids: Images of the split.
        id_pattern: Regular expression for the beginning of a file name, with a group `id` that is
            looked up in `ids`; None if names do not contain the id.
        bands: 1-based bands to read.
    """
    name = '(?P<name>[^/]+)' if id_pattern is None else f'{id_pattern}(?P<rest>[^/]*)'
    part = 'train/' if split == 'train' else 'val/'
    above = [f'(?:.*/)?(?i:{"|".join(map(re.escape, folders))})/', ''] if folders else ['']
    inner = [part] if id_pattern is None else [part, '']
    return [
        Layout(
            name='chips',
            images=f'{place}img_dir/{within}{name}\\.png',
            masks=f'{place}ann_dir/{within}{name}\\.png',
            codec=codec,
            ids=ids,
            bands=bands,
        )
        for place in above
        for within in inner
    ]


def ids_after_zero(num_classes: int, place: Callable[[int], int] = lambda i: i) -> IdCodec:
    """Masks whose 0 is ignored and whose classes start at 1.

    Args:
        num_classes: Number of classes in the files.
        place: Maps a class of the file, counted from 0, to a class id or 255.
    """
    ids = {i + 1: place(i) for i in range(num_classes)}
    return IdCodec({0: IGNORE_INDEX, IGNORE_INDEX: IGNORE_INDEX, **ids})


def _require_link(archive: Archive, folder: Path) -> None:
    if not archive.downloads:
        raise ConfigError(
            f'{archive.name}: has no public link to download from. {archive.how_to_get} '
            f'Then open it with root={os.fspath(folder)!r} and download=False ({archive.url}).'
        )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The files of a part."""

    layout: Layout
    ids: frozenset[str]
    twice: tuple[tuple[str, str], ...]
    unread: tuple[str, ...]
    pairs: list[tuple[str, str | None]]


def _find(archive: Archive, root: Path, layouts: Sequence[Layout], split: str) -> _Chosen:
    if not root.is_dir():
        raise SceneNotFoundError(
            f'{root}: no such folder; expected the archive of {archive.name}. {archive.how_to_get} '
            f'({archive.url}){unpacking(root)}'
        )
    files = _files_below(root)
    for place, layout in enumerate(layouts):
        found = _match(layout, files)
        if not found.images:
            continue
        bare = [path for key, path in found.images.items() if key not in found.masks]
        if layout.masks is not None and bare:
            others = sorted(path.rpartition('/')[2] for path in bare[1:])
            named = f'{", ".join(others[:_NAMED])}{", …" * (len(others) > _NAMED)}'
            more = 'nor has 1 other' if len(others) == 1 else f'nor have {len(others)} others'
            also = f', {more} of {archive.name}, {split} ({named})'
            raise SceneNotFoundError(
                f'{root / bare[0]}: has no mask{also if others else ""}; expected masks that match '
                f'{layout.masks!r} below {root}'
            )
        keys = sorted(found.images, key=lambda key: [natural_key(word) for word in key])
        # `check_archive` reports these, because only the first layout is read
        unread = dict.fromkeys(
            other.name
            for other in layouts[place + 1 :]
            if other.name != layout.name and _match(other, files).images
        )
        return _Chosen(
            layout,
            frozenset(found.ids),
            tuple(found.twice),
            tuple(unread),
            [
                (
                    os.path.join(root, found.images[key]),  # noqa: PTH118  # 10 x faster, called often
                    None if layout.masks is None else os.path.join(root, found.masks[key]),  # noqa: PTH118  # same
                )
                for key in keys
            ],
        )
    raise SceneNotFoundError(
        f'{root}: holds no images of {archive.name}, {split}; expected files that match '
        f'{layouts[0].images!r}, or the chips of the reference release in img_dir and ann_dir. '
        f'{archive.how_to_get} ({archive.url}){unpacking(root)}'
    )


def _files_below(root: Path) -> list[str]:
    return [
        f'{"/".join(below)}/{name}' if below else name
        for below, names in walk(root)
        for name in names
    ]


def _match(layout: Layout, files: Sequence[str]) -> _Found:
    found = _Found()
    if layout.choose is not None:
        files = layout.choose(files)
    for pattern, into in ((layout.images, found.images), (layout.masks, found.masks)):
        if pattern is None:
            continue
        fits = re.compile(pattern, re.IGNORECASE).fullmatch  # copies name TIF, Train, PNG
        for path in files:
            match = fits(path)
            if match is None:
                continue
            if layout.ids is not None:
                if match['id'] not in layout.ids:
                    continue
                if into is found.images:
                    found.ids.add(match['id'])
            # paths come sorted, so every machine reads the same one of two copies
            read = into.setdefault(match.groups(default=''), path)
            if read != path:
                found.twice.append((read, path))
    return found


def _with_nodata(scene: Scene, nodata: float | None) -> Scene:
    if nodata is None:
        return scene
    raster = dataclasses.replace(scene.raster, nodata=(nodata,) * len(scene.raster.bands))
    return dataclasses.replace(scene, raster=raster)
