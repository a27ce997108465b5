import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from affine import Affine
from kornia.augmentation import AugmentationSequential, RandomVerticalFlip
from PIL import Image
from pyproj import Transformer
from rasterio.windows import Window as RasterWindow
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GriddedPatchSampler

import crossearth
from crossearth.datasets import GridWindowSampler, SceneDataset, read_scene
from crossearth.errors import (
    BandError,
    ConfigError,
    LabelError,
    SceneError,
    SceneNotFoundError,
    UnknownLabelWarning,
    WindowError,
)
from crossearth.geometry import Window
from crossearth.labels import ISPRS, ROAD, ColourCodec, IdCodec, ThresholdCodec

HEIGHT, WIDTH = 40, 56


def picture(height=HEIGHT, width=WIDTH, *, bands=3, dtype=np.uint8):
    """Pixels that name their place: row + 3·column + 7·band, never 0."""
    rows, cols = np.mgrid[:height, :width]
    return np.stack([1 + (rows + 3 * cols + 7 * b) % 250 for b in range(bands)]).astype(dtype)


def mask(height=HEIGHT, width=WIDTH):
    rows, cols = np.mgrid[:height, :width]
    return ((rows + cols) % 6).astype(np.uint8)[None]


@pytest.fixture
def scene(write_raster):
    return read_scene(write_raster('a.tif', picture()), write_raster('a_mask.tif', mask()))


def test_a_window_holds_the_pixels_that_rasterio_reads(scene):
    window = Window(0, 5, 9, 16, 20)
    sample = SceneDataset([scene], ISPRS)[window]
    with rasterio.open(scene.image) as source:
        expected = source.read(window=RasterWindow(9, 5, 20, 16))
    assert (sample['image'].numpy() == expected).all()
    assert sample['image'].dtype == torch.uint8
    assert (sample['mask'].numpy() == mask()[0, 5:21, 9:29]).all()
    assert sample['mask'].dtype == torch.int64


def test_the_transform_of_a_window_is_exact_in_float64(write_raster):
    place = Affine(0.05, 0, 366_675.85, 0, -0.05, 5_808_000.15)
    scene = read_scene(write_raster('a.tif', picture(), transform=place))
    transform = SceneDataset([scene], ISPRS)[Window(0, 39, 50, 1, 6)]['transform']
    assert transform.dtype == torch.float64
    assert transform.tolist() == list(place @ Affine.translation(50, 39))


def test_what_overhangs_is_black_and_ignored(scene):
    sample = SceneDataset([scene], ISPRS)[Window(0, -4, 50, 16, 16)]
    assert (sample['image'][:, :4] == 0).all()
    assert (sample['image'][:, :, 6:] == 0).all()
    assert (sample['mask'][:4] == 255).all()
    assert (sample['mask'][:, 6:] == 255).all()
    assert (sample['image'][:, 4:, :6].numpy() == picture()[:, :12, 50:]).all()
    assert (sample['mask'][4:, :6].numpy() == mask()[0, :12, 50:]).all()


@pytest.mark.parametrize(
    'window', [Window(0, 40, 0, 8, 8), Window(0, 0, -8, 8, 8), Window(1, 0, 0, 8, 8)]
)
def test_windows_outside_every_scene_are_refused(scene, window):
    with pytest.raises(WindowError, match=r'lies outside|expected a scene from 0 to 0'):
        SceneDataset([scene], ISPRS)[window]


def test_a_slice_of_the_bounds_of_a_window_is_that_window(scene):
    dataset = SceneDataset([scene], ISPRS)
    window = dataset[Window(0, 5, 9, 16, 20)]
    x0, y1 = scene.transform @ (9, 5)
    x1, y0 = scene.transform @ (29, 21)
    cut = dataset[x0:x1, y0:y1]
    assert torch.equal(cut['image'], window['image'])
    assert torch.equal(cut['mask'], window['mask'])
    assert torch.equal(cut['transform'], window['transform'])


