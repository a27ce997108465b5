"""Chooses what is held out for validation: places, never random neighbours."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import shapely
from jaxtyping import Shaped
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.affinity import translate

from crossearth.datasets.cut import cut_scene, footprint_of
from crossearth.datasets.files import natural_key
from crossearth.datasets.scene import Part, Scene
from crossearth.errors import ConfigError, SceneNotFoundError
from crossearth.rasters import turn_of
from crossearth.spelling import check_choice

__all__ = ['HoldOut', 'Portion']

Portion = Literal['all', 'rest', 'held_out']
"""All scenes, those left for training, or those held out."""

_TOUCH = 0.01  # share of a scene's side: rounding errors of shared borders are not an overlap


@dataclass(frozen=True, slots=True)
class HoldOut:
    """A rule that holds out scenes, or parts of them.

    Georeferenced scenes are held out by boxes on the ground. Others are held out by their names, or
    by their lowest rows. No ground is on both sides: see `whole`.

    Args:
        boxes: Rectangles, each as smallest x, smallest y, largest x, largest y.
        crs: CRS of the boxes.
        whole: Whether scenes stay whole. If so, those whose middle lies in a box are held out, and
            those that overlap one of these are in neither part. Otherwise scenes are cut along the
            boxes.
        names: First and last image of each range that is held out, as paths below the folder of the
            images, in natural order (`img2` before `img10`).
        bottom: Share of the rows that is held out at the bottom of each image, for images without
            a georeference.

    Raises:
        ConfigError: If there is no rule, only one of boxes and `crs` is given, or boxes that cut
            scenes overlap.
    """

    boxes: Sequence[tuple[float, float, float, float]] = ()
    crs: str | None = None
    whole: bool = True
    names: Sequence[tuple[str, str]] = ()
    bottom: float = 0.0

    def __post_init__(self) -> None:
        if not (self.boxes or self.names or self.bottom):
            raise ConfigError('hold_out holds nothing out: set boxes, names or bottom')
        if not 0 <= self.bottom < 1:
            raise ConfigError(f'hold_out: bottom is {self.bottom}, expected a share from 0 to 1')
        if bool(self.boxes) != (self.crs is not None):
            raise ConfigError('hold_out has only one of boxes and crs: set both, or neither')
        for box in self.boxes:
            if not (box[0] < box[2] and box[1] < box[3]):
                raise ConfigError(
                    f'hold_out: box {tuple(box)} is empty: expected smallest x, smallest y, '
                    'largest x, largest y'
                )
        for one, other in combinations(() if self.whole else self.boxes, 2):
            if shapely.box(*one).intersection(shapely.box(*other)).area > 0:
                raise ConfigError(
                    f'hold_out: boxes {tuple(one)} and {tuple(other)} overlap, so their pixels '
                    'would count twice: join them, or keep them apart'
                )

    def portion(
        self, scenes: Sequence[Scene], portion: Portion, *, folder: str | os.PathLike[str]
    ) -> list[Scene]:
        """The scenes of one side.

        Args:
            scenes: All scenes.
            portion: Which side.
            folder: Folder that `names` are relative to.

        Raises:
            SceneNotFoundError: If nothing is left on this side.
            ConfigError: If `crs` is not a CRS, there is no such side, or boxes would cut a scene
                that control points place.
        """
        check_choice('portion', portion, get_args(Portion))
        if portion == 'all':
            return list(scenes)
        held_out = portion == 'held_out'
        placed = [scene for scene in scenes if self.boxes and _has_place(scene)]
        others = [scene for scene in scenes if not self.boxes or not _has_place(scene)]
        kept = self._by_ground(placed, held_out=held_out) if placed else []
        for scene in others:
            if self._named(scene, Path(folder)):
                kept += [scene] if held_out else []
            elif self.bottom:
                kept.append(_rows(scene, self.bottom, held_out=held_out))
            elif not held_out:
                kept.append(scene)
        if not kept:
            raise SceneNotFoundError(
                f'hold_out leaves no scene {"to validate on" if held_out else "to train on"}: '
                'expected boxes or names that contain some scenes, but not all'
            )
        return kept

    def _by_ground(self, scenes: Sequence[Scene], *, held_out: bool) -> list[Scene]:
        assert self.crs is not None  # __post_init__ checks it
        try:
            crs = CRS.from_user_input(self.crs)
        except CRSError as error:
            raise ConfigError(f'hold_out: crs={self.crs!r} is not a CRS') from error
        prints = np.array([footprint_of(scene, crs) for scene in scenes])
        # scenes may continue across the antimeridian, or count longitudes from 0 to 360
        turn = turn_of(crs)
        shifts = (0.0,) if turn is None else (-turn, 0.0, turn)
        each = [
            shapely.box(x0 + by, y0, x1 + by, y1) for by in shifts for x0, y0, x1, y1 in self.boxes
        ]
        boxes = shapely.union_all(each)
        if not self.whole:
            crooked = next((scene.image for scene in scenes if scene.crs is None), None)
            if crooked is not None:
                raise ConfigError(
                    f'{crooked}: is placed by control points or polynomials, and boxes cannot cut '
                    'it: set whole to true, or open the dataset with gsd_m, on a grid'
                )
            return _cut(scenes, prints, crs, each if held_out else None, boxes)
        inside = shapely.contains(boxes, shapely.centroid(prints))
        if held_out:
            chosen = inside
        else:
            # a scene that shares ground with a held-out one is left out of both sides
            margin = _TOUCH * np.sqrt(shapely.area(prints))
            tree = shapely.STRtree(
                [translate(ground, by) for by in shifts for ground in prints[inside]]
            )
            meeting, _ = tree.query(shapely.buffer(prints, -margin), 'intersects')
            chosen = ~inside
            chosen[meeting] = False
        return [scene for scene, there in zip(scenes, chosen, strict=True) if there]

    def _named(self, scene: Scene, folder: Path) -> bool:
        if not self.names:
            return False
        key = natural_key(Path(os.path.relpath(scene.image, folder)).as_posix())
        return any(natural_key(first) <= key <= natural_key(last) for first, last in self.names)


def _has_place(scene: Scene) -> bool:
    return scene.crs is not None or scene.raster.georeference.tie is not None


def _cut(
    scenes: Sequence[Scene],
    prints: Shaped[np.ndarray, ' n'],
    crs: CRS,
    each: Sequence[shapely.Geometry] | None,
    boxes: shapely.Geometry,
) -> list[Scene]:
    """A part of each scene for each box, or what remains of it outside all boxes."""
    kept = []
    for scene, ground in zip(scenes, prints, strict=True):
        if each is not None:
            sides = [shapely.intersection(ground, box) for box in each]
        else:
            sides = [ground] if not shapely.intersects(ground, boxes) else [ground - boxes]
        for side in sides:
            part = cut_scene(scene, side, crs) if not side.is_empty and side.area > 0 else None
            if part is not None:
                kept.append(part)
    return kept


def _rows(scene: Scene, bottom: float, *, held_out: bool) -> Scene:
    """The lowest rows of a scene, or the rows above them."""
    at = min(max(round(scene.height * (1 - bottom)), 1), scene.height - 1)
    first, stop = (at, scene.height) if held_out else (0, at)
    return dataclasses.replace(scene, part=Part(first, 0, stop - first, scene.width))
