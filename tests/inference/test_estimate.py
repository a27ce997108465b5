from pathlib import Path

import pytest
import torch

from crossearth.inference import Outputs, Running, Windows, estimate_scene, predict_scene
from tests.inference.test_predict import Write, random_image


def test_estimate_counts_what_is_run(
    write_scene: Write, convolutions: torch.nn.Module, tmp_path: Path
) -> None:
    scene = write_scene(random_image(300, 2600))
    windows, running = Windows(tile_px=200), Running(memory_mb=30)
    estimate = estimate_scene(convolutions, scene, windows=windows, running=running)
    made = predict_scene(
        convolutions, scene, tmp_path / 'map.tif', windows=windows, running=running
    )
    assert estimate.units == made.units > 1
    assert estimate.windows_run == made.windows_run > made.windows == estimate.windows
    assert estimate.memory_mb <= 30


@pytest.mark.parametrize('running', [Running(resume=True, shard_px=512), Running(shard_px=512)])
def test_estimate_counts_the_parts_that_are_kept(
    write_scene: Write, convolutions: torch.nn.Module, tmp_path: Path, running: Running
) -> None:
    scene = write_scene(random_image(600, 1100))
    estimate = estimate_scene(convolutions, scene, running=running)
    made = predict_scene(convolutions, scene, tmp_path / 'map.tif', running=running)
    assert estimate.units == made.units == (6 if running.resume else 1)
    assert estimate.windows_run == made.windows_run


def test_further_rasters_take_memory(write_scene: Write, convolutions: torch.nn.Module) -> None:
    scene = write_scene(random_image(600, 1100))
    plain = estimate_scene(convolutions, scene)
    more = estimate_scene(convolutions, scene, outputs=Outputs(probabilities='p.tif'))
    assert more.memory_mb > plain.memory_mb
