"""A frozen CNN or hierarchical transformer, to put adapters on."""

from torch import nn

from crossearth.models.adapters.stages import RefinedStage
from crossearth.models.backbones.pyramid import TimmPyramid

__all__ = ['FrozenPyramid']


class FrozenPyramid(TimmPyramid):
    """A `TimmPyramid` whose network does not train.

    Its parameters require no gradient, and it stays in eval mode whatever `train()` sets, so batch
    norms keep their averages and there is no stochastic depth. Adapters that are added afterwards
    do train: `add_lora`, `add_soma`, `refine_stages`. Those of `refine_stages` follow `train()`.

    Args:
        model: See `TimmPyramid`.
        img_size: See `TimmPyramid`.

    Raises:
        ConfigError: As `TimmPyramid` does.

    Example:
        >>> import timm
        >>> backbone = FrozenPyramid(timm.create_model('resnet10t')).train()
        >>> backbone.model.bn1.training, any(p.requires_grad for p in backbone.parameters())
        (False, False)
    """

    def __init__(self, model: nn.Module, *, img_size: tuple[int, int] | None = None) -> None:
        super().__init__(model, img_size=img_size)
        self.model.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> 'FrozenPyramid':
        """Eval mode for the network, and this mode for the adapters after its stages."""
        super().train(mode)
        self.model.eval()
        for module in self.model.modules():
            if isinstance(module, RefinedStage):
                module.get_submodule('adapter').train(mode)
        return self

    def layer_depths(self) -> dict[str, int]:
        """The layer of each parameter; adapters after stages belong to none, see `Layered`."""
        adapters = {
            f'model.{name}.adapter.'
            for name, module in self.model.named_modules()
            if isinstance(module, RefinedStage)
        }
        depths = super().layer_depths()
        return {n: depth for n, depth in depths.items() if not n.startswith(tuple(adapters))}
