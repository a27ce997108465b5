"""An estimate of accuracy, as it is printed."""

from crossearth.accuracy import AccuracyEstimate, EstimateBy, Interval
from crossearth.labels import LabelSpace

__all__ = ['describe_accuracy']

_COLUMNS: dict[EstimateBy, str] = {
    'confidence': 'by confidence',
    'atc': 'by thresholds',
    'doc': 'by difference',
}
_WARNING = (
    'WARNING: estimated from the confidence of the model, without a label. Intervals cover chance '
    'within the scene, not the gap to the source, across which such estimates can be far off: see '
    'docs/evidence.md, "How good is my map?"'
)
_ADAPTED = 'The calibration is of the model before it was adapted, and says less of this one.'


def describe_accuracy(
    estimate: AccuracyEstimate, labels: LabelSpace | None, *, adapted: bool
) -> str:
    """A table of the estimates in %, and what they are not.

    Args:
        estimate: Of a map.
        labels: Names of the classes, if they are known.
        adapted: Whether the model was adapted after its calibration.
    """
    names = labels.classes if labels else [f'class {i}' for i in range(len(estimate.iou))]
    lines = [
        f'estimated accuracy in %, {estimate.pixels} pixels in {estimate.blocks} blocks',
        _row('', *_COLUMNS.values(), 'source'),
        _line('pixels right', estimate.accuracy, estimate.source_accuracy),
    ]
    for name, by, source in zip(names, estimate.iou, estimate.source_iou, strict=True):
        if by is None:
            lines.append(f'IoU {name}: not known, the labelled scenes of the source have none')
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
