import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from crossearth.errors import ConfigError
from crossearth.models.decoders import MultiScaleDeformableAttention, deformable_attention
from crossearth.models.decoders.deformable import _by_level


def by_definition(value, sizes, locations, weights):
    """Eq. 3 of Deformable DETR, every sample stored: `grid_sample` of each level, then one sum."""
    batch, _, heads, width = value.shape
    queries = weights.shape[1]
    samples = []
    for level, image in enumerate(value.split([h * w for h, w in sizes], dim=1)):
        image = image.permute(0, 2, 3, 1).reshape(batch * heads, width, *sizes[level])
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        samples.append(F.grid_sample(image, grid, align_corners=False))
    weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    sums = (torch.stack(samples, dim=-2).flatten(-2) * weights).sum(-1)
    return sums.view(batch, heads * width, queries).transpose(1, 2)


def inputs(sizes, *, batch=1, heads=2, points=3, queries=7, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(shape, generator=generator, dtype=dtype)

    pixels = sum(h * w for h, w in sizes)
    # also outside of the levels, by up to their size
    locations = 3 * rand(batch, queries, heads, len(sizes), points, 2) - 1
    return rand(batch, pixels, heads, 4), locations, rand(*locations.shape[:-1])


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3),
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
    points=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
@pytest.mark.parametrize('ours', [deformable_attention, _by_level])
def test_equals_its_definition_with_all_gradients(ours, sizes, batch, heads, points, seed):
    given_inputs = inputs(sizes, batch=batch, heads=heads, points=points, seed=seed)
    results = []
    for function in (ours, by_definition):
        value, locations, weights = (t.clone().requires_grad_() for t in given_inputs)
        sums = function(value, sizes, locations, weights)
        sums.sin().sum().backward()
        results.append((sums, value.grad, locations.grad, weights.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_without_gradients_it_is_the_same():
    sizes = [(5, 3), (2, 2)]
    given_inputs = inputs(sizes, dtype=torch.float32)
    with torch.no_grad():
        found = deformable_attention(given_inputs[0], sizes, *given_inputs[1:])
    value = given_inputs[0].clone().requires_grad_()
    torch.testing.assert_close(found, deformable_attention(value, sizes, *given_inputs[1:]))
    expected = by_definition(given_inputs[0], sizes, *given_inputs[1:])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    sizes = [(3, 4), (2, 1)]
    value, locations, weights = (t.requires_grad_() for t in inputs(sizes, queries=2, points=1))
    torch.autograd.gradcheck(
        lambda v, p, w: deformable_attention(v, sizes, p, w), (value, locations, weights)
    )


@pytest.mark.parametrize('ours', [deformable_attention, _by_level])
def test_slope_next_to_a_pixel_centre_is_that_of_its_side(ours):
    """At a centre the slope jumps; the last number before it still belongs to the left."""
    value = torch.tensor([0.0, 1.0, 5.0, 5.0]).view(1, 4, 1, 1)
    centre = torch.tensor(1.5 / 4)
    for x, slope in [
        (centre.nextafter(torch.tensor(0.0)), 1.0),
        (centre, 4.0),
        (centre.nextafter(torch.tensor(1.0)), 4.0),
    ]:
        location = torch.stack([x, torch.tensor(0.5)]).view(1, 1, 1, 1, 1, 2).requires_grad_()
        ours(value, [(1, 4)], location, torch.ones(1, 1, 1, 1, 1)).sum().backward()
        assert location.grad.flatten()[0].item() == pytest.approx(4 * slope)  # a unit is 4 px


def test_halves_are_sampled_in_float32():
    """A bfloat16 location could not name a pixel of a level of 300 px."""
    sizes = [(1, 300)]
    value = torch.arange(300.0).view(1, 300, 1, 1).to(torch.bfloat16)
    location = torch.tensor([(257 + 0.5) / 300, 0.5]).view(1, 1, 1, 1, 1, 2)
    weight = torch.ones(1, 1, 1, 1, 1, dtype=torch.bfloat16)
    found = deformable_attention(value, sizes, location, weight)
    assert found.dtype == torch.bfloat16
    assert found.item() == value[0, 257].item()


def test_heads_must_divide_the_width():
    with pytest.raises(ConfigError, match='dim is 30, which 8 heads cannot share'):
        MultiScaleDeformableAttention(30)


def test_untrained_heads_look_in_eight_directions():
    attention = MultiScaleDeformableAttention(32, heads=8, levels=1, points=2)
    offsets = attention.sampling_offsets.bias.view(8, 2, 2)
    torch.testing.assert_close(offsets[0], torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
    torch.testing.assert_close(offsets[1], torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    assert attention.sampling_offsets.weight.abs().max() == 0
