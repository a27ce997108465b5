import torch

from crossearth.models.moments import ChannelMoments, on_grid_of


def test_batches_of_any_size_add_up_to_the_moments_of_all_values():
    draws = torch.Generator().manual_seed(0)
    batches = [torch.randn(2, 3, 5, 7, generator=draws) * 4 + 100, torch.randn(1, 3, 9, 2) - 50]
    moments = ChannelMoments()
    for batch in batches:
        moments.add(batch)
    values = torch.cat([one.movedim(1, 0).flatten(1) for one in batches], 1).double()
    assert moments.count == values.shape[1]
    torch.testing.assert_close(moments.mean, values.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(moments.var, values.var(1, correction=0), rtol=1e-5, atol=0)


def test_cells_without_data_do_not_count_and_a_batch_without_any_changes_nothing():
    values = torch.arange(8.0).view(1, 1, 2, 4)
    valid = torch.zeros(1, 4, 8, dtype=torch.bool)
    moments = ChannelMoments()
    moments.add(values, valid)
    assert moments.count == 0
    valid[:, :2, :4] = True
    moments.add(values, valid)
    assert (moments.count, moments.mean.tolist()) == (2, [0.5])


def test_tokens_count_whole():
    moments = ChannelMoments()
    moments.add(torch.ones(2, 3, 5), torch.zeros(2, 8, 8, dtype=torch.bool))
    assert moments.count == 10


def test_a_cell_has_data_if_half_of_its_pixels_do():
    valid = torch.zeros(1, 4, 4, dtype=torch.bool)
    valid[0, 0, :2] = True  # half of the first cell
    valid[0, 0, 2] = True  # a quarter of the second
    assert on_grid_of(valid, torch.zeros(1, 1, 2, 2)).tolist() == [[[True, False], [False, False]]]
