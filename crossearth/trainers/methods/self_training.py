"""Self-training on unlabelled images of the target: a mean teacher and mixed images."""

import copy
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import IGNORE_INDEX, LabelSpace
from crossearth.models.decoders.losses import sum_over_ranks
from crossearth.models.segmenter import classifies_masks
from crossearth.trainers.methods.method import Batch, Method, logits_of, segmentation_losses
from crossearth.trainers.methods.mixing import draw_classes, pixels_of

__all__ = ['SelfTraining', 'pseudo_labels', 'weighted_losses']


class SelfTraining(Method):
    """A student that learns from labels of the source, and from its teacher's labels of the target.

    The batch needs a target: `ShiftDataModule(target=…)`. With images x_S and labels y_S of the
    source and images x_T of the target, each step learns from:

    - L_S, `segmentation_losses` on x_S, y_S.
    - `loss_target`. The teacher labels x_T: ŷ = argmax p. Half of the classes of y_S are drawn,
      rare ones more often, and their pixels are pasted onto x_T and ŷ. The student learns the mixed
      image, after `strong`, by cross entropy. Pasted pixels have the weight 1. Those of the target
      have the weight q, the share of their image that the teacher is sure of (p > `threshold`).
    - `loss_masked`, with a `mask`: the student sees x_T with patches hidden, and learns ŷ.

    After each step the teacher moves towards the student: φ ← α φ + (1 − α) θ, with
    α = min(1 − 1 / (t + 1), `decay`) after step t. Buffers, such as statistics of norms, are
    copied. The teacher shares the student's frozen weights, so it only takes the memory of what
    trains.

    Results are *adaptation* to that target, not domain generalisation.

    A `Mask2FormerDecoder` does not classify single pixels. It learns the mixed labels by its own
    losses, times the mean weight of the batch's pixels. Unsure pixels are not ignored there,
    because to its masks an ignored pixel is outside of every segment.

    Args:
        model: The student: images (b,c,h,w) in [0, 1] → logits (b,k,h,w). Start from weights that
            were trained on the source, because they give the first labels of the teacher.
        labels: The classes; the model has one output for each.
        decay: α, in [0, 1).
        threshold: τ, probability above which the teacher is sure of a pixel.
        weight: Weight of `loss_target`.
        temperature: How strongly rare classes are preferred, see `draw_classes`.
        strong: Changes colours and sharpness of mixed images in [0, 1], such as
            `PhotometricDistortion`. It must not move pixels.
        mask: Hides patches of target images, such as `PatchMask`; None for no `loss_masked`.
        mask_weight: Weight of `loss_masked`.
        scores: Which of the two is validated, tested and written as the trained model.
        generator: Draws the classes that are pasted; None for torch's global one.

    Attributes:
        teacher: The average of the student.

    Raises:
        ConfigError: If an argument is out of range. When training, if the batch has no target, or
            weights are in half precision, in which the average would stand still.
        ShapeError: When training, if windows of source and target differ in size.

    Source:
        Mean teacher: arXiv 1703.01780. Losses, q and α: DAFormer (arXiv 2111.14887), eqs. 1–5 and
        its released run. Mixing: DACS (arXiv 2007.08702). Masked images: MIC (arXiv 2212.01322),
        eqs. 4–8. Three things differ. L_S is the model's own. Rarity decides which classes are
        pasted, not which images are read. Pixels without data are never counted.

    Example:
        >>> from crossearth.labels import ROAD
        >>> method = SelfTraining(nn.Conv2d(3, 2, 1), ROAD)
        >>> batch = {'image': torch.rand(2, 3, 4, 4), 'mask': torch.zeros(2, 4, 4).long()}
        >>> batch |= {'target_image': torch.rand(1, 3, 4, 4)}
        >>> list(method.losses(batch))
        ['loss_ce', 'loss_dice', 'loss_target']
    """

    kept: ClassVar[tuple[str, ...]] = ('teacher',)
    steps: Tensor
    class_pixels: Tensor

    # many arguments: each part can be switched, as in the tables of the papers
    def __init__(
        self,
        model: nn.Module,
        labels: LabelSpace,
        *,
        decay: float = 0.999,
        threshold: float = 0.968,
        weight: float = 1.0,
        temperature: float = 0.01,
        strong: nn.Module | None = None,
        mask: nn.Module | None = None,
        mask_weight: float = 1.0,
        scores: Literal['teacher', 'student'] = 'teacher',
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(model, labels)
        if not 0 <= decay < 1 or not 0 <= threshold <= 1 or temperature <= 0:
            raise ConfigError(
                f'decay={decay}, threshold={threshold}, temperature={temperature}: expected 0 ≤ '
                'decay < 1, a probability, and a temperature above 0'
            )
        if min(weight, mask_weight) < 0 or scores not in {'teacher', 'student'}:
            raise ConfigError(
                f'weight={weight}, mask_weight={mask_weight}, scores={scores!r}: expected weights '
                "from 0 up, and 'teacher' or 'student'"
            )
        self.decay = decay
        self.threshold = threshold
        self.weight = weight
        self.temperature = temperature
        self.strong = strong
        self.mask = mask
        self.mask_weight = mask_weight
        self.scores = scores
        self.generator = generator
        self.teacher = _teacher_of(model)
        self.register_buffer('steps', torch.zeros((), dtype=torch.int64))
        self.register_buffer('class_pixels', torch.zeros(labels.num_classes, dtype=torch.int64))

    @property
    def scored(self) -> nn.Module:
        """The teacher, or the student."""
        return self.teacher if self.scores == 'teacher' else self.model

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, '']]:
        """L_S, `loss_target` and, with a mask, `loss_masked`."""
        image, mask = batch['image'], batch['mask']
        target = self._target_of(batch)
        terms = segmentation_losses(self.model, image, mask, self.labels)
        ids, quality = pseudo_labels(
            self.teacher, target, batch.get('target_valid'), self.labels, threshold=self.threshold
        )
        self._count(mask)
        weights = quality[:, None, None].expand(ids.shape)
        mixed, mixed_ids, mixed_weights = self._mix(image, mask, target, ids, weights)
        terms['loss_target'] = self.weight * self._learn(mixed, mixed_ids, mixed_weights)
        if self.mask is not None:
            hidden: Tensor = self.mask(target)
            terms['loss_masked'] = self.mask_weight * self._learn(hidden, ids, weights)
        return terms

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the teacher towards the student."""
        self.steps += 1
        # computed on the device, so that nothing waits for it
        share = (1 / (self.steps + 1.0)).clamp(min=1 - self.decay)
        pairs = zip(self.teacher.parameters(), self.model.parameters(), strict=True)
        for average, weight in pairs:
            # The teacher shares frozen weights with the student.
            if weight.requires_grad:
                average.lerp_(weight, share.to(weight.dtype))
        buffers = zip(self.teacher.buffers(), self.model.buffers(), strict=True)
        for copied, value in buffers:
            copied.copy_(value)

    def _mix(
        self, image: Tensor, mask: Tensor, target: Tensor, ids: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Target images with classes of the source pasted onto them, their labels and weights."""
        # batches of source and target may differ in size: source images repeat or are left out
        sources = torch.arange(len(target), device=image.device) % len(image)
        image, mask = image[sources], mask[sources]
        frequency = self.class_pixels / self.class_pixels.sum().clamp(min=1)
        drawn = draw_classes(
            mask, frequency, temperature=self.temperature, generator=self.generator
        )
        pasted = pixels_of(drawn, mask)
        mixed = torch.where(pasted[:, None], image, target)
        if self.strong is not None:
            mixed = self.strong(mixed)
        return mixed, torch.where(pasted, mask, ids), torch.where(pasted, 1.0, weights)

    def _learn(self, image: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        terms = weighted_losses(self.model, image, ids, weights, self.labels)
        return torch.stack(list(terms.values())).sum()

    def _count(self, mask: Tensor) -> None:
        """Count the pixels of each class that the source has shown to all processes."""
        counts = [(mask == number).sum() for number in range(self.labels.num_classes)]
        self.class_pixels += sum_over_ranks(torch.stack(counts).double()).long()

    def _target_of(self, batch: Batch) -> Tensor:
        if 'target_image' not in batch:
            raise ConfigError(
                'the batch has no target, but SelfTraining needs unlabelled images of the place to '
                'map: give the data module target=, such as ShiftDataModule(train, '
                "target=FolderDataset('images', labels=labels))"
            )
        target = batch['target_image']
        if target.shape[1:] != batch['image'].shape[1:]:
            raise ShapeError(
                f'windows of the source are {tuple(batch["image"].shape[1:])} and those of the '
                f'target {tuple(target.shape[1:])}: expected one size, because they are mixed; '
                'set size_px and target_size_px, after augment and target_augment'
            )
        if next(self.teacher.parameters()).dtype in {torch.float16, torch.bfloat16}:
            raise ConfigError(
                'weights are in half precision, in which the average of the teacher stands still: '
                "use precision 'bf16-mixed' instead of 'bf16-true'"
            )
        return target


@torch.no_grad()
def pseudo_labels(
    teacher: nn.Module,
    image: Float[Tensor, 'b c h w'],
    valid: Bool[Tensor, 'b h w'] | None,
    labels: LabelSpace,
    *,
    threshold: float,
) -> tuple[Int64[Tensor, 'b h w'], Float[Tensor, ' b']]:
    """The labels of a teacher, and the share of each image that it is sure of.

    Args:
        teacher: Images → logits. The sums of a `Mask2FormerDecoder` count as probabilities, up to
            1, so what its queries call no object is not sure.
        image: In [0, 1].
        valid: Where images hold data; None for everywhere.
        labels: The classes.
        threshold: Probability above which a pixel counts as sure.

    Returns:
        Class ids, 255 where there is no data, and q, the share of pixels with data that are sure.

    Source:
        DAFormer (arXiv 2111.14887), eqs. 3 and 4.
    """
    logits = logits_of(teacher, image, labels).float()
    is_sum = classifies_masks(teacher)
    probability = logits.exp().clamp(max=1) if is_sum else logits.softmax(dim=1)
    best, ids = probability.max(dim=1)
    known = torch.ones_like(ids, dtype=torch.bool) if valid is None else valid
    sure = ((best > threshold) & known).flatten(1).sum(1)
    return ids.where(known, IGNORE_INDEX), sure / known.flatten(1).sum(1).clamp(min=1)


def weighted_losses(
    model: nn.Module,
    image: Float[Tensor, 'b c h w'],
    mask: Int64[Tensor, 'b h w'],
    weights: Float[Tensor, 'b h w'],
    labels: LabelSpace,
) -> dict[str, Float[Tensor, '']]:
    """Losses of labels that are not equally sure.

    Args:
        model: Images → logits.
        image: In [0, 1].
        mask: Class ids, 255 = ignore.
        weights: Weight of each pixel, from 0 up.
        labels: The classes.

    Returns:
        The cross entropy of each pixel times its weight, averaged over the pixels that are not
        ignored. For a `Mask2FormerDecoder`, its own losses times the mean weight of these pixels.
        0 if all are ignored.
    """
    known = mask != IGNORE_INDEX
    count = known.sum().clamp(min=1)
    if classifies_masks(model):
        mean = (weights * known).sum() / count
        terms = segmentation_losses(model, image, mask, labels)
        return {name: mean * value for name, value in terms.items()}
    logits = logits_of(model, image, labels).float()
    entropy = F.cross_entropy(logits, mask, ignore_index=IGNORE_INDEX, reduction='none')
    # Divided by pixels, not by weights, so that a target image of low quality counts less.
    return {'loss_ce': (entropy * weights).sum() / count}


def _teacher_of(model: nn.Module) -> nn.Module:
    """A copy of a model that shares its frozen parameters."""
    # deepcopy takes what is in its memo as already copied, so frozen weights stay shared
    shared = {id(weight): weight for weight in model.parameters() if not weight.requires_grad}
    return copy.deepcopy(model, dict[int, object](shared)).requires_grad_(False).eval()