def test_a_slice_in_another_crs_covers_the_same_ground(write_raster):
    first = read_scene(write_raster('a.tif', picture()))
    place = Affine(0.5, 0, 600_000, 0, -0.5, 5_800_000)
    other = read_scene(write_raster('b.tif', picture(), crs='EPSG:32632', transform=place))
    dataset = SceneDataset([first, other], ISPRS)
    x0, y0, x1, y1 = dataset.index.geometry.iloc[1].bounds
    sample = dataset[x0:x1, y0:y1]
    assert sample['index'] == 1
    to_other = Transformer.from_crs(dataset.crs, other.crs, always_xy=True)
    x, y = to_other.transform((x0 + x1) / 2, (y0 + y1) / 2)
    got = Affine(*sample['transform'].tolist()[:6])
    height, width = sample['image'].shape[1:]
    assert ~got @ (x, y) == pytest.approx((width / 2, height / 2), abs=1.0)


def test_tiles_of_one_grid_are_joined_where_a_slice_crosses_their_border(write_raster):
    left = read_scene(write_raster('l.tif', picture(), transform=Affine(1, 0, 0, 0, -1, 100)))
    place = Affine(1, 0, WIDTH, 0, -1, 100)
    right = read_scene(write_raster('r.tif', picture() + 1, transform=place))
    sample = SceneDataset([left, right], ISPRS)[WIDTH - 10 : WIDTH + 6, 80:100]
    assert sample['image'].shape == (3, 20, 16)
    assert (sample['image'][:, :, :10].numpy() == picture()[:, :20, -10:]).all()
    assert (sample['image'][:, :, 10:].numpy() == picture()[:, :20, :6] + 1).all()


def test_rotated_scenes_are_sliced_by_their_footprint(write_raster):
    place = Affine.translation(500_000, 4_000_000) @ Affine.rotation(20) @ Affine.scale(2, -2)
    scene = read_scene(write_raster('a.tif', picture(), transform=place))
    dataset = SceneDataset([scene], ISPRS)
    assert dataset.res == pytest.approx((2, 2))
    x0, y0, x1, y1 = scene.bounds_xy
    assert dataset[x0:x1, y0:y1]['index'] == 0


def test_slices_need_coordinates_and_the_native_pixel_size(write_raster, scene, unchecked):
    dataset = SceneDataset([scene], ISPRS)
    with pytest.raises(WindowError, match='touches no scene'):
        dataset[0:10, 0:10]
    with pytest.raises(ConfigError, match='leave the step out'):
        dataset[400_000:400_010:1.0]
    with pytest.raises(WindowError, match='is not an index'):
        dataset['a']
    placeless = read_scene(write_raster('p.png', picture(), crs=None, driver='PNG'))
    with pytest.raises(WindowError, match='no coordinates to slice by'):
        SceneDataset([placeless], ISPRS)[0:10, 0:10]


def test_coordinates_are_never_invented(write_raster):
    scene = read_scene(write_raster('p.png', picture(), crs=None, driver='PNG'))
    dataset = SceneDataset([scene], ISPRS)
    assert scene.crs is None
    assert scene.transform == Affine.identity()
    assert dataset.crs is None
    assert len(dataset.index) == 0
    assert (dataset[0]['image'].numpy() == picture()).all()


def test_scenes_of_two_crss_keep_their_own(write_raster):
    north = read_scene(write_raster('n.tif', picture(), crs='EPSG:32633'))
    south = read_scene(
        write_raster('s.tif', picture(), crs='EPSG:32748', transform=Affine(1, 0, 7e5, 0, -1, 9e6))
    )
    dataset = SceneDataset([north, south], ISPRS)
    assert dataset.scenes[1].crs.to_epsg() == 32748
    assert dataset[1]['transform'].tolist()[2] == 7e5
    assert len(dataset.index) == 2


