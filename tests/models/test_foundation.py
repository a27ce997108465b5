"""Every encoder of the list builds, saves, loads and maps; the encoders are tiny ones."""

import copy
import doctest
import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import timm
import torch
from safetensors.torch import load_file

from crossearth.errors import ConfigError
from crossearth.inference import Windows, predict_scene
from crossearth.models import (
    foundation,
    foundation_crossearth,
    foundation_fpn,
    load_model,
    save_model,
)
from crossearth.models.backbones import TORCHGEO_SWINS, TORCHGEO_VITS
from crossearth.models.meta import without_weights
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.trainers import build_training

IRRG = (0.842, 0.665, 0.56)
SENTINEL2 = (
    0.443,
    0.49,
    0.56,
    0.665,
    0.704,
    0.741,
    0.783,
    0.833,
    0.865,
    0.945,
    1.374,
    1.614,
    2.202,
)


def told(name, bands):
    """Arguments for an encoder and so many bands."""
    takes = (TORCHGEO_VITS | TORCHGEO_SWINS)[name].takes
    given = {}
    if 'wavelengths_um' in takes:
        given['wavelengths_um'] = (IRRG + SENTINEL2[:1]) if bands <= 4 else SENTINEL2
        given['wavelengths_um'] = given['wavelengths_um'][:bands]
    else:
        given['in_channels'] = bands
    if 'bandwidths_um' in takes:
        given['bandwidths_um'] = (0.03,) * bands
    if 'gsd_m' in takes:
        given['gsd_m'] = 10.0  # Copernicus-FM cannot tell less than 2 m
    return given


def _bands(name):
    """All numbers of bands for one encoder of each family, four for the others."""
    if name.startswith('croma'):
        return (2, 12)
    first = ('dofa_base', 'copernicusfm', 'panopticon', 'scalemae', 'swin_v2_b')
    return (3, 4, 13) if name.startswith(first) else (4,)


CASES = [(name, bands) for name in [*TORCHGEO_VITS, *TORCHGEO_SWINS] for bands in _bands(name)]


@pytest.mark.parametrize(('name', 'bands'), CASES)
def test_every_encoder_builds_for_its_bands_and_comes_back_from_a_file(
    tiny_torchgeo, tmp_path, name, bands
):
    torch.manual_seed(0)
    model = foundation_fpn(name, num_classes=2, width=8, tokens=4, rank=2, **told(name, bands))
    image = torch.rand(2, bands, 50, 70)  # no multiple of any patch
    with torch.no_grad():
        logits = model.eval()(image)
    assert logits.shape == (2, 2, 50, 70)
    assert logits.isfinite().all()
    json.dumps(model.blueprint.arguments)
    again = load_model(save_model(model, tmp_path / 'model.safetensors'))
    with torch.no_grad():
        assert torch.equal(again(image), logits)


@pytest.mark.parametrize('name', ['copernicusfm_base', 'panopticon_vitb14'])
@pytest.mark.usefixtures('unchecked')
def test_encoders_of_wavelengths_are_exported_for_one_size(tiny_torchgeo, name):
    model = foundation_fpn(name, num_classes=2, width=8, tokens=4, rank=2, **told(name, 3)).eval()
    image = torch.rand(1, 3, 50, 70)
    with torch.no_grad():
        program = torch.export.export(model, (image,), strict=False)
        torch.testing.assert_close(program.module()(image), model(image))


@pytest.mark.parametrize('name', ['dofa_base_patch16_224', 'croma_base', 'swin_v2_b'])
def test_crossearth_trains_on_other_encoders(tiny_torchgeo, tmp_path, name):
    torch.manual_seed(0)
    bands = 12 if name == 'croma_base' else 4
    model = foundation_crossearth(name, num_classes=2, **told(name, bands)).train()
    image = torch.rand(1, bands, 64, 64)
    losses = model.losses(image, torch.zeros(1, 64, 64, dtype=torch.int64))
    restored = model.restore(image)
    (sum(losses.values()) + restored.mean()).backward()
    assert restored.shape == image.shape
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    frozen = [p for p in model.backbone.parameters() if not p.requires_grad]
    assert bool(frozen) == (name not in TORCHGEO_SWINS)
    again = load_model(save_model(model, tmp_path / 'model.safetensors'))
    with torch.no_grad():
        assert torch.equal(again(image), model.eval()(image))


