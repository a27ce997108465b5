import io
import random

import numpy as np
import pytest
import torch
from torch import nn

from crossearth.trainers.random_state import (
    generators_of,
    random_state,
    restore_random_state,
    spread_random_state,
)
from crossearth.transforms import PatchMask

CPU = torch.device('cpu')


def draw(generator):
    return (
        random.random(),
        np.random.rand(),  # noqa: NPY002 -- the global state is what is tested
        torch.rand(1).item(),
        torch.rand(1, generator=generator).item(),
    )


@pytest.fixture(autouse=True)
def _same_state_afterwards():
    generator = torch.Generator()
    state = random_state([generator], CPU)
    yield
    restore_random_state(state, [generator], CPU)


def test_a_state_read_from_a_file_without_code_repeats_every_draw(unchecked):
    # unchecked: the checker of types draws from python's generator itself
    generator = torch.Generator().manual_seed(3)
    random.gauss(0, 1)  # python keeps the second of two draws
    np.random.randn()  # noqa: NPY002 -- and so does numpy
    file = io.BytesIO()
    torch.save(random_state([generator], CPU), file)
    expected = draw(generator), random.gauss(0, 1), np.random.randn()  # noqa: NPY002
    draw(generator)
    file.seek(0)
    other = torch.Generator()
    assert restore_random_state(torch.load(file, weights_only=True), [other], CPU)
    assert (draw(other), random.gauss(0, 1), np.random.randn()) == expected  # noqa: NPY002


def test_states_of_other_processes_or_generators_change_nothing():
    generator = torch.Generator().manual_seed(3)
    state = random_state([generator], CPU)
    before = torch.get_rng_state()
    assert not restore_random_state(state, [generator], CPU, world_size=2)
    assert not restore_random_state(state, [], CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_that_were_seeded_alike_draw_differently_and_repeatably():
    def drawn(rank):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 -- the global state is what is tested
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        spread_random_state([generator], rank=rank)
        return draw(generator)

    ranks = [drawn(rank) for rank in range(3)]
    assert all(len(set(values)) == 3 for values in zip(*ranks, strict=True))
    assert drawn(2) == ranks[2]
    torch.manual_seed(0)
    assert ranks[0][2] == torch.rand(1).item()


def test_generators_are_found_in_nested_modules_once():
    first, second = torch.Generator(), torch.Generator()
    masks = [PatchMask(4, 0.5, generator=generator) for generator in (first, second, first)]
    assert generators_of([nn.Sequential(*masks), nn.Identity()]) == [first, second]
