"""Masked image modelling: the losses between restored images and what they should be."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.models import CrossEarth

__all__ = ['Norm', 'restoration_losses']

type Norm = Literal['l1', 'mse']


def restoration_losses(
    model: CrossEarth,
    image: Float[Tensor, 'b c h w'],
    *,
    masked: Float[Tensor, 'b c h w'],
    styled: Float[Tensor, 'b c h w'],
    changed: Bool[Tensor, ' b'],
    norm: Norm = 'mse',
    target: Literal['clean', 'input'] = 'clean',
) -> dict[str, Float[Tensor, '']]:
    """L_MIM and L_Δ of eq. 10, in the model's normalised units.

    Every masked image is restored. A styled image is restored too where its sample drew a style,
    and the two restorations of such a sample are pulled together. GSE and Injector are off.

    Args:
        model: Restores images.
        image: Clean images X in [0, 1].
        masked: Masked images X_M.
        styled: Styled images X_S; equal to X where no style was drawn.
        changed: Which samples drew a style.
        norm: Distance of L_MIM; the paper takes L1 on CASID and MSE elsewhere. L_Δ is L1.
        target: What is to be restored: `'clean'` X, as in the released training run, or
            `'input'`, X_M and X_S themselves, as the paper prints it.

    Returns:
        `loss_mim`, and `loss_delta` if any sample drew a style.

    Source:
        Paper §3.3, eqs. 8–10 and appendix B.2.
    """
    distance = _DISTANCES[norm]
    from_masked = model.restore(masked)
    wanted = model.normalize(image if target == 'clean' else masked)
    terms = {'loss_mim': distance(from_masked, wanted)}
    if not bool(changed.any()):
        return terms
    from_styled = model.restore(styled[changed])
    wanted = model.normalize((image if target == 'clean' else styled)[changed])
    terms['loss_mim'] = terms['loss_mim'] + distance(from_styled, wanted)
    terms['loss_delta'] = F.l1_loss(from_masked[changed], from_styled)
    return terms


_DISTANCES: dict[Norm, Callable[[Tensor, Tensor], Tensor]] = {'l1': F.l1_loss, 'mse': F.mse_loss}
