import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from crossearth.errors import ConfigError, WriteError
from crossearth.geometry import Window
from crossearth.inference import Outputs, Running, View, Windows, predict_scene
from crossearth.inference.map_parts import MapParts
from tests.inference.test_predict import Write, labels_of, random_image

SMALL = Windows(tile_px=128)
KEPT = Running(resume=True, shard_px=512)

CHILD = """
import os, signal, sys
import torch
from crossearth.inference import Running, Windows, predict_scene
torch.set_num_threads(1)
scene, destination, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 5, 3, padding=1)
)
def progress(done, total):
    if done >= last:
        os.kill(os.getpid(), signal.SIGKILL)
shard = tuple(map(int, sys.argv[4].split('/'))) if len(sys.argv) > 4 else None
predict_scene(
    model, scene, destination, windows=Windows(tile_px=128),
    running=Running(shard_px=512, resume=True, shard=shard), progress=progress,
)
"""


def hook(model: nn.Module, call: Callable[[], None]) -> RemovableHandle:
    """Call a function after a model. A hook of the model would be part of its identity."""
    return register_module_forward_hook(lambda module, *_: call() if module is model else None)


def in_a_process(*arguments: object, code: str = CHILD) -> int:
    return subprocess.run(
        [sys.executable, '-c', code, *map(str, arguments)],
        env=os.environ | {'PYTHONPATH': str(Path.cwd()), 'OMP_NUM_THREADS': '1'},
        check=False,
    ).returncode


@pytest.fixture
def scene(write_scene: Write) -> Path:
    image = random_image(1100, 1300, seed=5)
    image[:, 300:600, 200:900] = 0
    return write_scene(image, nodata=0, tiled=True, blockxsize=256, blockysize=256)


@pytest.fixture
def whole(scene: Path, convolutions: nn.Module, tmp_path: Path) -> bytes:
    return predict_scene(
        convolutions, scene, tmp_path / 'whole.tif', windows=SMALL
    ).path.read_bytes()


def test_parts_give_the_same_bytes_and_are_removed(
    scene: Path, whole: bytes, convolutions: nn.Module, tmp_path: Path
) -> None:
    made = predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    assert made.units == 9
    assert made.path.read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == {'scene.tif', 'whole.tif', 'map.tif'}


@pytest.mark.parametrize('windows', [3, 97, 211])
def test_kill_loses_at_most_one_part_and_no_byte(
    scene: Path, whole: bytes, convolutions: nn.Module, tmp_path: Path, windows: int
) -> None:
    assert in_a_process(scene, tmp_path / 'map.tif', windows) == -signal.SIGKILL
    assert not (tmp_path / 'map.tif').exists()
    # parts of 512 px have 36 to 49 windows: all but the one under way have a receipt
    receipts = list((tmp_path / 'map.tif.parts').glob('0*.json'))
    assert windows // 49 <= len(receipts) <= windows // 9

    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    handle = hook(convolutions, count)
    made = predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    handle.remove()
    done = sum(json.loads(path.read_text())['windows_run'] for path in receipts if path.exists())
    assert made.path.read_bytes() == whole
    assert calls - 1 <= made.windows_run - done  # and one to learn the number of classes
    assert not (tmp_path / 'map.tif.parts').exists()


def test_shards_of_several_workers_give_the_same_bytes(
    scene: Path, whole: bytes, convolutions: nn.Module, tmp_path: Path
) -> None:
    for index in (2, 1, 3):
        made = predict_scene(
            convolutions,
            scene,
            tmp_path / 'map.tif',
            windows=SMALL,
            running=Running(shard=(index, 3), shard_px=512),
        )
        assert not made.complete
        assert not made.path.exists()
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    handle = hook(convolutions, count)
    made = predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    handle.remove()
    assert made.complete
    assert calls == 1  # to learn the number of classes
    assert made.path.read_bytes() == whole


def test_resuming_removes_what_kills_left(
    scene: Path, whole: bytes, convolutions: nn.Module, tmp_path: Path
) -> None:
    for name in ('.map.tif.a1b2c3_4', '.map.tif.mine', '.other.tif.a1b2c3_4'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'map.tif').touch()
    predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    assert (tmp_path / 'map.tif').read_bytes() == whole
    hidden = {path.name for path in tmp_path.iterdir() if path.name.startswith('.')}
    assert hidden == {'.map.tif.mine', '.other.tif.a1b2c3_4'}