@pytest.mark.parametrize(
    'name',
    ['vit_small_patch16_dinov3.lvd1689m', 'samvit_base_patch16_224', 'vit_small_patch14_dinov2'],
)
def test_transformers_of_timm_build_and_come_back(tmp_path, name, monkeypatch):
    create = timm.create_model
    small = {'embed_dim': 32, 'num_heads': 2}
    monkeypatch.setattr(timm, 'create_model', lambda *a, **given: create(*a, **given, **small))
    torch.manual_seed(0)
    model = foundation_fpn(name, num_classes=2, width=8, img_size=(64, 96), depth=3, tokens=4)
    assert model.backbone.depth == 3
    image = torch.rand(1, 3, 50, 130)
    with torch.no_grad():
        logits = model.eval()(image)
        again = load_model(save_model(model, tmp_path / 'model.safetensors'))
        assert torch.equal(again(image), logits)


def test_images_are_normalised_as_the_encoder_was_trained():
    with without_weights():
        arguments = [
            foundation._encoder(
                name, in_channels=bands, told={}, pretrained=False, mean=None, std=None
            )
            for name, bands in (
                ('vit_large_patch16_dinov3.sat493m', 3),
                ('vit_small_patch16_dinov3', 4),
                ('swin_v2_t', 9),
                ('swin_t', 3),
            )
        ]
    sat, four, satlas, plain = arguments
    assert (sat.mean, sat.std) == ([0.43, 0.411, 0.296], [0.213, 0.156, 0.143])
    assert four.mean == pytest.approx([0.449] * 4)
    assert (satlas.mean, satlas.std) == ([0.0] * 9, [1.0] * 9)
    assert plain.mean == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    ('name', 'arguments', 'message'),
    [
        ('dofa_base_patch16_224', {}, r'dofa_base_patch16_224 reads bands by their wavelengths'),
        (
            'panopticon_vitb14',
            {'in_channels': 4, 'wavelengths_um': IRRG},
            r'wavelengths_um has 3 values for 4 bands',
        ),
        ('copernicusfm_base', {'wavelengths_um': IRRG}, r'also needs the width of each band'),
        (
            'copernicusfm_base',
            {'wavelengths_um': IRRG, 'bandwidths_um': IRRG, 'gsd_m': 0.5},
            r'gsd_m is 0.5: copernicusfm_base distinguishes only patches of 0.001 km² or more',
        ),
        ('croma_base', {'in_channels': 3}, r'croma_base takes 12 or 2 bands, got 3: use the 12'),
        ('croma_base', {'wavelengths_um': IRRG}, r'croma_base takes no wavelengths_um'),
        ('scalemae_large_patch16', {}, r'gsd_m is None, but .* places patches by metres'),
        ('swin_v2_b', {'gsd_m': 1.0}, r'swin_v2_b takes no gsd_m, got 1.0: leave it out'),
        ('swin_t', {'depth': 2}, r'swin_t takes no depth'),
        ('dofa_base_patch16_224', {'img_size': 64}, r'takes no img_size, .* images of any size'),
        ('vit_small_patch16_dinov3', {'wavelengths_um': IRRG}, r'takes no wavelengths_um'),
        ('swin_t', {'in_channels': -3}, r'in_channels is -3: expected at least one band'),
        ('resnet18', {}, r"'resnet18' takes no img_size, so it is not a plain vision"),
        ('prithvi', {}, r"timm .* has no model 'prithvi'"),
        ('swin_v2b', {}, 'similar names: swin_v2_b'),
        ('test_resnet', {'depth': 2}, r"'test_resnet' takes no img_size, so it is not a plain"),
        ('panopticon_vitb', {'wavelengths_um': [0.6]}, 'similar names: panopticon_vitb14'),
        ('vit_small_patch16_dinov3', {'depth': 13}, r'depth is 13: expected 1 to 12'),
        (
            'dofa_base_patch16_224',
            {'wavelengths_um': IRRG, 'depth': 0},
            r'depth is 0: expected 1 to 2, the blocks of dofa_base_patch16_224',
        ),
    ],
)
def test_arguments_that_an_encoder_does_not_take_are_refused(
    tiny_torchgeo, name, arguments, message
):
    with without_weights(), pytest.raises(ConfigError, match=message):
        foundation_fpn(name, num_classes=2, **arguments)


def test_a_name_in_a_file_is_looked_up_in_a_closed_list(tiny_torchgeo, tmp_path):
    """`list_models` and `os` are names of torchgeo.models and of modules, and not encoders."""
    for name in ('list_models', 'os.system', 'torchgeo.models.unet', 'unet'):
        with pytest.raises(ConfigError, match='has no model'):
            foundation_fpn(name, num_classes=2)


