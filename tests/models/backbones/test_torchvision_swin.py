"""Layers of the Swin transformers of torchvision, counted."""

from torchvision.models import SwinTransformer

from crossearth.models.backbones.torchvision_swin import SwinPyramid


def test_layers_are_counted_by_blocks_and_merging_belongs_to_the_block_after_it():
    swin = SwinTransformer([4, 4], 24, [1, 2, 1, 1], [1, 2, 4, 8], [7, 7])
    backbone = SwinPyramid(swin)
    depths = backbone.layer_depths()
    assert depths.keys() == dict(backbone.named_parameters()).keys()
    assert depths['features.0.0.weight'] == 0
    assert depths['features.1.0.attn.qkv.weight'] == 1
    assert depths['features.2.reduction.weight'] == 2
    assert depths['features.3.0.attn.qkv.weight'] == 2
    assert depths['features.3.1.attn.qkv.weight'] == 3
    assert depths['features.7.0.attn.qkv.weight'] == 5
