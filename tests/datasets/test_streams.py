import torch

from crossearth.datasets.streams import derived_seed, draws_from


def test_seeds_of_parts_differ_by_name_and_by_seed():
    seeds = {derived_seed(seed, name) for seed in range(20) for name in ('a', 'b', 'c')}
    assert len(seeds) == 60
    # of SHA-256, so that no version of Python or NumPy moves it
    assert derived_seed(0, 'RandomHorizontalFlip/1') == 12945898001683512


def test_draws_within_are_those_of_the_stream_and_leave_the_global_generator_alone():
    stream = torch.Generator().manual_seed(5)
    torch.manual_seed(1)
    expected_outside = [torch.rand(1), torch.rand(1)]
    expected_inside = torch.rand(4, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(1)
    outside = [torch.rand(1)]
    with draws_from(stream):
        inside = [torch.rand(2)]
    outside.append(torch.rand(1))
    with draws_from(stream):  # continues where it stopped
        inside.append(torch.rand(2))
    assert torch.equal(torch.cat(outside), torch.cat(expected_outside))
    assert torch.equal(torch.cat(inside), expected_inside)


def test_the_stream_moves_on_and_the_rest_is_restored_after_an_error():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    stream = torch.Generator().manual_seed(5)
    try:
        with draws_from(stream):
            torch.rand(1)
            raise RuntimeError
    except RuntimeError:
        pass
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(stream.get_state(), torch.Generator().manual_seed(5).get_state())
