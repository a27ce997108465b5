"""Keeps finished parts of a map next to it until all parts are complete.

A part is a set of files, written under temporary names and then renamed, and a receipt that is
renamed last. Files without a receipt come from an interrupted run, and are computed again.
"""

import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.inference.rendering import Product
from crossearth.inference.writer import whole_file, write_text

__all__ = ['MapParts', 'PartReceipt', 'parts_folder']

_FORMAT = 3


@dataclass(frozen=True, slots=True)
class PartReceipt:
    """Shows that a part is complete.

    Args:
        windows_run: Windows that the model saw.
        lost: Blocks that could not be read and have no data.
        checksums: CRC-32 of each file, by product.
    """

    windows_run: int
    lost: tuple[Window, ...]
    checksums: Mapping[Product, int]


def parts_folder(destination: Path) -> Path:
    """The folder that holds the finished parts of a map."""
    return destination.with_name(f'{destination.name}.parts')


class MapParts:
    """The parts of one map.

    Args:
        folder: Folder of the parts; created if missing.
        plan: Everything that the pixels depend on. Parts of another plan are left alone.

    Raises:
        ConfigError: If the folder holds parts of another plan, or its plan is damaged.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        # through JSON, because the stored plan has lists where this one has tuples
        plan = json.loads(json.dumps({'format': _FORMAT, **plan}))
        path = folder / 'plan.json'
        if path.exists():
            former = _read_plan(path)
            if former.get('format') != _FORMAT:
                raise ConfigError(
                    f'{folder} holds parts made by another version of crossearth: remove the '
                    'folder, and map the scene again'
                )
            differs = sorted(
                name for name in plan.keys() | former.keys() if plan.get(name) != former.get(name)
            )
            if differs:
                changes = '; '.join(
                    f'{name} was {_short(former.get(name))}, is {_short(plan.get(name))}'
                    for name in differs
                )
                raise ConfigError(
                    f'{folder} holds parts of another run ({changes}): repeat that run with its '
                    'settings, or remove the folder'
                )
        else:
            with whole_file(path) as temporary:
                write_text(temporary, json.dumps(plan, indent=1))

    def path(self, index: int, product: Product) -> Path:
        """Path of a file of a part, once the part is complete."""
        return self._folder / f'{index:05d}-{product}.tif'

    def receipt(self, index: int) -> PartReceipt | None:
        """The receipt of a part, if it is complete and its files are unchanged."""
        try:
            stored = json.loads(self._receipt_path(index).read_text(encoding='utf-8'))
            checksums: dict[Product, int] = stored['checksums']
            if any(_checksum(self.path(index, name)) != crc for name, crc in checksums.items()):
                return None
            lost = tuple(Window(**window) for window in stored['lost'])
            return PartReceipt(int(stored['windows_run']), lost, checksums)
        except (FileNotFoundError, AttributeError, KeyError, TypeError, ValueError):
            return None  # missing or damaged, so the part is made again

    @contextmanager
    def folder_for(self, index: int) -> Iterator[Path]:
        """A temporary folder to write a part in; it is removed when the block ends."""
        # inside the folder, because renaming is atomic only within one file system
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=f'.{index:05d}.') as folder:
            yield Path(folder)

    def commit(
        self,
        index: int,
        written: Mapping[Product, Path],
        *,
        windows_run: int,
        lost: tuple[Window, ...],
    ) -> PartReceipt:
        """Move the files of a part to their names, and write its receipt."""
        checksums = {product: _checksum(path) for product, path in written.items()}
        for product, path in written.items():
            path.replace(self.path(index, product))
        receipt = PartReceipt(windows_run, lost, checksums)
        with whole_file(self._receipt_path(index)) as temporary:
            write_text(temporary, json.dumps(asdict(receipt)))
        return receipt

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self._folder)

    def _receipt_path(self, index: int) -> Path:
        return self._folder / f'{index:05d}.json'


def _read_plan(path: Path) -> dict[str, Any]:
    damage = 'it is not an object'
    try:
        plan = json.loads(path.read_text(encoding='utf-8'))
        if isinstance(plan, dict):
            return plan
    except ValueError as error:  # not JSON, or not text
        damage = str(error)
    raise ConfigError(
        f'{path} is damaged ({damage}), so the parts next to it cannot be used: remove the folder '
        f'{path.parent}, and map the scene again'
    )


def _checksum(path: Path) -> int:
    crc = 0
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f'{text[:37]}…'
