"""Frozen backbones that no process holds as a whole."""

import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models import ReinViT

__all__ = ['shard_frozen']


def shard_frozen(module: nn.Module, device: torch.device) -> set[str]:
    """Spread the blocks of every frozen `ReinViT` transformer over all processes.

    Each process keeps its share of a block's weights; while a block computes, forwards or
    backwards, it has them all. What trains is left as it is, for DDP. To be called once the
    processes know one another, by all of them; blocks that are spread already stay so.

    Args:
        module: Holds the backbones.
        device: Where this process computes.

    Returns:
        Names of the sharded parameters, which DDP has to ignore.

    Raises:
        ConfigError: If there is no such backbone, or part of its transformer trains.

    Source:
        FSDP2, `torch.distributed.fsdp.fully_shard`.
    """
    # not every build of torch has them
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    backbones = [part for part in module.modules() if isinstance(part, ReinViT)]
    if not backbones:
        raise ConfigError(
            'shard_frozen spreads the frozen transformer of a ReinViT, and this model has none: '
            'leave it off'
        )
    if any(p.requires_grad for backbone in backbones for p in backbone.vit.parameters()):
        raise ConfigError(
            'shard_frozen spreads a transformer that is frozen as a whole, and part of this one '
            'trains (LoRA, SoMA, Gate, or all of it): leave it off'
        )
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for backbone in backbones:
        blocks: nn.Module = backbone.vit.blocks  # type: ignore[assignment]  # checked by ReinViT
        for block in blocks.children():
            if not any(isinstance(parameter, DTensor) for parameter in block.parameters()):
                # by default a block by itself would keep its weights after its first pass
                fully_shard(block, mesh=mesh, reshard_after_forward=True)
    return {name for name, p in module.named_parameters() if isinstance(p, DTensor)}
