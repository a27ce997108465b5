"""Reading, model and stitching: who waits for whom, and what an error leaves."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from crossearth.inference import Running, Windows, predict_scene, streaming
from tests.inference.test_predict import Write, random_image


@pytest.mark.parametrize('spare', [False, True])
def test_stitching_takes_turns_with_the_model_where_no_core_is_left(
    write_scene: Write,
    convolutions: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spare: bool,
) -> None:
    monkeypatch.setattr(streaming, 'has_core_to_spare', lambda _: spare)
    stitched_by: set[str] = set()
    add = streaming.Stitcher.add

    def watched(self: streaming.Stitcher, window: Tensor, **place: int) -> None:
        stitched_by.add(threading.current_thread().name)
        add(self, window, **place)

    monkeypatch.setattr(streaming.Stitcher, 'add', watched)
    scene = write_scene(random_image(200, 300, seed=1))
    windows, running = Windows(tile_px=64), Running(batch_size=2)
    made = predict_scene(convolutions, scene, tmp_path / 'm.tif', windows=windows, running=running)
    assert stitched_by == {'crossearth-writer' if spare else threading.main_thread().name}
    monkeypatch.undo()
    usual = predict_scene(convolutions, scene, tmp_path / 'u.tif', windows=windows, running=running)
    assert made.path.read_bytes() == usual.path.read_bytes()


@pytest.mark.parametrize('spare', [False, True])
def test_an_error_of_the_model_reaches_the_caller_and_ends_the_threads(
    write_scene: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: bool
) -> None:
    monkeypatch.setattr(streaming, 'has_core_to_spare', lambda _: spare)
    before = threading.active_count()
    seen = 0

    def model(images: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        if seen > 5:
            raise ArithmeticError('the sixth window')
        return images

    with pytest.raises(ArithmeticError, match='sixth'):
        predict_scene(
            model,
            write_scene(np.ones((3, 200, 200), np.uint8)),
            tmp_path / 'map.tif',
            windows=Windows(tile_px=32),
            running=Running(batch_size=1),
        )
    assert threading.active_count() == before
    assert not (tmp_path / 'map.tif').exists()


def test_a_core_is_left_if_torch_has_fewer_threads_than_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device('cpu')
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 3}, raising=False)
    before = torch.get_num_threads()
    try:
        found = {}
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found[threads] = streaming.has_core_to_spare(cpu)
        assert found == {1: True, 2: False, 4: False}
        assert streaming.has_core_to_spare(torch.device('cuda'))
    finally:
        torch.set_num_threads(before)
