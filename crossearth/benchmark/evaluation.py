"""Scores a model on a domain the way the benchmark counts."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from crossearth.benchmark.protocol import Half, Protocol
from crossearth.datasets import SceneDataset
from crossearth.datasets.seen import ranged_scenes
from crossearth.errors import ConfigError, LabelError
from crossearth.geometry import Window, window_grid
from crossearth.imagery import Imagery, imagery_of
from crossearth.inference.grid import Grid, Unit
from crossearth.inference.network import Network, evaluating, model_device
from crossearth.inference.prepared_map import merging_of
from crossearth.inference.scene_labels import scene_labels
from crossearth.inference.seeing import Seeing
from crossearth.inference.stitching import Stitcher, most_likely
from crossearth.labels import IGNORE_INDEX
from crossearth.metrics import confusion_matrix
from crossearth.models.segmenter import classifies_masks
from crossearth.radiometry import to_unit

__all__ = [
    'evaluate',
    'evaluate_images',
    'fitted_hw',
    'image_names',
]

type Sink = Callable[[Window, UInt8[Tensor, 'h w']], None]
type Model = nn.Module | Callable[[Tensor], Tensor]

_STRIP_PX = 1024  # rows of labels to read at a time

_HALVES: dict[Half | None, torch.dtype | None] = {
    None: None,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
}


def evaluate(
    model: Model,
    dataset: SceneDataset,
    protocol: Protocol,
    *,
    imagery: Imagery | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    sink: Sink | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Int64[Tensor, 'k k']:
    """The confusion matrix of a model over all labelled pixels of a dataset.

    This is the sum of `evaluate_images`, with the same arguments and errors.

    Returns:
        Counts on the CPU, with the true class in rows. Pixels labelled 255 are not counted.

    Example:
        >>> import tempfile, numpy as np, rasterio
        >>> from crossearth.datasets import SceneDataset, read_scene
        >>> from crossearth.labels import ROAD
        >>> folder = tempfile.mkdtemp()
        >>> for name, count in (('image.tif', 3), ('mask.tif', 1)):
        ...     place = rasterio.Affine(1, 0, 4e5, 0, -1, 5e6)
        ...     with rasterio.open(
        ...         f'{folder}/{name}', 'w', width=6, height=5, count=count, dtype='uint8',
        ...         crs='EPSG:32633', transform=place,
        ...     ) as file:
        ...         file.write(np.ones((count, 5, 6), 'uint8'))
        >>> scene = read_scene(f'{folder}/image.tif', f'{folder}/mask.tif')
        >>> roads = SceneDataset([scene], ROAD)
        >>> always_road = lambda images: torch.stack([0 * images[:, 0], 1 + images[:, 0]], 1)
        >>> evaluate(always_road, roads, Protocol(window_px=4, stride_px=2)).tolist()
        [[0, 0], [0, 30]]
    """
    return evaluate_images(
        model,
        dataset,
        protocol,
        imagery=imagery,
        batch_size=batch_size,
        num_workers=num_workers,
        device=device,
        sink=sink,
        progress=progress,
    ).sum(dim=0)


def evaluate_images(
    model: Model,
    dataset: SceneDataset,
    protocol: Protocol,
    *,
    imagery: Imagery | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    sink: Sink | None = None,
    progress: Callable[[int, int], None] | None = None,
    tell_seen: Callable[[dict[str, int]], None] | None = None,
) -> Int64[Tensor, 'n k k']:
    """The confusion matrix of a model over each image of a dataset.

    Memory depends on the window and not on the image, apart from its class ids.

    Args:
        model: Images (b,c,h,w) in [0, 1] → logits (b,k,h,w). It runs in eval mode and gets its
            previous mode back.
        dataset: Labelled scenes.
        protocol: How pixels are counted.
        imagery: What the model was trained on; None to ask the model, as `load_model` stores it.
        batch_size: Windows per batch; the result does not depend on it.
        num_workers: Worker processes that read images.
        device: Device of the model.
        sink: Receives the place and the class ids of each chip or image when it is done.
        progress: Called with the number of images (or chips) done and their total.
        tell_seen: Called before any image is scored, with the number of images for each way in
            which they are seen. A way is one line on the size of their pixels, what the model sees,
            and why.

    Returns:
        Counts on the CPU in the order of the scenes, with the true class in rows. Pixels labelled
        255 are not counted. The chips of an image are counted together.

    Raises:
        LabelError: If a scene has no labels.
        ShapeError: If the model does not give logits at the size of its input, or has other
            classes.
        ConfigError: If an image cannot be resampled.
    """
    bare = next((scene for scene in dataset.scenes if not scene.labelled), None)
    if bare is not None:
        raise LabelError(f'{bare.image} has no labels to score against: give it a mask')
    known = imagery_of(model) if imagery is None else imagery
    dataset = ranged_scenes(dataset, known)
    seen = _seeings(dataset, protocol, known)
    if tell_seen is not None:
        tell_seen(dict(Counter(map(str, seen))))
    areas = _areas(dataset, protocol)
    own = [area for area in areas if seen[area.scene].is_native]
    others = [area for area in areas if not seen[area.scene].is_native]
    where = model_device(model, device)
    network = Network(
        _mirrored(model) if protocol.flip else model,
        name='a window',
        device=where,
        # The release averages the sums of mask classification, and shares are nearest to them.
        combine='softmax' if classifies_masks(model) else 'logits',
        autocast=_HALVES[protocol.autocast],
        labels=dataset.labels,
    )
    k = dataset.labels.num_classes
    counts = torch.zeros((len(dataset.scenes), k, k), dtype=torch.int64)
    with torch.inference_mode(), evaluating(model):
        maps = (
            _stitched(network, dataset, own, protocol, batch_size, num_workers)
            if protocol.fit_px is None
            else _fitted(network, dataset, own, protocol, num_workers)
        )
        brought = _brought_back(network, dataset, others, seen, protocol, batch_size)
        for done, (area, ids, mask) in enumerate(chain(maps, brought), start=1):
            counts[area.scene] += confusion_matrix(ids.long(), mask, num_classes=k)
            if sink is not None:
                sink(area, ids)
            if progress is not None:
                progress(done, len(areas))
    return counts


def _seeings(dataset: SceneDataset, protocol: Protocol, known: Imagery) -> list[Seeing]:
    seen = []
    for scene in dataset.scenes:
        seen.append(protocol.seeing(scene.raster, known))
        if scene.part is not None and not seen[-1].is_native:
            raise ConfigError(
                f'{scene.image} was cut by a split, so it cannot be resampled: open '
                "the dataset with gsd_m before splitting it, or score with seen_at='native'"
            )
    return seen


def image_names(dataset: SceneDataset) -> tuple[str, ...]:
    """Image paths below their common folder, with `/`; parts of one image are numbered."""
    paths = [os.path.abspath(scene.image) for scene in dataset.scenes]  # noqa: PTH100  # no links
    above = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120  # as above
    seen: dict[str, int] = {}
    names = []
    for path in paths:
        name = Path(os.path.relpath(path, above)).as_posix()
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f'{name}#{seen[name]}')
    return tuple(names)


def fitted_hw(height: int, width: int, fit_px: int) -> tuple[int, int]:
    """Size of an image scaled so that its longer side becomes `fit_px`.

    Example:
        >>> fitted_hw(3000, 4000, 512)
        (384, 512)
    """
    factor = fit_px / max(height, width)
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


@dataclass(frozen=True, slots=True)
class _Tile:
    """A window of an area, given by its indices in the grid of the area."""

    area: int
    row_index: int
    col_index: int
    window: Window


class _Windows(Dataset[dict[str, Tensor]]):
    """Windows as images in [0, 1], with their masks."""

    def __init__(self, dataset: SceneDataset, windows: Sequence[Window]) -> None:
        self._dataset = dataset
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        window = self._windows[index]
        sample = self._dataset[window]
        value_range = self._dataset.scenes[window.scene].raster.value_range
        # datasets of dtype 'unit' have already scaled their images
        known = None if self._dataset.dtype == 'unit' else value_range
        return {'image': to_unit(sample['image'], value_range=known), 'mask': sample['mask']}


def _areas(dataset: SceneDataset, protocol: Protocol) -> list[Window]:
    """The chips, or the whole images."""
    if protocol.chip_px is None:
        return [dataset.whole(i) for i in range(len(dataset.scenes))]
    side = protocol.chip_px
    return [
        window
        for i, scene in enumerate(dataset.scenes)
        for window in window_grid(i, scene.height, scene.width, tile_px=side, stride_px=side)
    ]


def _stitched(
    network: Network,
    dataset: SceneDataset,
    areas: Sequence[Window],
    protocol: Protocol,
    batch_size: int,
    num_workers: int,
) -> Iterator[tuple[Window, UInt8[Tensor, 'h w'], Int64[Tensor, 'h w']]]:
    """Class ids and labels of each area, from the averaged logits of its windows."""
    grids = [
        Grid(
            area.height,
            area.width,
            tile_px=protocol.window_px,
            stride_px=protocol.stride_px,
            blend='mean',
        )
        for area in areas
    ]
    tiles = [
        _Tile(
            index,
            i,
            j,
            Window(area.scene, area.row + row, area.col + col, *grid.tile_hw),
        )
        for index, (area, grid) in enumerate(zip(areas, grids, strict=True))
        for i, row in enumerate(grid.row_starts)
        for j, col in enumerate(grid.col_starts)
    ]
    scores = _scores(network, dataset, tiles, batch_size, num_workers)
    for index, parts in groupby(scores, key=lambda part: part[0].area):
        area, grid = areas[index], grids[index]
        stitcher = Stitcher(
            grid,
            Unit(0, area.height, 0, area.width),
            num_classes=dataset.labels.num_classes,
            device=network.device,
        )
        ids = torch.empty((area.height, area.width), dtype=torch.uint8)
        mask = torch.full((area.height, area.width), IGNORE_INDEX, dtype=torch.int64)
        for tile, logits, labels in parts:
            row, col = grid.row_starts[tile.row_index], grid.col_starts[tile.col_index]
            if tile.col_index == 0:
                # No later window reaches above this row, so the sums there are complete.
                _finish(stitcher, row, ids)
            stitcher.add(logits, row_index=tile.row_index, col_index=tile.col_index)
            height, width = grid.tile_hw
            mask[row : row + height, col : col + width] = labels
        _finish(stitcher, area.height, ids)
        yield area, ids, mask


def _scores(
    network: Network,
    dataset: SceneDataset,
    tiles: Sequence[_Tile],
    batch_size: int,
    num_workers: int,
) -> Iterator[tuple[_Tile, Float[Tensor, 'k h w'], Int64[Tensor, 'h w']]]:
    """Logits and labels of each window, in order."""
    batches: list[list[int]] = []
    for _, run in groupby(range(len(tiles)), key=lambda i: _size(tiles[i])):
        # A batch stacks windows of one size. Their order stays, because rows are finished in turn.
        same = list(run)
        batches += [same[i : i + batch_size] for i in range(0, len(same), batch_size)]
    loader = DataLoader(
        _Windows(dataset, [tile.window for tile in tiles]),
        batch_sampler=batches,
        num_workers=num_workers,
    )
    for batch, numbers in zip(loader, batches, strict=True):
        logits = network.run(batch['image'].to(network.device)).float()
        for number, one, labels in zip(numbers, logits, batch['mask'], strict=True):
            yield tiles[number], one, labels


def _size(tile: _Tile) -> tuple[int, int]:
    return tile.window.height, tile.window.width


def _finish(stitcher: Stitcher, stop: int, ids: UInt8[Tensor, 'h w']) -> None:
    """Class ids of the rows before `stop`."""
    row = stitcher.next_row
    for sums in stitcher.finished(stop):
        most_likely(sums, out=ids[row : row + sums.shape[1]])
        row += sums.shape[1]
    stitcher.release(stop)


def _brought_back(
    network: Network,
    dataset: SceneDataset,
    areas: Sequence[Window],
    seen: Sequence[Seeing],
    protocol: Protocol,
    batch_size: int,
) -> Iterator[tuple[Window, UInt8[Tensor, 'h w'], Int64[Tensor, 'h w']]]:
    """Class ids and labels of whole images that are seen at another size than their own."""
    windows = protocol.windows
    merge = merging_of(windows, dataset.labels, are_logits=network.gives_logits)
    for area in areas:
        seeing = seen[area.scene]
        ids = scene_labels(
            network, seeing.native, seeing.grids, windows, merge, batch_size=batch_size
        )
        mask = torch.full((area.height, area.width), IGNORE_INDEX, dtype=torch.int64)
        for row in range(0, area.height, _STRIP_PX):
            height = min(_STRIP_PX, area.height - row)
            strip = Window(area.scene, area.row + row, area.col, height, area.width)
            mask[row : row + height] = dataset[strip]['mask']
        found = torch.from_numpy(ids)
        # Pixels without data have no prediction, so they are not counted.
        mask[found == IGNORE_INDEX] = IGNORE_INDEX
        yield area, found, mask


def _fitted(
    network: Network,
    dataset: SceneDataset,
    areas: Sequence[Window],
    protocol: Protocol,
    num_workers: int,
) -> Iterator[tuple[Window, UInt8[Tensor, 'h w'], Int64[Tensor, 'h w']]]:
    """Class ids and labels of whole images that are shrunk to fit a window."""
    assert protocol.fit_px is not None
    # Images differ in size, so they are not stacked.
    loader = DataLoader(_Windows(dataset, areas), batch_size=None, num_workers=num_workers)
    for area, sample in zip(areas, loader, strict=True):
        size = fitted_hw(area.height, area.width, protocol.fit_px)
        image = _resized(sample['image'][None].to(network.device), size)
        grid = Grid(*size, tile_px=protocol.window_px, stride_px=protocol.stride_px, blend='mean')
        stitcher = Stitcher(
            grid,
            Unit(0, size[0], 0, size[1]),
            num_classes=dataset.labels.num_classes,
            device=network.device,
        )
        height, width = grid.tile_hw
        rows = []
        for i, row in enumerate(grid.row_starts):
            # Cloned, because release sets the views to zero.
            rows += [sums.clone() for sums in stitcher.finished(row)]
            stitcher.release(row)
            for j, col in enumerate(grid.col_starts):
                seen = image[:, :, row : row + height, col : col + width]
                stitcher.add(network.run(seen).float()[0], row_index=i, col_index=j)
        rows += stitcher.finished(size[0])
        logits = _resized(torch.cat(rows, dim=1)[None], (area.height, area.width))[0]
        ids = torch.empty((area.height, area.width), dtype=torch.uint8)
        most_likely(logits, out=ids)
        yield area, ids, sample['mask']


def _resized(
    image: Float[Tensor, 'b c h w'], size: tuple[int, int]
) -> Float[Tensor, 'b c height width']:
    """Resize bilinearly without antialiasing, as the released configurations do."""
    return F.interpolate(image, size, mode='bilinear', align_corners=False)


def _mirrored(model: Model) -> Callable[[Tensor], Tensor]:
    """Average the logits of images and of their mirror images."""

    def both(images: Shaped[Tensor, 'b c h w']) -> Tensor:
        mirrored: Tensor = model(images.flip(3)).flip(3)
        mean: Tensor = (model(images) + mirrored) / 2
        return mean

    return both
