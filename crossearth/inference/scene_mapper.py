"""Maps a scene with a model, unit by unit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from crossearth.accuracy import AccuracyMeter
from crossearth.errors import ConfigError
from crossearth.inference.allocator import keeping_freed_memory
from crossearth.inference.background import Consumer
from crossearth.inference.decision import Decision
from crossearth.inference.grid import Grid, Unit, column_units
from crossearth.inference.map_parts import MapParts, PartReceipt
from crossearth.inference.network import Network
from crossearth.inference.rendering import Product
from crossearth.inference.request import Running
from crossearth.inference.scene import OpenScene
from crossearth.inference.streaming import Rows, stream_unit, unit_bytes
from crossearth.inference.writer import BLOCK_PX, Layer, RasterWriter
from crossearth.rasters import Georeference

__all__ = ['SceneMapper']

_DEFAULT_MEMORY_BYTES = 208 << 20  # enough for 8192 columns, six classes and windows of 512 px
_NARROWEST_DEFAULT_PX = 2048


@dataclass(frozen=True, slots=True)
class SceneMapper:
    """Maps a scene, unit by unit.

    Args:
        scene: Open scene.
        grid: Its windows.
        network: The model.
        batch_size: Windows per batch.
        layers: Rasters to make from its rows.
        decision: How classes are chosen.
        accuracy: Collects what the scores say about accuracy; None if that was not requested.
    """

    scene: OpenScene
    grid: Grid
    network: Network
    batch_size: int
    layers: dict[Product, Layer]
    decision: Decision
    accuracy: AccuracyMeter | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        assert self.network.num_classes is not None
        return self.network.num_classes

    def memory(self) -> tuple[int, int]:
        """Memory of a unit in bytes, and what each column adds to it, see `unit_bytes`."""
        return unit_bytes(
            self.grid,
            self.scene,
            num_classes=self.num_classes,
            batch_size=self.batch_size,
            layers=self.layers,
        )

    def units(self, running: Running) -> list[Unit]:
        """Cut the scene so that a unit fits into memory and, if parts are kept, into a part.

        Raises:
            ConfigError: If the memory is too small for one block.
        """
        fixed, a_column = self.memory()
        memory_mb = running.memory_mb
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
        if not running.keeps_parts:
            return column_units(self.grid, max_width_px=width_px, block_px=BLOCK_PX)
        return column_units(
            self.grid,
            max_width_px=min(width_px, running.shard_px),
            block_px=BLOCK_PX,
            height_px=running.shard_px,
        )

    def windows_of(self, unit: Unit) -> int:
        """Number of windows that touch a unit."""
        rows, cols = self.grid.touching(unit)
        return len(rows) * len(cols)

    def describe(self, units: Sequence[Unit]) -> dict[str, Any]:
        """The scene, the rasters and the units, as JSON values."""
        scene = self.scene
        return {
            'scene': [Path(scene.name).name, scene.height, scene.width, str(scene.dtype)],
            'files': scene.files(),
            'layers': {
                name: [layer.dtype, str(layer.nodata)] for name, layer in self.layers.items()
            },
            'units': self.describe_units(units),
        }

    def describe_units(self, units: Sequence[Unit]) -> list[list[int]]:
        """Units as JSON values."""
        return [list(astuple(unit)) for unit in units]

    def map_whole(
        self, paths: Mapping[Product, Path], advance: Callable[[int], None], *, draft: bool
    ) -> int:
        """Map the scene in one unit.

        Args:
            paths: Files to write, one per layer.
            advance: Receives the number of windows done.
            draft: Whether the files are only intermediate.

        Returns:
            Number of windows that the model saw.
        """
        scene = self.scene
        unit = Unit(0, scene.height, 0, scene.width)
        return self._map_unit(unit, paths, scene.georeference, advance, draft=draft)

    def map_parts(
        self,
        parts: MapParts,
        units: Sequence[Unit],
        chosen: Sequence[int],
        advance: Callable[[int], None],
        *,
        first: int = 0,
    ) -> Iterator[PartReceipt]:
        """Map the chosen units that have no receipt yet.

        Args:
            parts: Where finished parts are kept.
            units: All units of the scene.
            chosen: Indices of those to map.
            advance: Receives the number of windows done.
            first: Part number of the first unit.

        Yields:
            Receipts, including those of earlier runs.
        """
        for index in chosen:
            unit = units[index]
            receipt = parts.receipt(first + index)
            if receipt is None:
                with parts.folder_for(first + index) as folder:
                    paths = {product: folder / f'{product}.tif' for product in self.layers}
                    # the scene collects blocks of all units, but a receipt lists those of its own
                    self.scene.lost.clear()
                    nowhere = Georeference()
                    run = self._map_unit(unit, paths, nowhere, advance, draft=True)
                    lost = tuple(sorted(self.scene.lost))
                    receipt = parts.commit(first + index, paths, windows_run=run, lost=lost)
            else:
                advance(self.windows_of(unit))
            yield receipt

    def _map_unit(
        self,
        unit: Unit,
        paths: Mapping[Product, Path],
        georeference: Georeference,
        advance: Callable[[int], None],
        *,
        draft: bool,
    ) -> int:
        """Map one unit into files of its size, or into drafts if they are only intermediate.

        Returns:
            Number of windows that the model saw.
        """
        with ExitStack() as stack:
            if self.network.device.type == 'cpu':
                # for each unit again, because memory that one fragments would add up over many
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

            def observe(parts: list[Tensor], valid: Bool[np.ndarray, 'h w'], row: int) -> None:
                assert self.accuracy is not None
                first = 0
                for scores in parts:
                    here = slice(first, first + scores.shape[1])
                    self.accuracy.add(
                        scores,
                        valid[here],
                        row0=row + first,
                        col0=unit.col0,
                        are_logits=self.decision.are_logits,
                    )
                    first = here.stop

            # entered last: it must have handed over all rows before the writers close
            consumer = stack.enter_context(Consumer(write, waiting=2))
            return stream_unit(
                self.scene,
                self.grid,
                unit,
                self.network,
                batch_size=self.batch_size,
                layers=self.layers,
                decision=self.decision,
                put=consumer.put,
                advance=advance,
                observe=None if self.accuracy is None else observe,
            )
