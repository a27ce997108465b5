"""Prints an estimate of accuracy as a table."""

from crossearth.accuracy import AccuracyEstimate, EstimateBy, Interval
from crossearth.labels import LabelSpace

__all__ = ['describe_accuracy']

_COLUMNS: dict[EstimateBy, str] = {
    'confidence': 'by confidence',
    'atc': 'by thresholds',
    'doc': 'by difference',
}
_WARNING = (
    'WARNING: estimated from the confidence of the model, without labels. The intervals cover only '
    'the variation within the scene. They do not cover the gap to the source, across which such '
    'estimates can be far off. See docs/evidence.md, "How good is my map?"'
)
_ADAPTED = 'The calibration was measured before the model was adapted, so it is less reliable here.'


def describe_accuracy(
    estimate: AccuracyEstimate, labels: LabelSpace | None, *, adapted: bool
) -> str:
    """A table of the estimates in %, with a warning about what they do not cover.

    Args:
        estimate: Estimates for a map.
        labels: Names of the classes; None if unknown.
        adapted: Whether the model was adapted after its calibration.
    """
    names = labels.classes if labels else [f'class {i}' for i in range(len(estimate.iou))]
    lines = [
        f'estimated accuracy in %, {estimate.pixels} pixels in {estimate.blocks} blocks',
        _row('', *_COLUMNS.values(), 'source'),
        _line('correct pixels', estimate.accuracy, estimate.source_accuracy),
    ]
    for name, by, source in zip(names, estimate.iou, estimate.source_iou, strict=True):
        if by is None:
            lines.append(f'IoU {name}: unknown, the labelled source scenes do not contain it')
        else:
            lines.append(_line(f'IoU {name}', by, source or 0.0))
    return '\n'.join([*lines, _WARNING, *([_ADAPTED] if adapted else [])])


def _line(name: str, by: dict[EstimateBy, Interval], source: float) -> str:
    return _row(name, *(_interval(by[key]) for key in _COLUMNS), f'{100 * source:.1f}')


def _row(name: str, *cells: str) -> str:
    return f'  {name[:28]:<28}' + ''.join(f'{cell:>20}' for cell in cells)


def _interval(estimate: Interval) -> str:
    value = f'{100 * estimate.value:.1f}'
    if estimate.low is None or estimate.high is None:
        return value
    return f'{value} ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})'
