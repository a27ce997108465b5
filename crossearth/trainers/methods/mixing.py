"""Mixed images: some classes of a labelled image, pasted onto an unlabelled one."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from crossearth.labels import IGNORE_INDEX

__all__ = ['draw_classes', 'pixels_of']


def draw_classes(
    mask: Int64[Tensor, 'b h w'],
    frequency: Float[Tensor, ' k'],
    *,
    temperature: float,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, 'b k']:
    """Half of the classes in each mask, rounded up; rare ones are drawn with more probability.

    Classes are drawn without replacement, with probabilities proportional to
    exp((1 − f) / temperature), where f is the frequency of the class.

    Args:
        mask: Class ids, 255 = ignore.
        frequency: Share of each class among labelled pixels, in [0, 1].
        temperature: Above 0; smaller values prefer rare classes more. `inf` draws all alike.
        generator: Source of the draws; None for torch's global one.

    Returns:
        Which classes were drawn for each mask.

    Source:
        Half of the classes: ClassMix (arXiv 2007.07936), as DACS (arXiv 2007.08702) pastes them
        from the source onto the target. Probabilities: rare class sampling of DAFormer (arXiv
        2111.14887), eq. 7, which draws images; here it draws the classes within one.

    Example:
        >>> mask = torch.tensor([[[0, 1, 2, 255]]])
        >>> drawn = draw_classes(mask, torch.tensor([0.6, 0.3, 0.1]), temperature=0.001)
        >>> drawn.tolist()
        [[False, True, True]]
    """
    present = torch.stack(
        [(mask == number).flatten(1).any(1) for number in range(len(frequency))], dim=1
    )
    device = torch.device('cpu') if generator is None else generator.device
    uniform = torch.rand(present.shape, generator=generator, device=device).to(mask.device)
    # The largest keys log p + Gumbel noise are a draw without replacement (arXiv 1903.06059).
    # Clamped, so that neither logarithm is infinite.
    noise = -(-uniform.clamp(1e-12, 1 - 1e-7).log()).log()
    keys = ((1 - frequency.float()) / temperature + noise).masked_fill(~present, -torch.inf)
    # The order of an order is the rank of each class.
    place = keys.argsort(dim=1, descending=True).argsort(dim=1)
    return present & (place < (present.sum(1, keepdim=True) + 1) // 2)


def pixels_of(classes: Bool[Tensor, 'b k'], mask: Int64[Tensor, 'b h w']) -> Bool[Tensor, 'b h w']:
    """The pixels of some classes of each mask; ignored pixels belong to none.

    Example:
        >>> pixels_of(torch.tensor([[False, True]]), torch.tensor([[[0, 1, 255]]])).tolist()
        [[[False, True, False]]]
    """
    known = mask != IGNORE_INDEX
    chosen = classes.gather(1, mask.where(known, 0).flatten(1)).view_as(mask)
    return chosen & known
