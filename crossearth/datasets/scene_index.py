"""The index of a dataset: which scenes it has, which parts of them, and when they were taken.

The index is a table as in torchgeo, and it is authoritative: torchgeo's splits copy a dataset and
then replace the table, or edit its rows. The scenes always follow the current table.
"""

import dataclasses
from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from crossearth.datasets.cut import cut_scene, footprint_of
from crossearth.datasets.scene import Scene
from crossearth.datasets.timespan import ALWAYS
from crossearth.errors import ConfigError, SceneNotFoundError

__all__ = ['SceneIndex']

_NO_PLACE = (
    'is not georeferenced, so it has no row in the index and cannot be split by place or time: '
    'split the list of scenes, or leave it out'
)


class SceneIndex:
    """Scenes, and their table: one row for each georeferenced scene, in their order.

    A row holds `filepath`, `scene` (the position among the scenes), the footprint, and the
    interval of time as its label. If the table was changed, the scenes follow:

    - A row with a smaller footprint is the part of its scene there (`cut_scene`).
    - A row with a shorter interval stays if the interval contains the middle of the scene's. Of the
      parts of a split in time, exactly one thus has the scene.
    - Rows without a pixel are dropped.

    Args:
        scenes: At least one.
    """

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = tuple(scenes)
        self._table: gpd.GeoDataFrame | None = None
        self._known = np.empty(0, object)  # footprints that the scenes were made for
        self._handed_out = False  # if so, the caller may have changed the table since

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The scenes, in the order of the table, or as given."""
        if self._handed_out:
            self._follow()
        return self._scenes

    @property
    def table(self) -> gpd.GeoDataFrame:
        """The table; changes to it change the scenes."""
        table = self._settled()
        self._handed_out = True
        return table

    @table.setter
    def table(self, table: gpd.GeoDataFrame) -> None:
        before = self._settled()
        self._table = _named(table, before)
        try:
            # a table that is refused must leave the dataset as it was
            self._follow()
        except Exception:
            self._table = before
            raise

    @property
    def crs(self) -> CRS | None:
        """CRS of the footprints; None without a georeferenced scene."""
        crs: CRS | None = self._settled().crs
        return crs

    def to_crs(self, crs: CRS) -> None:
        """Show the footprints in another CRS; the scenes and their parts remain the same."""
        if not len(self._settled()):
            raise ConfigError(
                'no scene is georeferenced, so the dataset has no CRS to change and cannot be '
                'combined by place: use Window(scene, row, col, height, width)'
            )
        self._tabulate(crs)

    def overlapping(self, box_xy: shapely.Polygon, time: pd.Interval | None) -> list[int]:
        """Positions of the scenes that share ground and time with a box, most ground first."""
        table = self._settled()
        overlap = shapely.area(shapely.intersection(table.geometry.to_numpy(), box_xy))
        if time is not None:
            overlap = np.where(
                (table.index.left <= time.right) & (table.index.right >= time.left), overlap, 0
            )
        numbers = table['scene'].to_numpy()
        return [int(numbers[i]) for i in np.argsort(-overlap, kind='stable') if overlap[i] > 0]

    def extent(self) -> tuple[tuple[float, float, float, float], pd.Interval]:
        """Smallest x, y and largest x, y of the footprints, and all of their time."""
        table = self._settled()
        left, bottom, right, top = map(float, table.total_bounds)
        start, stop = table.index.left.min(), table.index.right.max()
        return (left, bottom, right, top), pd.Interval(start, stop, closed='both')

    def _settled(self) -> gpd.GeoDataFrame:
        """The table, after the scenes were updated to match it."""
        if self._handed_out:
            self._follow()
        if self._table is None:
            placed = [scene.crs for scene in self._scenes if scene.crs is not None]
            self._tabulate(placed[0] if placed else None)
        assert self._table is not None  # _tabulate has made it
        return self._table

    def _tabulate(self, crs: CRS | None) -> None:
        placed = [(i, scene) for i, scene in enumerate(self._scenes) if scene.crs is not None]
        footprints = [footprint_of(scene, crs) for _, scene in placed]
        times = [_time_of(scene) for _, scene in placed]
        self._table = gpd.GeoDataFrame(
            {'filepath': [scene.image for _, scene in placed], 'scene': [i for i, _ in placed]},
            index=pd.IntervalIndex(times, closed='both', name='datetime'),
            geometry=footprints,
            crs=crs,
        )
        self._known = np.array(footprints, object)

    def _follow(self) -> None:
        """Update the scenes to match the table."""
        table = self._table
        assert table is not None  # the table exists before anything is handed out or replaced
        numbers = table['scene'].to_numpy()
        placed = [i for i, scene in enumerate(self._scenes) if scene.crs is not None]
        # scenes without a place have no row, so their numbers are not positions in the table
        rows = np.searchsorted(placed, numbers)
        geometries = table.geometry.to_numpy()
        same = shapely.equals_identical(geometries, self._known[rows])
        times = [_time_of(self._scenes[number]) for number in numbers]
        same_time = [
            left == time.left and right == time.right
            for left, right, time in zip(table.index.left, table.index.right, times, strict=True)
        ]
        if np.array_equal(numbers, placed) and same.all() and all(same_time):
            self._handed_out = False
            return
        bare = next((scene for scene in self._scenes if scene.crs is None), None)
        if bare is not None:
            raise ConfigError(f'{bare.image}: {_NO_PLACE}')
        kept: dict[int, Scene] = {}
        for row, number in enumerate(numbers):
            scene = self._scenes[number]
            part = scene if same[row] else cut_scene(scene, geometries[row], table.crs)
            if part is not None and not same_time[row]:
                span = pd.Interval(table.index[row].left, table.index[row].right, closed='both')
                inside = span.left <= _middle(times[row]) <= span.right
                part = dataclasses.replace(part, time=span) if inside else None
            if part is not None:
                kept[row] = part
        if not kept:
            raise SceneNotFoundError(
                f'the index of {len(self._scenes)} scenes was split, and this part of it contains '
                'no pixels: choose a region, share or interval that does'
            )
        if len(kept) < len(table):
            table = table.iloc[list(kept)].copy()
        table['scene'] = range(len(kept))
        table.index = pd.IntervalIndex.from_arrays(
            table.index.left, table.index.right, closed='both', name='datetime'
        )
        self._table = table
        self._scenes = tuple(kept.values())
        # a copy, because the caller may edit the geometries of the table in place
        self._known = table.geometry.to_numpy().copy()
        self._handed_out = False


def _named(table: gpd.GeoDataFrame, before: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """A copy of a table with the column names of the index."""
    names = list(before.columns)
    if not len(before):
        raise ConfigError(
            'no scene is georeferenced by a transform, so the index has no rows and cannot be '
            'split by place or time: split the list of scenes, or, for scenes with ground control '
            'points or rational polynomials, open the dataset with gsd_m'
        )
    if list(table.columns) == [*range(len(names)), 'geometry']:
        # torchgeo's random_grid_cell_assignment loses the names of all columns
        table = table.rename(columns=dict(enumerate(names[:-1]))).drop(columns=len(names) - 1)
    lacking = {'filepath', 'scene', 'geometry'} - {str(name) for name in table.columns}
    if lacking or not isinstance(table.index, pd.IntervalIndex):
        raise ConfigError(
            f'the index has columns {list(table.columns)} and labels {type(table.index).__name__}: '
            f'expected rows of the index of this dataset, with {names} and intervals of time'
        )
    table = table.copy()
    table['scene'] = table['scene'].astype(int)
    strange = sorted(set(table['scene']) - set(before['scene']))
    if strange:
        raise ConfigError(
            f'the index has rows of scenes {strange[:8]}, which are not in this dataset: expected '
            'rows of the index of this dataset'
        )
    return table if table.crs is not None else table.set_crs(before.crs)


def _time_of(scene: Scene) -> pd.Interval:
    return ALWAYS if scene.time is None else scene.time


def _middle(interval: pd.Interval) -> pd.Timestamp:
    return pd.Timestamp((interval.left.value + interval.right.value) // 2)
