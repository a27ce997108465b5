from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.inference import Running, Windows, predict_scene
from tests.inference.test_predict import OneHot, Write, labels_of, random_ids, random_image


def test_windows_without_data_are_not_run(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    ids = np.full((1, 64, 64), 99, np.uint8)
    ids[:, 40:, 40:] = random_ids(24, 24)
    made = predict_scene(
        one_hot(6),
        write_scene(ids, nodata=99),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=16, overlap=0),
    )
    assert (made.windows, made.windows_run) == (16, 4)
    expected = np.where(ids[0] == 99, 255, ids[0])
    np.testing.assert_array_equal(labels_of(made.path), expected)


def test_scene_without_any_data_becomes_a_map_of_nodata(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    scene = write_scene(np.zeros((1, 30, 40), np.uint8), nodata=0)
    made = predict_scene(one_hot(6), scene, tmp_path / 'map.tif', windows=Windows(tile_px=16))
    assert (labels_of(made.path) == 255).all()
    assert (made.num_classes, made.windows_run) == (6, 0)


# Threads, batch size, and whether memory is little: each pair of values occurs once.
CASES = ((1, 1, False), (1, 3, True), (2, 1, True), (2, 3, False))


def test_panels_batches_and_threads_give_the_same_bytes(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    image = random_image(300, 2300, seed=3)
    image[:, 50:250, 300:900] = 0
    scene = write_scene(image, nodata=0, tiled=True, blockxsize=256, blockysize=256)
    before = torch.get_num_threads()
    made = {}
    try:
        for threads, batch_size, little in CASES:
            torch.set_num_threads(threads)
            memory_mb = least_memory(batch_size) if little else None
            path = tmp_path / f'{threads}-{batch_size}-{memory_mb}.tif'
            made[path] = predict_scene(
                convolutions,
                scene,
                path,
                windows=Windows(tile_px=128),
                running=Running(batch_size=batch_size, memory_mb=memory_mb),
            )
    finally:
        torch.set_num_threads(before)
    assert min(result.units for result in made.values()) == 1
    assert max(result.units for result in made.values()) >= 3
    assert len({path.read_bytes() for path in made}) == 1


def least_memory(batch_size: int) -> int:
    return 22 + batch_size


def test_memory_that_is_too_little_names_what_is_needed(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r'memory_mb is 10, but 5 classes .* at least \d+'):
        predict_scene(
            convolutions,
            write_scene(random_image(90, 90)),
            tmp_path / 'map.tif',
            running=Running(memory_mb=10),
        )
