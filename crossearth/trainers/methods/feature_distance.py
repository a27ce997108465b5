"""Features that stay close to the pretrained ones."""

import copy
import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from crossearth.errors import ConfigError, DataWarning, LabelError
from crossearth.labels import IGNORE_INDEX
from crossearth.models.decoders.losses import num_ranks, sum_over_ranks
from crossearth.models.padding import ceil_div
from crossearth.trainers.methods.method import Batch, Method
from crossearth.trainers.methods.wrapping import (
    Wrapping,
    first_pass,
    recorded_passes,
    trained_backbone,
    with_term,
)

__all__ = ['FeatureDistance', 'feature_distance', 'filled_places']

_PATIENCE = 50  # batches in which no place is filled, before a warning


class FeatureDistance(Wrapping):
    """A method with a term that keeps the backbone's features close to the pretrained ones.

    On the coarsest feature map, with F the backbone and F₀ its copy from before training,

    - L_FD = Σ d·M / Σ M with d = ‖F(x) − F₀(x)‖₂ at each place, over channels, and
    - M = 1 where one of the chosen classes fills more than `ratio` of the place.

    The term is `weight`·L_FD, named `loss_fd`; a weight of 0 trains as without it. The copy is made
    when the method is built, so build the model with its pretrained weights first. It is frozen,
    and needs the memory of a second backbone and a pass without gradients. Checkpoints do not
    contain it but check that it is the same.

    A place is as large as a step of the map, often 32 px. Thin or small objects, such as roads,
    fill none of them, and then the term is 0. If that is so in the first 50 batches, there is a
    warning.

    Args:
        method: The method inside; it must show the backbone the whole batch.
        things: Classes to use, those that ImageNet has as objects, such as buildings, vehicles and
            trees, but not bare ground. None for all classes.
        weight: λ_FD.
        ratio: Fraction of a place that one class must fill.

    Raises:
        ConfigError: If an argument is out of range, or the model has no backbone that trains.
        LabelError: If a class is unknown.

    Source:
        Hoyer et al., DAFormer, CVPR 2022, arXiv 2111.14887, §3.3 (thing-class ImageNet feature
        distance): λ_FD = 0.005, r = 0.75, things of Cityscapes.
    """

    def __init__(
        self,
        method: Method,
        *,
        things: Sequence[str] | None = None,
        weight: float = 0.005,
        ratio: float = 0.75,
    ) -> None:
        super().__init__(method)
        if weight < 0 or not 0 <= ratio < 1:
            raise ConfigError(
                f'weight={weight}, ratio={ratio}: expected a weight from 0 up, [0, 1)'
            )
        backbone = trained_backbone(self, 'its features cannot change')
        classes = self.labels.classes
        unknown = [name for name in things or () if name not in classes]
        if unknown:
            raise LabelError(f'things has {unknown[0]!r}: expected some of {list(classes)}')
        chosen = classes if things is None else things
        self.things = [classes.index(name) for name in chosen]
        self.weight = weight
        self.ratio = ratio
        self.reference = copy.deepcopy(backbone).requires_grad_(False).eval()
        self._empty: int | None = 0  # batches without a filled place; None once that is settled

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the method inside, and `loss_fd`."""
        with recorded_passes(self.model) as passes:
            terms = self.method.losses(batch)
        image, features = first_pass(passes, len(batch['mask']))
        found = features.maps[-1]
        with torch.no_grad():
            wanted = self.reference(image).maps[-1]
        mask = batch['mask']
        # models such as HRDA show their backbone the whole batch at a fraction of its size
        height, width = (
            side * ceil_div(labelled, side)
            for side, labelled in zip(image.shape[-2:], mask.shape[-2:], strict=True)
        )
        padding = (0, width - mask.shape[-1], 0, height - mask.shape[-2])
        filled = filled_places(
            F.pad(mask, padding, value=IGNORE_INDEX),
            (found.shape[-2], found.shape[-1]),
            classes=self.things,
            ratio=self.ratio,
        )
        self._watch(filled)
        return with_term(terms, 'loss_fd', self.weight * feature_distance(found, wanted, filled))

    def _watch(self, filled: Bool[Tensor, 'b h w']) -> None:
        """Warn once if no place is ever filled, since the term then changes nothing."""
        if self._empty is None:
            return
        self._empty = None if bool(filled.any()) else self._empty + 1
        if self._empty == _PATIENCE:
            names = ', '.join(self.labels.classes[label] for label in self.things)
            warnings.warn(
                f'FeatureDistance: in {_PATIENCE} batches {names} filled no place of the coarsest '
                f'feature map ({filled.shape[-2]} × {filled.shape[-1]} a window) to more than '
                f'{self.ratio:g}, so loss_fd is 0 and changes nothing: choose a lower ratio or '
                'other things',
                DataWarning,
                stacklevel=2,
            )
            self._empty = None


def feature_distance(
    found: Float[Tensor, 'b c h w'],
    wanted: Float[Tensor, 'b c h w'],
    where: Bool[Tensor, 'b h w'],
) -> Float[Tensor, '']:
    """Mean Euclidean distance over channels, over the selected places; 0 if there are none.

    In distributed training, the places are those of all processes.

    Example:
        >>> found = torch.tensor([3.0, 0.0, 4.0, 0.0]).view(1, 2, 1, 2)
        >>> where = torch.tensor([[[True, False]]])
        >>> feature_distance(found, torch.zeros(1, 2, 1, 2), where)
        tensor(5.)
    """
    # Its gradient is 0 where features agree, as at the first step; that of a square root is NaN.
    distance: Tensor = torch.linalg.vector_norm(found.float() - wanted.float(), dim=1)
    count = sum_over_ranks(where.sum().float()).clamp(min=1)
    # times the number of processes, because DDP averages their gradients
    return (distance * where).sum() * num_ranks() / count


def filled_places(
    mask: Int64[Tensor, 'b h w'],
    grid_hw: tuple[int, int],
    *,
    classes: Sequence[int],
    ratio: float,
) -> Bool[Tensor, 'b rows cols']:
    """Where one of some classes fills more than a fraction of a cell of a coarse grid.

    Args:
        mask: Class ids; ignored pixels belong to no class.
        grid_hw: Rows and columns.
        classes: Ids of these classes.
        ratio: The fraction.

    Example:
        >>> mask = torch.tensor([[[0, 0, 1, 1], [0, 255, 1, 0]]])
        >>> filled_places(mask, (1, 2), classes=[0, 1], ratio=0.7)
        tensor([[[True, True]]])
        >>> filled_places(mask, (1, 2), classes=[0, 1], ratio=0.75)
        tensor([[[False, False]]])
    """
    filled = torch.zeros(len(mask), *grid_hw, dtype=torch.bool, device=mask.device)
    for label in classes:
        share = F.adaptive_avg_pool2d((mask == label).float()[:, None], grid_hw)[:, 0]
        filled |= share > ratio
    return filled
