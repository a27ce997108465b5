import argparse
import sys
import types

import numpy as np
import pytest
import torch

from crossearth.commands.weights import add_arguments, run
from crossearth.errors import CheckpointError, ConfigError
from crossearth.labels import ISPRS
from crossearth.models import crossearth_vit_small, load_model, read_model_info, rein_vit_large
from crossearth.models.meta import without_weights
from crossearth.models.weights.release_files import convert_release, match_release
from tests.models.conftest import PARITY

from .test_torch_files import Bomb


@pytest.fixture
def mmengine_like(monkeypatch):
    """An object of a module that is gone when the file is read."""
    module = types.ModuleType('mmengine_like')

    class HistoryBuffer:
        def __init__(self):
            self.values = np.arange(3.0)
            self.last = np.float64(2.0)

    HistoryBuffer.__module__ = 'mmengine_like'
    HistoryBuffer.__qualname__ = 'HistoryBuffer'
    module.HistoryBuffer = HistoryBuffer
    monkeypatch.setitem(sys.modules, 'mmengine_like', module)
    return HistoryBuffer()


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return crossearth_vit_small(6, img_size=64, geospatial=False, restorer=None).eval()


def released_state(model):
    """The model's weights as the release would write them: head and backbone apart."""
    head, backbone = {}, {}
    for name, tensor in model.state_dict().items():
        if name.startswith('backbone.vit.'):
            backbone[name.removeprefix('backbone.vit.')] = tensor
        elif name.startswith('backbone.adapter.'):
            head[name.replace('backbone.adapter.', 'backbone.reins.')] = tensor
        elif name.startswith('decoder.'):
            head[name.replace('decoder.', 'decode_head.', 1)] = tensor
    return head, {**backbone, 'mask_token': torch.zeros(1, 384)}


@pytest.fixture
def files(model, tmp_path, mmengine_like, monkeypatch):
    head, backbone = released_state(model)
    head |= {
        'augmentor.net.0.weight': torch.zeros(3, 2),
        'task_head.MLP.bias': torch.zeros(5),
        'backbone.reins.convs.0.weight': torch.zeros(64, 3, 3, 3),
        'backbone.reins.mean': np.zeros((1, 3)),
        'task_head.sparse': torch.eye(2).to_sparse(),  # rebuilt by a function that is not admitted
        'iteration': 7,
    }
    content = {
        'meta': {'epoch': np.int64(3), 'buffer': mmengine_like, 'bomb': Bomb(tmp_path / 'ran')},
        'state_dict': head,
        'optimizer': {'state': {0: {'step': torch.ones(())}}},
    }
    torch.save(content, tmp_path / 'Potsdam(i)-source.pth')
    torch.save(backbone, tmp_path / 'dinov2_converted.pth')
    monkeypatch.delitem(sys.modules, 'mmengine_like')
    return tmp_path


def test_converted_release_gives_the_same_logits(model, files):
    conversion = convert_release(
        files / 'Potsdam(i)-source.pth',
        files / 'converted.safetensors',
        backbone=files / 'dinov2_converted.pth',
    )
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(load_model(conversion.path)(image), model(image))
    info = read_model_info(conversion.path)
    assert info.labels == ISPRS
    assert info.bands == ('nir', 'red', 'green')
    assert conversion.used == len(model.state_dict()) - 2  # mean and std are not in the files
    assert not (files / 'ran').exists()


def test_convert_prints_every_key_that_it_did_not_use(files):
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    def printed(*words):
        return f'{run(parser.parse_args([str(word) for word in words]))}\n'

    checkpoint, backbone = files / 'Potsdam(i)-source.pth', files / 'dinov2_converted.pth'
    assert printed('convert', checkpoint, '--backbone', backbone).splitlines()[1:] == [
        '7 not used',
        '  augmentor.net.0.weight  (3, 2)',
        '  backbone.reins.convs.0.weight  (64, 3, 3, 3)',
        '  backbone.reins.mean  (1, 3)',
        '  dinov2_converted.pth: backbone.mask_token  (1, 384)',
        '  iteration  not a tensor',
        '  task_head.MLP.bias  (5,)',
        '  task_head.sparse  not a tensor',
    ]
    ours = printed('info', checkpoint.with_suffix('.safetensors'))
    assert ours.startswith('model    crossearth_vit_small(num_classes=6, pretrained=False')
    assert 'bands    nir, red, green\n' in ours
    assert '  decoder.cls_embed.weight  (7, 256)  float32\n' in ours
    assert '  augmentor.net.0.weight  (3, 2)  float32\n' in printed('info', checkpoint)


def test_published_keys_leave_nothing_missing_and_nothing_unused():
    path = PARITY / 'checkpoint_keys.txt'
    if not path.is_file():
        pytest.skip(f'no {path}: set CROSSEARTH_TEST_PARITY')
    state = {}
    for line in path.read_text().splitlines():
        name, shape = line.split('\t')
        sides = [int(side) for side in shape.strip('()').split(',') if side]
        state[name] = torch.empty(sides, device='meta')
    used, unused = match_release(state)
    assert unused == {}
    with without_weights():
        wanted = rein_vit_large(5).state_dict()
    trained = {n for n in wanted if not n.startswith('backbone.vit.')} - {'mean', 'std'}
    assert {n: t.shape for n, t in used.items()} == {n: wanted[n].shape for n in trained}


def test_without_its_backbone_the_error_says_so(files):
    with pytest.raises(CheckpointError, match='does not hold a backbone: pass the one'):
        convert_release(files / 'Potsdam(i)-source.pth', files / 'out.safetensors')
    assert not (files / 'out.safetensors').exists()


def test_the_checkpoint_is_not_written_over(files):
    checkpoint = files / 'Potsdam(i)-source.pth'
    with pytest.raises(ConfigError, match='is both the input and the output'):
        convert_release(checkpoint, checkpoint, backbone=files / 'dinov2_converted.pth')


def test_weights_of_another_depth_and_damaged_ones_are_refused(files):
    checkpoint, backbone = files / 'Potsdam(i)-source.pth', files / 'dinov2_converted.pth'
    state = torch.load(backbone)
    torch.save({**state, 'cls_token': state['cls_token'] * float('nan')}, backbone)
    with pytest.raises(CheckpointError, match=r"NaN or infinite .* 'backbone\.vit\.cls_token'"):
        convert_release(checkpoint, files / 'out.safetensors', backbone=backbone)
    torch.save({n: t for n, t in state.items() if not n.startswith('blocks.11.')}, backbone)
    with pytest.raises(CheckpointError, match=r'14 missing \(backbone\.vit\.blocks\.11\.norm1'):
        convert_release(checkpoint, files / 'out.safetensors', backbone=backbone)
    assert not (files / 'out.safetensors').exists()