def test_pixels_without_data_are_ignored_in_the_mask(write_raster):
    pixels = picture()
    pixels[:, :3] = 0
    pixels[0, 5, 5] = 0  # one band only: that is data
    scene = read_scene(write_raster('a.tif', pixels, nodata=0), write_raster('m.tif', mask()))
    ids = SceneDataset([scene], ISPRS)[0]['mask'].numpy()
    assert (ids[:3] == 255).all()
    assert (ids[3:] == mask()[0, 3:]).all()
    assert (SceneDataset([scene], ISPRS, ignore_nodata=False)[0]['mask'].numpy() == mask()[0]).all()


def test_nan_is_no_data(write_raster):
    pixels = picture(dtype=np.float32)
    pixels[1, 7, 8] = np.nan
    scene = read_scene(write_raster('a.tif', pixels, nodata=np.nan), write_raster('m.tif', mask()))
    ids = SceneDataset([scene], ISPRS)[0]['mask'].numpy()
    assert ids[7, 8] == 255
    assert (ids == 255).sum() == 1


def test_an_infrared_band_that_is_called_alpha_is_data_where_it_is_asked_for(write_raster):
    pixels = picture(bands=4)
    pixels[3, 0, 0] = 0
    path = write_raster('a.tif', pixels, photometric='RGB', alpha='YES')
    scene = read_scene(path, write_raster('m.tif', mask()), bands=(4, 1, 2))
    sample = SceneDataset([scene], ISPRS)[0]
    assert (sample['image'].numpy() == pixels[[3, 0, 1]]).all()
    assert (sample['mask'].numpy() == mask()[0]).all()


def test_an_alpha_band_is_validity_not_an_image_band(write_raster):
    alpha = np.full((1, HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, :, :4] = 0
    path = write_raster('a.tif', np.concatenate([picture(), alpha]), alpha='YES')
    scene = read_scene(path, write_raster('m.tif', mask()))
    sample = SceneDataset([scene], ISPRS)[0]
    assert scene.raster.bands == (1, 2, 3)
    assert (sample['mask'][:, :4] == 255).all()
    assert (sample['mask'][:, 4:].numpy() == mask()[0, :, 4:]).all()


def test_bands_come_in_the_order_asked_for(write_raster):
    scene = read_scene(write_raster('a.tif', picture(bands=4)), bands=(4, 1, 2))
    assert (SceneDataset([scene], ISPRS)[0]['image'].numpy() == picture(bands=4)[[3, 0, 1]]).all()


@pytest.mark.parametrize('dtype', [np.uint16, np.int16, np.float32])
def test_pixel_types_are_kept_or_converted_on_request(write_raster, dtype):
    scene = read_scene(write_raster('a.tif', picture(dtype=dtype)))
    native = SceneDataset([scene], ISPRS)[0]['image']
    assert native.numpy().dtype == dtype
    floats = SceneDataset([scene], ISPRS, dtype='float32')[0]['image']
    assert floats.dtype == torch.float32
    assert (floats.numpy() == picture()).all()


def test_unknown_colours_are_ignored_with_one_warning_a_scene(write_raster):
    coloured = ISPRS.colour(mask()[0]).transpose(2, 0, 1).copy()
    coloured[:, 0, 0] = (9, 9, 9)
    scene = read_scene(write_raster('a.tif', picture()), write_raster('m.tif', coloured))
    codec = ColourCodec({colour: i for i, colour in enumerate(ISPRS.palette)})
    dataset = SceneDataset([scene], ISPRS, codec=codec)
    with pytest.warns(UnknownLabelWarning, match=r'm\.tif: 1 pixels of 1 colours .*\(9, 9, 9\)'):
        assert dataset[0]['mask'][0, 0] == 255
    assert dataset[0]['mask'][0, 1] == mask()[0, 0, 1]  # no second warning, they are errors here


def test_bad_files_are_named_with_the_remedy(write_raster, tmp_path):
    with pytest.raises(SceneNotFoundError, match=r'none\.tif: no such file'):
        read_scene(tmp_path / 'none.tif')
    text = tmp_path / 'text.tif'
    text.write_text('not a raster')
    with pytest.raises(SceneError, match=r'text\.tif: not a readable raster'):
        read_scene(text)
    image = write_raster('a.tif', picture())
    with pytest.raises(LabelError, match=r'm\.tif: the mask is 40x50 pixels.*is 40x56'):
        read_scene(image, write_raster('m.tif', mask(width=50), crs=None))
    with pytest.raises(BandError, match=r'has bands 1 to 3, but bands \(4,\)'):
        read_scene(image, bands=(4,))
    with pytest.raises(SceneNotFoundError, match='no scenes'):
        SceneDataset([], ISPRS)


def test_a_truncated_file_is_an_error_that_names_the_rows(write_raster):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (3, 256, 256), np.uint8)
    path = write_raster('a.tif', noise, tiled=True, blockxsize=64, blockysize=64)
    scene = read_scene(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneError, match=r'a\.tif: rows 0-255.*damaged or truncated'):
        SceneDataset([scene], ISPRS)[0]


