import argparse
import collections
import contextlib
import functools
import io
import pickle
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
import torch

from crossearth.errors import CheckpointError
from crossearth.labels import ISPRS
from crossearth.models import crossearth_vit_small, load_model, read_model_info, rein_vit_large
from crossearth.models.release_files import convert_release, match_release, read_pickle
from crossearth.models.weights_cli import add_arguments, run

from .conftest import PARITY


class Bomb:
    """Runs when it is unpickled by plain pickle."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (exec, (f'open({str(self.target)!r}, "w").close()',))


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


def test_convert_prints_every_key_that_it_did_not_use(files, capsys):
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    def printed(*words):
        assert run(parser.parse_args([str(word) for word in words])) == 0
        return capsys.readouterr().out

    checkpoint, backbone = files / 'Potsdam(i)-source.pth', files / 'dinov2_converted.pth'
    assert printed('convert', checkpoint, '--backbone', backbone).splitlines()[1:] == [
        '7 not used',
        '  augmentor.net.0.weight  (3, 2)',
        '  backbone.reins.convs.0.weight  (64, 3, 3, 3)',
        '  backbone.reins.mean  (1, 3)',
        '  dinov2_converted.pth: backbone.mask_token  (1, 384)',
        '  iteration  no tensor',
        '  task_head.MLP.bias  (5,)',
        '  task_head.sparse  no tensor',
    ]
    ours = printed('inspect', checkpoint.with_suffix('.safetensors'))
    assert ours.startswith('model    crossearth_vit_small(num_classes=6, pretrained=False')
    assert 'bands    nir, red, green\n' in ours
    assert '  decoder.cls_embed.weight  (7, 256)  float32\n' in ours
    assert '  augmentor.net.0.weight  (3, 2)  float32\n' in printed('inspect', checkpoint)


@pytest.mark.parametrize('zipped', [True, False])
def test_malicious_pickle_does_not_run(tmp_path, zipped):
    content = {'state_dict': {'w': torch.arange(3.0)}, 'bomb': Bomb(tmp_path / 'ran')}
    torch.save(content, tmp_path / 'bomb.pth', _use_new_zipfile_serialization=zipped)
    assert read_pickle(tmp_path / 'bomb.pth')['w'].tolist() == [0, 1, 2]
    assert not (tmp_path / 'ran').exists()
    torch.load(tmp_path / 'bomb.pth', weights_only=False)
    assert (tmp_path / 'ran').exists()  # it would have


def write_archive(path, pickled):
    """A file as torch.save writes it, around a pickle made by hand."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickled)
        archive.writestr('archive/version', '3\n')
        archive.writestr('archive/byteorder', 'little')


@pytest.mark.parametrize(
    ('owner', 'name', 'attribute'),
    [
        (torch._utils, '_rebuild_tensor_v2', '__defaults__'),
        (torch._utils, '_rebuild_parameter', 'mark'),
        (torch, 'TypedStorage', 'mark'),
        (torch, 'FloatStorage', 'mark'),
        (torch, 'Size', 'mark'),
        (collections, 'OrderedDict', 'mark'),
        (np, 'ndarray', 'mark'),
    ],
)
def test_no_attribute_of_what_makes_tensors_can_be_set(tmp_path, owner, name, attribute):
    """Opcode BUILD gives any object attributes: those of a function last for the process."""
    before = getattr(getattr(owner, name), attribute, None)
    pickled = (
        f'c{owner.__name__}\n{name}\n'.encode()  # find it
        + f'(N(S{attribute!r}\n(I1\ntdtb.'.encode()  # state (None, {attribute: (1,)}); BUILD
    )
    write_archive(tmp_path / 'x.pth', pickled)
    try:
        with pytest.raises(CheckpointError):
            read_pickle(tmp_path / 'x.pth')
        assert getattr(getattr(owner, name), attribute, None) == before
    finally:
        with contextlib.suppress(AttributeError, TypeError):
            setattr(getattr(owner, name), attribute, before)


@pytest.mark.filterwarnings('ignore::UserWarning', 'ignore::FutureWarning')  # about TorchScript
def test_programs_and_tar_files_are_not_opened(tmp_path, monkeypatch):
    torch.jit.trace(torch.nn.ReLU(), torch.ones(1)).save(tmp_path / 'program.pth')
    monkeypatch.setattr(torch.jit, 'load', lambda *_, **__: pytest.fail('it was run'))
    with pytest.raises(CheckpointError, match='TorchScript archive, which is a program'):
        read_pickle(tmp_path / 'program.pth')
    with tarfile.open(tmp_path / 'old.pth', 'w') as archive:
        archive.addfile(tarfile.TarInfo('storages'))
    with pytest.raises(CheckpointError, match=r'old\.pth is a tar file'):
        read_pickle(tmp_path / 'old.pth')


class Gadget:
    """Pickled as a call that follows other calls, as attacks chain them."""

    def __reduce__(self):
        return getattr, (getattr(collections, 'OrderedDict'), 'fromkeys')  # noqa: B009 - pickled


def test_chains_of_calls_give_stand_ins_and_the_weights_beside_them_are_read(tmp_path):
    chain = functools.partial(getattr, 'x', '__class__')
    torch.save({'model': {'w': torch.ones(2)}, 'a': chain, 'b': {Gadget()}}, tmp_path / 'x.pth')
    assert read_pickle(tmp_path / 'x.pth')['w'].tolist() == [1, 1]
    calls = b'cbuiltins\ngetattr\n(cos\nsystem\nS"__call__"\ntR(S"true"\ntR.'
    write_archive(tmp_path / 'y.pth', calls)  # what getattr gave is called
    with pytest.raises(CheckpointError, match='holds no tensors by name'):
        read_pickle(tmp_path / 'y.pth')


def test_plain_pickle_does_not_run(tmp_path):
    (tmp_path / 'bomb.pth').write_bytes(pickle.dumps({'state_dict': Bomb(tmp_path / 'ran')}))
    with pytest.raises(CheckpointError, match=r'bomb\.pth'):
        read_pickle(tmp_path / 'bomb.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'name', ['os.system', 'builtins.eval', 'builtins.getattr', 'torch.load', 'operator.attrgetter']
)
def test_only_makers_of_tensors_numbers_and_containers_are_found(name):
    from crossearth.models.release_files import _Stub, _Unpickler

    module, attribute = name.rsplit('.', 1)
    assert _Unpickler(io.BytesIO()).find_class(module, attribute) is _Stub


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
    with torch.device('meta'):
        wanted = rein_vit_large(5).state_dict()
    trained = {n for n in wanted if not n.startswith('backbone.vit.')} - {'mean', 'std'}
    assert {n: t.shape for n, t in used.items()} == {n: wanted[n].shape for n in trained}


def test_without_its_backbone_the_error_says_so(files):
    with pytest.raises(CheckpointError, match='does not hold a backbone: give the one'):
        convert_release(files / 'Potsdam(i)-source.pth', files / 'out.safetensors')
    assert not (files / 'out.safetensors').exists()


def test_damaged_and_missing_files_are_named(tmp_path):
    (tmp_path / 'x.pth').write_bytes(b'PK\x03\x04 and no more')
    with pytest.raises(CheckpointError, match=r'x\.pth is no whole torch file'):
        read_pickle(tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'no checkpoint at .*gone\.pth'):
        read_pickle(tmp_path / 'gone.pth')
    torch.save({'meta': 1}, tmp_path / 'empty.pth')
    with pytest.raises(CheckpointError, match='holds no tensors by name'):
        read_pickle(tmp_path / 'empty.pth')
