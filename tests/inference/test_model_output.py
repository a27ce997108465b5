"""Maps of models that give something else than logits of two or more classes."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.inference import (
    ModelOutput,
    Outputs,
    View,
    Windows,
    estimate_scene,
    predict_scene,
)
from crossearth.labels import BUILDING
from tests.inference.test_predict import Write, labels_of

SMALL = Windows(tile_px=16)
ONE_CHANNEL = (
    r'gave shape \(1, 1, 16, 16\), which is one channel, .* would be class 0: .*--output-kind logit'
)


@pytest.fixture
def scene(write_scene: Write) -> Path:
    """Brightness that rises pixel by pixel, from 0 to 254 of 255."""
    ramp = (np.arange(30 * 34).reshape(1, 30, 34) // 4).astype(np.uint8)
    return write_scene(ramp)


def brightness(scene: Path) -> np.ndarray:
    with rasterio.open(scene) as dataset:
        values: np.ndarray = dataset.read(1).astype(np.float64) / 255
    return values


def bright_logit(images: Tensor) -> Tensor:
    """One logit whose probability is the brightness."""
    return torch.logit(images.clamp(1e-6, 1 - 1e-6))


def bright_logits(images: Tensor) -> Tensor:
    return torch.cat([0.5 - images, images - 0.5], 1)


@pytest.mark.parametrize('threshold', [None, 0.3, 0.8])
@pytest.mark.parametrize('combine', ['softmax', 'logits'])
@pytest.mark.parametrize(
    ('kind', 'model'),
    [
        ('logit', bright_logit),
        ('logit', lambda x: bright_logit(x)[:, 0]),
        ('probability', lambda x: x),
    ],
)
def test_one_channel_makes_a_map_of_two_classes_at_the_threshold(
    scene: Path, tmp_path: Path, threshold: float | None, combine: Any, kind: Any, model: Any
) -> None:
    made = predict_scene(
        model,
        scene,
        tmp_path / 'map.tif',
        windows=Windows(tile_px=16, combine=combine),
        outputs=Outputs(confidence=tmp_path / 'c.tif', probabilities=tmp_path / 'p.tif'),
        model_output=ModelOutput(kind, threshold=threshold),
    )
    share = brightness(scene)
    expected = share >= (threshold or 0.5)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(labels_of(made.path), expected)
    assert made.num_classes == 2
    with rasterio.open(tmp_path / 'p.tif') as dataset:
        np.testing.assert_allclose(dataset.read(2) / 254, share, atol=0.5 / 254 + 1e-5)
    confidence = np.where(expected, share, 1 - share)  # of the class that was chosen
    assert np.abs(labels_of(tmp_path / 'c.tif') / 254 - confidence).max() <= 0.5 / 254 + 1e-5


def test_one_channel_without_a_word_is_an_error_and_no_map(scene: Path, tmp_path: Path) -> None:
    for output in (ModelOutput(), ModelOutput('logits'), ModelOutput('probabilities')):
        with pytest.raises(ShapeError, match=ONE_CHANNEL):
            predict_scene(
                bright_logit, scene, tmp_path / 'map.tif', windows=SMALL, model_output=output
            )
    with pytest.raises(ShapeError, match=ONE_CHANNEL):
        estimate_scene(bright_logit, scene, windows=SMALL)
    assert not (tmp_path / 'map.tif').exists()


def test_interpolated_scores_are_cut_at_the_threshold_too(
    write_scene: Write, tmp_path: Path
) -> None:
    columns = np.arange(200, dtype=np.float32) + 0.5
    image = np.broadcast_to(0.7 + (columns - 98.2) / 1000, (1, 60, 200)).astype(np.float32)
    made = predict_scene(
        lambda x: x,
        write_scene(image),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=32),
        view=View(gsd_m=2.6, return_by='bilinear'),
        model_output=ModelOutput('probability', threshold=0.7),
    )
    inner = labels_of(made.path)[:, 5:-5]  # the rim has only one neighbour
    np.testing.assert_array_equal(inner, (image[0] >= 0.7)[:, 5:-5])


@pytest.mark.parametrize('combine', ['softmax', 'logits'])
def test_probabilities_are_averaged_as_they_are(scene: Path, tmp_path: Path, combine: Any) -> None:
    def model(images: Tensor) -> Tensor:
        return torch.softmax(8 * bright_logits(images), 1)

    for name, given, said in (
        ('a', model, ModelOutput('probabilities')),
        ('b', lambda x: 8 * bright_logits(x), ModelOutput()),
    ):
        predict_scene(
            given,
            scene,
            tmp_path / f'{name}.tif',
            windows=Windows(tile_px=16, combine=combine),
            outputs=Outputs(probabilities=tmp_path / f'{name}p.tif'),
            model_output=said,
        )
    assert (labels_of(tmp_path / 'a.tif') == labels_of(tmp_path / 'b.tif')).all()
    with rasterio.open(tmp_path / 'ap.tif') as one, rasterio.open(tmp_path / 'bp.tif') as other:
        assert np.abs(one.read().astype(int) - other.read()).max() <= 1
        assert one.read().max() > 240  # a second softmax would give at most 186


def test_what_looks_like_probabilities_has_to_be_said(scene: Path, tmp_path: Path) -> None:
    def model(images: Tensor) -> Tensor:
        return torch.softmax(bright_logits(images), 1)

    with pytest.raises(ShapeError, match=r"look like probabilities: pass ModelOutput\('probab"):
        predict_scene(model, scene, tmp_path / 'map.tif', windows=SMALL)
    with pytest.raises(ShapeError, match=r'numbers from -0.5 to 0.5, expected probabilities in'):
        predict_scene(
            bright_logits, scene, tmp_path / 'map.tif', windows=SMALL,
            model_output=ModelOutput('probabilities'),
        )  # fmt: skip
    with pytest.raises(ShapeError, match='differs from 1 by up to 1: a map has one class'):
        predict_scene(
            lambda x: torch.ones_like(x).repeat(1, 2, 1, 1), scene, tmp_path / 'map.tif',
            windows=SMALL, model_output=ModelOutput('probabilities'),
        )  # fmt: skip


@pytest.mark.parametrize(
    'give',
    [
        lambda ids: ids,
        lambda ids: ids[:, None].to(torch.uint8),
        lambda ids: ids.float(),
    ],
)
def test_class_ids_make_the_map_that_they_are(
    scene: Path, tmp_path: Path, give: Callable[[Tensor], Tensor]
) -> None:
    made = predict_scene(
        lambda x: give((x[:, 0] * 2.999).long()),
        scene,
        tmp_path / 'map.tif',
        windows=SMALL,
        model_output=ModelOutput('ids', num_classes=4),
    )
    np.testing.assert_array_equal(labels_of(made.path), (brightness(scene) * 2.999).astype(int))
    assert made.num_classes == 4


def test_class_ids_need_a_number_of_classes_and_stay_below_it(scene: Path, tmp_path: Path) -> None:
    def ids(images: Tensor) -> Tensor:
        return (images[:, 0] * 2.999).long()

    def run(model: Any, output: ModelOutput, **more: Any) -> None:
        predict_scene(
            model, scene, tmp_path / 'map.tif', windows=SMALL, model_output=output, **more
        )

    with pytest.raises(ShapeError, match=r'gave shape \(1, 16, 16\), .*: for class ids pass Model'):
        run(ids, ModelOutput())
    with pytest.raises(ShapeError, match=r'torch.int64 of shape \(1, 2, 16, 16\), expected floati'):
        run(lambda x: ids(x)[:, None].repeat(1, 2, 1, 1), ModelOutput())
    with pytest.raises(ShapeError, match='do not tell how many classes there are'):
        run(ids, ModelOutput('ids'))
    with pytest.raises(ShapeError, match='class ids from 1 to 2, expected 0 to 1'):
        run(ids, ModelOutput('ids'), labels=BUILDING)
    with pytest.raises(ShapeError, match='with a fraction, expected class ids'):
        run(lambda x: x + 0.5, ModelOutput('ids', num_classes=3))
    with pytest.raises(ShapeError, match=r"shape \(1, 2, 16, 16\), but 'ids' is one channel"):
        run(bright_logits, ModelOutput('ids', num_classes=3))


class Auxiliary(nn.Module):
    """As torchvision's: a dictionary, whose second entry is for training."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, images: Tensor) -> object:
        return self.wrap(bright_logits(images))


