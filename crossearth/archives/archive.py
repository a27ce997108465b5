"""What a published archive holds, its terms, and how to get it."""

from collections.abc import Mapping
from dataclasses import dataclass

from crossearth.errors import ConfigError
from crossearth.geometry import axis_starts

__all__ = ['Archive', 'Download', 'Part']


@dataclass(frozen=True, slots=True)
class Download:
    """A zip file with a public link.

    Args:
        url: Its address.
        name: File name to store it under.
        md5: Its checksum; None if none is published, so that only the CRCs inside it are checked.
        makes: A folder that unpacking creates. If the folder exists and the zip file does not, the
            archive was unpacked and the zip file deleted, so nothing is downloaded.
        split: The split that it holds; empty for all splits.
    """

    url: str
    name: str
    md5: str | None
    makes: str
    split: str = ''


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One domain and split of a complete archive.

    Args:
        options: Arguments with which the dataset class opens it.
        sizes: Rows, columns and number of images for each image size; empty if unknown.
        ids: Names of its images, if the archive fixes them.
        labelled: Whether it has masks.
    """

    options: Mapping[str, str]
    sizes: tuple[tuple[int, int, int], ...] = ()
    ids: frozenset[str] | None = None
    labelled: bool = True

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(count for _, _, count in self.sizes)

    def chips(self, size_px: int) -> int:
        """Number of chips by "floor step, shift last", as the benchmark counts them.

        Example:
            >>> Part(options={}, sizes=((6000, 6000, 24),)).chips(512)
            3456
        """
        return sum(
            count
            * len(axis_starts(height, min(size_px, height), min(size_px, height)))
            * len(axis_starts(width, min(size_px, width), min(size_px, width)))
            for height, width, count in self.sizes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A dataset as it was published.

    Args:
        name: Name of its class.
        title: One line on what it shows.
        parts: Its domains and splits.
        gsd_m: Side of a pixel on the ground, in metres; None if it varies.
        chip_px: Side of the chips that the benchmark cuts it into.
        crs: CRS for files that have a transform but no CRS.
        georeferencing: How it is georeferenced, in words.
        licence: Terms of use.
        citation: The publication to cite.
        url: Its web page.
        how_to_get: How to get it, and where to put its files.
        downloads: Files with a public link; empty if you have to register.
    """

    name: str
    title: str
    parts: tuple[Part, ...]
    gsd_m: float | None
    chip_px: int
    crs: str | None = None
    georeferencing: str
    licence: str
    citation: str
    url: str
    how_to_get: str
    downloads: tuple[Download, ...] = ()

    def part(self, **options: str) -> Part:
        """The part that is opened with these options, among others.

        Raises:
            ConfigError: If the archive has no such part.
        """
        for part in self.parts:
            if all(options.get(name) == value for name, value in part.options.items()):
                return part
        known = ' | '.join(', '.join(f'{k}={v}' for k, v in p.options.items()) for p in self.parts)
        raise ConfigError(f'{self.name} has no part {options}: expected one of {known}')
