"""How datasets and data modules show themselves: a line of text, or a table in a notebook."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyproj import CRS

from crossearth.describing import Html, arguments_of, colour_legend, html_table, plural

if TYPE_CHECKING:
    from crossearth.datasets.scene_dataset import SceneDataset
    from crossearth.datasets.shift import ShiftDataModule

__all__ = ['data_module_line', 'data_module_table', 'dataset_facts', 'dataset_table']

_NAMED = 6


def dataset_facts(dataset: 'SceneDataset') -> dict[str, str]:
    """What a dataset holds, by what it is a fact of, in the order in which it is told."""
    scenes = dataset.scenes
    bands = {scene.raster.bands for scene in scenes}
    numbers = f' ({" ".join(map(str, next(iter(bands))))})' if len(bands) == 1 else ''
    unlabelled = sum(not scene.labelled for scene in scenes)
    facts = {
        'scenes': plural(len(scenes), 'scene'),
        'domains': _few([name for name in dataset.domains if name]),
        'bands': plural(dataset.num_bands, 'band') + numbers,
        'pixels': ' and '.join(sorted({scene.raster.dtype for scene in scenes})),
        'classes': f'{plural(dataset.labels.num_classes, "class")} of {dataset.labels.name}',
        'labels': f'{unlabelled} without labels' if unlabelled else '',
        'pixel size': _distance(dataset.gsd_range_m),
        'CRS': _few(list(dict.fromkeys(_named(scene.crs) for scene in scenes))),
    }
    return {name: text for name, text in facts.items() if text}


def dataset_table(dataset: 'SceneDataset') -> Html:
    """A dataset as HTML, with the colours of its classes."""
    colours = colour_legend(dataset.labels.classes, dataset.labels.palette)
    return html_table(type(dataset).__name__, {**dataset_facts(dataset), 'classes': colours})


def data_module_line(data: 'ShiftDataModule') -> str:
    """What a data module trains and tests on, and how it reads it."""
    tests = ', '.join(f'{name!r}: {plural(len(one), "scene")}' for name, one in data.tests.items())
    return f'train={data.train!r}, tests={{{tests}}}, {arguments_of(data, **data.drawn)}'


def data_module_table(data: 'ShiftDataModule') -> Html:
    """A data module as HTML: its datasets, windows and classes."""
    named: Mapping[str, SceneDataset | None] = {
        'train': data.train,
        'validation': data.val,
        'target': data.target,
        **{f'test {name}': dataset for name, dataset in data.tests.items()},
    }
    rows: dict[str, str] = {
        name: ', '.join(dataset_facts(one).values()) for name, one in named.items() if one
    }
    rows['windows'] = (
        f'{data.windows_per_epoch} of {data.size_px} px per epoch, {data.batch_size} per batch'
    )
    rows['classes'] = colour_legend(data.train.labels.classes, data.train.labels.palette)
    return html_table(type(data).__name__, rows)


def _distance(range_m: tuple[float, float] | None) -> str:
    if range_m is None:
        return 'pixels of unknown size on the ground'
    low, high = (f'{metres:.3g}' for metres in range_m)
    return f'{low} m' if low == high else f'{low} to {high} m'


def _named(crs: CRS | None) -> str:
    """A short name of a CRS."""
    if crs is None:
        return 'no CRS'
    # with less confidence, pyproj would also name a CRS that is only similar
    known = crs.to_authority(min_confidence=100)
    return str(crs.name) if known is None else ':'.join(known)


def _few(names: list[str]) -> str:
    left = len(names) - _NAMED
    return ', '.join(names[:_NAMED]) + (f' and {left} more' if left > 0 else '')