@pytest.mark.parametrize(
    ('wrap', 'key'),
    [
        (lambda x: OrderedDict(out=x, aux=-x), None),
        (lambda x: {'only': x}, None),
        (lambda x: {'loss': None, 'logits': x}, None),
        (lambda x: {'main': x, 'aux': -x}, 'main'),
        (lambda x: (x, -x), None),
        (lambda x: [-x, x], 1),
    ],
)
def test_dictionaries_and_tuples_are_opened(
    scene: Path, tmp_path: Path, wrap: Callable[[Tensor], object], key: Any
) -> None:
    made = predict_scene(
        Auxiliary(wrap),
        scene,
        tmp_path / 'map.tif',
        windows=SMALL,
        model_output=ModelOutput(key=key),
    )
    np.testing.assert_array_equal(labels_of(made.path), brightness(scene) > 0.5)


@pytest.mark.parametrize(
    ('wrap', 'key', 'message'),
    [
        (
            lambda x: {'a': x, 'b': x},
            None,
            r"dictionary with \['a', 'b'\]: choose an entry .*--output-key",
        ),
        (lambda x: {'out': x, 'logits': x}, None, 'choose an entry'),
        (lambda x: {'a': x}, 'out', r"with \['a'\], but key is 'out': choose one of these"),
        (lambda x: (x, x), 2, 'tuple of 2 entries, but key is 2: choose a number from 0 to 1'),
        (lambda x: (x, x), 'out', "but key is 'out': choose a number"),
        (lambda x: x, 'out', "gave Tensor, but key is 'out', which needs a dictionary"),
        (lambda x: {'out': [x]}, None, 'gave list in its dict, expected a tensor'),
        (lambda _: None, None, 'gave NoneType, expected a tensor'),
        (lambda x: x.movedim(1, -1), None, r'its channels are last, so return output\.movedim'),
        (lambda x: x[..., ::2, ::2], None, r'gave shape \(1, 2, 8, 8\).*upsample .*F\.interpolate'),
    ],
)
def test_what_cannot_be_told_is_an_error_with_the_fix(
    scene: Path, tmp_path: Path, wrap: Callable[[Tensor], object], key: Any, message: str
) -> None:
    with pytest.raises(ShapeError, match=rf'scene\.tif: the model .*{message}'):
        predict_scene(
            Auxiliary(wrap),
            scene,
            tmp_path / 'map.tif',
            windows=SMALL,
            model_output=ModelOutput(key=key),
        )


