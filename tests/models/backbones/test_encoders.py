"""Layers of the encoders of segmentation_models_pytorch, counted."""

import pytest
from segmentation_models_pytorch.encoders import get_encoder

from crossearth.errors import ConfigError
from crossearth.models.backbones.encoders import SmpPyramid


def test_layers_of_a_mit_are_counted_by_blocks():
    backbone = SmpPyramid(get_encoder('mit_b0', weights=None))
    depths = backbone.layer_depths()
    assert depths.keys() == dict(backbone.named_parameters()).keys()
    assert depths['encoder.patch_embed1.proj.weight'] == 0
    assert depths['encoder.block1.1.attn.q.weight'] == 2
    assert depths['encoder.norm1.weight'] == 2
    assert depths['encoder.patch_embed2.proj.weight'] == 3
    assert depths['encoder.block2.0.attn.q.weight'] == 3
    assert depths['encoder.block4.1.attn.q.weight'] == 8
    with pytest.raises(ConfigError, match='ResNetEncoder does not say how deep its layers are'):
        SmpPyramid(get_encoder('resnet18', weights=None)).layer_depths()
