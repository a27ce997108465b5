import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from crossearth.errors import BusyError, WriteError
from crossearth.inference import predict_scene
from crossearth.inference.map_lock import only_writer
from tests.inference.test_predict import Write


def test_a_second_writer_is_told_until_the_first_has_ended(tmp_path: Path) -> None:
    path = tmp_path / 'map.tif'
    with only_writer([path]):
        with pytest.raises(BusyError, match=r'map.tif is being written by another process: wait'):
            only_writer([tmp_path / 'a.tif', path]).__enter__()
        with only_writer([tmp_path / 'a.tif']):
            pass
    with only_writer([path]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_shares_of_a_map_are_made_at_the_same_time_but_each_once(tmp_path: Path) -> None:
    path = tmp_path / 'map.tif'
    first, second = (only_writer([path], shard=(index, 2)) for index in (1, 2))
    with first, second, pytest.raises(BusyError):
        only_writer([path], shard=(2, 2)).__enter__()


def test_the_lock_of_a_process_that_was_killed_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / 'map.tif'

    def hold_and_die() -> None:
        with only_writer([path]):
            os._exit(9)

    child = multiprocessing.get_context('fork').Process(target=hold_and_die)
    child.start()
    child.join()
    assert (tmp_path / '.map.tif.lock').exists()
    with only_writer([path]):
        pass


def test_maps_are_not_made_by_two_at_a_time(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(np.zeros((2, 9, 9), np.uint8))
    with only_writer([tmp_path / 'map.tif']), pytest.raises(BusyError, match=r'map\.tif'):
        predict_scene(nn.Identity(), scene, tmp_path / 'map.tif')
    assert predict_scene(nn.Identity(), scene, tmp_path / 'map.tif').complete


def test_a_folder_that_refuses_files_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(WriteError, match=r'a.tif cannot be written .* in the folder'):
        only_writer([tmp_path / 'file' / 'a.tif']).__enter__()
