"""Classes that are chosen where their probability reaches a threshold."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.inference import ModelOutput, Outputs, Running, Windows, predict_scene
from crossearth.inference.decision import Decision, thresholds_by_id
from crossearth.labels import ISPRS
from tests.inference.test_predict import Write, labels_of, random_image

THRESHOLDS = {1: 0.45, 2: 0.4}


def reference(probabilities: Tensor) -> np.ndarray:
    """The most likely of the classes that reach their threshold, pixel by pixel."""
    k, height, width = probabilities.shape
    chosen = np.zeros((height, width), int)
    for row in range(height):
        for col in range(width):
            values = probabilities[:, row, col].tolist()
            allowed = [c for c in range(k) if values[c] >= THRESHOLDS.get(c, 0)]
            chosen[row, col] = max(allowed, key=lambda c: values[c])
    return chosen


@pytest.mark.parametrize('are_logits', [True, False])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32])
def test_decision_equals_the_rule_pixel_by_pixel(are_logits: bool, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 30, 40, generator=generator)
    scores = logits if are_logits else logits.softmax(0)
    before = scores.clone()
    out = torch.empty((30, 40), dtype=dtype)
    Decision(are_logits, tuple(THRESHOLDS.items())).choose(scores, out=out)
    np.testing.assert_array_equal(out.numpy(), reference(logits.softmax(0)))
    assert torch.equal(scores, before)
    plain = torch.empty((30, 40), dtype=dtype)
    Decision(are_logits).choose(scores, out=plain)
    assert torch.equal(plain.long(), logits.argmax(0))
    assert not torch.equal(plain, out)


@pytest.mark.parametrize('index', [0, 1])
def test_threshold_of_one_of_two_classes_decides_alone(index: int) -> None:
    probabilities = torch.tensor([[[0.2, 0.3, 0.7, 0.9]], [[0.8, 0.7, 0.3, 0.1]]])
    out = torch.empty((1, 4), dtype=torch.uint8)
    Decision(False, ((index, 0.25),)).choose(probabilities, out=out)
    expected = probabilities[index, 0] >= 0.25
    assert [label == index for label in out[0].tolist()] == expected.tolist()


def test_scores_that_are_no_numbers_are_found_under_thresholds() -> None:
    out = torch.empty((1, 2), dtype=torch.uint8)
    for k in (2, 3):
        scores = torch.full((k, 1, 2), 1 / k)
        scores[1, 0, 1] = torch.nan
        with pytest.raises(ConfigError, match='scores that are not finite'):
            Decision(False, ((1, 0.6),)).choose(scores, out=out)


def test_maps_in_parts_follow_thresholds_and_refuse_others(
    write_scene: Write, convolutions: torch.nn.Module, tmp_path: Path
) -> None:
    image = random_image(60, 70)
    scene = write_scene(image)
    small = Windows(tile_px=128)
    outputs = Outputs(class_thresholds={2: 0.25, 4: 0.3})
    made = predict_scene(convolutions, scene, tmp_path / 'a.tif', windows=small, outputs=outputs)
    with torch.no_grad():
        p = convolutions(torch.from_numpy(image)[None].float() / 255).softmax(1)[0]
    p[2][p[2] < 0.25] = 0
    p[4][p[4] < 0.3] = 0
    assert (labels_of(made.path) == p.argmax(0).numpy()).mean() > 0.999
    share = Running(shard=(1, 1), shard_px=512)
    predict_scene(
        convolutions, scene, tmp_path / 'b.tif', windows=small, outputs=outputs, running=share
    )
    with pytest.raises(ConfigError, match=r'another run \(class_thresholds was'):
        predict_scene(convolutions, scene, tmp_path / 'b.tif', windows=small, running=share)


def test_thresholds_without_a_meaning_are_errors(write_scene: Write, tmp_path: Path) -> None:
    for given, message in (
        ([('boat', 0.5)], "name 'boat': expected one of impervious"),
        ([(6, 0.5)], 'or an id from 0 to 5'),
        ([('car', 0.5), (4, 0.6)], 'name class 4 twice'),
        ([(c, 0.5) for c in range(6)], 'name all 6 classes, so a pixel may reach none'),
    ):
        with pytest.raises(ConfigError, match=message):
            thresholds_by_id(given, num_classes=6, labels=ISPRS)
    with pytest.raises(ConfigError, match='one probability, so class_thresholds do not apply'):
        predict_scene(
            lambda x: x,
            write_scene(np.zeros((1, 20, 20), np.uint8)),
            tmp_path / 'map.tif',
            outputs=Outputs(class_thresholds={1: 0.5}),
            model_output=ModelOutput('probability'),
        )
