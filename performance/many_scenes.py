"""Many tiny scenes, some of them damaged, in a run that is killed several times.

Every scene has to be accounted for, and the memory of the processes must not grow.

python performance/many_scenes.py --scenes 10000 --workers 2
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import Affine
from torch import nn

SIDE_PX = 64
EACH_FOLDER = 500


def load() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 1)


def draw_scenes(folder: Path, count: int, damaged: int) -> None:
    """Scenes in folders of 500; those that are damaged lie evenly among them."""
    values = np.random.default_rng(0).integers(0, 255, (3, SIDE_PX, SIDE_PX), np.uint8)
    template = folder / 'template.tif'
    with rasterio.open(
        template, 'w', driver='GTiff', count=3, height=SIDE_PX, width=SIDE_PX, dtype='uint8',
        crs='EPSG:32633', transform=Affine(1, 0, 4e5, 0, -1, 5e6), compress='deflate',
    ) as dataset:  # fmt: skip
        dataset.write(values)
    whole = template.read_bytes()
    step = count // damaged if damaged else count + 1
    for index in range(count):
        path = folder / 'scenes' / f'{index // EACH_FOLDER:03d}' / f'{index % EACH_FOLDER:03d}.tif'
        path.parent.mkdir(parents=True, exist_ok=True)
        is_damaged = index % step == step // 2 and index // step < damaged
        path.write_bytes(whole[: len(whole) // 2] if is_damaged else whole)


def run_once(folder: Path, workers: int) -> None:
    """Map what is left; prints the number of settled scenes and memory every second."""
    from crossearth.inference import Windows, Workers, predict_scenes, tasks_of

    settled = 0

    def count(_outcome: object) -> None:
        nonlocal settled
        settled += 1

    def tell() -> None:
        while True:
            pids = [str(os.getpid()), *children(str(os.getpid()))]
            print(json.dumps([settled, [rss_mb(pid) for pid in pids]]), flush=True)
            time.sleep(1)

    threading.Thread(target=tell, daemon=True).start()
    summary = predict_scenes(
        load,
        tasks_of([folder / 'scenes'], folder / 'maps'),
        windows=Windows(tile_px=SIDE_PX),
        workers=Workers(workers),
        progress=count,
    )
    states = ('done', 'present', 'failed', 'quarantined')
    print(json.dumps({state: summary.count(state) for state in states}), flush=True)


def children(pid: str) -> list[str]:
    return Path(f'/proc/{pid}/task/{pid}/children').read_text().split()


def rss_mb(pid: str) -> int:
    try:
        lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith('VmRSS')), 0)


def run_and_kill(folder: Path, workers: int, *, kill_after: int | None) -> dict[str, int] | None:
    """One run in its own process, killed when so many more scenes are settled."""
    start = time.perf_counter()
    command = [sys.executable, __file__, '--run', str(folder), '--workers', str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    memory: list[list[int]] = []
    found = None
    for line in process.stdout:
        content = json.loads(line)
        if isinstance(content, dict):
            found = content
            continue
        settled, megabytes = content
        memory.append(megabytes)
        if kill_after is not None and settled >= kill_after:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    seconds = time.perf_counter() - start
    sums = [sum(each) for each in memory[len(memory) // 4 :]]
    if sums:
        print(
            f'  {seconds:.0f} s, memory of all processes {min(sums)} to {max(sums)} MiB, '
            f'at the end {sums[-1]}',
            flush=True,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=1000)
    parser.add_argument('--damaged', type=float, default=0.01, help='part of the scenes')
    parser.add_argument('--kills', type=int, default=3)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--run', type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        run_once(options.run, options.workers)
        return
    damaged = round(options.scenes * options.damaged)
    folder = Path(tempfile.mkdtemp())
    try:
        draw_scenes(folder, options.scenes, damaged)
        start = time.perf_counter()
        for kill in range(options.kills):
            run_and_kill(
                folder,
                options.workers,
                kill_after=options.scenes * (kill + 1) // (options.kills + 1),
            )
        counts = run_and_kill(folder, options.workers, kill_after=None)
        seconds = time.perf_counter() - start
        maps = sum(1 for _ in (folder / 'maps').rglob('*.tif'))
        hidden = list((folder / 'maps').rglob('.*'))
        print(
            f'{options.scenes} scenes, {damaged} damaged, {options.kills} kills: {counts}; '
            f'{maps} maps, {len(hidden)} hidden files left; {seconds:.0f} s, '
            f'{options.scenes / seconds:.1f} scenes a second'
        )
        assert counts is not None
        assert counts['quarantined'] == damaged
        assert counts['done'] + counts['present'] == maps == options.scenes - damaged
        assert not hidden
    finally:
        shutil.rmtree(folder)


if __name__ == '__main__':
    main()
