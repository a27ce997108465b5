import inspect
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from crossearth.describing import Described, arguments_of, colour_legend, html_table
from crossearth.labels import LabelSpace

PACKAGES = [
    'datasets',
    'inference',
    'models',
    'models.adapters',
    'models.backbones',
    'models.decoders',
    'models.style',
    'rasters',
    'resolution',
    'synthetic',
    'trainers',
    'transforms',
]
# They keep nothing but modules, tensors and functions, which print themselves or would print code.
NOTHING_TO_SAY = {
    'Backbone', 'CellAreas', 'GroundToPixels', 'HeaderCache', 'InstanceBatchNorm', 'Layered',
    'PixelsToGround', 'RefinedStage', 'GsdNetwork', 'DilatedTimm', 'SmpPyramid', 'SwinPyramid',
    'TokenEncoder', 'LinearRestorer', 'MultiStageASPP', 'SharedASPP', 'Gated', 'GsdEstimator',
    'GeospatialSemanticExtractor', 'Adapter', 'Decoder',
}  # fmt: skip


class Kept(Described):
    def __init__(self, a, b=None, *, folder='x', module=None, many=()):
        self.a = a
        self.b = b
        self.folder = folder
        self.module = module
        self.many = many
        self.other = 3


@pytest.mark.parametrize(
    ('kept', 'text'),
    [
        (Kept(1), "Kept(a=1, b=None, folder='x', module=None, many=())"),
        (Kept(0.1 + 0.2, True), "Kept(a=0.3, b=True, folder='x', module=None, many=())"),
        (Kept(1, folder=Path('p/q'), module=nn.ReLU()), "Kept(a=1, b=None, folder='p/q', many=())"),
        (
            Kept({'k': (1, 2.5)}, [1]),
            "Kept(a={'k': (1, 2.5)}, b=[1], folder='x', module=None, many=())",
        ),
        (Kept(1, many=(1,)), "Kept(a=1, b=None, folder='x', module=None, many=(1,))"),
        (Kept(torch.ones(2), many=(nn.ReLU(),)), "Kept(b=None, folder='x', module=None)"),
    ],
)
def test_plain_arguments_are_named_and_other_objects_left_out(kept, text):
    assert repr(kept) == text


def test_long_sequences_are_cut_with_how_many_are_left_out():
    text = repr(Kept(list(range(100))))
    assert '10, 11, … 88 more]' in text
    assert '12' not in text


def test_further_values_follow_or_replace_those_of_the_same_name():
    assert (
        arguments_of(Kept(1), a=2, c='x') == "a=2, b=None, folder='x', module=None, many=(), c='x'"
    )


def test_names_from_data_are_escaped_in_tables():
    table = html_table('<i>', {'<script>': '"<img>&'})
    assert '<script>' not in table
    assert '<img>' not in table
    assert '&lt;script&gt;' in table
    assert '&quot;&lt;img&gt;&amp;' in table
    legend = colour_legend(['<b>&'], [(255, 0, 16)])
    assert '&lt;b&gt;&amp;</span>' in legend
    assert 'background:#ff0010' in legend
    assert legend in html_table('x', {'classes': legend})


def test_a_label_space_shows_its_colours_in_a_notebook():
    labels = LabelSpace('roads', ('rest', '<road>'), ((0, 0, 0), (0, 128, 255)), scored=(1,))
    shown = labels._repr_html_()
    assert 'background:#0080ff"></span>&lt;road&gt;' in shown
    assert '<strong>roads</strong>' in shown


@pytest.mark.parametrize('package', PACKAGES)
def test_every_public_class_says_its_arguments(package):
    module = import_module(f'crossearth.{package}')
    silent = []
    for name in module.__all__:
        one = getattr(module, name)
        if not inspect.isclass(one) or name in NOTHING_TO_SAY:
            continue
        if issubclass(one, nn.Module):
            told = one.extra_repr is not nn.Module.extra_repr
        else:
            told = one.__repr__ is not object.__repr__
        if not told:
            silent.append(name)
    assert silent == []