def test_the_next_run_removes_parts_of_a_killed_run_that_keeps_none(
    scene: Path, whole: bytes, convolutions: nn.Module, tmp_path: Path
) -> None:
    former = set(tmp_path.iterdir())
    code = CHILD.replace('shard_px=512, resume=True, shard=shard', 'memory_mb=21')  # several parts
    assert in_a_process(scene, tmp_path / 'map.tif', 200, code=code) == -signal.SIGKILL
    (left,) = [path for path in set(tmp_path.iterdir()) - former if path.is_dir()]
    assert list(left.glob('0*-labels.tif'))
    predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    assert set(tmp_path.iterdir()) - former == {tmp_path / 'map.tif'}
    assert (tmp_path / 'map.tif').read_bytes() == whole


def test_damaged_part_is_computed_again(
    scene: Path, whole: bytes, convolutions: nn.Module, tmp_path: Path
) -> None:
    predict_scene(
        convolutions,
        scene,
        tmp_path / 'map.tif',
        windows=SMALL,
        running=Running(shard=(1, 1), shard_px=512),
    )
    parts = tmp_path / 'map.tif.parts'
    part = parts / '00004-labels.tif'
    part.write_bytes(part.read_bytes()[:-100])
    (parts / '00005-labels.tif').unlink()
    (parts / '00006.json').write_text('{"windo')
    (parts / '00007.json').write_text('[1]')
    (parts / '00008.json').write_text('{"checksums": {}, "lost": [{}], "windows_run": 40}')
    made = predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    assert made.path.read_bytes() == whole


def test_parts_of_another_run_are_refused_and_left(
    scene: Path, convolutions: nn.Module, tmp_path: Path
) -> None:
    predict_scene(
        convolutions,
        scene,
        tmp_path / 'map.tif',
        windows=SMALL,
        running=Running(shard=(1, 9), shard_px=512),
    )
    with pytest.raises(
        ConfigError, match=r'another run \(stride_px was 85, is 171; tile_px was 128'
    ):
        predict_scene(
            convolutions,
            scene,
            tmp_path / 'map.tif',
            windows=Windows(tile_px=256),
            running=KEPT,
        )
    other = nn.Conv2d(3, 5, 1)
    with pytest.raises(ConfigError, match=r'another run .model was'):
        predict_scene(
            other,
            scene,
            tmp_path / 'map.tif',
            windows=Windows(tile_px=128),
            running=KEPT,
        )
    assert (tmp_path / 'map.tif.parts' / '00000.json').exists()
    os.utime(scene, ns=(0, scene.stat().st_mtime_ns + 1))  # as if it were written again
    with pytest.raises(ConfigError, match=r'another run .files was'):
        predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)


def test_parts_of_another_version_are_refused_and_left(
    scene: Path, convolutions: nn.Module, tmp_path: Path
) -> None:
    share = Running(shard=(1, 9), shard_px=512)
    predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=share)
    plan = tmp_path / 'map.tif.parts' / 'plan.json'
    former = json.loads(plan.read_text()) | {'format': 1}
    plan.write_text(json.dumps(former))
    with pytest.raises(ConfigError, match='parts made by another version of crossearth: remove'):
        predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    assert plan.with_name('00000.json').exists()


@pytest.mark.parametrize('text', [b'', b'{"format": 3, "ti', b'[1]', b'\xff\xfe'])
def test_parts_with_a_damaged_plan_are_refused_and_left(text: bytes, tmp_path: Path) -> None:
    folder = tmp_path / 'map.tif.parts'
    MapParts(folder, {'tile_px': 128})
    (folder / 'plan.json').write_bytes(text)
    message = r'plan.json is damaged .*: remove the folder .*map.tif.parts, and map the scene again'
    with pytest.raises(ConfigError, match=message):
        MapParts(folder, {'tile_px': 128})
    assert (folder / 'plan.json').read_bytes() == text


def test_parts_that_another_rule_resampled_are_not_joined(
    scene: Path, convolutions: nn.Module, tmp_path: Path
) -> None:
    options: dict[str, Any] = {'windows': SMALL, 'view': View(gsd_m=1.0)}
    share = Running(shard=(1, 9), shard_px=512)
    predict_scene(convolutions, scene, tmp_path / 'map.tif', running=share, **options)
    plan = tmp_path / 'map.tif.parts' / 'plan.json'
    former = json.loads(plan.read_text())
    assert former.pop('resampling') == 'along its own axes where pixels are even'
    plan.write_text(json.dumps(former))  # as before there was another rule
    with pytest.raises(ConfigError, match=r'another run \(resampling was None, is along its own'):
        predict_scene(convolutions, scene, tmp_path / 'map.tif', running=KEPT, **options)


