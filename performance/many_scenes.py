"""Maps many tiny scenes, some of them damaged, in a run that is killed several times.

Every scene must be accounted for. Neither the memory of the processes nor the time per scene may
grow with the number of scenes done. `--flat` puts all scenes into one folder, and `--resume` keeps
parts. Both make a run look at what earlier runs left.

    python performance/many_scenes.py --scenes 10000 --workers 2
    python performance/many_scenes.py --scenes 10000 --flat --resume --kills 0
"""

import argparse
import json
import os
import resource
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

from crossearth.inference import Outcome

SIDE_PX = 64
EACH_FOLDER = 500


def load() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 1)


def draw_scenes(folder: Path, count: int, damaged: int, each_folder: int = EACH_FOLDER) -> None:
    """Write scenes in folders of 500, with damaged ones spread evenly among them."""
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
        path = folder / 'scenes' / f'{index // each_folder:03d}' / f'{index % each_folder:05d}.tif'
        path.parent.mkdir(parents=True, exist_ok=True)
        is_damaged = index % step == step // 2 and index // step < damaged
        path.write_bytes(whole[: len(whole) // 2] if is_damaged else whole)


def run_once(folder: Path, workers: int, *, resume: bool) -> None:
    """Map what is left, and print scenes done, CPU seconds and memory every second."""
    from crossearth.inference import Running, Windows, Workers, predict_scenes, tasks_of

    settled = done = 0

    def count(outcome: Outcome) -> None:
        nonlocal settled, done
        settled += 1
        done += outcome.status == 'done'

    def tell() -> None:
        while True:
            pids = [str(os.getpid()), *children(str(os.getpid()))]
            cpu, megabytes = sum(map(cpu_s, pids)), sum(map(rss_mb, pids))
            print(json.dumps([settled, done, cpu, megabytes]), flush=True)
            time.sleep(1)

    threading.Thread(target=tell, daemon=True).start()
    summary = predict_scenes(
        load,
        tasks_of([folder / 'scenes'], folder / 'maps'),
        windows=Windows(tile_px=SIDE_PX),
        running=Running(resume=resume),
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


def cpu_s(pid: str) -> float:
    """CPU seconds of a process so far; 0 if it has ended."""
    try:
        user, system = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[11:13]
    except FileNotFoundError:
        return 0.0
    return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')


def run_and_kill(
    folder: Path, workers: int, *, resume: bool, kill_after: int | None
) -> dict[str, int] | None:
    """Run once in a separate process, and kill it after a number of further scenes is done."""
    start = time.perf_counter()
    command = [sys.executable, __file__, '--run', str(folder), '--workers', str(workers)]
    process = subprocess.Popen(command + ['--resume'] * resume, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen: list[tuple[float, int, float, int]] = []
    found = None
    for line in process.stdout:
        content = json.loads(line)
        if isinstance(content, dict):
            found = content
            continue
        settled, done, cpu, megabytes = content
        seen.append((time.perf_counter() - start, done, cpu, megabytes))
        if kill_after is not None and settled >= kill_after:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    print(f'  run of {time.perf_counter() - start:.0f} s', flush=True)
    tell_by_quarters([one for one in seen if one[1] > 0])
    return found


def tell_by_quarters(seen: list[tuple[float, int, float, int]]) -> None:
    """Print time per scene and memory of all processes, for each quarter of the scenes."""
    if len(seen) < 5:
        return
    first = 0
    for quarter in range(1, 5):
        goal = seen[-1][1] * quarter / 4
        last = next(i for i, one in enumerate(seen) if one[1] >= goal)
        scenes = seen[last][1] - seen[first][1]
        if scenes:
            clock, cpu = (1e3 * (seen[last][i] - seen[first][i]) / scenes for i in (0, 2))
            print(
                f'    to scene {seen[last][1]}: {clock:.1f} ms and {cpu:.1f} CPU ms per scene, '
                f'{seen[last][3]} MiB',
                flush=True,
            )
        first = last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--scenes', type=int, default=1000)
    parser.add_argument('--damaged', type=float, default=0.01, help='share of the scenes')
    parser.add_argument('--kills', type=int, default=3)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--flat', action='store_true', help='all scenes in one folder')
    parser.add_argument('--resume', action='store_true', help='keep the parts of maps')
    parser.add_argument('--run', type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        run_once(options.run, options.workers, resume=options.resume)
        return
    damaged = round(options.scenes * options.damaged)
    folder = Path(tempfile.mkdtemp())
    try:
        each_folder = options.scenes if options.flat else EACH_FOLDER
        draw_scenes(folder, options.scenes, damaged, each_folder)
        start = time.perf_counter()
        for kill in [*range(options.kills), None]:
            share = None if kill is None else (kill + 1) / (options.kills + 1)
            counts = run_and_kill(
                folder,
                options.workers,
                resume=options.resume,
                kill_after=None if share is None else int(options.scenes * share),
            )
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        check(folder, options.scenes, damaged, counts)
        print(
            f'{options.scenes} scenes, {damaged} damaged, {options.kills} kills: {counts}; all '
            f'accounted for; {seconds:.0f} s, {options.scenes / seconds:.1f} scenes per second; '
            f'{used.ru_utime + used.ru_stime:.0f} CPU s of processes that were not killed'
        )
    finally:
        shutil.rmtree(folder)


def check(folder: Path, scenes: int, damaged: int, counts: dict[str, int] | None) -> None:
    """Check that every scene is mapped or quarantined, and that killed runs left nothing."""
    maps = sum(1 for _ in (folder / 'maps').rglob('*.tif'))
    hidden = list((folder / 'maps').rglob('.*'))
    assert counts is not None
    assert counts['quarantined'] == damaged, counts
    assert counts['done'] + counts['present'] == maps == scenes - damaged, (counts, maps)
    assert not hidden, hidden[:9]
    for map_path in (folder / 'maps').rglob('*.tif'):
        with rasterio.open(map_path) as made:
            assert made.shape == (SIDE_PX, SIDE_PX)


if __name__ == '__main__':
    main()
