import importlib

import crossearth.models

ROOMS = ('backbones', 'adapters', 'decoders', 'style')


def test_the_names_to_start_with_are_few_and_known():
    """A change of this list is a change of what users see first."""
    assert crossearth.models.__all__ == [
        'CrossEarth',
        'CrossEarth_Weights',
        'EncoderSummary',
        'Features',
        'MixStyle',
        'ModelInfo',
        'ModelSummary',
        'ReinViT',
        'Segmenter',
        'adapted_backbone',
        'adapted_fpn',
        'attach',
        'builder',
        'crossearth_rvsa_large',
        'crossearth_vit_base',
        'crossearth_vit_large',
        'crossearth_vit_small',
        'daformer_mit_b5',
        'deeplabv2_resnet101',
        'deeplabv3_resnet101',
        'foundation_crossearth',
        'foundation_fpn',
        'fpn_timm',
        'frozen_vit_large',
        'hrda_mit_b5',
        'list_encoders',
        'list_models',
        'load_model',
        'load_program',
        'merged',
        'mtp_rvsa_large',
        'program_digest',
        'read_model_info',
        'rein_vit_fpn',
        'rein_vit_large',
        'save_model',
    ]


def test_every_part_has_one_room():
    found = {}
    for room in ROOMS:
        module = importlib.import_module(f'crossearth.models.{room}')
        for name in module.__all__:
            assert getattr(module, name) is not None
            assert found.setdefault(name, room) == room, name
