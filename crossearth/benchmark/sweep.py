"""Varies the share τ and the side B of masked patches, as in the paper's Appendix A."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from crossearth.benchmark.recipes import Variation
from crossearth.benchmark.results import RunResult, mean_and_sd
from crossearth.benchmark.settings import Masking

__all__ = ['PATCHES_PX', 'TAUS', 'sweep_scores', 'sweep_variations']

Which = Literal['styled', 'masked']

TAUS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of patches in Tables 11 and 12."""

PATCHES_PX = (16, 32, 64, 128, 256)
"""Sides of patches in Tables 11 and 12."""

_PART = {'styled': 'style', 'masked': 'mask'}


def sweep_variations(
    which: Which,
    *,
    taus: Sequence[float] = TAUS,
    patches_px: Sequence[int] = PATCHES_PX,
    steps: int | None = None,
    batch_size: int | None = None,
) -> Iterator[Variation]:
    """One variation per pair of τ and B; the other image keeps the masking of its setting.

    Args:
        which: `'styled'` for Table 11, `'masked'` for Table 12.
        taus: Shares of patches.
        patches_px: Sides of patches.
        steps: See `Variation`.
        batch_size: See `Variation`.

    Example:
        >>> [v.styled for v in sweep_variations('styled', taus=[0.1], patches_px=[16])]
        [Masking(tau=0.1, patch_px=16)]
    """
    for tau in taus:
        for patch_px in patches_px:
            masking = Masking(tau, patch_px)
            if which == 'styled':
                yield Variation(styled=masking, steps=steps, batch_size=batch_size)
            else:
                yield Variation(masked=masking, steps=steps, batch_size=batch_size)


def sweep_scores(
    results: Sequence[RunResult], which: Which, setting: str
) -> dict[tuple[float, int], float]:
    """Mean score by τ and B over the seeds of a setting, in percent.

    Args:
        results: Results of the variations, from one method, protocol and selection.
        which: Image whose masking was varied.
        setting: Abbreviation of the setting.
    """
    scores: dict[tuple[float, int], list[float]] = {}
    for result in results:
        if result.setting == setting:
            method: dict[str, Any] = result.recipe['model']['init_args']['method']['init_args']
            given = method[_PART[which]]['init_args']
            scores.setdefault((given['ratio'], given['patch_size']), []).append(result.score)
    return {key: mean_and_sd(values)[0] for key, values in scores.items()}
