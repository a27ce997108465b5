import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crossearth.errors import LabelError
from crossearth.labels import (
    IGNORE_INDEX,
    ISPRS,
    ColourCodec,
    IdCodec,
    LabelSpace,
    ThresholdCodec,
)

COLOURS = {colour: i for i, colour in enumerate(ISPRS.palette)}


@given(arrays(np.uint8, (7, 5), elements=st.sampled_from([0, 1, 2, 3, 4, 5])))
def test_colouring_and_decoding_gives_the_ids_back(ids):
    raw = ISPRS.colour(ids).transpose(2, 0, 1)
    for match in ('exact', 'threshold'):
        decoded = ColourCodec(COLOURS, match=match).decode(raw)
        assert (decoded.ids == ids).all()
        assert decoded.unknown == {}


def test_unknown_colours_are_ignored_and_counted():
    raw = np.array([[[1, 1, 255]], [[2, 2, 255]], [[3, 3, 255]]], np.uint8)
    decoded = ColourCodec(COLOURS).decode(raw)
    assert decoded.ids.tolist() == [[IGNORE_INDEX, IGNORE_INDEX, 0]]
    assert decoded.unknown == {(1, 2, 3): 2}


def test_thresholding_recovers_a_blended_car_that_exact_matching_ignores():
    car = np.array([[[252]], [[255]], [[0]]], np.uint8)
    assert ColourCodec(COLOURS, match='threshold').decode(car).ids.item() == 4
    assert ColourCodec(COLOURS).decode(car).ids.item() == IGNORE_INDEX


def test_black_boundaries_are_ignored_without_being_unknown():
    codec = ColourCodec({**COLOURS, (0, 0, 0): IGNORE_INDEX})
    decoded = codec.decode(np.zeros((3, 2, 2), np.uint8))
    assert (decoded.ids == IGNORE_INDEX).all()
    assert decoded.unknown == {}


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32])
def test_ids_are_remapped_in_any_integer_type(dtype):
    codec = IdCodec({0: IGNORE_INDEX, 1: 0, 7: 6})
    assert codec.decode(np.array([[[0, 1, 7]]], dtype)).ids.tolist() == [[255, 0, 6]]


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_an_id_out_of_range_is_an_error_that_names_it(dtype):
    with pytest.raises(LabelError, match=r'ids \[6\], expected only 0, 1, 2, 3, 4, 5, 255'):
        IdCodec.identity(6).decode(np.array([[[0, 6]]], dtype))


def test_masks_with_the_wrong_number_of_bands_are_refused():
    with pytest.raises(LabelError, match='expected one band'):
        IdCodec.identity(2).decode(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
    with pytest.raises(LabelError, match='expected RGB'):
        ColourCodec(COLOURS).decode(np.zeros((1, 2, 2), np.uint8))


def test_threshold_splits_at_half():
    raw = np.array([[[0, 127, 128, 255]]], np.uint8)
    assert ThresholdCodec().decode(raw).ids.tolist() == [[0, 0, 1, 1]]


def test_threshold_matching_needs_corner_colours():
    with pytest.raises(LabelError, match="use match='exact'"):
        ColourCodec({(85, 255, 0): 1}, match='threshold')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'classes': ('a', 'b'), 'palette': ((0, 0, 0),)}, 'one colour a class'),
        ({'classes': ('a', 'a'), 'palette': ((0, 0, 0),) * 2}, 'names a class twice'),
        ({'classes': ('a',), 'palette': ((0, 0, 256),)}, 'outside 0–255'),
        ({'classes': ('a',), 'palette': ((0, 0, 0),), 'scored': (1,)}, 'scores ids'),
    ],
)
def test_label_spaces_that_contradict_themselves_are_refused(arguments, message):
    with pytest.raises(LabelError, match=message):
        LabelSpace(name='x', **arguments)
