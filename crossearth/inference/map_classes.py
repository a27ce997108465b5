"""What a map file tells about its classes: their number, names and colours."""

from dataclasses import dataclass
from pathlib import Path

from rasterio.io import DatasetReader

from crossearth.errors import LabelError, SceneError
from crossearth.inference.writer import class_names
from crossearth.labels import LabelSpace

__all__ = ['MapClasses', 'require_map']


@dataclass(frozen=True, slots=True)
class MapClasses:
    """What a map file tells about its classes.

    Args:
        count: Number of classes; None if the map does not tell.
        names: Name of each class, by id; empty if the map has none.
        space: Name of the label space; empty if the map has none.
        colours: Red, green and blue of each class that has a name, in the order of ids; empty
            without a colour table.
    """

    count: int | None
    names: tuple[tuple[int, str], ...]
    space: str
    colours: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, dataset: DatasetReader) -> 'MapClasses':
        """The classes of an open map."""
        tags = dataset.tags()
        names = tuple(sorted(class_names(tags).items()))
        number = tags.get('NUM_CLASSES', '')
        try:
            table = dataset.colormap(1) if names else {}
        except ValueError:  # it has no colour table
            table = {}
        known = names if all(index in table for index, _ in names) else ()
        return cls(
            int(number) if number.isdecimal() else None,
            names,
            tags.get('LABEL_SPACE', ''),
            tuple(table[index][:3] for index, _ in known),
        )

    @property
    def labels(self) -> LabelSpace | None:
        """The classes as a label space; None if names or colours are missing."""
        if not self.colours or [index for index, _ in self.names] != list(range(len(self.names))):
            return None
        try:
            return LabelSpace(
                self.space or 'map', tuple(name for _, name in self.names), self.colours
            )
        except LabelError:  # a map from elsewhere, for example with two classes of one name
            return None

    def __str__(self) -> str:
        """Describe the classes, for messages."""
        if self.names:
            return ', '.join(f'{index} {name}' for index, name in self.names)
        return 'classes without names' if self.count is None else f'{self.count} classes'


def require_map(dataset: DatasetReader, name: str | Path) -> None:
    """Check that an open raster is a map.

    Raises:
        SceneError: If it is not one band of class ids.
    """
    if dataset.count != 1 or dataset.dtypes[0] not in {'uint8', 'uint16'}:
        raise SceneError(
            f'{name} has {dataset.count} band(s) of {dataset.dtypes[0]}: expected a map, one '
            'band of class ids in uint8 or uint16'
        )
