"""Frozen backbones that no single process holds completely."""

import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models import ReinViT

__all__ = ['shard_frozen']


def shard_frozen(module: nn.Module, device: torch.device) -> set[str]:
    """Spread the blocks of every frozen `ReinViT` transformer over all processes.

    Each process keeps its share of a block's weights. While a block computes, forwards or
    backwards, the process has them all. What trains is not touched and left to DDP. All processes
    have to call this, once they are connected. Blocks that are already spread stay so.

    Args:
        module: Contains the backbones.
        device: Device on which this process computes.

    Returns:
        Names of the sharded parameters, which DDP has to ignore.

    Raises:
        ConfigError: If there is no such backbone, or part of its transformer trains.

    Source:
        FSDP2, `torch.distributed.fsdp.fully_shard`.
    """
    # imported here, because some builds of torch lack it
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    backbones = [part for part in module.modules() if isinstance(part, ReinViT)]
    if not backbones:
        raise ConfigError(
            'shard_frozen spreads the frozen transformer of a ReinViT, but this model has none: '
            'leave it off'
        )
    if any(p.requires_grad for backbone in backbones for p in backbone.vit.parameters()):
        raise ConfigError(
            'shard_frozen spreads a completely frozen transformer, but part of this one trains '
            '(LoRA, SoMA, Gate, or all of it): leave it off'
        )
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for backbone in backbones:
        blocks: nn.Module = backbone.vit.blocks  # type: ignore[assignment]  # checked by ReinViT
        for block in blocks.children():
            if not any(isinstance(parameter, DTensor) for parameter in block.parameters()):
                # otherwise a block called separately would keep its weights after its first pass
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
    return {name for name, p in module.named_parameters() if isinstance(p, DTensor)}
