"""Models, complete and in parts. This package needs only torch and timm.

A model is a `Segmenter`: a backbone turns an image into `Features`, four maps and optionally object
queries, and a decoder turns those into logits. A frozen backbone carries an adapter, which holds
the few parameters that learn. The builders below put complete models together and record their
plain arguments, so that `save_model` and `load_model` can write and rebuild one without pickles.
`list_models` and `list_encoders` show what there is.

To compose your own model, take parts from `backbones`, `adapters` and `decoders`. Style networks,
which also need torchvision, are in `style`. Reading and checking weights files is in `weights`.

Each name is imported when it is first used. timm takes seconds and 200 MiB, which mapping with a
model of another library does not need.
"""

from typing import TYPE_CHECKING

from crossearth.lazy import lazy_names

if TYPE_CHECKING:
    from crossearth.models.adapted import adapted_backbone, adapted_fpn, merged
    from crossearth.models.backbones import ReinViT
    from crossearth.models.builders import (
        crossearth_rvsa_large,
        crossearth_vit_base,
        crossearth_vit_large,
        crossearth_vit_small,
        fpn_timm,
        frozen_vit_large,
        rein_vit_fpn,
        rein_vit_large,
    )
    from crossearth.models.crossearth import CrossEarth
    from crossearth.models.encoders import EncoderSummary, list_encoders
    from crossearth.models.features import Features
    from crossearth.models.foundation import foundation_crossearth, foundation_fpn
    from crossearth.models.hooks import attach
    from crossearth.models.listing import ModelSummary, list_models
    from crossearth.models.mix_style import MixStyle
    from crossearth.models.programs import load_program, program_digest
    from crossearth.models.recording import builder
    from crossearth.models.rivals import (
        daformer_mit_b5,
        deeplabv2_resnet101,
        deeplabv3_resnet101,
        hrda_mit_b5,
        mtp_rvsa_large,
    )
    from crossearth.models.segmenter import Segmenter
    from crossearth.models.weights.checkpoint import (
        ModelInfo,
        load_model,
        read_model_info,
        save_model,
    )
    from crossearth.models.weights.released import CrossEarth_Weights
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            'crossearth.models.adapted': ['adapted_backbone', 'adapted_fpn', 'merged'],
            'crossearth.models.backbones': ['ReinViT'],
            'crossearth.models.builders': [
                'crossearth_rvsa_large',
                'crossearth_vit_base',
                'crossearth_vit_large',
                'crossearth_vit_small',
                'fpn_timm',
                'frozen_vit_large',
                'rein_vit_fpn',
                'rein_vit_large',
            ],
            'crossearth.models.crossearth': ['CrossEarth'],
            'crossearth.models.encoders': ['EncoderSummary', 'list_encoders'],
            'crossearth.models.features': ['Features'],
            'crossearth.models.foundation': ['foundation_crossearth', 'foundation_fpn'],
            'crossearth.models.hooks': ['attach'],
            'crossearth.models.listing': ['ModelSummary', 'list_models'],
            'crossearth.models.mix_style': ['MixStyle'],
            'crossearth.models.programs': ['load_program', 'program_digest'],
            'crossearth.models.recording': ['builder'],
            'crossearth.models.rivals': [
                'daformer_mit_b5',
                'deeplabv2_resnet101',
                'deeplabv3_resnet101',
                'hrda_mit_b5',
                'mtp_rvsa_large',
            ],
            'crossearth.models.segmenter': ['Segmenter'],
            'crossearth.models.weights.checkpoint': [
                'ModelInfo',
                'load_model',
                'read_model_info',
                'save_model',
            ],
            'crossearth.models.weights.released': ['CrossEarth_Weights'],
        },
        subpackages=('adapters', 'backbones', 'decoders', 'style'),
    )

__all__ = [
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
