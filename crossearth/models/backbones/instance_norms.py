"""Instance norms in the shallow stages of a ResNet (IBN-Net)."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from crossearth.errors import ConfigError

__all__ = ['InstanceBatchNorm', 'add_instance_norms']


class InstanceBatchNorm(nn.Module):
    """Instance norm for the first half of the channels, batch norm for the others (IBN-a).

    Weights, biases and running averages are copied from a batch norm. The second half computes
    what it always has; the first half keeps its scales and shifts.

    Args:
        norm: The batch norm to replace; it is not changed.

    Example:
        >>> norm = InstanceBatchNorm(nn.BatchNorm2d(6))
        >>> norm.instance.num_features, norm.batch.num_features
        (3, 3)
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        half = norm.num_features // 2
        self.instance = _instance_norm(norm, half)
        self.batch = nn.BatchNorm2d(norm.num_features - half, eps=norm.eps, momentum=norm.momentum)
        # The counter num_batches_tracked has no channels to split.
        state = {
            name: value[half:] if value.ndim else value for name, value in norm.state_dict().items()
        }
        self.batch.load_state_dict(state)
        self.batch.requires_grad_(norm.weight.requires_grad)

    def forward(self, features: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b c h w']:
        """Normalised features."""
        half = self.instance.num_features
        return torch.cat([self.instance(features[:, :half]), self.batch(features[:, half:])], dim=1)


def add_instance_norms(model: nn.Module, kind: Literal['a', 'b']) -> ResNet:
    """Let the shallow stages of a ResNet normalise each image separately, keeping its weights.

    An image's colour and contrast are in the statistics of its shallow features, which instance
    norms remove. What distinguishes classes is in deeper stages, which keep their batch norms.

    - `'a'`: in every block of the first three stages, the first batch norm becomes an
      `InstanceBatchNorm`.
    - `'b'`: the batch norm of the stem becomes an instance norm with its weights, and the last
      block of each of the first two stages gets one, with weight 1 and bias 0, after the addition.

    Args:
        model: A timm ResNet. It is taken over, and its norms are replaced.
        kind: IBN-a or IBN-b.

    Raises:
        ConfigError: If the model has no such blocks or no batch norms in them.

    Source:
        Pan et al., Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net, ECCV
        2018, arXiv 1807.09441, §3.2. They train the changed network on ImageNet. Here, it starts
        from pretrained weights of the plain network, so train for some steps before you judge it.

    Example:
        >>> import timm
        >>> model = add_instance_norms(timm.create_model('resnet18'), 'a')
        >>> type(model.layer1[0].bn1).__name__, type(model.layer4[0].bn1).__name__
        ('InstanceBatchNorm', 'BatchNorm2d')
    """
    if kind not in ('a', 'b'):
        raise ConfigError(f"kind is {kind!r}: expected 'a' or 'b'")
    if not isinstance(model, ResNet):
        raise ConfigError(
            f'{type(model).__name__} has no batch norms that IBN-Net replaces: expected a timm '
            'ResNet, such as resnet50'
        )
    net: Any = model  # torch's types do not know its parts
    stages = [list(stage) for stage in (net.layer1, net.layer2, net.layer3)]
    for block in (block for stage in stages for block in stage):
        if type(block) not in (BasicBlock, Bottleneck) or type(block.bn1) is not nn.BatchNorm2d:
            norm = type(getattr(block, 'bn1', None)).__name__
            raise ConfigError(
                f'a block is a {type(block).__name__} with {norm} first: expected BasicBlock or '
                'Bottleneck with BatchNorm2d, as in resnet18 and resnet50'
            )
    if kind == 'a':
        for block in (block for stage in stages for block in stage):
            block.bn1 = InstanceBatchNorm(block.bn1)
        return model
    net.bn1 = _instance_norm(net.bn1, net.bn1.num_features)
    for stage in stages[:2]:
        last = stage[-1]
        basic = type(last) is BasicBlock
        norm = last.bn2 if basic else last.bn3
        added = nn.InstanceNorm2d(norm.num_features, eps=norm.eps, affine=True)
        # timm adds the shortcut right before this activation, so the norm follows the addition.
        if basic:
            last.act2 = nn.Sequential(added, last.act2)
        else:
            last.act3 = nn.Sequential(added, last.act3)
    return model


def _instance_norm(norm: nn.BatchNorm2d, num_channels: int) -> nn.InstanceNorm2d:
    """An instance norm with the weights of the first channels of a batch norm."""
    instance = nn.InstanceNorm2d(num_channels, eps=norm.eps, affine=True)
    with torch.no_grad():
        instance.weight.copy_(norm.weight[:num_channels])
        instance.bias.copy_(norm.bias[:num_channels])
    return instance.requires_grad_(norm.weight.requires_grad)
