import subprocess
import sys
from typing import get_args

import pytest
import timm
from segmentation_models_pytorch.encoders import get_encoder_names

from crossearth.errors import ConfigError
from crossearth.models import builders, foundation, fpn_timm, list_models, rivals
from crossearth.models.adapted import AdapterName
from crossearth.models.backbones import rvsa
from crossearth.models.decoders import MultiStageASPP
from crossearth.models.meta import without_weights


@pytest.fixture(scope='module')
def models():
    return {' '.join([model.name, *model.arguments.values()]): model for model in list_models(5)}


def test_every_builder_is_listed_once_and_each_adapter(models):
    adapted = {f'adapted_fpn {adapter}' for adapter in get_args(AdapterName)}
    assert len(adapted) == 8
    others = {*builders.__all__, *foundation.__all__, *rivals.__all__}
    assert set(models) == {*others, *adapted}
    assert all(model.paper and model.weights and model.input for model in models.values())


def test_sizes_are_those_of_the_paper(models):
    """Rein trains 2.99 M, Mask2Former 20.58 M; extractor and injector add 1.55 M and 0.85 M."""
    rein, ours = models['rein_vit_large'], models['crossearth_vit_large']
    assert rein.trained_parameters == 2_990_081 + 20_576_198
    frozen = rein.parameters - rein.trained_parameters
    with without_weights():
        vit = timm.create_model(
            'vit_large_patch14_dinov2', img_size=512, patch_size=16, num_classes=0
        )
        assert frozen == sum(p.numel() for p in vit.parameters())
        restorer = MultiStageASPP((1024,) * 4, 3)
    restoring = sum(p.numel() for p in restorer.parameters())
    assert ours.trained_parameters - rein.trained_parameters - restoring == 1_550_976 + 853_760
    assert (
        models['crossearth_rvsa_large'].parameters
        == models['crossearth_rvsa_large'].trained_parameters
    )


def test_parts_are_read_off_the_models(models):
    assert models['crossearth_vit_small'].adapter == 'LoRARein + Injector'
    assert models['rein_vit_large'].adapter == 'LoRARein'
    assert models['frozen_vit_large'].adapter is None
    assert models['fpn_timm'].decoder == 'FPNDecoder'
    named = {'lora': 'LoRA', 'soma': 'SoMA', 'earth': 'EarthAdapter', 'gate': 'Gate'}
    for adapter, name in named.items():
        assert models[f'adapted_fpn {adapter}'].adapter == name
    trained = {
        adapter: models[f'adapted_fpn {adapter}'].trained_parameters
        - models['adapted_fpn frozen'].trained_parameters
        for adapter in ('frozen', 'full', 'lora', 'soma', 'rein', 'lora_rein', 'earth', 'gate')
    }
    assert trained == {
        'frozen': 0,
        'full': 5_071_124,
        'lora': 536_064,
        'soma': 536_064,
        'rein': 365_504,
        'lora_rein': 315_456,
        'earth': 262_864,
        'gate': 848_656,
    }
    built = fpn_timm('resnet18', num_classes=5)
    assert models['fpn_timm'].parameters == sum(p.numel() for p in built.parameters())


def test_backbones_are_names_that_can_be_built(models):
    for model in models.values():
        name = model.backbone.split(',')[0]
        assert timm.is_model(name) or hasattr(rvsa, name) or name in get_encoder_names()


@pytest.mark.slow
def test_no_weights_are_held_in_memory():
    """Eight models of 1.5 thousand million parameters would be 6 GB."""
    code = (
        'import resource; from crossearth.models import list_models\n'
        'peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        'before = peak(); total = sum(model.parameters for model in list_models())\n'
        'print(total, peak() - before)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    total, grown = map(int, done.stdout.split())
    assert total > 1.5e9
    assert grown * (1 if sys.platform == 'darwin' else 1024) < 300e6  # bytes there, KiB here


def test_no_classes_are_refused():
    with pytest.raises(ConfigError, match='num_classes is 0: expected at least 1'):
        list_models(0)
