import pytest
import torch
from torch import nn

from crossearth.errors import CheckpointError
from crossearth.models.weights.fitting import fit_weights, misfit


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def ones():
    return {name: torch.ones_like(tensor) for name, tensor in net().state_dict().items()}


@pytest.mark.parametrize('prefix', ['', 'module.', 'teacher.module.', 'model.encoder.'])
def test_all_tensors_are_put_in(prefix):
    model = net()
    assert fit_weights(model, {prefix + n: t for n, t in ones().items()}, source='x.pth') == []
    assert all(bool((tensor == 1).all()) for tensor in model.state_dict().values())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'0.bias': None}, r'x\.pth does not fit Sequential: 1 missing \(0\.bias\)\. Choose'),
        ({'stray': torch.ones(4)}, r'1 unknown \(stray \(4,\)\)\. Choose'),
        ({'0.bias': torch.ones(4)}, r'1 of another shape \(0\.bias \(4,\) for \(3,\)\)'),
        ({'0.bias': torch.ones(3, dtype=torch.int8)}, r'0\.bias torch\.int8 for torch\.float32'),
        ({'0.bias': torch.ones(3, dtype=torch.complex64)}, r'torch\.complex64 for torch\.float32'),
        ({'1.num_batches_tracked': torch.tensor(0.5)}, r'torch\.float32 for torch\.int64'),
        ({'0.bias': torch.tensor([0, torch.nan, 0])}, "1 tensors, first '0.bias'"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_put_in(change, message):
    model = net()
    given = {name: tensor for name, tensor in {**ones(), **change}.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        fit_weights(model, given, source='x.pth')
    for name, tensor in net().state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_many_names_are_counted_and_the_first_three_shown():
    given = {**ones(), **{f'stray{i}': torch.ones(1) for i in range(5)}}
    with pytest.raises(
        CheckpointError, match=r'5 unknown \(stray0 \(1,\), stray1 \(1,\), stray2 \(1,\), …\)\.'
    ):
        fit_weights(net(), given, source='x.pth')


def test_counts_of_batches_may_be_missing():
    given = {name: t for name, t in ones().items() if not name.endswith('num_batches_tracked')}
    assert fit_weights(net(), given, source='x.pth') == []


def test_what_is_optional_may_be_missing_or_left_over():
    given = {**ones(), 'stray': torch.ones(1)}
    del given['0.bias']
    optional = {'0.bias', 'stray'}.__contains__
    assert fit_weights(net(), given, source='x.pth', optional=optional) == ['stray']


def test_without_strictness_what_both_have_is_put_in_and_shapes_still_count():
    model = net()
    given = {'0.bias': torch.full((3,), 7.0), 'stray': torch.ones(1)}
    assert fit_weights(model, given, source='x.pth', strict=False) == ['stray']
    assert model[0].bias.tolist() == [7, 7, 7]
    assert torch.equal(model[0].weight, net()[0].weight)
    with pytest.raises(CheckpointError, match='does not fit Sequential: no name agrees'):
        fit_weights(model, {'stray': torch.ones(1)}, source='x.pth', strict=False)
    with pytest.raises(CheckpointError, match='1 of another shape'):
        fit_weights(model, {'0.bias': torch.ones(4)}, source='x.pth', strict=False)


def test_other_precisions_fit():
    assert misfit({n: t.to(torch.float16) for n, t in ones().items() if t.ndim}, ones()) == ''
