from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crossearth.errors import ConfigError, LabelError
from crossearth.labels import (
    IGNORE_INDEX,
    ISPRS,
    ColourCodec,
    IdCodec,
    LabelSpace,
    ThresholdCodec,
    colour_codec,
)

BYTES = st.integers(0, 255)
IDS = st.sampled_from([0, 1, 2, 7, 254, IGNORE_INDEX])
COLOUR = st.tuples(BYTES, BYTES, BYTES)

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
    with pytest.raises(LabelError, match="pass match='exact'"):
        ColourCodec({(85, 255, 0): 1}, match='threshold')


@pytest.mark.parametrize('wrong', [-1, 256])
def test_ids_of_colours_that_no_byte_holds_are_refused(wrong):
    with pytest.raises(
        LabelError, match=rf'class ids \[{wrong}\] are out of range: expected 0 to 255'
    ):
        colour_codec({'#000000': wrong, '#ffffff': 1})


def test_a_threshold_is_for_grey_and_not_for_colours():
    grey = np.array([[[0, 120, 255]], [[3, 130, 250]], [[0, 120, 255]]], np.uint8)
    assert ThresholdCodec().decode(grey).ids.tolist() == [[0, 0, 1]]  # colour of lossy formats
    blue = np.array([[[0, 0]], [[0, 0]], [[0, 255]]], np.uint8)
    with pytest.raises(LabelError, match=r'mask is coloured, .* choose a colour encoding'):
        ThresholdCodec().decode(blue)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'classes': ('a', 'b'), 'palette': ((0, 0, 0),)}, 'one colour per class'),
        ({'classes': ('a', 'a'), 'palette': ((0, 0, 0),) * 2}, 'names a class twice'),
        ({'classes': ('a',), 'palette': ((0, 0, 256),)}, 'outside 0–255'),
        ({'classes': ('a',), 'palette': ((0, 0, 0),), 'scored': (1,)}, 'scores ids'),
    ],
)
def test_label_spaces_that_contradict_themselves_are_refused(arguments, message):
    with pytest.raises(LabelError, match=message):
        LabelSpace(name='x', **arguments)


@settings(deadline=None)  # the first of a table builds it
@given(
    ids=st.one_of(
        st.dictionaries(BYTES, BYTES, min_size=1),
        st.dictionaries(st.integers(-3, 400), IDS, min_size=1),
        st.just({value: 255 - value for value in range(256)}),
    ),
    dtype=st.sampled_from(['uint8', 'int16', 'uint16', 'int32', 'int64']),
    data=st.data(),
)
def test_id_tables_are_looked_up_as_they_are_written(ids, dtype, data):
    info = np.iinfo(dtype)
    listed = [value for value in ids if info.min <= value <= info.max]
    values = st.sampled_from(listed) if listed else st.integers(0, 9)
    stray = data.draw(st.booleans())
    elements = st.one_of(values, st.integers(0, 255)) if stray else values
    raw = data.draw(arrays(dtype, (1, 3, 4), elements=elements))
    unlisted = sorted({int(value) for value in raw.ravel()} - set(ids))
    if unlisted:
        with pytest.raises(LabelError) as caught:
            IdCodec(ids).decode(raw)
        assert f'mask holds ids {unlisted[:8]}, expected only' in str(caught.value)
    else:
        decoded = IdCodec(ids).decode(raw)
        assert decoded.ids.tolist() == [[ids[int(value)] for value in row] for row in raw[0]]
        assert decoded.ids.dtype == np.uint8
        assert decoded.ids.flags.writeable


@settings(deadline=None)  # the first of a table builds it
@given(
    colours=st.one_of(
        st.dictionaries(COLOUR, IDS, min_size=1, max_size=40),
        st.dictionaries(st.tuples(*[st.sampled_from([0, 255])] * 3), IDS, min_size=1),
    ),
    match=st.sampled_from(['exact', 'threshold']),
    dtype=st.sampled_from(['uint8', 'uint16']),
    data=st.data(),
)
def test_colours_are_matched_as_they_are_written(colours, match, dtype, data):
    corners = all(part in (0, 255) for colour in colours for part in colour)
    near = [(red, green, (blue + 1) % 256) for red, green, blue in colours]  # differ in blue alone
    pixel = st.one_of(st.sampled_from(list(colours)), st.sampled_from(near), COLOUR)
    pixels = data.draw(st.lists(pixel, min_size=12, max_size=12))
    raw = np.array(pixels, dtype).reshape(3, 4, 3).transpose(2, 0, 1)
    codec = ColourCodec(colours, match=match if corners else 'exact')
    decoded = codec.decode(raw)
    expected, unknown = [], Counter()
    for pixel in pixels:
        if codec.match == 'threshold':
            pixel = tuple(255 * (part >= 128) for part in pixel)
        expected.append(colours.get(pixel, IGNORE_INDEX))
        unknown[pixel] += pixel not in colours
    assert decoded.ids.ravel().tolist() == expected
    assert decoded.unknown == dict(+unknown)


def test_every_corner_and_two_hundred_colours_are_told_apart():
    rng = np.random.default_rng(0)
    for colours in (
        [(r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)],
        list({tuple(colour) for colour in rng.integers(0, 256, (200, 3)).tolist()}),
    ):
        codec = ColourCodec({colour: i for i, colour in enumerate(colours)})
        assert codec.decode(np.array(colours, np.uint8).T[:, None]).ids[0].tolist() == list(
            range(len(colours))
        )


@given(arrays(np.uint8, (1, 3, 4)), st.integers(0, 255))
def test_thresholds_compare_every_value(raw, threshold):
    decoded = ThresholdCodec(threshold).decode(raw).ids
    assert decoded.tolist() == [[int(value >= threshold) for value in row] for row in raw[0]]
    assert decoded.dtype == np.uint8


def test_colours_written_as_text_are_those_colours():
    codec = colour_codec({'#FF8000': 1, '#000000': 255}, match='exact')
    assert codec == ColourCodec({(255, 128, 0): 1, (0, 0, 0): 255})
    for wrong in ('ff8000', '#ff80', '#gg8000', 'red'):
        with pytest.raises(LabelError, match=f"colour '{wrong}': expected red, green, blue"):
            colour_codec({wrong: 0})


def test_a_way_to_match_colours_that_there_is_not_is_refused(unchecked):
    with pytest.raises(ConfigError, match="match is 'treshold': expected one of exact, threshold"):
        ColourCodec(COLOURS, match='treshold')
