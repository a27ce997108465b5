import argparse
import re
from pathlib import Path
from types import SimpleNamespace

import fiona
import numpy as np
import pytest
import torch
from torch import nn

from crossearth import models
from crossearth.errors import ConfigError, CrossEarthError, SceneError
from crossearth.inference import estimate_scene, predict_scene
from crossearth.inference.command import (
    add_predict_arguments,
    add_vectorize_arguments,
    run_predict,
    run_vectorize,
)
from crossearth.labels import ISPRS
from tests.inference.test_predict import Write, labels_of, random_image


def load_model(weights: str) -> nn.Module:
    torch.manual_seed(int(Path(weights).read_text()))
    return nn.Conv2d(3, 6, 3, padding=1)


@pytest.fixture(autouse=True)
def _model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in ('1', '2'):
        Path(seed).write_text(seed)
    nothing = SimpleNamespace(labels=None, bands=None, value_range=None)
    monkeypatch.setattr(models, 'load_model', load_model)
    monkeypatch.setattr(models, 'read_model_info', lambda _: nothing)


def predict(*words: object) -> str:
    parser = argparse.ArgumentParser()
    add_predict_arguments(parser)
    return run_predict(parser.parse_args([str(word) for word in (*words, '--quiet')]))


def test_command_does_what_the_function_does(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(random_image(200, 300))
    text = predict(
        scene, tmp_path / 'a.tif', '--weights', 1, '--tile-px', 96, '--labels', 'isprs',
        '--blend', 'gaussian', '--value-range', 0, 200, '--confidence', tmp_path / 'c.tif',
    )  # fmt: skip
    made = predict_scene(
        load_model('1'), scene, tmp_path / 'b.tif', tile_px=96, labels=ISPRS,
        blend='gaussian', value_range=(0.0, 200.0),
    )  # fmt: skip
    assert (tmp_path / 'a.tif').read_bytes() == made.path.read_bytes()
    assert text.startswith(f'{tmp_path / "a.tif"}: 300 × 200 px, {made.windows} windows in ')
    assert labels_of(tmp_path / 'c.tif').shape == (200, 300)


def test_bands_and_values_are_those_of_the_weights_unless_they_are_said(
    write_scene: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = SimpleNamespace(labels=ISPRS, bands=('blue', 'green', 'red'), value_range=(20.0, 200.0))
    monkeypatch.setattr(models, 'read_model_info', lambda _: known)
    scene = write_scene(random_image(60, 70), photometric='rgb')
    for name, words, settings in (
        ('a', [], {'bands': (3, 2, 1), 'value_range': (20.0, 200.0)}),
        ('b', ['--bands', 1, 2, 3], {'bands': (1, 2, 3), 'value_range': (20.0, 200.0)}),
        ('c', ['--value-range', 0, 255], {'bands': (3, 2, 1), 'value_range': (0.0, 255.0)}),
    ):
        predict(scene, tmp_path / f'{name}.tif', '--weights', 1, *words)
        made = predict_scene(
            load_model('1'), scene, tmp_path / 'direct.tif', labels=ISPRS, **settings
        )
        assert (tmp_path / f'{name}.tif').read_bytes() == made.path.read_bytes()


def test_folders_are_mapped_scene_by_scene(write_scene: Write, tmp_path: Path) -> None:
    (tmp_path / 'in').mkdir()
    for index in range(2):
        write_scene(random_image(50, 60, seed=index), f'in/{index}.tif')
    (tmp_path / 'in' / 'z.tif').write_text('no raster')
    with pytest.raises(SceneError, match='1 of 3 scenes have no map') as told:
        predict(tmp_path / 'in', tmp_path / 'out', '--weights', 1)
    text = str(told.value)
    assert '2 done, 0 present, 0 failed, 1 quarantined; 2 windows' in text
    assert 'z.tif: not a readable raster' in text
    assert labels_of(tmp_path / 'out' / '1.tif').shape == (50, 60)
    (tmp_path / 'in' / 'z.tif').unlink()
    shares = [
        predict(tmp_path / 'in', tmp_path / 'out2', '--weights', 1, '--shard', share)
        for share in ('1/2', '2/2')
    ]
    assert [text.split(',')[0] for text in shares] == ['1 done', '1 done']
    with pytest.raises(ConfigError, match=r'out\.tif: expected a name that ends in \.tif for one'):
        predict(tmp_path / 'in', tmp_path / 'out.tif', '--weights', 1)


def test_shards_and_resume_make_one_map(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(random_image(600, 700))
    common = (scene, tmp_path / 'map.tif', '--weights', 1, '--shard-px', 512)
    assert predict(*common, '--shard', '1/2').startswith('parts: ')
    predict(*common, '--shard', '2/2')
    predict(*common, '--resume')
    whole = predict_scene(load_model('1'), scene, tmp_path / 'whole.tif')
    assert (tmp_path / 'map.tif').read_bytes() == whole.path.read_bytes()


def test_dry_run_tells_and_writes_nothing(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(random_image(700, 900))
    text = predict(scene, tmp_path / 'map.tif', '--weights', 1, '--dry-run', '--gsd-m', 1)
    assert re.search(
        r'900 × 700 px seen as 45\d × 35\d px, 1 windows, 0 of them twice, in 1 part.s., \d+ MiB',
        text,
    )
    assert {path.name for path in tmp_path.iterdir()} == {'scene.tif', '1', '2'}


def test_estimate_counts_what_is_run(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(random_image(300, 2600))
    model = load_model('1')
    estimate = estimate_scene(model, scene, tile_px=200, memory_mb=30)
    made = predict_scene(model, scene, tmp_path / 'map.tif', tile_px=200, memory_mb=30)
    assert estimate.units == made.units > 1
    assert estimate.windows_run == made.windows_run > made.windows == estimate.windows
    assert estimate.memory_mb <= 30


def test_polygons_of_a_map(write_scene: Write, tmp_path: Path) -> None:
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 4:9, 4:9] = 1
    scene = write_scene(labels)
    parser = argparse.ArgumentParser()
    add_vectorize_arguments(parser)
    text = run_vectorize(
        parser.parse_args(
            [str(scene), str(tmp_path / 'o.gpkg'), '--labels', 'isprs', '--classes', '1']
        )
    )
    assert '1 polygons, 0 smaller ones left out' in text
    with fiona.open(tmp_path / 'o.gpkg') as file:
        assert next(iter(file))['properties']['class'] == 'building'


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CrossEarthError) as caught:
        predict(tmp_path / 'no.tif', tmp_path / 'map.tif', '--weights', 1)
    assert '\n' not in str(caught.value)
    with pytest.raises(SystemExit):
        predict('a.tif', 'b.tif', '--weights', 1, '--shard', '3of4')
    assert "'3of4' is not of the form I/N" in capsys.readouterr().err
