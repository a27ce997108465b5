import numpy as np
import pytest

from crossearth.errors import ConfigError
from crossearth.visualization import draw_confusions, row_shares


def test_shares_are_of_the_true_class():
    shares = row_shares(np.array([[1, 3, 0], [0, 0, 0], [2, 2, 4]]))
    assert shares[0].tolist() == [25, 75, 0]
    assert np.isnan(shares[1]).all()
    assert shares[2].tolist() == [25, 25, 50]


def test_each_method_has_a_panel_with_its_numbers():
    matrices = {'ours': np.array([[3, 1], [0, 4]]), 'other': np.array([[1, 1], [0, 0]])}
    figure = draw_confusions(matrices, ['road', 'low_vegetation'], title='A2S')
    ours, other = figure.axes
    assert [text.get_text() for text in ours.texts] == ['75', '25', '0', '100']
    assert [text.get_text() for text in other.texts] == ['50', '50']  # the class does not occur
    assert [tick.get_text() for tick in ours.get_yticklabels()] == ['road', 'low vegetation']


def test_many_classes_are_coloured_without_numbers():
    figure = draw_confusions({'ours': np.eye(12, dtype=np.int64)}, [str(i) for i in range(12)])
    assert not figure.axes[0].texts


def test_no_matrix_is_an_error():
    with pytest.raises(ConfigError, match='no confusion matrix to draw'):
        draw_confusions({}, ['a'])
