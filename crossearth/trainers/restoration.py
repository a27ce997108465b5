"""Masked image modelling: the losses between restored images and their targets."""

from collections.abc import Callable
from typing import Literal, get_args

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.spelling import check_choice

__all__ = ['Norm', 'Target', 'check_restoration', 'restoration_losses']

Norm = Literal['l1', 'mse']
Target = Literal['clean', 'input']


def restoration_losses(
    from_masked: Float[Tensor, 'b c h w'],
    from_styled: Float[Tensor, 'n c h w'] | None,
    *,
    clean: Float[Tensor, 'b c h w'],
    masked: Float[Tensor, 'b c h w'],
    styled: Float[Tensor, 'b c h w'],
    changed: Bool[Tensor, ' b'],
    norm: Norm = 'mse',
    target: Target = 'clean',
    delta_norm: Norm = 'l1',
) -> dict[str, Float[Tensor, '']]:
    """L_MIM and L_Δ of eq. 10. All images are in the model's normalised units.

    Args:
        from_masked: Restorations of the masked images X_M.
        from_styled: Restorations of the styled images X_S, only of the samples that drew a style;
            None if none did.
        clean: Clean images X.
        masked: X_M.
        styled: X_S; its content is not used for samples that drew no style.
        changed: Which n of the samples drew a style.
        norm: Distance of L_MIM; the paper takes L1 on CASID and MSE elsewhere.
        target: What is to be restored: `'clean'` is X, as in the released training run, and
            `'input'` is X_M and X_S themselves, as the paper prints it.
        delta_norm: Distance of L_Δ, L1 in the paper.

    Returns:
        `loss_mim`, and `loss_delta`, between the two restorations of a sample, if any sample drew
        a style.

    Source:
        Paper §3.3, eqs. 8–10 and appendix B.1, B.2.

    Example:
        >>> import torch
        >>> image = torch.zeros(2, 1, 4, 4)
        >>> terms = restoration_losses(
        ...     image + 2, image[:1] + 3, clean=image, masked=image, styled=image,
        ...     changed=torch.tensor([True, False]),
        ... )
        >>> {name: value.item() for name, value in terms.items()}
        {'loss_mim': 13.0, 'loss_delta': 1.0}
    """
    check_restoration(norm, target, delta_norm)
    distance = _DISTANCES[norm]
    # The target stays: what is learnt in the place of masked patches must not move it.
    terms = {'loss_mim': distance(from_masked, clean if target == 'clean' else masked.detach())}
    if from_styled is None:
        return terms
    wanted = (clean if target == 'clean' else styled.detach())[changed]
    terms['loss_mim'] = terms['loss_mim'] + distance(from_styled, wanted)
    terms['loss_delta'] = _DISTANCES[delta_norm](from_masked[changed], from_styled)
    return terms


def check_restoration(norm: Norm, target: Target, delta_norm: Norm) -> None:
    """Refuse words that `restoration_losses` does not know.

    Raises:
        ConfigError: If one of them is not.
    """
    check_choice('norm', norm, get_args(Norm))
    check_choice('target', target, get_args(Target))
    check_choice('delta_norm', delta_norm, get_args(Norm))


_DISTANCES: dict[Norm, Callable[[Tensor, Tensor], Tensor]] = {'l1': F.l1_loss, 'mse': F.mse_loss}
