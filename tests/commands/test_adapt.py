import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from crossearth.commands import adapt
from crossearth.errors import ConfigError, WriteError
from crossearth.labels import ROAD
from crossearth.models import fpn_timm, read_model_info, save_model


@pytest.fixture
def scene(write_raster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_model(fpn_timm('resnet10t', num_classes=2, width=8), 'model.safetensors', labels=ROAD)
    return write_raster(
        'scene.tif', np.random.default_rng(0).integers(1, 90, (3, 64, 64), np.uint8)
    )


def run(*words):
    parser = argparse.ArgumentParser()
    adapt.add_arguments(parser)
    return adapt.run(parser.parse_args([str(word) for word in words]))


def test_the_command_writes_a_model_and_a_report(scene):
    text = run(
        'model.safetensors', scene, '-o', 'adapted.safetensors', '--alpha', '0.25',
        '--tile-px', 32, '--json', 'report.json',
    )  # fmt: skip
    assert 'not recorded' in text
    assert text.endswith('adapted.safetensors: adapted by norms')
    record = read_model_info('adapted.safetensors').adaptation
    assert record.options['alpha'] == 0.25
    report = json.loads(Path('report.json').read_text(encoding='utf-8'))
    assert report['windows'] == 4
    assert report['classes'] == list(ROAD.classes)


@pytest.mark.parametrize('method', ['tent', 'self-training'])
def test_every_method_runs(scene, method):
    text = run(
        'model.safetensors', scene, '-o', 'adapted.safetensors', '--method', method,
        '--steps', 1, '--tile-px', 32,
    )  # fmt: skip
    assert f'adapted by {method}' in text
    assert read_model_info('adapted.safetensors').adaptation.options['steps'] == 1


def test_options_of_another_method_are_refused(scene):
    words = 'model.safetensors', scene, '-o', 'a.safetensors', '--steps', 3, '--lr', 0.1
    with pytest.raises(ConfigError, match='--method norms does not use --lr, --steps: expected'):
        run(*words)


def test_a_report_that_cannot_be_written_is_told_apart_from_the_model(scene):
    words = 'model.safetensors', scene, '-o', 'a.safetensors', '--tile-px', 32, '--json'
    with pytest.raises(WriteError, match=r'--json scene.tif.r.json cannot be written .* the adapt'):
        run(*words, 'scene.tif/r.json')
    assert read_model_info('a.safetensors').adaptation is not None
    run(*words, 'new/r.json')
    assert Path('new/r.json').is_file()
