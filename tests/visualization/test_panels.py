import matplotlib.image
import numpy as np
import pytest

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import ISPRS
from crossearth.visualization import draw_panels, save_figure

IDS = np.tile(np.arange(6, dtype=np.uint8), (4, 2))


def drawn(figure):
    return [axes.get_images()[0].get_array() for axes in figure.axes]


def test_panels_hold_the_image_and_the_maps_in_their_colours():
    image = np.random.default_rng(0).integers(0, 255, (4, 4, 12), np.uint8)
    ignored = IDS.copy()
    ignored[0, 0] = 255
    pictures = drawn(draw_panels(image, {'truth': IDS, 'ours': ignored}, ISPRS))
    assert (pictures[0] == image[:3].transpose(1, 2, 0)).all()
    assert (pictures[1] == ISPRS.colour(IDS)).all()
    assert (pictures[2][0, 0] == 0).all()


def test_the_legend_names_every_class_and_what_has_no_label():
    image = np.zeros((1, 4, 12), np.uint8)
    names = [text.get_text() for text in draw_panels(image, {'a': IDS}, ISPRS).legends[0].texts]
    assert names == list(ISPRS.classes)
    ignored = np.full_like(IDS, 255)
    figure = draw_panels(image, {'a': ignored}, ISPRS)
    assert figure.legends[0].texts[-1].get_text() == 'no label'


def test_a_figure_is_written_whole(tmp_path):
    path = tmp_path / 'a.png'
    save_figure(draw_panels(np.zeros((3, 4, 12), np.uint8), {'a': IDS}, ISPRS), path)
    assert matplotlib.image.imread(path).ndim == 3
    assert [file.name for file in tmp_path.iterdir()] == ['a.png']


def test_sizes_and_bands_that_cannot_be_drawn_are_refused(unchecked):
    with pytest.raises(ShapeError, match='expected the same size'):
        draw_panels(np.zeros((3, 5, 12), np.uint8), {'a': IDS}, ISPRS)
    with pytest.raises(ConfigError, match='two bands'):
        draw_panels(np.zeros((2, 4, 12), np.uint8), {'a': IDS}, ISPRS)
