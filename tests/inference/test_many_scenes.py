import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor, nn

from crossearth.errors import CheckpointError, ConfigError
from crossearth.inference import (
    Outcome,
    Outputs,
    Running,
    Task,
    View,
    Windows,
    Workers,
    predict_scene,
    predict_scenes,
    tasks_of,
)
from crossearth.inference.map_lock import only_writer
from crossearth.mosaic import mosaic_maps
from tests.inference.test_predict import Write, random_image

SMALL = Windows(tile_px=64)


def load() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))


class Deadly(nn.Module):
    """Kills its process at a scene that is white, or only the first time."""

    def __init__(self, once: Path | None) -> None:
        super().__init__()
        self.inner, self.once = load(), once

    def forward(self, images: Tensor) -> Tensor:
        if images.min() == 1 and not (self.once is not None and self.once.exists()):
            if self.once is not None:
                self.once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner(images)


def load_deadly(once: Path | None) -> nn.Module:
    return Deadly(once)


def load_nothing(log: Path) -> nn.Module:
    with log.open('a') as file:
        file.write('x')
    raise CheckpointError('the file is damaged')


def load_and_end() -> nn.Module:
    os._exit(3)


@pytest.fixture
def tasks(write_scene: Write, tmp_path: Path) -> list[Task]:
    (tmp_path / 'in').mkdir()
    for index in range(4):
        image = random_image(150, 130, seed=index)
        if index == 2:
            image[:] = 255
        write_scene(image, f'in/{index}.tif')
    return tasks_of([tmp_path / 'in'], tmp_path / 'out')


def maps(tasks: list[Task]) -> list[bytes]:
    return [task.destination.read_bytes() for task in tasks]


@pytest.fixture
def expected(tasks: list[Task], tmp_path: Path) -> list[bytes]:
    (tmp_path / 'expected').mkdir()
    return [
        predict_scene(
            load(), task.scene, tmp_path / 'expected' / task.destination.name, windows=SMALL
        ).path.read_bytes()
        for task in tasks
    ]