def test_file_of_a_model_holds_no_frozen_encoder_that_can_be_had_again(tiny_torchgeo, tmp_path):
    torch.manual_seed(0)
    source = tmp_path / 'dofa.pth'
    torch.save(tiny_torchgeo.dofa_base_patch16_224(num_classes=0).state_dict(), source)
    model = foundation_fpn(
        'dofa_base_patch16_224', num_classes=2, wavelengths_um=IRRG, pretrained=str(source), width=8
    )
    path = save_model(model, tmp_path / 'model.safetensors')
    assert not any('.vit.' in name for name in load_file(path))
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_model(path)(image), model.eval()(image))


@pytest.mark.parametrize('name', foundation.__all__)
def test_the_example_of_each_builder_runs(name):
    """pytest's own collection takes what a decorator returns for another module's."""
    (example,) = doctest.DocTestFinder(recurse=False).find(
        getattr(foundation, name), name, module=foundation
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


SIX = {
    'name': 'six',
    'classes': ['road', 'roof', 'low', 'tree', 'car', 'clutter'],
    'palette': [[value, value, 0] for value in range(0, 60, 10)],
}
CROSSEARTH = {
    'class_path': 'crossearth.trainers.CrossEarthTraining',
    'init_args': {
        'mask': {
            'class_path': 'crossearth.trainers.patch_mask',
            'init_args': {'patch_size': 16, 'ratio': 0.5, 'prompt': [0.4] * 4},
        }
    },
}


@pytest.mark.filterwarnings('ignore')  # lightning's notices about training for one step
@pytest.mark.parametrize(
    ('builder', 'method'),
    [
        ('foundation_fpn', {'class_path': 'crossearth.trainers.SourceOnly', 'init_args': {}}),
        pytest.param('foundation_crossearth', CROSSEARTH, marks=pytest.mark.slow),
    ],
)
def test_a_recipe_trains_saves_loads_and_maps_on_four_bands(
    tiny_torchgeo, tmp_path, builder, method
):
    domain = replace(EARTH_DOMAINS['source'], bands='rgbnir')
    ((scene, _),) = SyntheticEarth(0).write(tmp_path, domain, scenes=1, size_px=80)
    folder = scene.parents[1]
    arguments = {
        'name': 'dofa_base_patch16_224',
        'num_classes': 6,
        'wavelengths_um': [0.665, 0.56, 0.49, 0.842],
    }
    learnt = copy.deepcopy(method)
    learnt['init_args'] |= {
        'model': {'class_path': f'crossearth.models.{builder}', 'init_args': arguments},
        'labels': SIX,
    }
    scenes = {'images': str(folder / 'images'), 'masks': str(folder / 'masks'), 'labels': SIX}
    dataset = {'class_path': 'crossearth.datasets.FolderDataset', 'init_args': scenes}
    path = tmp_path / 'model.safetensors'
    saving = {
        'class_path': 'crossearth.trainers.SaveModel',
        'init_args': {'path': str(path), 'source_windows': 0},
    }
    quiet = ('logger', 'enable_checkpointing', 'enable_progress_bar', 'enable_model_summary')
    task, data, trainer = build_training(
        {
            'model': {
                'class_path': 'crossearth.trainers.TrainingTask',
                'init_args': {'method': learnt, 'decay_steps': 10},
            },
            'data': {
                'class_path': 'crossearth.datasets.ShiftDataModule',
                'init_args': {'train': dataset, 'size_px': 32, 'batch_size': 2},
            },
            'trainer': {
                'accelerator': 'cpu',
                'max_steps': 1,
                'callbacks': [saving],
                **dict.fromkeys(quiet, False),
            },
        }
    )
    before = {name: p.detach().clone() for name, p in task.model.named_parameters()}
    trainer.fit(task, datamodule=data)
    changed = {
        name for name, p in task.model.named_parameters() if not torch.equal(p, before[name])
    }
    assert any(name.startswith('backbone.adapter.') for name in changed)
    assert not any(name.startswith('backbone.vit.') for name in changed)
    model = load_model(path)
    image = torch.rand(1, 4, 50, 70)
    with torch.no_grad():
        assert torch.equal(model(image), task.model.eval()(image))
    predict_scene(model, scene, tmp_path / 'map.tif', windows=Windows(tile_px=96))
    with rasterio.open(tmp_path / 'map.tif') as drawn, rasterio.open(scene) as source:
        assert drawn.shape == source.shape
        assert drawn.transform == source.transform
        assert set(np.unique(drawn.read(1))) <= set(range(6))
