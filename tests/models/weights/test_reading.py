import collections

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from crossearth.errors import CheckpointError
from crossearth.models.weights.reading import read_entries, read_weights, strip_prefix


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: {'state_dict': state},
        lambda state: {'model': state, 'epoch': torch.tensor(3)},
        lambda state: {'student': {'w': torch.ones(2)}, 'teacher': state},
        lambda state: {'encoder': state, 'opt': {'state': {}}},
        lambda state: {'model': {'state_dict': {'encoder': state}}},
        lambda state: {'state_dict': state, 'model': {'depth': 12}},
        lambda state: {f'module.{name}': tensor for name, tensor in state.items()},
        lambda state: {'model': {f'module.encoder.{n}': t for n, t in state.items()}},
        lambda state: collections.OrderedDict(state),
        lambda state: {'model': collections.defaultdict(int, state)},
    ],
)
@pytest.mark.parametrize('zipped', [True, False])
def test_containers_and_shared_prefixes_are_unwrapped(tmp_path, wrap, zipped):
    state = {'a.w': torch.rand(2), 'b': torch.rand(3)}
    torch.save(wrap(state), tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    found = read_weights(tmp_path / 'x.pth')
    assert list(found) == ['a.w', 'b']
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_containers_of_other_names_are_unwrapped_on_request(tmp_path):
    torch.save({'mine': {'w': torch.ones(2)}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='no tensors by name: expected a state_dict, either'):
        read_weights(tmp_path / 'x.pth')
    assert list(read_weights(tmp_path / 'x.pth', under=['mine'])) == ['w']


def test_weights_in_two_containers_are_not_chosen_among(tmp_path):
    torch.save({'model': {'w': torch.ones(2)}, 'teacher': {'w': torch.ones(2)}}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match="holds weights under 'model' and 'teacher': save"):
        read_weights(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    'content',
    [
        {},
        {'state_dict': {}},
        {'model': {'epoch': 3}},
        {'model': {'state_dict': {'model': {'state_dict': {'model': {'encoder': {'w': 1}}}}}}},
        [torch.zeros(1)],
        torch.zeros(1),
        None,
        {3: torch.zeros(1)},
        torch.nn.Linear(1, 1),
    ],
)
def test_files_without_tensors_by_name_are_refused(tmp_path, content):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth holds no tensors by name'):
        read_weights(tmp_path / 'x.pth')


def test_a_container_that_holds_itself_ends(tmp_path):
    content = {'epoch': 1}
    content |= dict.fromkeys(('state_dict', 'model', 'teacher', 'module', 'encoder'), content)
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='holds no tensors by name'):
        read_weights(tmp_path / 'x.pth')


def test_entries_that_are_not_tensors_are_listed(tmp_path):
    content = {'w': torch.ones(1), 'n': 3, 4: 'x', 'sparse': torch.eye(2).to_sparse()}
    content['objects'] = np.array([None])
    torch.save(content, tmp_path / 'x.pth')
    tensors, others = read_entries(tmp_path / 'x.pth')
    assert list(tensors) == ['w']
    assert others == ['n', 'an entry named by int', 'sparse', 'objects']


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float8_e5m2', 'complex64'])
def test_numbers_that_are_not_finite_are_refused(tmp_path, bad, dtype):
    w = torch.tensor([0.0, bad]).to(getattr(torch, dtype))
    torch.save({'fine': torch.ones(2), 'w': w}, tmp_path / 'x.pth')
    with pytest.raises(
        CheckpointError, match=r"NaN or infinite numbers in 1 tensors, first 'w'.*use an earlier"
    ):
        read_weights(tmp_path / 'x.pth')
    assert 'w' in read_entries(tmp_path / 'x.pth')[0]  # to look at


@pytest.mark.parametrize(
    'content', [b'not weights', b'root:x:0:0', b'', b'PK\x03\x04', b'\x80\x02.', b'{' * 99]
)
@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors', 'w.npz', 'w.onnx', 'w'])
def test_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf'{name} '):
        read_weights(tmp_path / name)


@pytest.mark.parametrize('name', ['w.safetensors', 'w.npz', 'w.onnx', 'w.bin'])
def test_a_folder_or_nothing_at_the_path_is_named(tmp_path, name):
    with pytest.raises(CheckpointError, match=rf'no weights file at .*{name}: expected'):
        read_weights(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match=rf'no weights file at .*{name}: expected'):
        read_weights(tmp_path / name)


def test_truncated_and_empty_safetensors_are_refused(tmp_path):
    save_file({'w': torch.rand(40)}, tmp_path / 'x.safetensors')
    whole = (tmp_path / 'x.safetensors').read_bytes()
    for length in range(0, len(whole), 9):
        (tmp_path / 'x.safetensors').write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match='is not a complete safetensors file'):
            read_weights(tmp_path / 'x.safetensors')
    save_file({}, tmp_path / 'x.safetensors')
    with pytest.raises(CheckpointError, match='holds no tensors by name'):
        read_weights(tmp_path / 'x.safetensors')


def test_archives_of_numpy_hold_numbers_and_no_more_than_fits(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / 'x.npz', a=np.arange(6.0).reshape(2, 3))
    assert read_weights(tmp_path / 'x.npz')['a'].tolist() == [[0, 1, 2], [3, 4, 5]]
    for content in (np.array([None]), np.array(['text'])):
        np.savez(tmp_path / 'y.npz', a=content)
        with pytest.raises(CheckpointError, match='is not an npz archive of numbers'):
            read_weights(tmp_path / 'y.npz')
    np.savez_compressed(tmp_path / 'z.npz', a=np.zeros(10**6))
    monkeypatch.setattr('crossearth.models.weights.reading._LARGEST_UNPACKED', 10**6)
    with pytest.raises(CheckpointError, match=r'8000\d\d\d bytes unpacked, at most 1000000'):
        read_weights(tmp_path / 'z.npz')


def test_names_in_errors_cannot_command_the_terminal(tmp_path):
    torch.save({'\x1b[2J\x1b]0;x\x07\nok': torch.tensor(float('nan'))}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError) as caught:
        read_weights(tmp_path / 'x.pth')
    assert str(caught.value).isprintable()
    assert r'\x1b[2J' in str(caught.value)
    torch.save({'n' * 10**6: torch.tensor(float('nan'))}, tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=r'use an earlier one$') as caught:
        read_weights(tmp_path / 'x.pth')
    assert len(str(caught.value)) < 1010


def test_a_prefix_goes_where_most_names_agree_without_it():
    one = torch.ones(1)

    def names(*given, wanted=None):
        return list(strip_prefix(dict.fromkeys(given, one), wanted, source='x.pth'))

    assert names('module.a', 'module.b') == ['a', 'b']
    assert names('module.a', 'b') == ['module.a', 'b']
    assert names('encoder.a', 'encoder.b', 'decoder.a', wanted={'a', 'b'}) == [
        'a',
        'b',
        'decoder.a',
    ]
    assert names('encoder.a', wanted={'encoder.a'}) == ['encoder.a']
    assert names('module.', 'module.a') == ['module.', 'module.a']
    assert names(*('module.' * 50 + 'a',)) == ['module.' * 42 + 'a']
    with pytest.raises(CheckpointError, match=r'holds tensors of the same name with and without'):
        names('module.a', 'module.b', 'a', wanted={'a', 'b'})
