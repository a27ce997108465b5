import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crossearth.errors import ConfigError
from crossearth.inference import ModelOutput, Outputs, Running, View, Windows
from crossearth.inference.request import MapRequest
from crossearth.labels import ISPRS, ROAD

EVERYTHING = MapRequest(
    ISPRS,
    Windows(
        tile_px=96, stride_px=40, blend='mean', combine='logits', augment='d4',
        scales=(1, 0.5), merge='max', merge_class='car',
    ),
    View(
        bands=(3, 1), alpha='image', value_range=(0, 9), gsd_m=0.5, scene_gsd_m=0.2,
        return_by='bilinear', mean=[0.4, 0.5], std=[0.25, 0.125],
    ),
    Outputs(
        nodata=99, confidence='c.tif', cog=True, qgis_style=False, class_thresholds={'car': 0.75}
    ),
    Running(
        batch_size=3, device='cuda:1', autocast=torch.float16, memory_mb=99,
        on_read_error='nodata', resume=True, shard=(2, 3), shard_px=512,
    ),
    ModelOutput('logit', key='out', threshold=0.25),
    'roads 3',
)  # fmt: skip


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: Windows(tile_px=0), 'tile_px is 0: expected at least 1'),
        (
            lambda: Windows(overlap=1),
            r'overlap is 1: expected a share .*, pass stride_px',
        ),
        (lambda: Windows(overlap=-0.1), 'overlap is -0.1'),
        (lambda: Windows(tile_px=64, stride_px=65), 'expected 1 to tile_px, which is 64'),
        (lambda: Windows(stride_px=0), 'stride_px is 0'),
        (lambda: View(gsd_m=0), 'gsd_m is 0: expected metres above 0'),
        (lambda: View(gsd_m=float('nan')), 'gsd_m is nan: expected metres'),
        (lambda: View(bands='red'), r"bands is 'red': expected a sequence, \('red',\)"),
        (lambda: View(bands=()), r'bands is \(\): expected at least one'),
        (lambda: View(value_range=(5, 5)), r'value_range is \(5\.0, 5\.0\)'),
        (lambda: View(mean=(123.7,)), r'mean is \(123\.7,\): .* one number per band, from 0 to 1'),
        (lambda: View(std=(0.5, 0)), r'std is \(0\.5, 0\.0\): .* one number per band, above 0'),
        (lambda: View(mean=()), r'mean is \(\)'),
        (lambda: MapRequest(model_id=' '), r"model_id is ' ', which does not identify a model"),
        (lambda: ModelOutput('logit', threshold=1), 'threshold is 1: expected between 0 and 1'),
        (lambda: ModelOutput('logits', threshold=0.5), "threshold is 0.5, but kind is 'logits'"),
        (lambda: ModelOutput(num_classes=3), "num_classes is 3, but kind is 'auto'"),
        (lambda: ModelOutput('ids', num_classes=0), 'num_classes is 0: expected at least 1'),
        (lambda: Outputs(class_thresholds={'a': 1.0}), "class 'a' is 1.0: expected a number b"),
        (lambda: Outputs(nodata=-1), 'nodata is -1: expected 0 to 65535'),
        (lambda: Running(batch_size=0), 'batch_size is 0: expected at least 1'),
        (lambda: Running(memory_mb=0), 'memory_mb is 0: expected at least 1'),
        (lambda: Running(autocast=torch.float64), r'autocast is torch\.float64: expected torch\.b'),
        (lambda: Running(device='vacuum'), "device is 'vacuum': expected a torch device"),
        (lambda: Running(shard=(0, 3)), r'shard is \(0, 3\): expected \(i, n\)'),
        (lambda: Running(shard=(4, 3)), r'shard is \(4, 3\)'),
        (lambda: Running(shard_px=700), r'shard_px is 700: .* multiple of 512'),
        (lambda: Running(shard_px=0), 'shard_px is 0'),
    ],
)
def test_values_without_a_meaning_are_errors(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_choices_are_told() -> None:
    # as a caller without type checks would; the checker of the tests stands before `__init__`
    cases: list[tuple[type, str, str]] = [
        (Windows, 'blend', 'expected one of hann, gaussian, mean, crop'),
        (Windows, 'combine', 'expected one of softmax, logits'),
        (Windows, 'augment', 'expected one of none, d4'),
        (View, 'alpha', 'expected one of auto, mask, image'),
        (View, 'return_by', 'expected one of nearest, bilinear'),
        (View, 'gsd_m', "expected metres, or 'native'"),
        (Running, 'on_read_error', 'expected one of raise, nodata'),
    ]
    for kind, name, message in cases:
        value: Any = kind()
        object.__setattr__(value, name, 'other')
        with pytest.raises(ConfigError, match=f"{name} is 'other': {message}"):
            value.__post_init__()


def test_values_are_hashable_and_travel_to_workers() -> None:
    again = pickle.loads(pickle.dumps(EVERYTHING))
    assert again == EVERYTHING
    assert hash(again) == hash(EVERYTHING)
    assert again.digest() == EVERYTHING.digest()
    assert View(bands=[1, 2]) == View(bands=(1, 2))
    assert json.loads(json.dumps(EVERYTHING.describe_pixels())) == {
        'tile_px': 96, 'stride_px': 40, 'blend': 'mean', 'combine': 'logits', 'augment': 'd4',
        'bands': [3, 1], 'alpha': 'image', 'value_range': [0, 9], 'gsd_m': 0.5,
        'scene_gsd_m': 0.2, 'scales': [1, 0.5], 'merge': 'max', 'merge_class': 'car',
        'resampling': 'along its own axes where pixels are even',
        'return_by': 'bilinear', 'mean': [0.4, 0.5], 'std': [0.25, 0.125],
        'model_output': {'kind': 'logit', 'key': 'out', 'threshold': 0.25, 'num_classes': None},
        'class_thresholds': [['car', 0.75]],
        'batch_size': 3, 'device': 'cuda', 'autocast': 'torch.float16', 'on_read_error': 'nodata',
    }  # fmt: skip


def test_digests_tell_what_files_depend_on_from_what_they_do_not() -> None:
    plain = MapRequest()
    same = [
        MapRequest(windows=Windows(overlap=0.5, stride_px=341)),  # a stride of 341 px either way
        MapRequest(running=Running(memory_mb=300, resume=True, shard=(1, 2), shard_px=1024)),
    ]
    others = [
        MapRequest(ISPRS),
        MapRequest(ROAD),
        *(MapRequest(windows=windows) for windows in (Windows(tile_px=513), Windows(blend='mean'))),
        *(
            MapRequest(view=view)
            for view in (
                View(gsd_m='native'), View(alpha='mask'), View(scene_gsd_m=0.2), View(std=(0.5,)),
            )
        ),
        *(
            MapRequest(outputs=outputs)
            for outputs in (
                Outputs(nodata=9), Outputs(cog=True), Outputs(qgis_style=False),
                Outputs(entropy=Path('e.tif')), Outputs(class_thresholds={1: 0.5}),
            )
        ),
        MapRequest(model_output=ModelOutput('logit')),
        MapRequest(model_output=ModelOutput('logit', threshold=0.6)),
        *(
            MapRequest(running=running)
            for running in (Running(batch_size=2), Running(on_read_error='nodata'))
        ),
    ]  # fmt: skip
    assert {request.digest() for request in same} == {plain.digest()}
    assert len({request.digest() for request in [plain, *others]}) == len(others) + 1


def test_shares_have_every_item_once() -> None:
    items = list(range(11))
    shares = [Running(shard=(index, 4)).share_of(items) for index in (1, 2, 3, 4)]
    assert sorted(item for share in shares for item in share) == items
    assert Running().share_of(items) == items


def test_values_of_another_kind_are_named() -> None:
    request = MapRequest()
    object.__setattr__(request, 'labels', 'isprs')  # past the types that tests check
    with pytest.raises(ConfigError, match="labels is 'isprs': expected a LabelSpace"):
        request.__post_init__()
    windows = Windows()
    object.__setattr__(windows, 'tile_px', 64.5)
    with pytest.raises(ConfigError, match=r'tile_px is 64.5: expected a whole number'):
        windows.__post_init__()