def test_an_id_out_of_range_names_the_mask(write_raster):
    wrong = mask()
    wrong[0, 1, 1] = 9
    scene = read_scene(write_raster('a.tif', picture()), write_raster('m.tif', wrong))
    with pytest.raises(LabelError, match=r'm\.tif: mask holds ids \[9\]'):
        SceneDataset([scene], ISPRS)[0]


def test_scenes_with_other_bands_do_not_mix(write_raster):
    rgb = read_scene(write_raster('a.tif', picture()))
    rgbn = read_scene(write_raster('b.tif', picture(bands=4), photometric='MINISBLACK'))
    with pytest.raises(BandError, match=r'b\.tif: 4 bands, but .*a\.tif has 3'):
        SceneDataset([rgb, rgbn], ISPRS)


def test_open_files_stay_bounded(write_raster):
    scenes = [read_scene(write_raster(f'{i}.tif', picture())) for i in range(6)]
    dataset = SceneDataset(scenes, ISPRS, max_open=2)
    for i in (0, 1, 2, 3, 4, 5, 0):
        assert (dataset[i]['image'].numpy() == picture()).all()
        assert len(dataset._reader._handles) <= 2


@pytest.mark.parametrize('method', ['fork', pytest.param('spawn', marks=pytest.mark.slow)])
@pytest.mark.filterwarnings('ignore:This process.*is multi-threaded:DeprecationWarning')
def test_workers_read_what_the_parent_reads(scene, method):
    dataset = SceneDataset([scene], ISPRS)
    dataset[0]  # a handle is open in the parent before the fork
    sampler = GridWindowSampler(dataset, 8)
    loader = DataLoader(
        dataset, sampler=sampler, batch_size=5, num_workers=2, multiprocessing_context=method
    )
    got = torch.cat([batch['image'] for batch in loader])
    assert torch.equal(got, torch.stack([dataset[window]['image'] for window in sampler.windows]))


def test_a_copy_through_pickle_reads_the_same(scene):
    dataset = SceneDataset([scene], ISPRS)
    dataset[0]
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[0]['image'], dataset[0]['image'])


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_samplers_of_torchgeo_drive_it(scene):
    dataset = SceneDataset([scene], ISPRS)
    sampler = GriddedPatchSampler(dataset, size=8)
    loader = DataLoader(dataset, sampler=sampler, batch_size=4, collate_fn=stack_samples)
    batches = list(loader)
    assert sum(len(batch['image']) for batch in batches) == 35
    assert all(batch['image'].shape[1:] == (3, 8, 8) for batch in batches)


