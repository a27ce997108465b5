"""A scene, its windows and a model, put to work unit by unit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from crossearth.errors import ConfigError
from crossearth.inference.allocator import keeping_freed_memory
from crossearth.inference.background import Consumer
from crossearth.inference.grid import Grid, Unit, column_units
from crossearth.inference.network import Network
from crossearth.inference.parts import Parts, Receipt, fingerprint
from crossearth.inference.products import Product
from crossearth.inference.scene import OpenScene
from crossearth.inference.streaming import Rows, stream_unit, unit_bytes
from crossearth.inference.writer import BLOCK_PX, Layer, RasterWriter
from crossearth.rasters import Georeference

__all__ = ['Job']

_DEFAULT_MEMORY_BYTES = 208 << 20  # 8192 px a row for six classes in windows of 512 px
_NARROWEST_DEFAULT_PX = 2048


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be mapped, and how.

    Args:
        scene: Open scene.
        grid: Its windows.
        network: The model.
        batch_size: Windows in a batch.
        layers: Rasters that are made of its rows.
    """

    scene: OpenScene
    grid: Grid
    network: Network
    batch_size: int
    layers: dict[Product, Layer]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        assert self.network.num_classes is not None
        return self.network.num_classes

    def memory(self) -> tuple[int, int]:
        """Memory of a unit in bytes, and what each of its columns adds, see `unit_bytes`."""
        return unit_bytes(
            self.grid,
            self.scene,
            num_classes=self.num_classes,
            batch_size=self.batch_size,
            layers=self.layers,
        )

    def units(self, *, memory_mb: int | None, shard_px: int | None) -> list[Unit]:
        """Cut the scene so that a unit fits into memory, and into a shard.

        Args:
            memory_mb: Memory for everything but the model, in MiB, or None for the default.
            shard_px: Largest side of a unit, or None for units of the scene's height.

        Raises:
            ConfigError: If the memory is too little for one block.
        """
        fixed, a_column = self.memory()
        if memory_mb is None:
            allowed = max(_DEFAULT_MEMORY_BYTES, fixed + a_column * _NARROWEST_DEFAULT_PX)
        else:
            allowed = memory_mb << 20
            least = fixed + a_column * min(BLOCK_PX, self.grid.width)
            if allowed < least:
                raise ConfigError(
                    f'{self.scene.name}: memory_mb is {memory_mb}, but {self.num_classes} classes '
                    f'in windows of {self.grid.tile_px} px take at least {-(-least >> 20)}: allow '
                    'more, or choose smaller windows or batches'
                )
        width_px = (allowed - fixed) // a_column
        if shard_px is not None:
            width_px = min(width_px, shard_px)
        return column_units(self.grid, max_width_px=width_px, block_px=BLOCK_PX, height_px=shard_px)

    def windows_of(self, unit: Unit) -> int:
        """Number of windows that touch a unit."""
        rows, cols = self.grid.touching(unit)
        return len(rows) * len(cols)

    def plan(self, units: Sequence[Unit], model: object) -> dict[str, Any]:
        """All that the pixels depend on, as values that JSON knows."""
        scene, grid, network = self.scene, self.grid, self.network
        return {
            'scene': [Path(scene.name).name, scene.height, scene.width, str(scene.dtype)],
            'files': scene.files(),
            'bands': scene.bands,
            'windows': [grid.tile_px, grid.stride_px, grid.blend, self.batch_size],
            'model': fingerprint(model),
            'running': network.describe(),
            'layers': {
                name: [layer.dtype, str(layer.nodata)] for name, layer in self.layers.items()
            },
            'units': [list(astuple(unit)) for unit in units],
        }

    def map_unit(
        self,
        unit: Unit,
        paths: Mapping[Product, Path],
        georeference: Georeference,
        advance: Callable[[int], None],
        *,
        draft: bool,
    ) -> int:
        """Map one unit into files of its size, drafts if they are a step to others.

        Returns:
            Number of windows that the model saw.
        """
        with ExitStack() as stack:
            if self.network.device.type == 'cpu':
                # for each unit anew: what one leaves in pieces would add up over many
                stack.enter_context(keeping_freed_memory())
            writers = {
                product: stack.enter_context(
                    RasterWriter(
                        path,
                        height=unit.height,
                        width=unit.width,
                        layer=self.layers[product],
                        georeference=georeference,
                        draft=draft,
                    )
                )
                for product, path in paths.items()
            }

            def write(rows: Rows) -> None:
                for product, values in rows.items():
                    writers[product].write(values)

            consumer = stack.enter_context(Consumer(write, waiting=2))
            return stream_unit(
                self.scene,
                self.grid,
                unit,
                self.network,
                batch_size=self.batch_size,
                layers=self.layers,
                put=consumer.put,
                advance=advance,
            )

    def map_parts(
        self,
        parts: Parts,
        units: Sequence[Unit],
        chosen: Sequence[int],
        advance: Callable[[int], None],
    ) -> Iterator[Receipt]:
        """Map the units that are chosen and have no receipt yet.

        Yields:
            Receipts, also of those that were there.
        """
        for index in chosen:
            unit = units[index]
            receipt = parts.receipt(index)
            if receipt is None:
                with parts.folder_for(index) as folder:
                    paths = {product: folder / f'{product}.tif' for product in self.layers}
                    self.scene.lost.clear()
                    nowhere = Georeference()
                    run = self.map_unit(unit, paths, nowhere, advance, draft=True)
                    lost = tuple(sorted(self.scene.lost))
                    receipt = parts.commit(index, paths, windows_run=run, lost=lost)
            else:
                advance(self.windows_of(unit))
            yield receipt
