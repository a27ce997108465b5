"""Predicts the class ids of a scene in memory, for scoring."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
import torch
from jaxtyping import UInt8

from crossearth.inference.decision import Decision
from crossearth.inference.network import Network
from crossearth.inference.regridding import Draft, MergeScores, regrid_to_scene
from crossearth.inference.rendering import score_layer
from crossearth.inference.request import Windows
from crossearth.inference.scene import OpenScene
from crossearth.inference.scene_mapper import SceneMapper
from crossearth.inference.writer import label_layer
from crossearth.labels import IGNORE_INDEX
from crossearth.rasters import Raster, gdal_environment

__all__ = ['scene_labels']


def scene_labels(
    network: Network,
    native: Raster,
    grids: Sequence[Raster],
    windows: Windows,
    merge: MergeScores,
    *,
    batch_size: int = 1,
) -> UInt8[np.ndarray, 'h w']:
    """Class ids on a scene's own grid, from the grids on which a model sees it.

    They are computed as `predict_scene` makes a map with `return_by='bilinear'`. Scores are kept on
    disk. So apart from the class ids, memory depends only on the windows and the width of the
    scene.

    Args:
        network: The model, in eval mode.
        native: The scene on its own grid.
        grids: The scene as the model sees it, at one scale or several.
        windows: Size, stride and blending of windows.
        merge: Merges the scores of several grids.
        batch_size: Windows per batch.

    Returns:
        Class ids; 255 where the scene has no data.

    Raises:
        SceneError: If a block of the scene cannot be read.
        ShapeError: If the model does not give logits at the size of its input, or has other
            classes.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        stack.enter_context(gdal_environment())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix='crossearth-')))
        scene = stack.enter_context(OpenScene(native))
        drafts = []
        for i, raster in enumerate(grids):
            seen = stack.enter_context(OpenScene(raster))
            grid = windows.grid(raster.height, raster.width)
            classes = network.count_classes((len(native.bands), *grid.tile_hw))
            decision = Decision(network.gives_logits, ())
            mapper = SceneMapper(
                seen,
                grid,
                network,
                min(batch_size, len(grid)),
                {'scores': score_layer(classes)},
                decision,
            )
            draft = Draft(raster, {'scores': folder / f'{i}.tif'})
            mapper.map_whole(draft.files, lambda _: None, draft=True)
            drafts.append(draft)
        path = folder / 'labels.tif'
        regrid_to_scene(
            drafts,
            scene,
            {'labels': label_layer(classes, nodata=IGNORE_INDEX, labels=None)},
            {'labels': path},
            merge=merge,
            decision=decision,
            draft=True,
        )
        with rasterio.open(path) as made:
            ids: UInt8[np.ndarray, 'h w'] = made.read(1)
            return ids
