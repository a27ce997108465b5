"""How models show themselves: counts in a line of text, or a table in a notebook."""

from typing import TYPE_CHECKING

from crossearth.describing import Html, colour_legend, count, html_table, plural
from crossearth.imagery import imagery_of
from crossearth.models.recording import blueprint_of

if TYPE_CHECKING:
    from crossearth.models.segmenter import Segmenter

__all__ = ['model_counts', 'model_table']


def model_counts(model: 'Segmenter') -> dict[str, str]:
    """Bands, classes and parameters of a model."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    total = sum(size for size, _ in sizes)
    trained = sum(size for size, trains in sizes if trains)
    frozen = '' if trained == total else f', {count(trained)} of them trained'
    return {
        'bands': plural(model.in_channels, 'band'),
        'classes': plural(model.num_classes, 'class'),
        'parameters': f'{count(total)} parameters{frozen}',
    }


def model_table(model: 'Segmenter') -> Html:
    """A model as HTML: what it is built of, and what it knows of its images.

    Classes have names and colours, and pixels a size, where the model was loaded from a file that
    says so.
    """
    known = imagery_of(model)
    blueprint = blueprint_of(model)
    rows: dict[str, str] = {} if blueprint is None else {'builder': blueprint.builder}
    rows |= {
        'backbone': type(model.backbone).__name__,
        'decoder': type(model.decoder).__name__,
        **model_counts(model),
    }
    if known.bands is not None:
        rows['bands'] = ', '.join(map(str, known.bands))
    if known.labels is not None:
        rows['classes'] = colour_legend(known.labels.classes, known.labels.palette)
    if known.gsd_m is not None:
        rows['pixel size'] = f'{known.gsd_m:.3g} m'
    if known.gsd_range_m is not None:
        rows['trained at'] = '{:.3g} to {:.3g} m'.format(*known.gsd_range_m)
    if known.value_range is not None:
        rows['values'] = '{:g} to {:g}'.format(*known.value_range)
    return html_table(type(model).__name__, rows)
