import numpy as np
import pytest
import torch

from crossearth.datasets import SceneDataset, read_scene
from crossearth.errors import ShapeError
from crossearth.geometry import Window
from crossearth.labels import ISPRS


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_a_sample_is_drawn_in_the_palette_with_its_prediction(write_raster, dtype):
    pixels = (np.indices((30, 40)).sum(axis=0) * 3)[None].repeat(3, axis=0).astype(dtype)
    ids = (np.indices((30, 40))[1] // 7).astype(np.uint8)[None]
    data = SceneDataset(
        [read_scene(write_raster('a.tif', pixels), write_raster('m.tif', ids))], ISPRS
    )
    sample = data[Window(0, 0, 0, 30, 40)]
    figure = data.plot({**sample, 'prediction': (sample['mask'] + 1) % 6}, suptitle='a scene')
    image, truth, prediction = (axes.images[0].get_array() for axes in figure.axes)
    assert [axes.get_title() for axes in figure.axes] == ['image', 'truth', 'prediction']
    assert (np.asarray(truth) == ISPRS.colour(ids[0])).all()
    assert (np.asarray(prediction) == ISPRS.colour((ids[0] + 1) % 6)).all()
    shown = np.asarray(image)[..., 0].astype(int)
    assert shown.dtype.kind == 'i'
    assert (np.diff(shown, axis=1) >= 0).all()
    if dtype is not np.uint8:
        assert (shown.min(), shown.max()) == (0, 255)
    assert figure.get_suptitle() == 'a scene'
    bare = data.plot(sample, show_titles=False)
    assert [axes.get_title() for axes in bare.axes] == ['', '']
    assert bare.get_suptitle() == ''


def test_images_without_labels_are_drawn_alone_and_sizes_must_agree(write_raster, unchecked):
    data = SceneDataset([read_scene(write_raster('a.tif', np.ones((1, 20, 20), np.uint8)))], ISPRS)
    sample = data[0]
    assert len(data.plot(sample).axes) == 1
    with pytest.raises(ShapeError, match='prediction is'):
        data.plot({**sample, 'prediction': torch.zeros(8, 8, dtype=torch.int64)})


def test_images_of_no_finite_values_are_black_and_others_shown_by_theirs(write_raster):
    nothing = np.full((3, 8, 8), np.nan, np.float32)
    data = SceneDataset([read_scene(write_raster('n.tif', nothing))], ISPRS)
    (panel,) = data.plot(data[0]).axes
    assert (np.asarray(panel.images[0].get_array()) == 0).all()
    some = np.tile(np.linspace(5, 6, 64, dtype=np.float32).reshape(8, 8), (3, 1, 1))
    some[:, 0, 0] = np.inf
    data = SceneDataset([read_scene(write_raster('s.tif', some))], ISPRS)
    (panel,) = data.plot(data[0]).axes
    shown = np.asarray(panel.images[0].get_array())
    assert (shown[0, 0] == 0).all()
    assert (shown[-1, -1] == 255).all()


def test_a_figure_draws_itself_in_a_notebook_and_is_unknown_to_pyplot(write_raster):
    from matplotlib import _pylab_helpers

    data = SceneDataset([read_scene(write_raster('a.tif', np.ones((1, 20, 20), np.uint8)))], ISPRS)
    figure = data.plot(data[0])
    assert figure._repr_png_().startswith(b'\x89PNG\r\n')
    assert _pylab_helpers.Gcf.get_all_fig_managers() == []  # they would be shown a second time
