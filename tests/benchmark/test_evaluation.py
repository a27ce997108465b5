import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crossearth.benchmark import SETTINGS, Protocol, evaluate, evaluate_images
from crossearth.datasets import FolderDataset, SceneDataset, ShiftDataModule, read_scene
from crossearth.errors import ConfigError, LabelError
from crossearth.imagery import Imagery
from crossearth.inference import View, predict_scene
from crossearth.labels import ISPRS, ROAD
from crossearth.rasters import open_raster


class Uneven(nn.Module):
    """Logits that depend on where a pixel lies in its window, as those of a network do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(3, 6, 7, padding=3, bias=False)
        self.conv.weight.data -= 0.02

    def forward(self, image):
        return self.conv(image)


@pytest.fixture
def scenes(write_raster, tmp_path):
    """Two scenes of unlike size, with ignored pixels."""
    rng = np.random.default_rng(0)
    for name, (height, width) in {'a': (37, 50), 'b': (20, 64)}.items():
        write_raster(f'images/{name}.tif', rng.integers(0, 255, (3, height, width), np.uint8))
        mask = rng.integers(0, 6, (1, height, width), np.uint8)
        mask[:, 3:6, 4:9] = 255
        write_raster(f'masks/{name}.tif', mask)
    return FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)


def by_hand(model, image, window, stride):
    """Sliding windows as the field writes them: sums, counts, divide, argmax."""
    _, height, width = image.shape
    sums, counts = torch.zeros(6, height, width, dtype=torch.float64), torch.zeros(height, width)
    for row in range(max(height - window + stride - 1, 0) // stride + 1):
        for col in range(max(width - window + stride - 1, 0) // stride + 1):
            bottom = min(row * stride + window, height)
            right = min(col * stride + window, width)
            top, left = max(bottom - window, 0), max(right - window, 0)
            seen = image[None, :, top:bottom, left:right]
            sums[:, top:bottom, left:right] += model(seen)[0].double()
            counts[top:bottom, left:right] += 1
    return (sums / counts).argmax(0)


def counted(ids, mask):
    matrix = torch.zeros(6, 6, dtype=torch.int64)
    for true, guess in zip(mask.flatten().tolist(), ids.flatten().tolist(), strict=True):
        if true != 255:
            matrix[true, guess] += 1
    return matrix


def pieces(dataset, chip):
    for i in range(len(dataset)):
        sample = dataset[i]
        image, mask = sample['image'] / 255, sample['mask']
        if chip is None:
            yield image, mask
            continue
        height, width = mask.shape
        tall, wide = min(chip, height), min(chip, width)
        for row in sorted({*range(0, height - tall, chip), height - tall}):
            for col in sorted({*range(0, width - wide, chip), width - wide}):
                part = slice(row, row + tall), slice(col, col + wide)
                yield image[:, *part], mask[part]


@pytest.mark.parametrize('chip', [None, 24, 33])
@pytest.mark.parametrize(('window', 'stride'), [(16, 11), (24, 16), (64, 43), (9, 9)])
def test_counts_are_those_of_plain_sliding_windows(scenes, chip, window, stride):
    model = Uneven().eval()
    wanted = sum(
        counted(by_hand(model, image, window, stride), mask) for image, mask in pieces(scenes, chip)
    )
    protocol = Protocol(window_px=window, stride_px=stride, chip_px=chip)
    assert torch.equal(evaluate(model, scenes, protocol, batch_size=3), wanted)


@given(batch_size=st.integers(1, 7), chip=st.sampled_from([None, 16, 24]))
@settings(max_examples=8, deadline=None)
def test_the_batch_size_makes_no_difference(shared_scenes, batch_size, chip):
    model, protocol = Uneven(), Protocol(window_px=16, stride_px=11, chip_px=chip)
    one = evaluate(model, shared_scenes, protocol)
    assert torch.equal(evaluate(model, shared_scenes, protocol, batch_size=batch_size), one)


@pytest.fixture(scope='module')
def shared_scenes(tmp_path_factory):
    import rasterio

    folder = tmp_path_factory.mktemp('scenes')
    rng = np.random.default_rng(1)
    for name, count, high in (('image', 3, 255), ('mask', 1, 6)):
        pixels = rng.integers(0, high, (count, 41, 38), np.uint8)
        with rasterio.open(
            folder / f'{name}.tif', 'w', width=38, height=41, count=count, dtype='uint8',
            crs='EPSG:32633', transform=rasterio.Affine(1, 0, 4e5, 0, -1, 5e6),
        ) as file:  # fmt: skip
            file.write(pixels)
    return SceneDataset([read_scene(folder / 'image.tif', folder / 'mask.tif')], ISPRS)


def test_reading_processes_make_no_difference(shared_scenes):
    protocol = Protocol(window_px=16, stride_px=11)
    model = Uneven()
    assert torch.equal(
        evaluate(model, shared_scenes, protocol),
        evaluate(model, shared_scenes, protocol, num_workers=1),
    )


def test_flip_averages_the_logits_of_the_mirror_image(scenes):
    model = Uneven().eval()

    def both(image):
        return (model(image) + model(image.flip(-1)).flip(-1)) / 2

    wanted = sum(counted(by_hand(both, i, 16, 11), m) for i, m in pieces(scenes, None))
    got = evaluate(model, scenes, Protocol(window_px=16, stride_px=11, flip=True))
    assert torch.equal(got, wanted)
    assert not torch.equal(got, evaluate(model, scenes, Protocol(window_px=16, stride_px=11)))


def test_fitted_images_are_scored_at_their_own_size(scenes):
    model = Uneven().eval()
    wanted = torch.zeros(6, 6, dtype=torch.int64)
    for image, mask in pieces(scenes, None):
        height, width = mask.shape
        factor = 32 / max(height, width)
        small = nn.functional.interpolate(
            image[None], (int(height * factor + 0.5), int(width * factor + 0.5)), mode='bilinear'
        )
        logits = nn.functional.interpolate(model(small), (height, width), mode='bilinear')
        wanted += counted(logits[0].argmax(0), mask)
    got = evaluate(model, scenes, Protocol(window_px=32, stride_px=21, fit_px=32))
    assert torch.equal(got, wanted)


def test_every_labelled_pixel_of_whole_images_counts_once(scenes):
    got = evaluate(Uneven(), scenes, Protocol(window_px=16, stride_px=11))
    assert int(got.sum()) == 37 * 50 + 20 * 64 - 2 * 15


def test_chips_count_pixels_that_two_share_twice(scenes):
    got = evaluate(Uneven(), scenes, Protocol(window_px=24, stride_px=16, chip_px=24))
    # 37 x 50 is cut at rows 0 and 13, columns 0, 24 and 26; 20 x 64 at columns 0, 24 and 40
    ignored_twice = 15
    assert int(got.sum()) == 6 * 24 * 24 + 3 * 20 * 24 - 2 * ignored_twice


def test_the_sink_gets_each_area_and_its_class_ids(scenes):
    seen = []
    model = Uneven().eval()
    evaluate(
        model,
        scenes,
        Protocol(window_px=16, stride_px=11),
        sink=lambda area, ids: seen.append((area, ids)),
    )
    for (area, ids), (image, mask) in zip(seen, pieces(scenes, None), strict=True):
        assert (area.height, area.width) == tuple(mask.shape)
        assert torch.equal(ids.long(), by_hand(model, image, 16, 11))


def test_models_are_put_back_into_the_mode_that_they_had(scenes):
    model = Uneven().train()
    evaluate(model, scenes, Protocol(window_px=64, stride_px=64))
    assert model.training


def test_protocols_are_those_of_the_published_numbers():
    potsdam = Protocol.of(SETTINGS['V2P(i)'])
    assert (potsdam.window_px, potsdam.stride_px, potsdam.chip_px) == (512, 341, 512)
    roads = Protocol.of(SETTINGS['D2M'])
    assert (roads.window_px, roads.stride_px, roads.chip_px, roads.fit_px) == (
        1024,
        683,
        None,
        None,
    )
    rescue = Protocol.of(SETTINGS['P(r)2Res'])
    assert (rescue.chip_px, rescue.fit_px) == (None, 512)
    whole = Protocol.of(SETTINGS['P(r)2Res'], whole=True, flip=True)
    assert (whole.fit_px, whole.flip) == (None, True)
    assert Protocol.of(SETTINGS['V2P(i)'], whole=True).chip_px is None


def test_what_cannot_be_scored_says_why(scenes, write_raster, tmp_path):
    with pytest.raises(ConfigError, match='expected a stride from 1 to the window'):
        Protocol(window_px=16, stride_px=17)
    with pytest.raises(ConfigError, match='chips are never fitted'):
        Protocol(window_px=16, stride_px=8, chip_px=16, fit_px=16)
    bare = FolderDataset(tmp_path / 'images', labels=ISPRS)
    with pytest.raises(LabelError, match='has no labels to score against'):
        evaluate(Uneven(), bare, Protocol(window_px=16, stride_px=8))


@pytest.fixture
def pixelwise():
    """Each pixel by its own values: 1 m pixels of the scene are roads where they are bright."""
    model = nn.Conv2d(3, 2, 1)
    model.weight.data = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 1, 1).clone()
    model.bias.data = torch.tensor([1.5, -1.5])
    return model


@pytest.fixture
def fine(write_raster, tmp_path):
    """A georeferenced scene of 0.21 m, a plain one, and their masks."""
    rng = np.random.default_rng(1)
    chip = Affine(0.21, 0, 400_000, 0, -0.21, 5_800_000)
    for name, options in (
        ('placed/a.tif', {'transform': chip}), ('plain/a.png', {'crs': None, 'driver': 'PNG'})
    ):  # fmt: skip
        write_raster(f'i/{name}', rng.integers(0, 255, (3, 90, 75), np.uint8), **options)
        mask = rng.integers(0, 2, (1, 90, 75), np.uint8)
        mask[:, :5] = 255
        write_raster(f'm/{name}', mask, **options)
    return tmp_path


def roads(fine, name, **options):
    return FolderDataset(fine / 'i' / name, fine / 'm' / name, labels=ROAD, **options)


@pytest.mark.parametrize(
    ('protocol', 'view'),
    [
        (Protocol(24, 16, seen_at='model'), View()),
        (Protocol(24, 16, seen_at=0.6, scales=(1, 0.5), merge='max', merge_class='road'),
         View(gsd_m=0.6)),
        (Protocol(24, 16, scales=(0.5,)), View(gsd_m='native')),
        (Protocol(24, 16, seen_at='model', scales=(1.5, 0.7)), View()),
    ],
)  # fmt: skip
def test_resampled_scores_are_those_of_the_map_that_predict_makes(
    fine, pixelwise, tmp_path, protocol, view
):
    pixelwise.imagery = Imagery(gsd_m=1.0)
    data = roads(fine, 'placed')
    found = evaluate(pixelwise, data, protocol)
    predict_scene(
        pixelwise, data.scenes[0].image, tmp_path / 'map.tif', labels=ROAD,
        windows=protocol.windows, view=replace(view, return_by='bilinear'),
    )  # fmt: skip
    with open_raster(tmp_path / 'map.tif') as file:
        ids = torch.from_numpy(file.read(1)).long()
    mask = data[0]['mask']
    known = mask != 255
    matrix = torch.zeros(2, 2, dtype=torch.int64)
    for pair, count in Counter(zip(mask[known].tolist(), ids[known].tolist(), strict=True)).items():
        matrix[pair] = count
    assert torch.equal(found, matrix)
    native = evaluate(pixelwise, data, Protocol(24, 16))
    assert native.sum() == found.sum() == 85 * 75
    assert not torch.equal(native, found)


def ways(model, dataset, protocol, imagery):
    """How many images are seen how, as `evaluate_images` tells it."""
    told = []
    evaluate_images(model, dataset, protocol, imagery=imagery, tell_seen=told.append)
    (seen,) = told
    return seen


def test_images_of_unknown_size_are_seen_as_they_are_unless_scaled_or_stated(fine, pixelwise):
    known, model = Imagery(gsd_m=1.0), Protocol(24, 16, seen_at='model')
    plain = roads(fine, 'plain')
    native = evaluate(pixelwise, plain, Protocol(24, 16))
    assert torch.equal(evaluate(pixelwise, plain, model, imagery=known), native)
    half = evaluate(pixelwise, plain, Protocol(24, 16, scales=(0.5,)))
    assert not torch.equal(half, native)
    stated = roads(fine, 'plain', native_gsd_m=0.5)
    assert torch.equal(evaluate(pixelwise, stated, model, imagery=known), half)
    assert ways(pixelwise, plain, model, known) == {
        'own pixels of unknown size (nothing ties them to the ground), seen as they are: what they '
        'measure is not known': 1
    }
    assert ways(pixelwise, stated, model, known) == {
        'own pixels 0.5 m (stated), seen at 1 m: the model was trained at 1 m': 1
    }
    opened = roads(fine, 'placed', gsd_m=1.0)
    assert list(ways(pixelwise, opened, model, known)) == [
        'own pixels 1 m (after resampling), seen as they are: its dataset was opened with gsd_m'
    ]
    with pytest.raises(ConfigError, match='opened with gsd_m, so it cannot be seen at scales'):
        evaluate(pixelwise, opened, Protocol(24, 16, scales=(0.5,)))


def test_ways_of_seeing_are_named_and_checked():
    assert str(Protocol(24, 16)).endswith('no flip')
    merged = Protocol(24, 16, seen_at='model', scales=[1, 0.5], merge='max', merge_class='road')
    assert str(merged).endswith(
        'no flip, seen at the pixel size of the training, max of the scales 1, 0.5 by road'
    )
    assert Protocol(**json.loads(json.dumps(merged.to_json()))) == merged
    assert str(Protocol(24, 16, seen_at=0.6, scales=(2,))).endswith('seen at 0.6 m, at scale 2')
    for wrong in (0, -1, float('nan')):
        with pytest.raises(ConfigError, match="expected 'native', 'model', or metres"):
            Protocol(24, 16, seen_at=wrong)
    for size in ({'chip_px': 24}, {'fit_px': 24}):
        with pytest.raises(ConfigError, match='leave out chip_px and fit_px, or seen_at'):
            Protocol(24, 16, seen_at='model', **size)
    with pytest.raises(ConfigError, match='scales are'):
        Protocol(24, 16, scales=())


@pytest.fixture
def twelve_bits(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(100, 3000, (3, 32, 32)).astype('uint16'))
    write_raster('masks/a.tif', rng.integers(0, 2, (1, 32, 32)).astype('uint8'))
    return tmp_path


@pytest.mark.parametrize('seen_at', ['native', 'model', 2.0])
@pytest.mark.parametrize(
    'options', [{}, {'dtype': 'float32'}, {'dtype': 'unit', 'value_range': (0, 3000)}]
)
def test_images_are_scored_in_the_range_of_values_of_training(twelve_bits, seen_at, options):
    means = []

    def model(image):
        if image.any():  # black is padding
            means.append(float(image[image > 0].mean()))
        return image[:, :2]

    images, masks = twelve_bits / 'images', twelve_bits / 'masks'
    roads = FolderDataset(images, masks, labels=ROAD, **options)
    data = ShiftDataModule(
        roads,
        size_px=32,
        windows_per_epoch=1,
        batch_size=1,
        value_range=None if 'value_range' in options else (0, 3000),
    )
    trained = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)['image'].mean()
    protocol = Protocol(window_px=32, stride_px=32, seen_at=seen_at)
    evaluate_images(model, roads, protocol, imagery=data.imagery)
    assert trained == pytest.approx(1550 / 3000, rel=0.02)
    assert means == pytest.approx([float(trained)] * len(means), rel=0.02)
    assert means
