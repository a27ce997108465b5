import pytest

from crossearth.errors import ConfigError
from crossearth.models.backbones.wavelengths import check_bandwidths, check_wavelengths


def test_wavelengths_are_numbers_of_micrometres():
    assert check_wavelengths((1, 0.56), encoder='x', bands=2) == (1.0, 0.56)
    assert check_bandwidths([0.02], encoder='x', bands=1) == (0.02,)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (None, r'reads bands by their wavelengths, got none: pass wavelengths_um'),
        ((), r'got none: pass wavelengths_um'),
        ((0.665, 0.56), r'wavelengths_um has 2 values for 3 bands: pass one per band'),
        ((665, 560, 490), r'wavelengths_um has 665, .* divide nanometres by 1000'),
        ((0.665, 0.56, float('nan')), r'wavelengths_um has nan, expected micrometres'),
        ((0.665, 0.56, -1.0), r'radar bands cannot be used here'),
    ],
)
def test_wavelengths_that_are_none_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        check_wavelengths(given, encoder='dofa_base_patch16_224', bands=3)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (None, r'also needs the width of each band, got nothing: pass bandwidths_um'),
        ((0.03,), r'bandwidths_um has 1 values for 2 bands'),
        ((30, 35), r'bandwidths_um has 30, .* divide nanometres by 1000'),
        ((0.03, 0.0), r'bandwidths_um has 0.0, expected micrometres from 0.001'),
    ],
)
def test_widths_that_are_none_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        check_bandwidths(given, encoder='copernicusfm_base', bands=2)
