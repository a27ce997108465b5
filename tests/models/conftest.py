"""Recorded outputs of the reference implementations, where they lie."""

import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

PARITY = Path(os.environ.get('CROSSEARTH_TEST_PARITY', '../shared/parity'))
DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))


@dataclass(frozen=True)
class Reference:
    """One recorded case: its configuration, its tensors, and the maker of weights and inputs."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    weights: ModuleType


@pytest.fixture
def parity() -> Callable[[str], Reference]:
    def load(name: str) -> Reference:
        if not (PARITY / f'{name}.safetensors').is_file():
            pytest.skip(f'no recorded reference {name} in {PARITY}: set CROSSEARTH_TEST_PARITY')
        spec = importlib.util.spec_from_file_location(
            'reference_weights', PARITY / 'reference_weights.py'
        )
        assert spec is not None
        assert spec.loader is not None
        weights = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(weights)
        return Reference(
            json.loads((PARITY / f'{name}.json').read_text()),
            load_file(PARITY / f'{name}.safetensors'),
            weights,
        )

    return load


@pytest.fixture
def lite0_weights() -> Path:
    path = DATA / 'weights' / 'backbone' / 'efficientnet-lite0-57934424.pth'
    if not path.is_file():
        pytest.skip(f'no EfficientNet-lite0 at {path}: set CROSSEARTH_TEST_DATA')
    return path
