import pytest

from crossearth.errors import ConfigError
from crossearth.visualization import draw_grid, draw_intervals, draw_radar


def test_a_radar_has_a_closed_line_a_method_at_its_scores():
    series = {
        'ours': {'a': 40.0, 'b': 50.0, 'c': 60.0},
        'paper': {'a': 45.0, 'c': 61.0},
    }
    figure = draw_radar(['a', 'b', 'c'], series, quoted={'paper': 'ours'})
    ours, paper = figure.axes[0].lines
    assert list(ours.get_ydata()) == [40, 50, 60, 40]
    assert ours.get_linestyle() == '-'
    assert paper.get_linestyle() == '--'
    assert paper.get_color() == ours.get_color()
    assert str(paper.get_ydata()[1]) == 'nan'
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ['a', 'b', 'c']


def test_two_settings_are_drawn_as_bars():
    figure = draw_radar(['a', 'b'], {'ours': {'a': 40.0, 'b': 50.0}, 'paper': {'a': 45.0}})
    assert [bar.get_height() for bar in figure.axes[0].patches[:3]] == [40, 50, 45]


def test_intervals_are_bars_around_points_and_incomplete_ones_hollow():
    nan = float('nan')
    series = {'ours': {'a': (50.0, 45.0, 55.0), 'b': (60.0, nan, nan)}}
    axes = draw_intervals(['a', 'b'], series, hollow=[('ours', 'b')]).axes[0]
    bar, point = axes.containers
    assert bar.lines[2][0].get_segments()[0].tolist() == [[45, 0], [55, 0]]
    assert point.lines[2] == ()
    assert bar.lines[0].get_markerfacecolor() == '#0072b2'
    assert point.lines[0].get_markerfacecolor() == 'none'
    assert [label.get_text() for label in axes.get_yticklabels()] == ['a', 'b']


def test_a_grid_has_rows_by_tau_and_columns_by_side():
    scores = {(0.5, 16): 30.0, (0.1, 64): 20.0, (0.1, 16): 10.0}
    axes = draw_grid(scores).axes[0]
    assert [text.get_text() for text in axes.texts] == ['10.0', '20.0', '30.0']
    assert [label.get_text() for label in axes.get_yticklabels()] == ['0.1', '0.5']
    assert [label.get_text() for label in axes.get_xticklabels()] == ['16', '64']


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ConfigError, match='no score to draw'):
        draw_radar(['a'], {'ours': {}})
    with pytest.raises(ConfigError, match='no score to draw'):
        draw_intervals(['a'], {'ours': {}})
    with pytest.raises(ConfigError, match='no score to draw'):
        draw_grid({})
