"""Losses of mask classification: match queries to segments and compare them at sampled points.

Source: "Masked-attention Mask Transformer for Universal Image Segmentation" (arXiv 2112.01527),
section 3.3 and appendix; MaskFormer (arXiv 2107.06278), section 3.2; points as in PointRend
(arXiv 1912.08193), section 3.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from crossearth.errors import ConfigError, LabelError
from crossearth.labels import IGNORE_INDEX
from crossearth.models.decoders.losses import num_ranks, sum_over_ranks

__all__ = ['MaskLosses', 'mask_losses']


@dataclass(frozen=True, slots=True)
class MaskLosses:
    """Weights and numbers of points of the losses.

    Args:
        class_weight: Weight of the cross entropy of classes, in cost and loss.
        mask_weight: Weight of the binary cross entropy of masks, likewise.
        dice_weight: Weight of the dice loss, likewise.
        no_object_weight: Weight of a query without a segment in the cross entropy.
        points: Points at which a mask is compared.
        oversample: Candidates per point, from which the most uncertain are chosen.
        importance: Share of the points that are the most uncertain candidates; the others are
            drawn at random.

    Raises:
        ConfigError: If there are no points, fewer candidates than points, or a share outside 0–1.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object_weight: float = 0.1
    points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75

    def __post_init__(self) -> None:
        if self.points < 1 or self.oversample < 1 or not 0 <= self.importance <= 1:
            raise ConfigError(
                f'points is {self.points}, oversample {self.oversample}, importance '
                f'{self.importance}: expected at least 1, at least 1, and 0 to 1'
            )


