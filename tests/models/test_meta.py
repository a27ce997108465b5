import torch
from torch import nn

from crossearth.models import fpn_timm
from crossearth.models.meta import without_weights


def test_a_model_without_weights_has_the_shapes_of_one_with_them():
    with without_weights():
        empty = fpn_timm('tf_efficientnet_lite0', num_classes=2)
    full = fpn_timm('tf_efficientnet_lite0', num_classes=2)
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert {name: (value.shape, value.dtype) for name, value in empty.state_dict().items()} == {
        name: (value.shape, value.dtype) for name, value in full.state_dict().items()
    }


def test_values_that_are_not_weights_are_computed():
    with without_weights():
        steps = torch.zeros(3, device='cpu').add_(torch.arange(3, device='cpu')).mul_(2)
        layer = nn.Linear(2, 2, device='cpu')
    assert steps.tolist() == [0, 2, 4]
    assert float(layer.weight.detach().abs().max()) > 0
