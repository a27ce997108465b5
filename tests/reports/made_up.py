"""Results that were never run: 3 methods, 3 domains, 3 seeds, and maps of a drawn scene."""

from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from crossearth.benchmark import SETTINGS, PredictionFiles, Protocol, RunResult
from crossearth.datasets import Coverage, Vaihingen
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from tests.datasets import archive_trees

METHODS = ('crossearth', 'rein', 'frozen_dinov2')
SETTING_NAMES = ('P(i)2V', 'P(i)2P(r)', 'A2S')


def made_up(setting: str, method: str, seed: int, **changes: object) -> RunResult:
    """A complete result; the counts are drawn from the seed, better for the methods first named."""
    known = SETTINGS[setting]
    labels = known.target.labels
    generator = np.random.default_rng([seed, METHODS.index(method), SETTING_NAMES.index(setting)])
    counts = generator.integers(500, 900, (labels.num_classes,) * 2)
    counts += np.diag(
        generator.integers(6_000, 12_000 - 2_000 * METHODS.index(method), len(counts))
    )
    found = changes.get('images', known.n_test)
    result = RunResult(
        setting=setting,
        source=known.source.name,
        target=known.target.name,
        method=method,
        seed=seed,
        selection='last',
        step=30_000,
        fingerprint=f'{METHODS.index(method)}{known.source.name[:3]}c0de',
        classes=labels.classes,
        scored=labels.scored,
        confusion=tuple(tuple(row) for row in counts.tolist()),
        image_names=('a.tif',),
        image_counts=array('q', counts.flatten().tolist()),
        images=known.n_test,
        coverage={'train': Coverage(9, 9), 'test': Coverage(found, known.n_test)},
        adaptation=False,
        protocol=Protocol.of(known),
        recipe={'seed_everything': seed, 'model': {'lr': 1e-4, 'name': '<b>'}},
        versions={'crossearth': '0.1.0', 'python': '3.12', 'torch': '2.9.0'},
        hardware={'training': {'name': 'abacus'}, 'evaluation': {'name': 'slide rule'}},
        commit='c0ffee' * 6,
        seconds={'training': 5000.0 + seed, 'training_from_step': 0, 'evaluation': 120.0},
        memory_bytes=3 << 30,
        parameters=4_000_000,
        finished='2026-01-01T00:00:00+00:00',
    )
    return replace(result, **changes)


def few(result: RunResult, images: int = 8) -> RunResult:
    """The same of a copy that lacks all images but some."""
    expected = SETTINGS[result.setting].n_test
    coverage = {'train': Coverage(9, 9), 'test': Coverage(images, expected)}
    return replace(result, images=images, coverage=coverage)


def every_result() -> list[RunResult]:
    """27 results, all complete."""
    return [
        made_up(setting, method, seed)
        for setting in SETTING_NAMES
        for method in METHODS
        for seed in range(3)
    ]


def save_all(results: list[RunResult], folder: Path) -> Path:
    for number, result in enumerate(results):
        result.save(folder / 'results' / f'{number:02d}.json')
    return folder


def drawn_vaihingen(root: Path, *, size_px: int = 64) -> Vaihingen:
    """An archive whose test area is a drawing of the synthetic Earth."""
    earth = SyntheticEarth(seed=0)
    ((image, mask),) = earth.write(
        root / 'drawn', EARTH_DOMAINS['source'], scenes=1, size_px=size_px
    )
    import rasterio

    with rasterio.open(image) as file:
        pixels = file.read()
    with rasterio.open(mask) as file:
        ids = file.read(1)
    folder = root / 'vaihingen' / 'ISPRS_semantic_labeling_Vaihingen'
    colours = ISPRS.colour(ids).transpose(2, 0, 1)
    for area in (1, 2):
        name = f'top_mosaic_09cm_area{area}'
        path = archive_trees.put(folder / 'top' / f'{name}.tif', pixels)
        archive_trees.world(path, pixel=0.09, x=496_000.0, y=5_420_000.0)
        archive_trees.put(folder / 'gts_for_participants' / f'{name}.tif', colours)
        archive_trees.put(root / 'vaihingen' / 'eroded' / f'{name}_noBoundary.tif', colours)
    return Vaihingen(root / 'vaihingen', split='test')


def save_maps(dataset: Vaihingen, folder: Path, *, wrong_px: int) -> None:
    """The truth as a prediction, but for columns on the left that are all of class 0."""
    files = PredictionFiles(folder, dataset)
    for index in range(len(dataset)):
        window = dataset.whole(index)
        ids = dataset.read_labels(window)
        ids[ids == 255] = 0
        ids[:, :wrong_px] = 0
        files.add(window, torch.from_numpy(ids))
    files.finish()
