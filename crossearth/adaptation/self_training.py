"""Trains a model on its own confident labels of the scenes."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from crossearth.adaptation.entropy import check_steps, drawn_windows, training_nothing_but
from crossearth.adaptation.method import averaging_norms, device_of
from crossearth.adaptation.norms import Norms, check_alpha
from crossearth.adaptation.windows import SceneWindows
from crossearth.errors import ConfigError
from crossearth.labels import IGNORE_INDEX
from crossearth.modes import evaluating

__all__ = ['PseudoLabels', 'confident_labels']

_WINDOWS_A_STEP = 2
_GAIN, _SHIFT = 0.3, 0.1  # largest change of contrast and brightness for the student


@dataclass(frozen=True, slots=True)
class PseudoLabels:
    """Trains a copy of the model on labels from its own slowly moving average.

    First, batch norms get the statistics of the scenes, see `Norms`. Then, in each step, the
    average, called the teacher, labels two windows. For each class, only the share of its pixels
    with the highest confidence counts, so that rare classes are not drowned out. The student sees
    the windows flipped, with other brightness and contrast, and learns these labels with cross
    entropy. The teacher follows the student as an exponential moving average, and is the result. No
    image of the source is needed.

    Weights that were frozen in training stay frozen.

    Args:
        alpha: Weight of the scenes in the statistics of batch norms, from 0 to 1.
        steps: Training steps of the student.
        lr: Learning rate of its AdamW.
        share: Share of each class's pixels that become labels, above 0 and up to 1.
        decay: Share of the teacher that a step keeps, from 0 to below 1.

    Raises:
        ConfigError: If a number is out of range; from `adapt`, if all weights are frozen.

    Source:
        Mean teacher, Tarvainen and Valpola 2017, arXiv 1703.01780. Labels balanced by class, Zou et
        al. 2018, arXiv 1810.07911. Unlike both, this uses no images of the source.
    """

    alpha: float = 0.5
    steps: int = 20
    lr: float = 1e-4
    share: float = 0.5
    decay: float = 0.95

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_steps(self.steps, self.lr)
        if not (0 < self.share <= 1 and 0 <= self.decay < 1):
            raise ConfigError(
                f'share={self.share}, decay={self.decay}: expected a share above 0 and up to 1, '
                'and a decay from 0 to below 1'
            )

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return 'self-training'

    def options(self) -> Mapping[str, float | int]:
        """Its options, for the record in the model's file."""
        return asdict(self)

    def adapt(self, model: nn.Module, windows: SceneWindows, *, seed: int = 0) -> nn.Module:
        """The teacher, after the last step."""
        has_averages = bool(averaging_norms(model))
        teacher = Norms(self.alpha).adapt(model, windows) if has_averages else copy.deepcopy(model)
        student = copy.deepcopy(teacher)
        weights = [weight for weight in student.parameters() if weight.requires_grad]
        if not weights:
            raise ConfigError(
                'all weights of the model are frozen: unfreeze some, or choose --method norms or '
                'tent'
            )
        optimizer = torch.optim.AdamW(weights, lr=self.lr, weight_decay=0)
        device = device_of(student)
        order = drawn_windows(windows, seed)
        draws = torch.Generator().manual_seed(seed)
        # norms stay in eval mode, because two windows are a worse estimate of the scenes
        with (
            torch.enable_grad(),
            evaluating(teacher),
            evaluating(student),
            training_nothing_but(student, weights),
        ):
            for _ in range(self.steps):
                optimizer.zero_grad()
                for _ in range(_WINDOWS_A_STEP):
                    image, valid = windows[next(order)]
                    with torch.no_grad():
                        logits = teacher(image[None].to(device))[0]
                    labels = confident_labels(logits, valid.to(device), share=self.share)
                    seen, labels = _distorted(image.to(device), labels, draws)
                    loss = F.cross_entropy(
                        student(seen[None]).float(), labels[None], ignore_index=IGNORE_INDEX
                    )
                    torch.autograd.backward(loss / _WINDOWS_A_STEP)
                optimizer.step()
                _follow(teacher, student, self.decay)
        return teacher


def confident_labels(
    logits: Float[Tensor, 'k h w'], valid: Bool[Tensor, 'h w'], *, share: float
) -> Int64[Tensor, 'h w']:
    """The most likely classes, at the pixels where they are most probable.

    Args:
        logits: Scores of the classes.
        valid: True where a pixel has data.
        share: Share of each class's pixels that are kept, rounded up.

    Returns:
        Class ids; 255 where the pixel has no data or is not kept.

    Example:
        >>> logits = torch.tensor([[[9.0, 1.0, 0.0]], [[0.0, 0.0, 5.0]]])
        >>> confident_labels(logits, torch.ones(1, 3, dtype=torch.bool), share=0.5).tolist()
        [[0, 255, 1]]
    """
    confidence, chosen = logits.float().softmax(0).max(0)
    labels = torch.full_like(chosen, IGNORE_INDEX)
    for index in range(len(logits)):
        own = (chosen == index) & valid
        values = confidence[own]
        if not len(values):
            continue
        # Rounded up, so that no class that was found loses all its pixels.
        kept = -int(-share * len(values) // 1)
        least = values.sort(descending=True).values[kept - 1]
        labels[own & (confidence >= least)] = index
    return labels


def _distorted(
    image: Float[Tensor, 'c h w'], labels: Int64[Tensor, 'h w'], draws: torch.Generator
) -> tuple[Float[Tensor, 'c h w'], Int64[Tensor, 'h w']]:
    """Randomly flipped along each axis, with random contrast and brightness."""
    flips, light = torch.rand(2, generator=draws), torch.rand(2, generator=draws) * 2 - 1
    axes = [axis for axis, draw in zip((-2, -1), flips.tolist(), strict=True) if draw < 0.5]
    gain, shift = 1 + _GAIN * float(light[0]), _SHIFT * float(light[1])
    lit = (image * gain + shift).clamp(0, 1)
    return lit.flip(axes), labels.flip(axes)


@torch.no_grad()
def _follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    # Buffers need no average: in eval mode both models keep what Norms has set.
    for kept, weight in zip(teacher.parameters(), student.parameters(), strict=True):
        kept.lerp_(weight.to(kept.dtype), 1 - decay)
