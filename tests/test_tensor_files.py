import os
import stat

import numpy as np
import pytest
import torch
from safetensors import safe_open

from crossearth.assessment.sample_folder import new_folder
from crossearth.inference.writer import whole_file
from crossearth.labels import ROAD
from crossearth.models import fpn_timm, save_model
from crossearth.panels import draw_panels, save_figure
from crossearth.tensor_files import write_tensors
from crossearth.transforms import EarthStyle


@pytest.fixture(params=[0o022, 0o027, 0o002, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read_back_and_nothing_else_is_left(tmp_path):
    path = tmp_path / 'a.safetensors'
    for value in (1.0, 2.0):
        write_tensors(path, {'a': torch.full((2,), value)}, {'k': 'v'})
    with safe_open(path, framework='pt') as file:
        assert file.get_tensor('a').tolist() == [2.0, 2.0]
        assert file.metadata() == {'k': 'v'}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / 'a.safetensors'
    path.write_text('old')
    with pytest.raises(ValueError, match='non contiguous'):
        write_tensors(path, {'a': torch.zeros(3, 2).T}, {})
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_every_writer_leaves_permissions_to_the_umask(umask, tmp_path):
    wanted = 0o666 & ~umask
    save_model(fpn_timm('test_resnet', num_classes=2, width=8), tmp_path / 'model.safetensors')
    EarthStyle(torch.zeros(2), torch.eye(2)).save(tmp_path / 'style.safetensors')
    with whole_file(tmp_path / 'map.tif') as temporary:
        temporary.write_bytes(b'map')
    pixels = np.zeros((3, 4, 4), np.uint8)
    save_figure(draw_panels(pixels, {}, ROAD), tmp_path / 'picture.png')
    assert {path.name: oct(mode(path)) for path in tmp_path.iterdir()} == dict.fromkeys(
        ('model.safetensors', 'style.safetensors', 'map.tif', 'picture.png'), oct(wanted)
    )
    with new_folder(tmp_path / 'sample') as folder:
        (folder / 'key.csv').write_text('id\n')
    assert mode(tmp_path / 'sample') == 0o777 & ~umask
    assert mode(tmp_path / 'sample' / 'key.csv') == wanted