def test_what_bytes_do_not_depend_on_may_change_between_shards(
    scene: Path, whole: bytes, convolutions: nn.Module, tmp_path: Path
) -> None:
    share = Running(shard=(1, 1), shard_px=512)
    predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=share)
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    handle = hook(convolutions, count)
    made = predict_scene(
        convolutions,
        scene,
        tmp_path / 'map.tif',
        windows=Windows(tile_px=128, overlap=0, stride_px=SMALL.step_px),
        view=View(bands=(1, 2, 3), gsd_m='native', return_by='bilinear'),
        running=Running(resume=True, shard_px=512, device='cpu', batch_size=1, memory_mb=400),
    )
    handle.remove()
    assert calls == 1  # to learn the number of classes
    assert made.path.read_bytes() == whole


def test_error_of_the_model_keeps_the_finished_parts(
    scene: Path, whole: bytes, convolutions: nn.Module, tmp_path: Path
) -> None:
    calls = 0

    def stumble() -> None:
        nonlocal calls
        calls += 1
        if calls == 150:
            raise RuntimeError('out of memory')

    handle = hook(convolutions, stumble)
    with pytest.raises(RuntimeError, match='out of memory'):
        predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    handle.remove()
    assert not (tmp_path / 'map.tif').exists()
    assert (tmp_path / 'map.tif.parts' / '00000.json').exists()
    made = predict_scene(convolutions, scene, tmp_path / 'map.tif', windows=SMALL, running=KEPT)
    assert made.path.read_bytes() == whole


@pytest.mark.parametrize(
    ('shard', 'shard_px', 'message'),
    [
        ((0, 3), 512, r'shard is \(0, 3\): expected \(i, n\)'),
        ((4, 3), 512, r'shard is \(4, 3\)'),
        ((1, 3), 700, 'shard_px is 700: .* multiple of 512'),
    ],
)
def test_shards_out_of_range_are_errors(
    write_scene: Write,
    convolutions: nn.Module,
    tmp_path: Path,
    shard: tuple[int, int],
    shard_px: int,
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        predict_scene(
            convolutions,
            write_scene(random_image(9, 9)),
            tmp_path / 'map.tif',
            running=Running(shard=shard, shard_px=shard_px),
        )


@pytest.mark.parametrize('resume', [False, True])
def test_damaged_blocks_become_nodata_and_are_listed(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path, resume: bool
) -> None:
    image = random_image(600, 700)
    path = write_scene(image, tiled=True, blockxsize=128, blockysize=128, compress='deflate')
    whole = labels_of(predict_scene(convolutions, path, tmp_path / 'whole.tif').path)
    size = path.stat().st_size
    with path.open('r+b') as file:  # inside of one block, in the middle of the file
        file.seek(size // 2)
        file.write(b'\xff' * 64)
    made = predict_scene(
        convolutions,
        path,
        tmp_path / 'map.tif',
        running=Running(on_read_error='nodata', resume=resume, shard_px=512),
    )
    assert len(made.lost) == 1
    (window,) = made.lost
    assert (window.row % 128, window.col % 128, window.height, window.width) == (0, 0, 128, 128)
    expected = np.zeros((600, 700), bool)
    expected[window.row : window.stop[0], window.col : window.stop[1]] = True
    labels = labels_of(made.path)
    np.testing.assert_array_equal(labels == 255, expected)
    far = np.ones_like(expected)
    far[window.row - 8 : window.stop[0] + 8, window.col - 8 : window.stop[1] + 8] = False
    np.testing.assert_array_equal(labels[far], whole[far])
    assert isinstance(window, Window)


@pytest.mark.parametrize('cog', [False, True])
def test_full_disk_is_an_error_whenever_it_fills_and_leaves_the_former_map(
    write_scene: Write, tmp_path: Path, cog: bool
) -> None:
    scene = write_scene(random_image(900, 900))
    destination = tmp_path / 'map.tif'

    def noise(images: torch.Tensor) -> torch.Tensor:
        return images * 50

    predict_scene(noise, scene, tmp_path / 'whole.tif', outputs=Outputs(cog=cog))
    expected = labels_of(tmp_path / 'whole.tif')
    size = (tmp_path / 'whole.tif').stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    failed = 0
    try:
        for limit in (*range(0, size, size // 9), size - 1, size - 600, size + 10_000):
            destination.write_text('former')
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                predict_scene(noise, scene, destination, outputs=Outputs(cog=cog))
            except WriteError as error:
                failed += 1
                assert 'map.tif' in str(error)
                assert destination.read_text() == 'former'
            else:
                np.testing.assert_array_equal(labels_of(destination), expected)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert {path.name for path in tmp_path.iterdir()} == {
                'scene.tif',
                'map.tif',
                'whole.tif',
            }
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert failed >= 10