@pytest.mark.slow
def test_files_left_open_at_exit_leave_no_noise(scene, tmp_path):
    script = tmp_path / 'leave.py'
    script.write_text(
        'import sys\n'
        'from crossearth.datasets import SceneDataset, read_scene\n'
        'from crossearth.labels import ISPRS\n'
        'data = SceneDataset([read_scene(sys.argv[1])], ISPRS)\n'
        'data[0]\n'
    )
    run = subprocess.run(
        [sys.executable, script, scene.image],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'PYTHONPATH': str(Path(crossearth.__file__).parents[1])},
    )
    assert run.stderr == ''


@pytest.mark.parametrize('shift', [0.0, 0.25, 0.5, 0.75, 1.25])
def test_a_slice_has_the_size_of_its_box_wherever_it_begins(scene, shift):
    dataset = SceneDataset([scene], ISPRS)
    x, y = 400_002 + shift, 5_799_990 + shift
    assert dataset[x : x + 2.5, y : y + 2.5]['image'].shape == (3, 5, 5)


def test_a_truncated_png_is_an_error_too(write_raster):
    noise = np.random.default_rng(0).integers(0, 255, (3, 300, 300), np.uint8)
    path = write_raster('a.png', noise, crs=None, driver='PNG')
    scene = read_scene(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneError, match=r'a\.png: rows 0-299.*damaged or truncated'):
        SceneDataset([scene], ISPRS)[0]


def test_infinite_values_are_no_data(write_raster):
    pixels = picture(dtype=np.float32)
    pixels[0, 2, 3] = np.inf
    scene = read_scene(write_raster('a.tif', pixels), write_raster('m.tif', mask()))
    ids = SceneDataset([scene], ISPRS)[0]['mask'].numpy()
    assert np.argwhere(ids == 255).tolist() == [[2, 3]]


def test_a_codec_of_another_label_space_is_refused(scene):
    codec = IdCodec({i: i + 1 for i in range(6)})
    with pytest.raises(LabelError, match='decodes to class 6, but isprs has 6 classes'):
        SceneDataset([scene], ISPRS, codec=codec)[0]


