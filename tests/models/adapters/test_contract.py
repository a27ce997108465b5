import pytest
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.adapters import Adapter, LoRARein, Rein
from crossearth.models.adapters.contract import check_adapter

# ruff: noqa: ARG002 -- signatures of the contract

CONTRACT = (
    r'an adapter is a torch module with `depth`.*`forward\(features, layer, grid\)`.*`queries\(\)`'
)


class Whole(nn.Module):
    depth = 2

    def forward(self, features, layer, grid):
        return features

    def queries(self):
        return None


class NoForward(nn.Module):
    depth = 2

    def queries(self):
        return None


class NoQueries(nn.Module):
    depth = 2

    def forward(self, features, layer, grid):
        return features


class QueriesAsNumber(Whole):
    queries = 3


class FeaturesOnly(Whole):
    def forward(self, features):
        return features


@pytest.mark.parametrize('adapter', [Whole(), LoRARein(2, 8), Rein(2, 8)])
def test_adapters_of_the_library_and_of_others_keep_the_contract(adapter):
    check_adapter(adapter, 2)
    assert isinstance(adapter, Adapter)


@pytest.mark.parametrize(
    ('adapter', 'message'),
    [
        (NoForward(), 'NoForward lacks `forward`: '),
        (NoQueries(), 'NoQueries lacks `queries`: '),
        (nn.Linear(2, 2), 'Linear lacks `depth` and `queries`: '),
        (QueriesAsNumber(), '`queries` of QueriesAsNumber is not a method: '),
        (FeaturesOnly(), '`forward` of FeaturesOnly takes other arguments: '),
        (print, 'is not a torch module: '),
    ],
)
def test_what_lacks_a_part_is_told_the_whole_contract(adapter, message):
    with pytest.raises(ConfigError, match=message + CONTRACT):
        check_adapter(adapter, 2)


def test_another_depth_is_told_to_build_with_it():
    with pytest.raises(ConfigError, match=r'has 2 layers, the transformer 3 blocks.*depth=3'):
        check_adapter(Whole(), 3)