def test_mean_and_std_are_applied_before_the_model(write_scene: Write, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 20), np.uint8)
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return images[:, :2]

    scene = write_scene(image)
    view = View(mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 1 / 255))
    predict_scene(model, scene, tmp_path / 'map.tif', view=view)
    scaled = torch.from_numpy(image).double() / 255
    mean, std = (torch.tensor(v).double()[:, None, None] for v in (view.mean, view.std))
    torch.testing.assert_close(seen[-1][0].double(), (scaled - mean) / std, rtol=1e-6, atol=2e-5)
    with pytest.raises(ConfigError, match=r'mean has 1 numbers for images of 3 bands'):
        predict_scene(model, scene, tmp_path / 'map.tif', view=View(mean=(0.5,)))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_images_are_cast_to_the_type_of_the_weights(
    write_scene: Write, tmp_path: Path, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(3, 4, 1)
    scene = write_scene(np.random.default_rng(0).integers(0, 256, (3, 30, 30), np.uint8))
    single = labels_of(predict_scene(model, scene, tmp_path / 'a.tif', windows=SMALL).path)
    other = labels_of(predict_scene(model.to(dtype), scene, tmp_path / 'b.tif', windows=SMALL).path)
    assert (single == other).mean() > 0.97
    assert len(np.unique(other)) > 1


def test_accuracy_is_not_estimated_of_a_threshold(write_scene: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='for the most likely class, but a threshold'):
        predict_scene(
            lambda x: x,
            write_scene(np.zeros((1, 20, 20), np.uint8)),
            tmp_path / 'map.tif',
            outputs=Outputs(estimate_accuracy=True),
            model_output=ModelOutput('probability'),
        )
