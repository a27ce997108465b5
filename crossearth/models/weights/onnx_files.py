"""The convolutions of quantised ONNX files, which are read as protocol buffers and never run."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossearth.errors import CheckpointError, ConfigError

__all__ = ['read_onnx']


def read_onnx(path: Path) -> dict[str, Tensor]:
    """Weights and biases of all convolutions of an ONNX file, dequantised to float32.

    Args:
        path: ONNX file. Numbers that it keeps in other files are not read.

    Returns:
        `'<name of the output>|weight'` and `'…|bias'`, in the order of the graph.

    Raises:
        CheckpointError: If the file is damaged, or has weights in a form that is not supported.
        ConfigError: If the package `onnx` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(
            f'{path} is an ONNX file: install the package onnx to read it, or pass its '
            'convolutions as npz'
        ) from error
    try:
        # External data may name any file, also outside of the folder of this one.
        graph = onnx.load(path, load_external_data=False).graph
        constants = {
            tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
            for tensor in graph.initializer
        }
        makers = {n.output[0]: n for n in graph.node if n.op_type == 'DequantizeLinear'}
        convolutions = {}
        for node in graph.node:
            if node.op_type == 'Conv':
                name = node.output[0].removesuffix('_prequant')
                for kind, stored in zip(('weight', 'bias'), node.input[1:3], strict=True):
                    convolutions[f'{name}|{kind}'] = _dequantised(stored, constants, makers)
    except Exception as error:  # protobuf's errors have no common base, and graphs may lack parts
        raise CheckpointError(
            f'{path} is damaged or not a quantised ONNX file ({type(error).__name__}: {error})'
        ) from error
    return convolutions


def _dequantised(name: str, constants: dict[str, Tensor], makers: dict[str, Any]) -> Tensor:
    if name in constants:
        return constants[name].float()
    node = makers[name]
    value, scale = constants[node.input[0]].double(), constants[node.input[1]].double()
    zero = constants[node.input[2]].double() if len(node.input) > 2 else torch.zeros(())
    if scale.ndim:
        # 1 is the default of the operator.
        axis = next((item.i for item in node.attribute if item.name == 'axis'), 1)
        shape = [-1 if dim == axis else 1 for dim in range(value.ndim)]
        scale = scale.reshape(shape)
        zero = zero.reshape(shape) if zero.ndim else zero
    return ((value - zero) * scale).float()
