"""Finds windows and scenes to show, among the label maps that scoring has kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import Image

from crossearth.benchmark.predictions import prediction_path
from crossearth.datasets import SceneDataset
from crossearth.errors import LabelError
from crossearth.geometry import Window, window_grid
from crossearth.labels import IGNORE_INDEX, LabelSpace
from crossearth.metrics import confusion_matrix, mean_iou
from crossearth.panels import displayed
from crossearth.rasters import open_raster
from crossearth.visualization import ExampleWindow

__all__ = ['DomainPictures', 'Example', 'Missing', 'domain_pictures']

_WINDOW_PX = 512
_LOOKED_AT = 64  # windows to score in search of the best, the median and the worst
_SCENE_PX = 2048
_SHOWN_PX = 1024  # longer side of a scene on the page

type Ids = UInt8[np.ndarray, 'h w']


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there are no pictures of a domain.

    Args:
        domain: Name of the domain.
        reason: What is missing.
        remedy: What to do about it.
        command: The command for that; empty if there is none.
    """

    domain: str
    reason: str
    remedy: str
    command: str = ''


@dataclass(frozen=True, slots=True)
class Example:
    """A window, and how good its maps are.

    Args:
        rank: `'best'`, `'median'` or `'worst'`, by the score of one method.
        place: Its place, in words.
        window: Its pixels.
        iou: Method → score of the window in percent; NaN if no scored class occurs.
    """

    rank: str
    place: str
    window: ExampleWindow
    iou: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class DomainPictures:
    """The pictures of a domain.

    Args:
        domain: Name of the domain.
        labels: The classes.
        lead: Method whose score ranks the windows.
        looked_at: Number of windows that were scored to find the examples.
        examples: The best, the median and the worst; fewer in a tiny domain.
        scene: A large window, shrunk for the page.
        scene_place: Its place, in words.
        lacking: Methods without label maps.
    """

    domain: str
    labels: LabelSpace
    lead: str
    looked_at: int
    examples: tuple[Example, ...]
    scene: ExampleWindow
    scene_place: str
    lacking: tuple[str, ...]


