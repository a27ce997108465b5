import sys

import pytest
import torch

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.weights.reading import read_weights


def graph_file(path, *, external=None, weight='w'):
    """A convolution whose weight is stored in int8 and dequantised along its first axis."""
    onnx = pytest.importorskip('onnx', reason='the package onnx is not installed')
    make, numpy = onnx.helper, onnx.numpy_helper
    quantised = torch.tensor([-3, 0, 5, 7], dtype=torch.int8).view(2, 2, 1, 1)
    constants = [
        numpy.from_array(quantised.numpy(), 'q'),
        numpy.from_array(torch.tensor([0.5, 0.25]).numpy(), 's'),
        numpy.from_array(torch.tensor([1, -1], dtype=torch.int8).numpy(), 'z'),
        numpy.from_array(torch.tensor([2.0, 3.0]).numpy(), 'b'),
    ]
    if external is not None:
        onnx.external_data_helper.set_external_data(constants[3], str(external))
        constants[3].ClearField('raw_data')
    nodes = [
        make.make_node('DequantizeLinear', ['q', 's', 'z'], ['w'], axis=0),
        make.make_node('Conv', ['x', weight, 'b'], ['y_prequant']),
    ]
    tensor = [make.make_tensor_value_info(name, 1, [1, 2, 1, 1]) for name in 'xy']
    onnx.save(make.make_model(make.make_graph(nodes, 'g', tensor[:1], tensor[1:], constants)), path)


def test_weights_are_dequantised_along_their_axis(tmp_path):
    graph_file(tmp_path / 'x.onnx')
    found = read_weights(tmp_path / 'x.onnx')
    assert list(found) == ['y|weight', 'y|bias']
    assert found['y|weight'].flatten().tolist() == [-2.0, -0.5, 1.5, 2.0]
    assert found['y|bias'].tolist() == [2.0, 3.0]


def test_other_files_that_a_graph_names_are_not_opened(tmp_path):
    (tmp_path / 'secret').write_bytes(b'\0' * 8)
    graph_file(tmp_path / 'x.onnx', external='secret')
    with pytest.raises(CheckpointError, match=r'x\.onnx is damaged or not a quantised ONNX'):
        read_weights(tmp_path / 'x.onnx')


def test_a_weight_that_is_computed_is_refused(tmp_path):
    graph_file(tmp_path / 'x.onnx', weight='computed')
    with pytest.raises(CheckpointError, match=r"not a quantised ONNX file \(KeyError: 'computed'"):
        read_weights(tmp_path / 'x.onnx')


def test_without_the_package_the_error_says_how_to_read_onnx(tmp_path, monkeypatch):
    (tmp_path / 'x.onnx').write_bytes(b'')
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(ConfigError, match='install the package onnx to read it, or pass its'):
        read_weights(tmp_path / 'x.onnx')


@pytest.mark.parametrize('content', [b'\xff\xff\xff not a protocol buffer', b''])
def test_a_damaged_onnx_file_is_refused(tmp_path, content):
    pytest.importorskip('onnx', reason='the package onnx is not installed')
    (tmp_path / 'x.onnx').write_bytes(content)
    with pytest.raises(CheckpointError, match=r'x\.onnx'):
        read_weights(tmp_path / 'x.onnx')
