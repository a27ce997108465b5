import argparse

import pytest

from crossearth.commands.models import add_arguments, run
from crossearth.errors import ConfigError
from crossearth.models import list_models

DOFA = ('small_patch16_224', 'base_patch16_224', 'large_patch16_224', 'huge_patch14_224')


def printed(*words: str) -> str:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


def listed(*words: str) -> str:
    return printed('list', *words)


@pytest.mark.slow
def test_the_table_has_every_model_with_its_parts_and_its_size():
    table, details, encoders, published = listed('--classes', '5').split('\n\n')
    lines = table.splitlines()
    models = list_models(5)
    assert lines[0].split() == ['model', 'backbone', 'adapter', 'decoder', 'parameters', 'trained']
    assert [line.split()[0] for line in lines[1:]] == [model.name for model in models]
    rein = next(line for line in lines if line.startswith('rein_vit_large'))
    assert 'LoRARein' in rein
    assert rein.endswith(' 23.6 M')  # 23,566,279 trained
    for model in models:
        assert all(f'  weights {name}\n' in f'{details}\n' for name in model.weights)
        assert f'  paper {model.paper}\n' in details
    names = [line.split()[0] for line in encoders.splitlines()[2:]]
    assert names[:4] == [f'dofa_{size}' for size in DOFA]
    assert {'copernicusfm_base', 'panopticon_vitb14', 'croma_base', 'swin_v2_b'} <= set(names)
    assert 'dofa_base_patch16_224\n  pretrained DOFABase16_Weights.DOFA_MAE' in published


def test_a_model_without_classes_is_refused():
    with pytest.raises(ConfigError, match='num_classes is 0: expected at least 1'):
        listed('--classes', '0')


@pytest.mark.slow
def test_an_encoder_of_the_table_can_be_asked_for():
    said = printed('info', 'dofa_base_patch16_224')
    assert 'dofa_base_patch16_224 of foundation_fpn and foundation_crossearth' in said
    assert 'CC-BY-4.0: DOFABase16_Weights.DOFA_MAE' in said


@pytest.mark.slow
def test_a_model_of_the_table_can_be_asked_for_as_it_is_printed():
    lora = printed('info', 'adapted_fpn', 'adapter=lora')
    assert lora.startswith('adapted_fpn adapter=lora\n  backbone tiny_vit_5m_224')
    every = printed('info', 'adapted_fpn')
    assert lora in every
    assert every.count('adapted_fpn adapter=') == 8
    with pytest.raises(ConfigError, match=r'=lorra: no such model.*adapted_fpn adapter=lora'):
        printed('info', 'adapted_fpn', 'adapter=lorra')
