import copy
import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models import (
    Features,
    ReinViT,
    Segmenter,
    builder,
    builders,
    foundation,
    fpn_timm,
    load_model,
    read_model_info,
    rivals,
    save_model,
)
from crossearth.models.recording import (
    Blueprint,
    blueprint_of,
    builder_name,
    find_builder,
    own_builders,
)


class Pooled(nn.Module):
    """A backbone that is not the library's."""

    channels = (4, 4, 4, 4)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 4, 1)

    def forward(self, image):
        found = self.stem(image)
        return Features(tuple(nn.functional.avg_pool2d(found, s) for s in (4, 8, 16, 32)))


class Classify(nn.Module):
    """A decoder that is not the library's."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layer = nn.Conv2d(4, num_classes, 1)

    def forward(self, features):
        return self.layer(features.maps[0])


class Shift(nn.Module):
    """An adapter that is not the library's."""

    def __init__(self, depth: int, dim: int) -> None:
        super().__init__()
        self.depth = depth
        self.shift = nn.Parameter(torch.rand(depth, dim))

    def forward(self, features, layer, grid):  # noqa: ARG002 -- signature of the contract
        return features + self.shift[layer]

    def queries(self):
        return None


@builder
def build_mine(num_classes: int, *, in_channels: int = 3, mean=(0.5, 0.5, 0.5)) -> Segmenter:
    return Segmenter(Pooled(in_channels), Classify(num_classes), mean=mean, std=[0.2] * in_channels)


@builder
def build_shifted(num_classes: int, **settings) -> Segmenter:
    vit = timm.create_model(
        'vit_tiny_patch16_224', img_size=32, depth=4, embed_dim=32, num_heads=2, num_classes=0
    )
    backbone = ReinViT(vit, Shift(4, 32))
    return Segmenter(backbone, FirstMap(num_classes), mean=[0.5] * 3, std=[0.2] * 3, **settings)


class FirstMap(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.layer = nn.Conv2d(32, num_classes, 1)

    def forward(self, features):
        return self.layer(features.maps[0])


def build_plain(num_classes: int) -> nn.Module:
    """Not recorded, and not a Segmenter either."""
    model = nn.Conv2d(3, num_classes, 1)
    model.num_classes = num_classes
    return model


def test_a_builder_records_defaults_and_leaves_the_function_as_it_is():
    model = build_mine(2, in_channels=3)
    assert model.blueprint == Blueprint(
        f'{__name__}:build_mine', {'num_classes': 2, 'in_channels': 3, 'mean': [0.5, 0.5, 0.5]}
    )
    assert build_mine.__name__ == 'build_mine'
    assert blueprint_of(model) is model.blueprint
    assert blueprint_of(nn.Identity()) is None
    assert build_shifted(2, multiple_px=16).blueprint.arguments == {
        'num_classes': 2,
        'multiple_px': 16,
    }


@pytest.mark.parametrize('build', [build_mine, build_shifted])
def test_models_of_other_parts_come_back_to_who_trusts_their_builder(build, tmp_path):
    torch.manual_seed(0)
    model = build(3).eval()
    path = save_model(model, tmp_path / 'm.safetensors')
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(load_model(path, builders=[build])(image), model(image))
    assert read_model_info(path).blueprint == model.blueprint


def test_a_function_that_records_nothing_is_named_on_saving(tmp_path):
    model = build_plain(3).eval()
    with pytest.raises(ConfigError, match='your own under @builder, or pass builder'):
        save_model(model, tmp_path / 'm.safetensors')
    path = save_model(
        model, tmp_path / 'm.safetensors', builder=build_plain, arguments={'num_classes': 3}
    )
    again = load_model(path, builders=[build_plain])
    assert torch.equal(again.weight, model.weight)
    assert blueprint_of(again) == Blueprint(f'{__name__}:build_plain', {'num_classes': 3})
    assert save_model(again, tmp_path / 'again.safetensors').is_file()


def test_a_file_imports_nothing_and_says_whom_to_trust(tmp_path):
    path = save_model(build_mine(2), tmp_path / 'm.safetensors')
    message = rf'build_mine.*not part of crossearth.*from {__name__} import build_mine.*'
    message += rf'builders=\[build_mine\], or --builder {__name__}:build_mine on'
    with pytest.raises(CheckpointError, match=message):
        load_model(path)
    with pytest.raises(CheckpointError, match=r'you passed .*:build_shifted'):
        load_model(path, builders=[build_shifted])
    stranger = tmp_path / 'stranger.py'
    stranger.write_text(f'open({str(tmp_path / "ran")!r}, "w")\ndef build(): pass\n')
    with safe_open(path, framework='pt') as file:
        metadata = file.metadata()
    header = json.loads(metadata['model'])
    for name in ('stranger:build', 'os:system', 'builtins:exec', 'crossearth.models:load_model'):
        header['blueprint']['builder'] = name
        save_file(load_file(path), path, {**metadata, 'model': json.dumps(header)})
        with pytest.raises(CheckpointError, match=f"'{name}', which is not part of crossearth"):
            load_model(path)
    assert not (tmp_path / 'ran').exists()


def test_strange_names_are_shown_as_text(tmp_path):
    with pytest.raises(ConfigError, match=r"'\\x1b\[31m:build', expected one of adapted_fpn"):
        find_builder('\x1b[31m:build')


def test_a_script_run_as_a_program_is_the_module_that_others_import():
    build_main = copy.copy(build_plain)
    assert find_builder('__main__:build_plain', [build_main]) is build_main
    with pytest.raises(ConfigError, match="'mine:build_plain', which is not part"):
        find_builder('mine:build_plain', [build_main])
    with pytest.raises(ConfigError, match="'__main__:other', which is not part"):
        find_builder('__main__:other', [build_main])


def test_the_outer_builder_is_recorded():
    @builder
    def wider(num_classes: int) -> Segmenter:
        return fpn_timm('resnet10t', num_classes=num_classes, width=24)

    assert fpn_timm('resnet10t', num_classes=2, width=8).blueprint.builder == 'fpn_timm'
    assert wider(2).blueprint.arguments == {'num_classes': 2}
    assert wider(2).blueprint.builder.endswith('wider')


def test_paths_are_recorded_as_text_and_forgotten_arguments_not_at_all():
    @builder(forget=('device',))
    def build(pretrained: Path | bool = False, device: str = 'cpu') -> nn.Module:
        return nn.Identity()

    assert build(Path('a/b'), device='cuda').blueprint.arguments == {'pretrained': 'a/b'}


def test_arguments_that_are_not_json_are_refused_on_saving_only(tmp_path):
    @builder
    def build(part: nn.Module) -> nn.Module:
        return nn.Sequential(part)

    model = build(nn.Linear(1, 1))
    with pytest.raises(ConfigError, match='not JSON values'):
        save_model(model, tmp_path / 'm.safetensors')


def test_arguments_without_a_name_are_refused_at_once():
    with pytest.raises(ConfigError, match=r"takes 'sizes', which cannot be recorded by name"):

        @builder
        def build(*sizes: int) -> nn.Module:
            return nn.Identity()


def test_every_builder_of_the_library_is_trusted_by_its_bare_name():
    modules = (builders, foundation, rivals)
    names = {name for module in modules for name in module.__all__}
    assert set(own_builders()) == {'adapted_fpn', *names}
    for module in modules:
        for name in module.__all__:
            assert find_builder(name) is getattr(module, name)
            assert builder_name(getattr(module, name)) == name
