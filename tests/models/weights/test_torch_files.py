"""What a file of torch.save can do to whoever reads it: nothing."""

import argparse
import collections
import contextlib
import functools
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from crossearth.errors import CheckpointError
from crossearth.models.weights.reading import read_weights


class Bomb:
    """Runs when it is unpickled by plain pickle."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (exec, (f'open({str(self.target)!r}, "w").close()',))


class Gadget:
    """Pickled as a call that follows other calls, as attacks chain them."""

    def __reduce__(self):
        return getattr, (getattr(collections, 'OrderedDict'), 'fromkeys')  # noqa: B009 - pickled


def write_archive(path, pickled, **records):
    """A file as torch.save writes it, around a pickle made by hand."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickled)
        archive.writestr('archive/version', '3\n')
        archive.writestr('archive/byteorder', 'little')
        for name, content in records.items():
            archive.writestr(f'archive/{name}', content)


def tensor_pickle(numel, size, stride, offset=0, keys=b'S"w"\n'):
    """A pickle of {'w': tensor}, made by hand, of storage 0."""

    def numbers(values):
        return b'(' + b''.join(b'I%d\n' % value for value in values) + b't'

    return (
        b'(' + keys + b'ctorch._utils\n_rebuild_tensor_v2\n'
        b'((S"storage"\nctorch\nFloatStorage\nS"0"\nS"cpu"\nI%d\ntQI%d\n'
        % (numel, offset)
        + numbers(size)
        + numbers(stride)
        + b'I00\nNtRd.'
    )


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize(
    'dtype', ['float32', 'float16', 'bfloat16', 'float64', 'int64', 'uint8', 'bool', 'complex64']
)
def test_tensors_of_both_formats_are_those_that_torch_reads(tmp_path, zipped, dtype):
    torch.manual_seed(0)
    base = torch.randint(0, 100, (4, 6)).to(getattr(torch, dtype))
    content = collections.OrderedDict(
        plain=base, view=base[1:, ::2], turned=base.T, scalar=base[0, 0], none=base[:0], again=base,
        parameter=torch.nn.Parameter(torch.ones(2)),
    )  # fmt: skip
    torch.save(content, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    found = read_weights(tmp_path / 'x.pth')
    assert list(found) == list(content)
    for name, tensor in content.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        assert not found[name].requires_grad


@pytest.mark.parametrize('dtype', ['uint16', 'float8_e4m3fn'])
def test_types_that_only_newer_files_have_are_read(tmp_path, dtype):
    content = {'w': torch.arange(6).to(getattr(torch, dtype)).view(2, 3)}
    torch.save(content, tmp_path / 'x.pth')
    found = read_weights(tmp_path / 'x.pth')['w']
    assert found.dtype == content['w'].dtype
    assert found.float().tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize('zipped', [True, False])
def test_what_training_keeps_next_to_the_weights_is_read_past(tmp_path, zipped):
    content = {
        'args': argparse.Namespace(lr=1e-3, nested=argparse.Namespace(data=[1, 2])),
        'epoch': np.int64(3),
        'best': np.float32(0.5),
        'metrics': {'miou': np.arange(3.0), 'when': np.datetime64('2024-01-01')},
        'optimizer': {'state': {0: {'exp_avg': torch.ones(3)}}, 'param_groups': [{'lr': 1}]},
        'module': torch.nn.ReLU(),
        'set': {1, 2},
        'model': {'w': torch.arange(3.0)},
    }
    torch.save(content, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    assert list(read_weights(tmp_path / 'x.pth')) == ['w']
    assert read_weights(tmp_path / 'x.pth')['w'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
@pytest.mark.parametrize('order', ['<', '>'])
def test_arrays_of_either_numpy_become_tensors_and_scalars_are_passed_over(tmp_path, module, order):
    array = np.array([[1.5, -2.0], [3.0, 4.0]], dtype=f'{order}f4', order='F')
    objects = np.array([None, 1], dtype=object)
    content = {'a': array, 'o': objects, 's': np.float64(2.0), 'text': np.array(['a'])}
    pickled = pickle.dumps(content, protocol=2)
    ours = array.__reduce__()[0].__module__.encode()
    assert ours in pickled
    write_archive(tmp_path / 'x.pth', pickled.replace(ours, module.encode()))
    found = read_weights(tmp_path / 'x.pth')
    assert list(found) == ['a']
    assert found['a'].dtype == torch.float32
    assert found['a'].tolist() == array.tolist()


@pytest.mark.parametrize('zipped', [True, False])
def test_malicious_pickle_does_not_run(tmp_path, zipped):
    content = {'state_dict': {'w': torch.arange(3.0)}, 'bomb': Bomb(tmp_path / 'ran')}
    torch.save(content, tmp_path / 'bomb.pth', _use_new_zipfile_serialization=zipped)
    assert read_weights(tmp_path / 'bomb.pth')['w'].tolist() == [0, 1, 2]
    assert not (tmp_path / 'ran').exists()
    torch.load(tmp_path / 'bomb.pth', weights_only=False)
    assert (tmp_path / 'ran').exists()  # it would have


@pytest.mark.parametrize(
    ('owner', 'name', 'attribute'),
    [
        (torch._utils, '_rebuild_tensor_v2', '__defaults__'),
        (torch._utils, '_rebuild_parameter', 'mark'),
        (torch, 'TypedStorage', 'mark'),
        (torch, 'FloatStorage', 'mark'),
        (torch, 'Size', 'mark'),
        (torch, 'float32', 'mark'),
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
            read_weights(tmp_path / 'x.pth')
        assert getattr(getattr(owner, name), attribute, None) == before
    finally:
        with contextlib.suppress(AttributeError, TypeError):
            setattr(getattr(owner, name), attribute, before)


def test_a_stand_in_keeps_no_attribute_and_its_class_none_either(tmp_path):
    state = b'(S"__call__"\nS"x"\ndb'  # BUILD with {'__call__': 'x'}
    pickled = b'(S"f"\ncos\nsystem\n' + state + b'S"g"\ncos\nsystem\n(S"true"\ntR' + state
    archive = {'data/0': b'\0' * 4}
    write_archive(tmp_path / 'x.pth', pickled + tensor_pickle(1, [1], [1])[1:], **archive)
    assert read_weights(tmp_path / 'x.pth')['w'].tolist() == [0]
    write_archive(tmp_path / 'y.pth', b'cos\nsystem\n(S"true"\ntRS"a"\ntR.')
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / 'y.pth')


@pytest.mark.filterwarnings('ignore::UserWarning', 'ignore::FutureWarning')  # about TorchScript
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_programs_and_tar_files_are_not_opened(tmp_path, monkeypatch):
    torch.jit.trace(torch.nn.ReLU(), torch.ones(1)).save(tmp_path / 'program.pth')
    monkeypatch.setattr(torch.jit, 'load', lambda *_, **__: pytest.fail('it was run'))
    with pytest.raises(CheckpointError, match='TorchScript archive, which is a program'):
        read_weights(tmp_path / 'program.pth')
    with tarfile.open(tmp_path / 'old.pth', 'w') as archive:
        archive.addfile(tarfile.TarInfo('storages'))
    with pytest.raises(CheckpointError, match=r'old\.pth is a tar file'):
        read_weights(tmp_path / 'old.pth')


def test_chains_of_calls_give_stand_ins_and_the_weights_next_to_them_are_read(tmp_path):
    chain = functools.partial(getattr, 'x', '__class__')
    torch.save({'model': {'w': torch.ones(2)}, 'a': chain, 'b': {Gadget()}}, tmp_path / 'x.pth')
    assert read_weights(tmp_path / 'x.pth')['w'].tolist() == [1, 1]
    calls = b'cbuiltins\ngetattr\n(cos\nsystem\nS"__call__"\ntR(S"true"\ntR.'
    write_archive(tmp_path / 'y.pth', calls)  # what getattr gave is called
    with pytest.raises(CheckpointError, match='holds no tensors by name'):
        read_weights(tmp_path / 'y.pth')


@pytest.mark.parametrize('protocol', range(6))
def test_plain_pickle_does_not_run(tmp_path, protocol):
    content = {'state_dict': Bomb(tmp_path / 'ran')}
    (tmp_path / 'bomb.pth').write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(CheckpointError, match=r'bomb\.pth is not a complete file of torch\.save'):
        read_weights(tmp_path / 'bomb.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'name',
    ['os.system', 'builtins.eval', 'builtins.getattr', 'torch.load', 'operator.attrgetter',
     'torch.ops', 'torch.save', 'numpy.load', 'numpy.ndarray', 'numpy.frombuffer', 'torch.hub'],
)  # fmt: skip
def test_a_name_finds_and_imports_nothing(name, tmp_path):
    from crossearth.models.weights.torch_files import _Stub, _Unpickler

    module, attribute = name.rsplit('.', 1)
    with (tmp_path / 'x').open('wb+') as file:
        assert _Unpickler(file).find_class(module, attribute) is _Stub
        assert _Unpickler(file).find_class('this_module_is_not_there', 'x') is _Stub


@pytest.mark.parametrize(
    ('claim', 'message'),
    [
        ((10**9, [10**9], [1]), "storage '0' has another size"),
        ((2, [10**9], [0]), 'repeats its numbers beyond what the file holds'),
        ((2, [10**9, 10**9], [0, 0]), 'repeats its numbers beyond what the file holds'),
        ((2, [3], [1]), 'out of bounds'),
        ((2, [2], [1], 10**12), 'out of bounds'),
        ((2, [2], [1], 1), 'out of bounds'),
        ((2, [-2], [1]), 'negative size, stride or offset'),
        ((2, [2], [1], -1), 'negative size, stride or offset'),
        ((-2, [2], [1]), 'does not have the layout that torch writes'),
        ((2, [2], []), 'RuntimeError'),
    ],
)
def test_a_file_cannot_claim_more_than_it_has(tmp_path, claim, message):
    write_archive(tmp_path / 'x.pth', tensor_pickle(2, [2], [1]), **{'data/0': b'\0' * 8})
    assert read_weights(tmp_path / 'x.pth')['w'].tolist() == [0, 0]
    write_archive(tmp_path / 'x.pth', tensor_pickle(*claim), **{'data/0': b'\0' * 8})
    with pytest.raises(CheckpointError, match=message):
        read_weights(tmp_path / 'x.pth')


def test_a_number_of_objects_reserves_no_memory(tmp_path):
    """Python's C unpickler reserves 16 bytes for each of the objects that LONG_BINPUT counts."""
    pickled = b'}r\xff\xff\xff\xff.'
    write_archive(tmp_path / 'x.pth', pickled)
    with pytest.raises(CheckpointError, match='holds no tensors by name'):
        read_weights(tmp_path / 'x.pth')


def test_compressed_parts_and_parts_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / 'bomb.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('archive/data.pkl', tensor_pickle(2**22, [2**22], [1]))
        archive.writestr('archive/data/0', b'\0' * 2**24)
    assert (tmp_path / 'bomb.pth').stat().st_size < 2**16
    with pytest.raises(CheckpointError, match='its parts are compressed'):
        read_weights(tmp_path / 'bomb.pth')
    with zipfile.ZipFile(tmp_path / 'two.pth', 'w') as archive:
        for folder in 'ab':
            archive.writestr(f'{folder}/data.pkl', tensor_pickle(1, [1], [1]))
            archive.writestr(f'{folder}/data/0', b'\0' * 4)
    with pytest.raises(CheckpointError, match='overlap'):
        read_weights(tmp_path / 'two.pth')


@pytest.mark.parametrize('zipped', [True, False])
def test_truncated_files_are_refused_wherever_they_end(tmp_path, zipped):
    torch.save({'w': torch.rand(40)}, tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / 'x.pth').read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / 'x.pth').write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r'x\.pth'):
            read_weights(tmp_path / 'x.pth')


def test_flipped_bytes_give_an_error_or_numbers_and_never_another_exception(tmp_path):
    torch.save({'w': torch.rand(8)}, tmp_path / 'x.pth', _use_new_zipfile_serialization=False)
    whole = (tmp_path / 'x.pth').read_bytes()
    generator = np.random.default_rng(0)
    for position in generator.permutation(len(whole))[:300]:
        spoilt = bytearray(whole)
        spoilt[position] ^= 1 << int(generator.integers(8))
        (tmp_path / 'x.pth').write_bytes(spoilt)
        with contextlib.suppress(CheckpointError):
            assert read_weights(tmp_path / 'x.pth')


def test_what_is_not_a_plain_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / 'pipe.pth')
    (tmp_path / 'folder.pth').mkdir()
    (tmp_path / 'gone.pth').symlink_to(tmp_path / 'nowhere')
    (tmp_path / 'loop.pth').symlink_to(tmp_path / 'loop.pth')
    for name in ('pipe', 'folder', 'gone', 'loop'):
        with pytest.raises(CheckpointError, match=rf'no weights file at .*{name}\.pth'):
            read_weights(tmp_path / f'{name}.pth')
    torch.save({'w': torch.ones(1)}, tmp_path / 'x.pth')
    (tmp_path / 'link.pth').symlink_to(tmp_path / 'x.pth')
    assert read_weights(tmp_path / 'link.pth')['w'].tolist() == [1]
