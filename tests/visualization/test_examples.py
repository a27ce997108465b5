import numpy as np
import pytest

from crossearth.errors import ConfigError
from crossearth.labels import BUILDING
from crossearth.visualization import ExampleWindow, draw_examples, error_map


def test_errors_are_coloured_and_unlabelled_pixels_black():
    image = np.full((2, 2, 3), 100, np.uint8)
    truth = np.array([[0, 1], [1, 255]], np.uint8)
    predicted = np.array([[0, 0], [1, 0]], np.uint8)
    shown = error_map(image, truth, predicted)
    assert shown[0, 0].tolist() == shown[1, 0].tolist() == [178, 178, 178]
    assert shown[0, 1].tolist() == [213, 94, 0]
    assert shown[1, 1].tolist() == [0, 0, 0]
    assert image.max() == 100  # the input is as it was


def test_each_method_has_a_map_and_its_errors():
    window = ExampleWindow(
        'best',
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        {'ours': np.zeros((4, 4), np.uint8), 'other': np.ones((4, 4), np.uint8)},
    )
    figure = draw_examples([window, window], BUILDING)
    heads = [axes.get_title() for axes in figure.axes[:6]]
    assert heads == ['image', 'truth', 'ours', 'errors', 'other', 'errors']
    assert len(figure.axes) == 12
    pictures = [axes.images[0].get_array() for axes in figure.axes[:6]]
    assert tuple(pictures[4][0, 0]) == BUILDING.palette[1]
    assert tuple(pictures[5][0, 0]) == (213, 94, 0)


def test_no_window_is_an_error():
    with pytest.raises(ConfigError, match='no window to draw: keep label maps'):
        draw_examples([], BUILDING)
