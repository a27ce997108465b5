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
        name: Name that it is kept under.
        md5: Its checksum; None where none is published, then only its inner CRCs are checked.
        makes: A folder that unpacking makes; where it is there and the zip file is not, all was
            unpacked and the file removed: nothing is fetched.
        split: The split that it holds; empty for all of them.
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
        options: Arguments of the dataset class that open it.
        sizes: Rows, columns and number of the images of each size; empty where they are not known.
        ids: Names of its images, where the archive fixes them.
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
        gsd_m: Side of a pixel on the ground, in metres.
        chip_px: Side of the chips that the benchmark cuts it into.
        crs: CRS of files that have a transform and name none.
        georeferencing: What ties it to the ground, in words.
        licence: Terms of use.
        citation: The publication to cite.
        url: Its page.
        how_to_get: What to do to have it, and where its files go.
        downloads: Files with a public link; empty where one has to register.
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
        """The part that some options open, whatever else they choose.

        Raises:
            ConfigError: If the archive has no such part.
        """
        for part in self.parts:
            if all(options.get(name) == value for name, value in part.options.items()):
                return part
        known = ' | '.join(', '.join(f'{k}={v}' for k, v in p.options.items()) for p in self.parts)
        raise ConfigError(f'{self.name}: has no part {options}; expected one of {known}')