def test_what_a_kill_left_of_a_receipt_is_gone_after_the_next_run(
    tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two steps of a receipt, with a map that is already there."""
    killed = tasks[1].destination.with_name(f'{tasks[1].destination.name}.receipt.json')
    rename = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == killed:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', replace)
        with pytest.raises(KeyboardInterrupt):
            predict_scenes(load, tasks, windows=SMALL)
    folder = killed.parent
    assert tasks[1].destination.exists()
    assert not killed.exists()
    assert [path.name for path in folder.glob('.*')] == [f'.{killed.name}']
    summary = predict_scenes(load, tasks, windows=SMALL)
    assert [outcome.status for outcome in summary.outcomes] == ['present', *['done'] * 3]
    assert not list(folder.glob('.*'))


@pytest.mark.parametrize('workers', [1, 2])
def test_workers_give_the_bytes_of_one_process(
    tasks: list[Task], expected: list[bytes], workers: int
) -> None:
    told: list[Outcome] = []
    summary = predict_scenes(
        load, tasks, windows=SMALL, workers=Workers(workers), progress=told.append
    )
    assert maps(tasks) == expected
    assert [outcome.status for outcome in summary.outcomes] == ['done'] * 4
    assert [outcome.scene for outcome in summary.outcomes] == [task.scene for task in tasks]
    assert len(told) == 4
    assert str(summary).startswith('4 done, 0 present, 0 failed, 0 quarantined; 36 windows')


@pytest.mark.slow
def test_worker_that_is_killed_once_costs_nothing(
    tasks: list[Task], expected: list[bytes], tmp_path: Path
) -> None:
    summary = predict_scenes(
        functools.partial(load_deadly, tmp_path / 'once'), tasks, windows=SMALL, workers=Workers(2)
    )
    assert (tmp_path / 'once').exists()
    assert summary.count('done') == 4
    assert maps(tasks) == expected


@pytest.mark.slow
def test_scene_that_always_kills_its_worker_is_quarantined_and_others_are_mapped(
    tasks: list[Task], expected: list[bytes]
) -> None:
    summary = predict_scenes(
        functools.partial(load_deadly, None),
        tasks,
        windows=SMALL,
        workers=Workers(2),
        max_failures=1,
    )
    assert summary.outcomes[2].status == 'quarantined'
    assert 'the worker died' in summary.outcomes[2].error
    assert summary.count('done') == 3
    assert not tasks[2].destination.exists()
    assert [maps([task])[0] for task in tasks if task is not tasks[2]] == [
        expected[0],
        expected[1],
        expected[3],
    ]


def test_receipts_spare_what_is_done_and_quarantine_what_fails(
    tasks: list[Task], tmp_path: Path
) -> None:
    damaged = Path(tasks[1].scene)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    first = predict_scenes(load, tasks, windows=SMALL)
    assert [outcome.status for outcome in first.outcomes] == ['done', 'quarantined', 'done', 'done']
    assert f'quarantined: {damaged}: SceneError: {damaged}: rows' in str(first)

    again = predict_scenes(load, tasks, windows=SMALL)
    assert [outcome.status for outcome in again.outcomes][:2] == ['present', 'quarantined']
    assert again.outcomes[0].windows_run == 0

    damaged.write_bytes(whole)
    retried = predict_scenes(load, tasks, windows=SMALL, retry=True)
    assert [outcome.status for outcome in retried.outcomes][:2] == ['present', 'done']

    tasks[3].destination.write_bytes(b'short')
    other = predict_scenes(load, tasks, windows=SMALL)
    assert [outcome.status for outcome in other.outcomes] == ['present'] * 3 + ['done']
    changed = predict_scenes(load, tasks, windows=Windows(tile_px=128))
    assert changed.count('done') == 4


def test_rasters_in_the_place_of_maps_end_the_run_before_any_scene_and_are_no_fault_of_one(
    tasks: list[Task],
) -> None:
    tasks[2].destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tasks[0].scene, tasks[2].destination)
    with pytest.raises(ConfigError, match='is a raster and has no mark of crossearth'):
        predict_scenes(load, tasks, windows=SMALL)
    tasks[2].destination.unlink()
    assert predict_scenes(load, tasks, windows=SMALL).count('done') == 4


def test_another_model_or_a_changed_scene_makes_maps_again(tasks: list[Task]) -> None:
    assert predict_scenes(load, tasks, windows=SMALL, model_id='a').count('done') == 4
    assert predict_scenes(load, tasks, windows=SMALL, model_id='a').count('present') == 4
    scene = Path(tasks[1].scene)
    os.utime(scene, ns=(0, scene.stat().st_mtime_ns + 1))
    again = predict_scenes(load, tasks, windows=SMALL, model_id='a')
    assert [outcome.status for outcome in again.outcomes] == ['present', 'done'] + ['present'] * 2
    assert predict_scenes(load, tasks, windows=SMALL, model_id='b').count('done') == 4


@pytest.mark.parametrize('workers', [1, 3])
def test_a_loader_that_fails_is_raised_after_one_try_and_blames_no_scene(
    tasks: list[Task], tmp_path: Path, workers: int
) -> None:
    with pytest.raises(CheckpointError, match='the file is damaged'):
        predict_scenes(
            functools.partial(load_nothing, tmp_path / 'loads'), tasks, workers=Workers(workers)
        )
    assert (tmp_path / 'loads').read_text() == 'x'
    assert list((tmp_path / 'out').iterdir()) == []


def test_a_loader_that_cannot_be_sent_or_ends_its_process_is_named(tasks: list[Task]) -> None:
    with pytest.raises(ConfigError, match=r'load cannot be sent .* a function of a module'):
        predict_scenes(lambda: nn.Identity(), tasks, workers=Workers(2))
    with pytest.raises(ConfigError, match='exit code 3 before it had loaded the model'):
        predict_scenes(load_and_end, tasks, workers=Workers(2))


def test_settings_that_fit_no_scene_are_raised_and_blame_none(
    tasks: list[Task], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r'3 scenes failed in the same way .* but nri were asked'):
        predict_scenes(load, tasks, windows=SMALL, view=View(bands=('nri',)))
    assert list((tmp_path / 'out').iterdir()) == []
    # once a scene has a map, the others are judged one by one
    assert predict_scenes(load, tasks[:1]).count('done') == 1
    Path(tasks[1].scene).write_bytes(b'')
    for task in tasks[2:]:
        Path(task.scene).write_bytes(b'')
    assert predict_scenes(load, tasks).count('quarantined') == 3


PARENT = """
import os, sys, time
from pathlib import Path
from crossearth.inference import Task, Workers, predict_scenes

def load():
    def model(images):
        (Path(sys.argv[1]).parent / f'pid-{os.getpid()}').touch()
        time.sleep(600)
    return model

if __name__ == '__main__':
    scenes = sorted(Path(sys.argv[1]).iterdir())
    tasks = [Task(str(scene), Path(sys.argv[2], scene.name)) for scene in scenes]
    predict_scenes(load, tasks, workers=Workers(2), model_id='sleeper')
"""


@pytest.mark.slow
def test_workers_end_with_a_killed_parent_and_leave_no_lock(
    tasks: list[Task], expected: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / 'parent.py').write_text(PARENT)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, tmp_path / 'parent.py', tmp_path / 'in', tmp_path / 'out'],
        env={**os.environ, 'PYTHONPATH': str(root)},
    )
    try:
        wait_until(lambda: parent.poll() is not None or len(list(tmp_path.glob('pid-*'))) == 2)
        assert parent.poll() is None
        workers = [int(path.name.removeprefix('pid-')) for path in tmp_path.glob('pid-*')]
        assert all(map(lives, workers))
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not any(map(lives, workers)))
    assert list((tmp_path / 'out').glob('.*.lock'))
    assert predict_scenes(load, tasks, windows=SMALL).count('done') == 4
    assert maps(tasks) == expected
    assert not [path for path in (tmp_path / 'out').iterdir() if path.name.startswith('.')]


def wait_until(is_so: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
    except FileNotFoundError:
        return False


def test_a_map_that_another_process_makes_is_waited_for_and_not_made_twice(
    tasks: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ExitStack()
    tasks[1].destination.parent.mkdir()
    held.enter_context(only_writer([tasks[1].destination]))
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        held.close()  # the other process ends, with a map and a receipt
        assert predict_scenes(load, [tasks[1]], windows=SMALL).count('done') == 1

    monkeypatch.setattr('crossearth.inference.many_scenes.time.sleep', pause)
    summary = predict_scenes(load, tasks, windows=SMALL)
    assert [outcome.status for outcome in summary.outcomes] == ['done', 'present', 'done', 'done']
    assert len(pauses) == 1


def test_shards_of_a_manifest_map_every_scene_once(
    tasks: list[Task], expected: list[bytes]
) -> None:
    done = [
        outcome.scene
        for index in (1, 2, 3)
        for outcome in predict_scenes(
            load, tasks, windows=SMALL, running=Running(shard=(index, 3))
        ).outcomes
    ]
    assert sorted(done) == [task.scene for task in tasks]
    assert maps(tasks) == expected


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # Ray leaves sockets and processes to the interpreter
def test_ray_gives_the_bytes_of_one_process(tasks: list[Task], tmp_path: Path) -> None:
    pytest.importorskip('ray', reason='the extra scale is not installed')
    # actors of a cluster import no test modules
    summary = predict_scenes(nn.Identity, tasks, windows=SMALL, workers=Workers(2, 'ray'))
    assert summary.count('done') == 4
    for task in tasks:
        made = predict_scene(nn.Identity(), task.scene, tmp_path / 'one.tif', windows=SMALL)
        assert made.path.read_bytes() == task.destination.read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # Ray leaves sockets and processes to the interpreter
def test_ray_actor_that_is_killed_costs_nothing_and_a_deadly_scene_is_quarantined(
    tasks: list[Task], expected: list[bytes], tmp_path: Path
) -> None:
    ray = pytest.importorskip('ray', reason='the extra scale is not installed')
    # actors find the model of this module
    variables = {'PYTHONPATH': str(Path(__file__).parents[2])}
    ray.init(include_dashboard=False, num_cpus=2, runtime_env={'env_vars': variables})
    try:
        once = functools.partial(load_deadly, tmp_path / 'killed')
        summary = predict_scenes(once, tasks, windows=SMALL, workers=Workers(2, 'ray'))
        assert (tmp_path / 'killed').exists()
        assert summary.count('done') == 4
        assert maps(tasks) == expected
        always = functools.partial(load_deadly, None)
        again = Windows(tile_px=64, blend='mean')
        summary = predict_scenes(always, tasks, windows=again, workers=Workers(2, 'ray'))
        resumed = predict_scenes(always, tasks, windows=again, workers=Workers(2, 'ray'))
        assert resumed.count('present') == 3
        counting = functools.partial(load_nothing, tmp_path / 'loads')
        with pytest.raises(CheckpointError, match='the file is damaged'):
            predict_scenes(counting, tasks, workers=Workers(2, 'ray'))
        assert (tmp_path / 'loads').read_text() == 'x'
        assert ray.is_initialized()  # a cluster that was there is left
    finally:
        ray.shutdown()
    assert [outcome.status for outcome in summary.outcomes] == [
        'done', 'done', 'quarantined', 'done',
    ]  # fmt: skip
    assert 'the worker died' in summary.outcomes[2].error


def test_further_rasters_of_many_scenes_lie_in_folders_under_the_names_of_the_maps(
    write_scene: Write, tmp_path: Path
) -> None:
    for folder in ('a', 'b'):
        (tmp_path / 'in' / folder).mkdir(parents=True)
        write_scene(random_image(20, 30, seed=ord(folder)), f'in/{folder}/TCI.tif')
    tasks = tasks_of([tmp_path / 'in'], tmp_path / 'out')
    outputs = Outputs(confidence=tmp_path / 'sure', probabilities=tmp_path / 'p')

    def states() -> list[str]:
        summary = predict_scenes(load, tasks, windows=SMALL, outputs=outputs)
        return [outcome.status for outcome in summary.outcomes]

    assert states() == ['done', 'done']
    for name in ('a/TCI.tif', 'b/TCI.tif'):
        with rasterio.open(tmp_path / 'p' / name) as probable:
            greatest = probable.read().max(0)
        with rasterio.open(tmp_path / 'sure' / name) as sure:
            assert sure.descriptions == ('confidence',)
            np.testing.assert_array_equal(sure.read(1), greatest)
    (tmp_path / 'sure' / 'b' / 'TCI.tif').unlink()
    assert states() == ['present', 'done']
    maps = sorted(str(task.destination) for task in tasks)
    sure = [str(tmp_path / 'sure' / task.file_name) for task in tasks]
    assert mosaic_maps(maps, tmp_path / 'm.tif', rule='confidence', confidences=sure).maps == 2
    with pytest.raises(ConfigError, match='would be the same files: choose a folder for each'):
        predict_scenes(load, tasks, outputs=Outputs(entropy=tmp_path / 'out'))
    with pytest.raises(ConfigError, match=r'entropy is .*e\.tif: expected a folder for many'):
        predict_scenes(load, tasks, outputs=Outputs(entropy=tmp_path / 'e.tif'))


def test_arguments_without_a_meaning_are_errors(tasks: list[Task]) -> None:
    with pytest.raises(ConfigError, match='0 workers: expected a whole number'):
        predict_scenes(load, tasks, windows=SMALL, workers=Workers(0))
    with pytest.raises(ConfigError, match=r'shard is \(3, 2\)'):
        predict_scenes(load, tasks, windows=SMALL, running=Running(shard=(3, 2)))
