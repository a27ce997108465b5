import argparse
from pathlib import Path

import pytest
import torch

from crossearth.commands import export
from crossearth.errors import ConfigError
from crossearth.inference import ModelOutput, OnnxExport, View, Windows
from crossearth.labels import ISPRS
from crossearth.models import fpn_timm, save_model


def run(*words):
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    return export.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the command asks the library for; what the library does is tested there."""
    calls = []

    def export_onnx(model, path, **options):
        calls.append((model, path, options))
        return OnnxExport(Path(path), ('red', 'nir'), ('low', 'high'), 0.3, 64, 33, 2e-7)

    monkeypatch.setattr('crossearth.inference.export_onnx', export_onnx)
    torch.manual_seed(0)
    save_model(fpn_timm('resnet10t', num_classes=6, width=8), tmp_path / 'm.safetensors')
    return calls


def test_the_command_asks_for_what_its_words_say_and_tells_how_to_use_the_file(asked, tmp_path):
    text = run(
        tmp_path / 'm.safetensors', 'out.onnx', '--tile-px', 64, '--overlap', 0.25,
        '--labels', 'isprs', '--bands', 1, 2, 4, '--value-range', 0, 200, '--seen-at', 0.3,
        '--mean', 0.5, '--std', 0.25, '--output-kind', 'logit', '--threshold', 0.3,
    )  # fmt: skip
    assert text == (
        'out.onnx: 2 classes (low, high), tiles of 64 px of 30 cm, 33 % overlap\n'
        'onnxruntime reproduces the probabilities of the model to within 2e-07\n'
        'bands, in the order of its inputs: 0 = red, 1 = nir'
    )
    run(tmp_path / 'm.safetensors', 'out.onnx')
    assert [options for _, _, options in asked] == [
        {
            'labels': ISPRS,
            'windows': Windows(tile_px=64, overlap=0.25),
            'view': View(
                bands=(1, 2, 4), value_range=(0, 200), gsd_m=0.3, mean=(0.5,), std=(0.25,)
            ),
            'model_output': ModelOutput('logit', threshold=0.3),
        },
        {'labels': None, 'windows': Windows(), 'view': View(), 'model_output': ModelOutput()},
    ]
    assert asked[0][0].num_classes == 6


def test_programs_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'm\.pt: expected a \.safetensors file from save_model'):
        run(tmp_path / 'm.pt', 'out.onnx')
