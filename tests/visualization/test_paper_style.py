import re

import matplotlib.pyplot as plt
import pytest

from crossearth.panels import new_figure
from crossearth.visualization import draw_radar, on_dark, paper_style, render_figure
from crossearth.visualization.style import COLUMN_INCHES, INK, PALETTE, series_colours


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.fixture(scope='module')
def figure():
    return draw_radar(['a', 'b', 'c'], {'ours': {'a': 50.0, 'b': 60.0, 'c': 70.0}})


def test_a_pdf_is_as_wide_as_a_column_and_embeds_its_fonts_as_truetype(figure):
    pdf = render_figure(figure, 'pdf')
    width = float(re.search(rb'/MediaBox \[ 0 0 ([\d.]+)', pdf).group(1))
    assert width == pytest.approx(72 * COLUMN_INCHES, abs=0.1)
    assert b'/FontFile2' in pdf
    assert b'/Type3' not in pdf


def test_figures_are_the_same_bytes_every_time(figure):
    for form in ('pdf', 'png', 'svg'):
        assert render_figure(figure, form) == render_figure(figure, form)


def test_a_png_has_300_dots_per_inch(figure):
    png = render_figure(figure, 'png')
    assert int.from_bytes(png[16:20]) == round(300 * COLUMN_INCHES)


def test_dark_figures_have_light_ink(figure):
    light = render_figure(figure, 'svg')
    dark = on_dark(light)
    assert INK.encode() in light
    assert INK.encode() not in dark
    assert b'#e6edf3' in dark


def test_seven_colours_of_series_stand_out_from_paper():
    assert len(set(PALETTE)) == len(PALETTE) == 7
    assert all(1.05 / (luminance(colour) + 0.05) > 2 for colour in PALETTE)


def test_a_dollar_in_a_name_is_a_dollar():
    figure = draw_radar(['$a', 'b$', 'c'], {'$x$ $': {'$a': 50.0, 'b$': 60.0, 'c': 70.0}})
    assert render_figure(figure, 'png').startswith(b'\x89PNG')
    assert figure.legends[0].get_texts()[0].get_text() == '$x$ $'
    assert not figure.legends[0].get_texts()[0].get_parse_math()


def test_the_style_ends_where_it_was_asked_for():
    before = plt.rcParams['font.size']
    with paper_style():
        assert new_figure(1, 1).text(0, 0, 'a').get_fontsize() == 8
    assert plt.rcParams['font.size'] == before


def test_quoted_series_share_the_colour_of_their_partner():
    colours = series_colours(['paper', 'ours', 'other'], partners={'paper': 'ours'})
    assert colours['paper'] == colours['ours'] != colours['other']