def domain_pictures(
    domain: str, dataset: SceneDataset, maps: Mapping[str, Path], *, lacking: Sequence[str] = ()
) -> DomainPictures | Missing:
    """Examples of a domain, ranked by the first method.

    At most 64 windows of 512 px, spread evenly over the scenes, are scored. So a report takes
    seconds, whatever the size of the archive.

    Args:
        domain: Name of the domain.
        dataset: Its labelled scenes.
        maps: Method → folder of `PredictionFiles`; the first method ranks the windows.
        lacking: Methods without label maps.

    Raises:
        LabelError: If a label map does not have the size of its scene.
        SceneError: If a file cannot be read.
    """
    scenes = [
        index
        for index, scene in enumerate(dataset.scenes)
        if scene.labelled
        and all(prediction_path(folder, dataset, index).is_file() for folder in maps.values())
    ]
    if not scenes:
        return Missing(
            domain,
            f'none of its {len(dataset.scenes)} scenes has label maps of {", ".join(maps)}',
            'they were made from another copy of the archive: remove their folder and score again',
        )
    lead = next(iter(maps))
    scored = []
    for window in _spread(dataset, scenes):
        truth = dataset.read_labels(window)
        iou = _iou(_predicted(dataset, window, maps[lead]), truth, dataset.labels)
        if not np.isnan(iou):
            scored.append((iou, window))
    scored.sort(key=lambda pair: pair[0])
    ranks = {'best': -1, 'median': len(scored) // 2, 'worst': 0}
    chosen: dict[Window, str] = {}
    for rank, place in ranks.items():
        if scored:
            # of a few windows, one may be both the best and the worst
            chosen.setdefault(scored[place][1], rank)
    largest = max(scenes, key=lambda i: dataset.scenes[i].height * dataset.scenes[i].width)
    middle = _middle(dataset, largest)
    return DomainPictures(
        domain=domain,
        labels=dataset.labels,
        lead=lead,
        looked_at=len(scored),
        examples=tuple(_example(dataset, w, maps, rank) for w, rank in chosen.items()),
        scene=_smaller(_window(dataset, middle, maps, domain)),
        scene_place=_place(dataset, middle),
        lacking=tuple(lacking),
    )


def _spread(dataset: SceneDataset, scenes: Sequence[int]) -> list[Window]:
    """Windows at even steps through the list of all windows."""
    windows = [
        window
        for index in scenes
        for window in window_grid(
            index,
            dataset.scenes[index].height,
            dataset.scenes[index].width,
            tile_px=_WINDOW_PX,
            stride_px=_WINDOW_PX,
        )
    ]
    count = min(_LOOKED_AT, len(windows))
    return [windows[i * len(windows) // count] for i in range(count)]


def _middle(dataset: SceneDataset, index: int) -> Window:
    """The middle of a scene, as large as fits on a page."""
    scene = dataset.scenes[index]
    height, width = min(scene.height, _SCENE_PX), min(scene.width, _SCENE_PX)
    row, col = (scene.height - height) // 2, (scene.width - width) // 2
    return Window(scene=index, row=row, col=col, height=height, width=width)


def _example(dataset: SceneDataset, window: Window, maps: Mapping[str, Path], rank: str) -> Example:
    shown = _window(dataset, window, maps, rank)
    iou = {name: _iou(ids, shown.truth, dataset.labels) for name, ids in shown.maps.items()}
    return Example(rank, _place(dataset, window), shown, iou)


def _place(dataset: SceneDataset, window: Window) -> str:
    name = Path(dataset.scenes[window.scene].image).name
    bottom, right = window.stop
    return f'{name}, rows {window.row}–{bottom - 1}, columns {window.col}–{right - 1}'


def _window(
    dataset: SceneDataset, window: Window, maps: Mapping[str, Path], title: str
) -> ExampleWindow:
    return ExampleWindow(
        title=title,
        image=_rgb(dataset[window]['image'].numpy()),
        truth=dataset.read_labels(window),
        maps={name: _predicted(dataset, window, folder) for name, folder in maps.items()},
    )


def _rgb(pixels: Shaped[np.ndarray, 'c h w']) -> UInt8[np.ndarray, 'h w 3']:
    """The first three bands as a picture; with fewer bands, the first one in grey."""
    bands = displayed(pixels[:3] if len(pixels) >= 3 else pixels[:1])
    grey_or_colour = bands if len(bands) == 3 else np.repeat(bands, 3, axis=0)
    return np.ascontiguousarray(grey_or_colour.transpose(1, 2, 0))


def _predicted(dataset: SceneDataset, window: Window, folder: Path) -> Ids:
    """Class ids of a label map, in the encoding of the dataset's masks."""
    scene = dataset.scenes[window.scene]
    path = prediction_path(folder, dataset, window.scene)
    bottom, right = window.stop
    with open_raster(path) as source:
        if (source.height, source.width) != (scene.height, scene.width):
            raise LabelError(
                f'{path} is {source.height} x {source.width} px, but its scene {scene.image} is '
                f'{scene.height} x {scene.width}: remove its folder and score again'
            )
        raw = source.read(window=((window.row, bottom), (window.col, right)))
        nodata = source.nodata
    codec = scene.codec or dataset.codec
    if nodata is None:
        return codec.decode(raw).ids
    ids = np.full(raw.shape[1:], IGNORE_INDEX, np.uint8)
    predicted = (raw != nodata).any(axis=0)
    ids[predicted] = codec.decode(raw[:, predicted][:, None]).ids[0]
    return ids


def _iou(predicted: Ids, truth: Ids, labels: LabelSpace) -> float:
    counted = np.where(predicted == IGNORE_INDEX, np.uint8(IGNORE_INDEX), truth)
    counts = confusion_matrix(
        torch.from_numpy(predicted).long(),
        torch.from_numpy(counted).long(),
        num_classes=labels.num_classes,
    )
    return 100 * mean_iou(counts, scored=labels.scored)


def _smaller(window: ExampleWindow) -> ExampleWindow:
    """Shrink to at most 1024 px: the image by averaging, the maps by nearest pixels."""
    height, width = window.truth.shape
    factor = min(_SHOWN_PX / max(height, width), 1.0)
    size = max(round(width * factor), 1), max(round(height * factor), 1)

    def ids(values: Ids) -> UInt8[np.ndarray, 'height width']:
        return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))

    return ExampleWindow(
        title=window.title,
        image=np.asarray(Image.fromarray(window.image).resize(size, Image.Resampling.BOX)),
        truth=ids(window.truth),
        maps={name: ids(values) for name, values in window.maps.items()},
    )
