import pytest

from crossearth.errors import ConfigError
from crossearth.models.decoders import FPNDecoder


@pytest.mark.parametrize('bad', [{'num_classes': 0}, {'width': 0}])
def test_decoder_of_nothing_is_refused(bad):
    with pytest.raises(ConfigError, match='must be positive'):
        FPNDecoder((4, 8, 16, 32), **{'num_classes': 2, **bad})
