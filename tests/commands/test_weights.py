import argparse

import pytest
import torch
from safetensors.torch import save_file

from crossearth.appearance import Appearance
from crossearth.commands.weights import add_arguments, run
from crossearth.labels import ROAD
from crossearth.models import fpn_timm, save_model
from crossearth.models.weights.adaptation_record import AdaptationRecord
from crossearth.source_statistics import SourceStatistics


@pytest.fixture
def shown():
    def show(path):
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return f'{run(parser.parse_args(["info", str(path)]))}\n'

    return show


@pytest.mark.parametrize(
    ('given', 'line'),
    [
        ({}, 'unknown'),
        ({'gsd_m': 0.3}, '0.3 m'),
        ({'gsd_m': 0.3, 'gsd_range_m': (0.2, 1)}, '0.3 m, trained from 0.2 to 1 m'),
        ({'gsd_range_m': (0.2, 1)}, 'trained from 0.2 to 1 m'),
    ],
)
def test_info_shows_the_model_and_its_ground_sampling_distances(tmp_path, shown, given, line):
    model = fpn_timm('mobilenetv3_small_050', num_classes=2, width=8)
    out = shown(save_model(model, tmp_path / 'm.safetensors', labels=ROAD, **given)).splitlines()
    assert out[0].startswith("model    fpn_timm(name='mobilenetv3_small_050', num_classes=2")
    assert out[1:6] == [
        'classes  background, road',
        'bands    unknown',
        f'gsd      {line}',
        'complete yes',
        'source   not recorded',
    ]
    assert out[6].startswith(f'{len(model.state_dict())} tensors, ')


def test_info_lists_the_tensors_of_any_file(tmp_path, shown):
    save_file({'w': torch.zeros(2, 3)}, tmp_path / 'w.safetensors')
    assert shown(tmp_path / 'w.safetensors') == '1 tensors, 6 numbers\n  w  (2, 3)  float32\n'
    torch.save({'model': {'w': torch.full((2,), torch.nan).half()}}, tmp_path / 'w.pth')
    assert shown(tmp_path / 'w.pth') == '1 tensors, 2 numbers\n  w  (2,)  float16\n'


def test_names_from_a_file_cannot_command_the_terminal(tmp_path, shown):
    torch.save({'a\x1b[31mb\nc': torch.ones(2), '\u202ed': torch.ones(1)}, tmp_path / 'x.pth')
    assert shown(tmp_path / 'x.pth') == (
        '2 tensors, 3 numbers\n  a\\x1b[31mb\\nc  (2,)  float32\n  \\u202ed  (1,)  float32\n'
    )


def test_info_shows_what_a_file_remembers_of_its_source_and_of_adapting(tmp_path, shown):
    model = fpn_timm('mobilenetv3_small_050', num_classes=2, width=8)
    looks = Appearance((0.5,) * 3, (0.1,) * 3, ((0.1,) * 5,) * 3, 0.1, 64)
    record = AdaptationRecord('norms', {'alpha': 0.5}, ('a.tif', 'b.tif'), 3, 'f' * 64)
    path = save_model(
        model, tmp_path / 'm.safetensors', source=SourceStatistics(looks), adaptation=record
    )
    lines = shown(path).splitlines()
    assert lines[5:8] == [
        'source   64 windows',
        'adapted  by norms (alpha 0.5) to 2 scene(s): a.tif, b.tif',
        f'         from the model of sha256 {"f" * 64}',
    ]
    assert 'source   not recorded' in shown(save_model(model, tmp_path / 'n.safetensors'))
