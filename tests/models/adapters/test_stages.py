import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.adapters import RefinedStage, Rein, Stage, refine_stages

# ruff: noqa: ARG002 -- signatures of the contract


class Position(nn.Module):
    """Adds to each token its number, row by row, and remembers the grid."""

    depth = 1

    def forward(self, features, layer, grid):
        self.grid = grid
        return features + torch.arange(features.shape[1])[None, :, None]

    def queries(self):
        return None


class Deep(Position):
    depth = 2


@pytest.mark.parametrize('channels_last', [False, True])
def test_maps_are_shown_row_by_row_and_come_back_as_they_were(channels_last):
    adapter = Position()
    refined = RefinedStage(nn.Identity(), adapter, Stage('stage', 5, channels_last))
    maps = torch.zeros(2, 3, 4, 5) if channels_last else torch.zeros(2, 5, 3, 4)
    out = refined(maps)
    assert out.shape == maps.shape
    assert adapter.grid == (3, 4)
    one = out[0, ..., 0] if channels_last else out[0, 0]
    assert torch.equal(one, torch.arange(12.0).view(3, 4))


def test_later_stages_see_refined_features():
    network = nn.Sequential(nn.Identity(), nn.Identity())
    places = [Stage(name, 1, channels_last=False) for name in ('0', '1')]
    refine_stages(network, places, lambda _depth, _dim: Position())
    assert torch.equal(network(torch.zeros(1, 1, 1, 3)).flatten(), torch.tensor([0.0, 2.0, 4.0]))


@pytest.mark.parametrize('shape', [(1, 9, 5), (1, 4, 3, 3), (1, 5, 3)])
def test_stages_without_maps_are_refused(shape):
    refined = RefinedStage(nn.Identity(), Position(), Stage('blocks.0', 5, channels_last=False))
    with pytest.raises(ConfigError, match=r'the stage blocks.0 \(Identity\) gives .* use LoRA'):
        refined(torch.zeros(shape))


def test_adapters_that_link_queries_are_refused():
    """Nothing reads them from a stage: what links them would never get a gradient."""
    place = Stage('stage', 5, channels_last=False)
    with pytest.raises(ConfigError, match=r'Rein links queries, .* with link_queries=False'):
        RefinedStage(nn.Identity(), Rein(1, 5, tokens=2), place)


def test_adapters_of_several_blocks_are_refused():
    with pytest.raises(ConfigError, match='the adapter has 2 layers, the transformer 1'):
        RefinedStage(nn.Identity(), Deep(), Stage('stage', 5, channels_last=False))


def test_adapters_that_change_the_shape_are_refused():
    class Cuts(Position):
        def forward(self, features, layer, grid):
            return features[:, :4]

    refined = RefinedStage(nn.Identity(), Cuts(), Stage('stage', 5, channels_last=False))
    message = r'Cuts returned \(1, 4, 5\) for tokens \(1, 9, 5\): .* must keep the shape'
    with pytest.raises(ConfigError, match=message):
        refined(torch.zeros(1, 5, 3, 3))


def test_stages_that_are_lists_of_blocks_are_refused():
    network = nn.Sequential(nn.ModuleList([nn.Identity()]))
    with pytest.raises(ConfigError, match=r'0 of Sequential is a list of blocks, .* use LoRA'):
        refine_stages(
            network, [Stage('0', 1, channels_last=False)], lambda _depth, _dim: Position()
        )
