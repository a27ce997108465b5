"""Why differences are measured seed by seed: invented scores, with the library's own intervals."""

from pathlib import Path

from _diagram import Diagram

from crossearth.benchmark import Interval, mean_interval, paired_interval
from crossearth.visualization import PALETTE

# mIoU in percent by seed, invented: the seeds differ more than the methods do
SCORES = {
    'source only': (52.1, 55.8, 49.9, 54.2, 51.0),
    'fourier': (53.9, 57.3, 51.2, 56.4, 52.4),
    'mixstyle': (53.0, 54.9, 51.4, 53.1, 52.3),
}
BASELINE = 'source only'


def _ends(middle: float, interval: Interval) -> list[list[float]]:
    return [[middle - interval.low], [interval.high - middle]]


def draw(folder: Path) -> None:
    """Write `experiments-paired.svg`."""
    sheet = Diagram(4.6, 3.6)
    names = list(SCORES)
    left = sheet.figure.add_axes((0.22, 0.2, 0.34, 0.58))
    right = sheet.figure.add_axes((0.64, 0.2, 0.34, 0.58))
    for place, name in enumerate(names):
        scores = SCORES[name]
        left.plot(scores, [place] * len(scores), 'o', color='#9ca3af', markersize=4)
        over_seeds = mean_interval(scores)
        colour = PALETTE[place]
        mean = sum(scores) / len(scores)
        left.errorbar(
            mean, place + 0.22, xerr=_ends(mean, over_seeds), fmt='s', color=colour, capsize=3
        )
        if name != BASELINE:
            paired = paired_interval(scores, SCORES[BASELINE])
            gain = mean - sum(SCORES[BASELINE]) / len(SCORES[BASELINE])
            right.errorbar(gain, place, xerr=_ends(gain, paired), fmt='s', color=colour, capsize=3)
    right.axvline(0, color='#1b1f24', linewidth=1)
    right.text(0, 0, 'baseline', fontsize=9, ha='center', va='center', backgroundcolor='white')
    for axes, title, label in (
        (left, 'scores', 'mIoU in %'),
        (right, 'differences,\nseed by seed', 'points of mIoU'),
    ):
        axes.set_title(title, fontsize=9.5)
        axes.set_xlabel(label, fontsize=9.5)
        axes.tick_params(labelsize=9)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.spines[['top', 'right']].set_visible(False)
    left.set_yticks(range(len(names)), names)
    right.set_yticks([])
    sheet.figure.suptitle('Invented scores of five seeds', fontsize=9.5, x=0.5, y=0.975)
    sheet.save(folder / 'experiments-paired.svg')
