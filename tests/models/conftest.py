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
import timm
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import SwinTransformer

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


def _tiny_panopticon(img_size: int) -> nn.Module:
    """Its real class asks timm for a ViT-B, whatever its width."""
    from torchgeo.models import Panopticon

    create = timm.create_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            timm,
            'create_model',
            lambda _: create('vit_small_patch14_dinov2', embed_dim=32, depth=2, num_heads=2),
        )
        return Panopticon(attn_dim=96, embed_dim=32, img_size=img_size)


@pytest.fixture
def tiny_torchgeo(monkeypatch) -> ModuleType:
    """torchgeo whose encoders, found by their names, are small, of its real classes."""
    import torchgeo.models as library
    import torchvision

    def tiny_swin(*_: Any, **__: Any) -> nn.Module:
        return SwinTransformer([4, 4], 24, [1] * 4, [1, 2, 4, 8], [7, 7])

    small: dict[str, Any] = {'embed_dim': 32, 'depth': 2, 'num_heads': 2}
    for size in ('small_patch16', 'base_patch16', 'large_patch16'):
        monkeypatch.setattr(
            library,
            f'dofa_{size}_224',
            lambda num_classes: library.DOFA(img_size=32, num_classes=num_classes, **small),
        )
    monkeypatch.setattr(
        library,
        'dofa_huge_patch14_224',
        lambda num_classes: library.DOFA(28, 14, num_classes=num_classes, **small),
    )
    monkeypatch.setattr(
        library, 'copernicusfm_base', lambda: library.CopernicusFM(img_size=32, **small)
    )
    monkeypatch.setattr(library, 'panopticon_vitb14', _tiny_panopticon)
    for name in ('croma_base', 'croma_large'):
        monkeypatch.setattr(
            library,
            name,
            lambda modalities, image_size: library.CROMA(modalities, 32, 2, image_size=image_size),
        )
    monkeypatch.setattr(
        library,
        'scalemae_large_patch16',
        lambda **given: library.ScaleMAE(patch_size=16, **small, **given),
    )
    for name in ('swin_t', 'swin_s', 'swin_v2_t', 'swin_v2_b'):
        monkeypatch.setattr(library, name, tiny_swin)
    monkeypatch.setattr(torchvision.models, 'SwinTransformer', tiny_swin)  # swin_b is built of it
    return library