def mask_losses(
    predictions: Sequence[tuple[Float[Tensor, 'b q k1'], Float[Tensor, 'b q h w']]],
    mask: Int64[Tensor, 'b height width'],
    *,
    settings: MaskLosses | None = None,
    ignore_index: int = IGNORE_INDEX,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Weighted losses of several predictions of class and mask logits against a label map.

    Every class that occurs in an image is one segment. Pixels of `ignore_index` are outside of all
    segments, as in the reference.

    Args:
        predictions: Class logits (the last is "no object") and mask logits, deepest last.
        mask: Class ids.
        settings: Weights and numbers of points.
        ignore_index: Label of pixels without a class.
        generator: Draws the points; it must be on the device of the predictions.

    Returns:
        `loss_cls`, `loss_mask` and `loss_dice` of the last prediction, `d{i}.loss_…` of the i-th of
        the others. Masks are averaged over the segments of all ranks.

    Raises:
        LabelError: If the label map holds an id that is not a class.

    Example:
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.int64)
        >>> sure = torch.tensor([[[20.0, 0.0]]]), torch.full((1, 1, 2, 2), 20.0)
        >>> losses = mask_losses([sure], labels)  # one query, one class, and "no object"
        >>> list(losses), round(float(losses['loss_cls']), 4)
        (['loss_cls', 'loss_mask', 'loss_dice'], 0.0)
    """
    settings = settings or MaskLosses()
    num_classes = predictions[0][0].shape[-1] - 1
    segments = [_segments(labels, num_classes, ignore_index) for labels in mask]
    count = torch.tensor(
        float(sum(len(ids) for ids, _ in segments)), device=predictions[0][0].device
    )
    # The mean number of segments per process. With it, the gradients that DDP averages do not
    # depend on which process got how many.
    count = (sum_over_ranks(count) / num_ranks()).clamp(min=1)
    losses: dict[str, Tensor] = {}
    for depth, (classes, masks) in enumerate(predictions):
        prefix = '' if depth == len(predictions) - 1 else f'd{depth}.'
        terms = _losses(classes, masks, segments, count, settings, generator)
        losses |= {f'{prefix}{name}': value for name, value in terms.items()}
    return losses


type Segments = tuple[Tensor, Tensor]
"""Class ids (n,) of an image, and their masks (n, height, width) of 0 and 1."""


def _segments(labels: Tensor, num_classes: int, ignore_index: int) -> Segments:
    ids = torch.unique(labels)
    ids = ids[ids != ignore_index]
    if len(ids) and (ids[0] < 0 or ids[-1] >= num_classes):
        raise LabelError(
            f'label map holds ids {ids.tolist()}, expected 0 to {num_classes - 1} and '
            f'{ignore_index} for no class'
        )
    return ids, (labels == ids[:, None, None]).float()


def _losses(
    classes: Tensor,
    masks: Tensor,
    segments: Sequence[Segments],
    count: Tensor,
    settings: MaskLosses,
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """The three terms of one prediction."""
    kind = torch.float64 if masks.dtype == torch.float64 else torch.float32
    classes, masks = classes.to(kind), masks.to(kind)  # autocast gives half precision
    no_object = classes.shape[-1] - 1
    wanted = torch.full(classes.shape[:2], no_object, dtype=torch.long, device=classes.device)
    chosen, targets = [], []
    for image, (ids, truth) in enumerate(segments):
        query, segment = _match(classes[image], masks[image], ids, truth, settings, generator)
        wanted[image, query] = ids[segment]
        chosen.append(masks[image, query])
        targets.append(truth[segment].to(kind))
    weights = classes.new_ones(no_object + 1)
    weights[-1] = settings.no_object_weight
    of_classes = F.cross_entropy(classes.flatten(0, 1), wanted.flatten(), weights)
    terms = {'loss_cls': settings.class_weight * of_classes}
    if not any(map(len, chosen)):
        # no image has a segment: return zeros that keep every parameter in the graph
        return {**terms, 'loss_mask': 0 * masks.sum(), 'loss_dice': 0 * masks.sum()}
    logits, truth = _at_points(torch.cat(chosen), targets, settings, generator)
    of_masks = F.binary_cross_entropy_with_logits(logits, truth, reduction='none')
    inside = logits.sigmoid()
    # + 1 as in the reference: an empty prediction of an empty mask then has no loss
    overlap = 2 * (inside * truth).sum(1) + 1
    of_dice = 1 - overlap / (inside.sum(1) + truth.sum(1) + 1)
    terms['loss_mask'] = settings.mask_weight * of_masks.mean(1).sum() / count
    terms['loss_dice'] = settings.dice_weight * of_dice.sum() / count
    return terms


@torch.no_grad()
def _match(
    classes: Tensor,
    masks: Tensor,
    ids: Tensor,
    truth: Tensor,
    settings: MaskLosses,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Assign queries to segments at the least total cost.

    An image without segments draws no points and has no matches.

    Source:
        Mask2Former, appendix: costs are the losses, at points drawn uniformly.
    """
    # The same points for all masks, so that the costs of all pairs are matrix products.
    places = torch.rand((1, settings.points, 2), generator=generator, device=masks.device).to(
        masks.dtype
    )
    logits = _sample(masks[:, None], places.expand(len(masks), -1, -1))
    inside = _sample(truth[:, None].to(masks.dtype), places.expand(len(truth), -1, -1))
    probable = logits.sigmoid()
    overlap = 2 * probable @ inside.T + 1
    dice = 1 - overlap / (probable.sum(1)[:, None] + inside.sum(1) + 1)
    # cross entropy of every pair: −log σ(x) where the segment is, −log(1 − σ(x)) elsewhere
    entropy = F.softplus(-logits) @ inside.T + F.softplus(logits) @ (1 - inside).T
    # The class cost is −p instead of −log p, which keeps it in the range of the others (as DETR).
    cost = (
        -settings.class_weight * classes.softmax(-1)[:, ids]
        + settings.mask_weight * entropy / settings.points
        + settings.dice_weight * dice
    )
    # NaN in a prediction must reach the loss, where it is noticed
    cost = cost.nan_to_num(nan=1e9, posinf=1e9, neginf=-1e9)
    query, segment = linear_sum_assignment(cost.cpu().numpy())
    return (
        torch.as_tensor(query, device=masks.device),
        torch.as_tensor(segment, device=masks.device),
    )


def _at_points(
    masks: Tensor,
    targets: Sequence[Tensor],
    settings: MaskLosses,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Logits and truth of matched masks, mostly where the logits are least certain."""
    truth = torch.cat(list(targets))
    with torch.no_grad():
        candidates = int(settings.points * settings.oversample)
        uncertain = int(settings.points * settings.importance)
        places = _draw(len(masks), candidates, masks, generator)
        # PointRend: a mask is least certain where its logit is near 0
        doubt = -_sample(masks[:, None], places).abs()
        best = doubt.topk(uncertain, dim=1).indices
        kept = places.gather(1, best[..., None].expand(-1, -1, 2))
        if uncertain < settings.points:
            anew = _draw(len(masks), settings.points - uncertain, masks, generator)
            kept = torch.cat([kept, anew], dim=1)
        at_truth = _sample(truth[:, None], kept)
    return _sample(masks[:, None], kept), at_truth


def _draw(count: int, points: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand((count, points, 2), generator=generator, device=like.device).to(like.dtype)


def _sample(
    images: Float[Tensor, 'n 1 h w'], places: Float[Tensor, 'n p xy']
) -> Float[Tensor, 'n p']:
    """Values at places x, y in [0, 1], bilinear between pixel centres."""
    sampled = F.grid_sample(images, 2 * places[:, :, None] - 1, align_corners=False)
    return sampled[:, 0, :, 0]
