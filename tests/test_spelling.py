import pytest

from crossearth.cli import main
from crossearth.spelling import did_you_mean


def test_the_nearest_name_is_proposed_and_far_ones_are_not():
    assert did_you_mean('FPN_TIM', ['fpn_timm', 'rein']) == "; did you mean 'fpn_timm'?"
    assert did_you_mean('zzz', ['fpn_timm', 'rein']) == ''
    assert did_you_mean('x', []) == ''


@pytest.mark.parametrize(
    ('words', 'near'),
    [
        (['predcit', 'a'], 'predict'),
        (['fitt', '--config', 'a'], 'fit'),
        (['models', 'lst'], 'list'),
        (['predict', 'a', 'b', '--weights', 'c', '--overlop', '3'], '--overlap'),
        (['predict', 'a', 'b', '--weights', 'c', '--labels', 'isprz'], 'isprs'),
        (['data', 'info', 'potsdm'], 'Potsdam'),
        (['benchmark', 'show', 'P(i)2VV'], 'P(i)2V'),
        pytest.param(['models', 'info', 'fpn_tim'], 'fpn_timm', marks=pytest.mark.slow),
    ],
)
def test_a_misspelt_word_of_the_command_line_is_answered_with_the_nearest(words, near, capsys):
    try:
        status = main(words)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    assert f'did you mean {near!r}?' in capsys.readouterr().err