def test_alpha_and_a_nodata_value_both_hide_pixels(write_raster):
    alpha = np.full((1, HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, :, :4] = 0
    pixels = np.concatenate([picture(), alpha])
    pixels[:3, :2] = 0
    path = write_raster('a.tif', pixels, alpha='YES', nodata=0)
    scene = read_scene(path, write_raster('m.tif', mask()))
    ids = SceneDataset([scene], ISPRS)[0]['mask'].numpy()
    assert (ids[:, :4] == 255).all()
    assert (ids[:2] == 255).all()
    assert (ids[2:, 4:] == mask()[0, 2:, 4:]).all()


def test_numbers_of_numpy_pick_scenes_too(scene):
    dataset = SceneDataset([scene], ISPRS)
    assert torch.equal(dataset[np.int64(0)]['image'], dataset[0]['image'])


def test_a_footprint_goes_on_across_the_antimeridian(write_raster):
    home = read_scene(write_raster('h.tif', picture(), crs='EPSG:4326',
                                   transform=Affine(1e-5, 0, 10, 0, -1e-5, -17)))  # fmt: skip
    place = Affine(0.5, 0, 180_390, 0, -0.5, 8_119_000)  # 28 m wide, from 179.99986 E
    scene = read_scene(write_raster('a.tif', picture(), crs='EPSG:32701', transform=place))
    dataset = SceneDataset([home, scene], ISPRS)
    x0, y0, x1, y1 = dataset.index.geometry.iloc[1].bounds
    assert x1 - x0 < 1e-3
    middle = (y0 + y1) / 2
    sample = dataset[x0:x1, middle - 1e-5 : middle + 1e-5]
    assert sample['index'] == 1
    assert sample['image'].shape[2] == pytest.approx(WIDTH, abs=2)


@pytest.mark.parametrize('dtype', ['unit', 'float32'])
@pytest.mark.parametrize('bands', [[0, 1, 2], [1]], ids=['every band', 'one band'])
@pytest.mark.parametrize('nodata', [-9999.0, np.nan])
def test_values_that_stand_for_no_data_are_black_once_converted(write_raster, dtype, bands, nodata):
    pixels = picture(dtype=np.float32) / 256
    pixels[bands, 3, 4] = nodata
    path = write_raster('a.tif', pixels, nodata=nodata)
    scene = read_scene(path, write_raster('m.tif', mask()))
    sample = SceneDataset([scene], ISPRS, dtype=dtype)[0]
    assert (sample['image'][:, 3, 4] == 0).all()
    assert np.argwhere(sample['mask'].numpy() == 255).tolist() == [[3, 4]]
    pixels[:, 3, 4] = 0
    assert sample['image'].numpy() == pytest.approx(pixels)


def test_masks_with_a_palette_are_read_by_number_or_by_colour(write_raster, tmp_path):
    path = tmp_path / 'm.png'
    shuffled = (3, 1, 0, 5, 2, 4)
    picture_of = Image.fromarray(np.argsort(shuffled).astype(np.uint8)[mask()[0]])
    picture_of.putpalette([part for i in shuffled for part in ISPRS.palette[i]])
    picture_of.save(path)
    scene = read_scene(write_raster('a.tif', picture()), path)
    codec = ColourCodec({colour: i for i, colour in enumerate(ISPRS.palette)})
    by_colour = SceneDataset([scene], ISPRS, codec=codec)
    assert (by_colour[0]['mask'].numpy() == mask()[0]).all()
    resampled = SceneDataset([scene], ISPRS, codec=codec, gsd_m=0.25)[0]['mask']
    assert set(resampled.unique().tolist()) <= {*range(6), 255}
    by_number = SceneDataset([scene], ISPRS)[0]['mask'].numpy()
    assert (by_number == np.argsort(shuffled)[mask()[0]]).all()


@pytest.mark.parametrize('dtype', [np.uint16, np.int16, np.int32])
def test_masks_of_wider_types_hold_the_same_ids_or_codes_of_their_own(write_raster, dtype):
    image = write_raster('a.tif', picture())
    scene = read_scene(image, write_raster('m.tif', mask().astype(dtype)))
    assert (SceneDataset([scene], ISPRS)[0]['mask'].numpy() == mask()[0]).all()
    coded = read_scene(image, write_raster('c.tif', mask().astype(dtype) * 1000))
    codec = IdCodec({i * 1000: i for i in range(6)})
    assert (SceneDataset([coded], ISPRS, codec=codec)[0]['mask'].numpy() == mask()[0]).all()


def test_a_crs_without_a_transform_is_no_place(write_raster):
    scene = read_scene(write_raster('a.tif', picture(), transform=Affine.identity()))
    assert scene.crs is None
    assert len(SceneDataset([scene], ISPRS).index) == 0


def test_a_mask_of_another_place_is_refused(write_raster):
    image = write_raster('a.tif', picture())
    far = Affine(0.5, 0, 500_000, 0, -0.5, 5_800_000)
    with pytest.raises(LabelError, match=r'm\.tif: lies at x 500000 to.*a\.tif at x 400000 to'):
        read_scene(image, write_raster('m.tif', mask(), transform=far))
    near = Affine(0.5, 0, 400_000.2, 0, -0.5, 5_800_000)
    assert read_scene(image, write_raster('n.tif', mask(), transform=near)).mask is not None


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_a_crs_that_is_not_tied_to_the_globe_is_named(write_raster, scene):
    local = rasterio.CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    here = read_scene(write_raster('l.tif', picture(), crs=local))
    assert SceneDataset([here], ISPRS)[400_000:400_004, 5_799_990:5_799_994]['index'] == 0
    with pytest.raises(
        ConfigError, match=r'l\.tif: there is no transformation from its CRS to that of the data'
    ):
        SceneDataset([scene, here], ISPRS).bounds  # noqa: B018  # asking for it is the test
    with pytest.raises(ConfigError, match=r'l\.tif: its CRS, site, is not tied to the globe'):
        SceneDataset([here], ISPRS, gsd_m=1.0)


def test_labels_outside_every_scene_are_refused(scene):
    dataset = SceneDataset([scene], ISPRS)
    for window in (Window(0, 100, 0, 4, 4), Window(9, 0, 0, 4, 4)):
        with pytest.raises(WindowError, match=r'lies outside|expected a scene from 0 to 0'):
            dataset.read_labels(window)


@pytest.mark.parametrize(
    'place',
    [
        Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000),
        Affine(0.5, 0, 400_000, 0, 0.5, 5_800_000),
        Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000) @ Affine.rotation(27),
    ],
)
def test_bounds_are_those_of_the_corners_of_a_window(write_raster, place):
    data = SceneDataset([read_scene(write_raster('a.tif', picture(), transform=place))], ISPRS)
    bounds = data[Window(0, 3, 5, 10, 20)]['bounds']
    corners = [place @ corner for corner in ((5, 3), (25, 3), (5, 13), (25, 13))]
    xs, ys = zip(*corners, strict=True)
    expected = [min(xs), max(xs), 0.5, min(ys), max(ys), 0.5]
    assert bounds[:6].tolist() == pytest.approx(expected, abs=1e-6, rel=0)
    assert bounds.dtype == torch.float64
    always = [pd.Timestamp.min.timestamp(), pd.Timestamp.max.timestamp(), 1]
    assert bounds[6:].tolist() == always


def test_bounds_are_laid_out_as_those_of_torchgeo(write_raster, tmp_path):
    data = SceneDataset([read_scene(write_raster('a.tif', picture()))], ISPRS)
    box = slice(400_001, 400_009), slice(5_799_990, 5_799_998)
    theirs = RasterDataset(tmp_path)[box]['bounds']
    assert data[box]['bounds'].tolist() == pytest.approx(theirs.tolist(), rel=1e-7)


def test_bounds_are_in_every_sample_or_in_none(write_raster, scene):
    nowhere = read_scene(write_raster('p.png', picture(), crs=None))
    mixed = SceneDataset([scene, nowhere], ISPRS)
    assert mixed[1]['bounds'][:6].isnan().all()
    assert not mixed[0]['bounds'].isnan().any()
    assert 'bounds' not in SceneDataset([nowhere], ISPRS)[0]


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_batches_pass_through_kornia(scene):
    data = SceneDataset([scene], ISPRS, dtype='unit')
    batch = stack_samples([data[Window(0, row, 0, 16, 16)] for row in (0, 4)])
    turn = AugmentationSequential(RandomVerticalFlip(p=1.0), data_keys=None)
    turned = turn({**batch, 'mask': batch['mask'][:, None].float()})
    assert torch.equal(turned['image'], batch['image'].flip(2))
    assert torch.equal(turned['mask'][:, 0].long(), batch['mask'].flip(1))
    for name in ('bounds', 'transform', 'domain', 'index'):
        assert torch.equal(turned[name], batch[name])


def test_a_pixel_type_that_there_is_not_is_refused(scene, unchecked):
    with pytest.raises(ConfigError, match="dtype is 'Unit': expected one of native, float32, unit"):
        SceneDataset([scene], ISPRS, dtype='Unit')


def test_a_threshold_compares_the_colours_of_a_palette(write_raster):
    numbers = (np.arange(40)[:, None] < 12).astype(np.uint8) * np.ones((1, 40, 56), np.uint8)
    path = write_raster('m.tif', numbers)
    with rasterio.open(path, 'r+') as file:
        file.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 255, 255, 255)})
    scene = read_scene(write_raster('a.tif', picture()), path)
    assert (SceneDataset([scene], ROAD, codec=ThresholdCodec())[0]['mask'] == numbers[0]).all()
