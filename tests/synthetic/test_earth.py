import hashlib
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from crossearth.errors import ConfigError
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, EarthDomain, SyntheticEarth, writer

SOURCE = EARTH_DOMAINS['source']


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob('*') if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


@pytest.fixture
def unchecked():
    """Without run-time type checks: they speak before the library does, and triple its time."""
    jaxtyping.config.update('jaxtyping_disable', True)
    yield
    jaxtyping.config.update('jaxtyping_disable', False)


def drawn(domain: EarthDomain, *, scenes: int = 3, side: int = 384):
    earth = SyntheticEarth(seed=0)
    pairs = [earth.draw(domain, index=i, height=side, width=side) for i in range(scenes)]
    return np.stack([pair.image for pair in pairs]), np.stack([pair.mask for pair in pairs])


# Determinism


def test_same_seed_writes_the_same_bytes_whatever_the_order_of_calls(tmp_path):
    first, second = SyntheticEarth(seed=7), SyntheticEarth(seed=7)
    first.write(tmp_path / 'a', SOURCE, scenes=2, size_px=130)
    first.write(tmp_path / 'a', EARTH_DOMAINS['region_band'], scenes=1, size_px=(90, 270))
    first.write_style(tmp_path / 'a', images=2, size_px=70)
    second.write_style(tmp_path / 'b', images=2, size_px=70)
    second.draw(EARTH_DOMAINS['region'], index=4, height=50, width=60)
    second.write(tmp_path / 'b', EARTH_DOMAINS['region_band'], scenes=1, size_px=(90, 270))
    second.write(tmp_path / 'b', SOURCE, scenes=1, size_px=130, start=1)
    second.write(tmp_path / 'b', SOURCE, scenes=1, size_px=130)
    assert digests(tmp_path / 'a') == digests(tmp_path / 'b')
    assert len(digests(tmp_path / 'a')) == 8


def test_seed_index_and_name_each_change_the_place():
    base = SyntheticEarth(seed=0).draw(SOURCE, index=0, height=128, width=128)
    others = [
        SyntheticEarth(seed=1).draw(SOURCE, index=0, height=128, width=128),
        SyntheticEarth(seed=0).draw(SOURCE, index=1, height=128, width=128),
        SyntheticEarth(seed=0).draw(replace(SOURCE, name='twin'), index=0, height=128, width=128),
    ]
    for other in others:
        assert (other.mask != base.mask).mean() > 0.2


def test_drawing_leaves_the_global_generator_alone():
    np.random.seed(3)  # noqa: NPY002 - the legacy global state is what is checked
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - as above
    SyntheticEarth(seed=0).draw(SOURCE, index=0, height=64, width=64)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002 - as above


# Physics


def test_bands_of_one_place_come_from_the_same_reflectances():
    earth = SyntheticEarth(seed=2)
    rgb, irrg, four = (
        earth.draw(replace(SOURCE, bands=bands), index=5, height=150, width=170)
        for bands in ('rgb', 'irrg', 'rgbnir')
    )
    assert np.array_equal(rgb.mask, irrg.mask)
    assert np.array_equal(irrg.image[1:], rgb.image[:2])  # red and green
    assert np.array_equal(four.image[:3], rgb.image)
    assert np.array_equal(four.image[3], irrg.image[0])


def test_vegetation_is_brighter_in_infrared_than_in_red_and_nothing_else_is(unchecked):
    image, mask = drawn(replace(SOURCE, bands='rgbnir'))
    red, nir = image[:, 0].astype(float), image[:, 3].astype(float)
    ratio = [nir[mask == k].mean() / red[mask == k].mean() for k in range(6)]
    assert min(ratio[2], ratio[3]) > 1.35, ratio
    assert max(ratio[0], ratio[1], ratio[4], ratio[5]) < 1.1, ratio


def test_a_climate_changes_vegetation_its_infrared_and_the_number_of_trees(unchecked):
    suburb = replace(EARTH_DOMAINS['region_climate'], bands='rgbnir')
    image, mask = {}, {}
    for climate in ('temperate', 'arid', 'tropical', 'winter'):
        image[climate], mask[climate] = drawn(replace(suburb, climate=climate))

    def greenness(climate, class_id):
        here = mask[climate] == class_id
        red, nir = (image[climate][:, band][here].mean() for band in (0, 3))
        return (nir - red) / (nir + red)

    assert greenness('winter', 3) < greenness('arid', 3) < greenness('temperate', 3)
    assert greenness('arid', 2) < greenness('temperate', 2) < greenness('tropical', 2)
    assert abs(greenness('arid', 0) - greenness('temperate', 0)) < 0.05  # roads stay grey
    trees = {climate: (mask[climate] == 3).mean() for climate in mask}
    assert trees['arid'] < 0.7 * trees['temperate']
    assert trees['tropical'] > 1.2 * trees['temperate']


def test_a_larger_scene_shows_more_of_the_same_place(unchecked):
    for domain in EARTH_DOMAINS.values():
        earth = SyntheticEarth(seed=3)
        small = earth.draw(domain, index=2, height=100, width=120)
        large = earth.draw(domain, index=2, height=420, width=300)
        # the centre is the fixed point; rounding in float32 may move an edge by a pixel
        assert (large.mask[160:260, 90:210] != small.mask).mean() < 2e-3


def test_winter_builds_the_town_of_summer():
    suburb = EARTH_DOMAINS['region_climate']
    _, summer = drawn(replace(suburb, climate='temperate'), scenes=1)
    _, winter = drawn(replace(suburb, climate='winter'), scenes=1)
    bare = (summer != 3) & (winter != 3)  # where no crown hides the ground
    assert np.array_equal(summer[bare], winter[bare])
    assert bare.mean() > 0.6


@pytest.mark.parametrize('name', list(EARTH_DOMAINS))
def test_every_domain_shows_all_classes_and_ignores_nothing(name, unchecked):
    _, mask = drawn(EARTH_DOMAINS[name], scenes=4, side=400)
    share = np.bincount(mask.ravel(), minlength=256) / mask.size
    assert share[6:].sum() == 0
    assert share[:6].min() > 2e-4, share[:6]
    assert share[:6].max() < 0.9, share[:6]


@pytest.mark.parametrize('name', list(EARTH_DOMAINS))
def test_exposure_uses_the_range_without_clipping_it(name, unchecked):
    image, _ = drawn(EARTH_DOMAINS[name])
    assert 50 < image.mean() < 160
    assert image.std() > 12
    assert (image == 255).mean() < 0.02
    assert (image == 0).mean() < 0.02


def test_a_satellite_is_blurrier_than_an_aeroplane(unchecked):
    def edges(platform):
        image, _ = drawn(replace(SOURCE, platform=platform))
        image = image.astype(float) / image.std()
        fine = np.abs(np.diff(image, axis=-1)).mean()
        coarse = np.abs(image[..., 4:] - image[..., :-4]).mean()
        return fine / coarse

    assert edges('satellite') < 0.9 * edges('aerial')


def test_the_platform_gap_is_a_factor_of_4_in_pixel_size_and_another_in_sharpness(unchecked):
    def fine_share(domain):
        """Part of the spectral energy above a quarter of the sampling rate."""
        image, _ = drawn(domain, side=256)
        taper = np.hanning(256)[:, None] * np.hanning(256)
        grey = image.mean(1)
        centred = (grey - grey.mean((1, 2), keepdims=True)) * taper
        energy = (np.abs(np.fft.fft2(centred)) ** 2).mean(0)
        cycles = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256))
        return energy[cycles > 0.25].sum() / energy.sum()

    earth, satellite = SyntheticEarth(), EARTH_DOMAINS['region_platform']
    assert earth.transform(satellite, 0).a == 4 * earth.transform(SOURCE, 0).a == 1.0
    assert fine_share(satellite) < fine_share(SOURCE) / 3


# Files


def test_files_carry_crs_transform_bands_and_palette(tmp_path):
    domain = EARTH_DOMAINS['region_band']
    earth = SyntheticEarth(seed=0)
    ticks = []
    (image_path, mask_path), *_ = earth.write(
        tmp_path,
        domain,
        scenes=2,
        size_px=(300, 280),
        split='test',
        start=21,
        progress=ticks.append,
    )
    assert image_path == tmp_path / 'region_band' / 'test' / 'images' / 'region_band_021.tif'
    assert mask_path == tmp_path / 'region_band' / 'test' / 'masks' / 'region_band_021.tif'
    assert ticks == [1, 2]
    scene = earth.draw(domain, index=21, height=300, width=280)
    with rasterio.open(image_path) as file:
        assert np.array_equal(file.read(), scene.image)
        assert file.crs.to_epsg() == 2154
        # scene 21 is the second of the second row of a grid of 5 km
        assert file.transform == earth.transform(domain, 21)
        assert file.transform.to_gdal() == (851_000.0, 0.25, 0.0, 6_555_000.0, 0.0, -0.25)
        assert file.descriptions == ('nir', 'red', 'green')
        assert file.colorinterp == (ColorInterp.nir, ColorInterp.red, ColorInterp.green)
        assert file.block_shapes[0] == (256, 256)
        assert file.compression.name == 'deflate'
        assert file.nodata is None
    with rasterio.open(mask_path) as file:
        assert np.array_equal(file.read(1), scene.mask)
        assert file.transform == earth.transform(domain, 21)
        assert file.crs.to_epsg() == 2154
        assert file.nodata == 255
        table = file.colormap(1)
        assert tuple(table[k][:3] for k in range(6)) == ISPRS.palette


def test_the_default_domains_span_the_gaps_and_five_crs():
    source, *unseen = EARTH_DOMAINS.values()
    gaps = [
        {knob for knob in ('region', 'bands', 'platform', 'climate') if differs(source, d, knob)}
        for d in unseen
    ]
    assert gaps == [
        {'region'},
        {'bands'},
        {'region', 'bands'},
        {'region', 'platform'},
        {'region', 'platform'},
        {'region', 'climate'},
    ]
    assert len({domain.crs for domain in EARTH_DOMAINS.values()}) == 5


def differs(one, other, knob):
    return getattr(one, knob) != getattr(other, knob)


def test_scenes_of_a_domain_never_overlap():
    earth, corners = SyntheticEarth(), set()
    for index in range(70):
        transform = earth.transform(SOURCE, index)
        corners.add((transform.c, transform.f))
    xs, ys = (sorted({corner[axis] for corner in corners}) for axis in (0, 1))
    assert len(corners) == 70
    assert min(np.diff(xs)) == min(np.diff(ys)) == 5_000  # and no side may be longer


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    opened = writer._open
    calls = []

    def fail_on_the_mask(path, values, **options):
        calls.append(path)
        if len(calls) == 2:
            Path(path).write_bytes(b'II*\x00 half a file')
            raise OSError('disk full')
        return opened(path, values, **options)

    monkeypatch.setattr(writer, '_open', fail_on_the_mask)
    with pytest.raises(OSError, match='disk full'):
        SyntheticEarth().write(tmp_path, SOURCE, scenes=1, size_px=64)
    assert len(calls) == 2
    assert digests(tmp_path) == {}


def test_a_scene_for_mapping_fits_into_memory():
    program = """
        from pathlib import Path
        from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
        domain = EARTH_DOMAINS['region_band']
        scene = SyntheticEarth(0).draw(domain, index=0, height=4200, width=4500)
        assert scene.image.shape == (3, 4200, 4500) and scene.mask.shape == (4200, 4500)
        for rows in (slice(0, 200), slice(-200, None)):
            for cols in (slice(0, 200), slice(-200, None)):
                assert scene.image[0, rows, cols].std() > 5  # drawn to the last corner
        status = Path('/proc/self/status').read_text().split()
        print(status[status.index('VmHWM:') + 1])  # ru_maxrss would count the parent before exec
    """
    # a process of its own: this one's run-time type checks would take most of the time
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1.5e6  # kB


# Style


def test_style_images_vary_more_than_the_source_and_show_none_of_its_scenes(tmp_path, unchecked):
    earth = SyntheticEarth(seed=0)
    paths = earth.write_style(tmp_path, images=16, size_px=64)
    assert [path.name for path in paths[:2]] == ['style_0000.png', 'style_0001.png']
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in paths]
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        images = [rasterio.open(path).read() for path in paths]
    assert {image.shape for image in images} == {(3, 64, 64)}
    scenes = [earth.draw(SOURCE, index=i, height=64, width=64).image for i in range(16)]
    spread = []
    for some in (images, scenes):
        colour = np.array([np.diff(image.mean((1, 2))) for image in some])
        spread.append(colour.std(0))
    assert (spread[0] > 2 * spread[1]).all(), spread
    namesake = earth.draw(EarthDomain('style', 'grid_city'), index=0, height=64, width=64)
    assert not any(np.array_equal(namesake.image, image) for image in images)


# Errors


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'region': 'atlantis'}, "region 'atlantis': expected one of grid_city, old_town"),
        ({'bands': 'bgr'}, 'bands .* expected one of rgb, irrg, rgbnir'),
        ({'platform': 'kite'}, 'platform .* aerial, drone, satellite'),
        ({'climate': 'lunar'}, 'climate .* temperate, arid, tropical, winter'),
        ({'name': '../up'}, 'cannot name a folder'),
        ({'crs': 'EPSG:4326'}, 'not metres'),
        ({'crs': 'EPSG:2263'}, 'not metres'),  # New York in feet
        ({'crs': 'EPSG:0'}, 'PROJ does not know'),
    ],
)
def test_bad_domains_say_what_to_choose(changes, message, unchecked):
    with pytest.raises(ConfigError, match=message):
        replace(SOURCE, **changes)


def test_bad_numbers_say_what_to_pass(tmp_path):
    earth = SyntheticEarth()
    with pytest.raises(ConfigError, match='seed is -1: expected a whole number from 0'):
        SyntheticEarth(seed=-1)
    with pytest.raises(ConfigError, match='index is -2'):
        earth.draw(SOURCE, index=-2, height=8, width=8)
    with pytest.raises(ConfigError, match='height is 0'):
        earth.draw(SOURCE, index=0, height=0, width=8)
    with pytest.raises(ConfigError, match='at most 20000 px'):
        earth.draw(SOURCE, index=0, height=8, width=20_001)
    with pytest.raises(ConfigError, match='scenes is 0'):
        earth.write(tmp_path, SOURCE, scenes=0, size_px=64)
    with pytest.raises(ConfigError, match='cannot name a folder'):
        earth.write(tmp_path, SOURCE, scenes=1, size_px=64, split='a/b')
    with pytest.raises(ConfigError, match='images is 0'):
        earth.write_style(tmp_path, images=0, size_px=64)
    assert digests(tmp_path) == {}


def test_splits_cannot_share_a_place(tmp_path):
    earth = SyntheticEarth()
    earth.write(tmp_path, SOURCE, scenes=2, size_px=64, split='train')
    with pytest.raises(ConfigError, match=re.escape("already shows this place in split 'train'")):
        earth.write(tmp_path, SOURCE, scenes=1, size_px=64, split='test', start=1)
    earth.write(tmp_path, SOURCE, scenes=1, size_px=64, split='test', start=2)
    earth.write(tmp_path, SOURCE, scenes=2, size_px=64, split='train')  # over itself
    assert len(digests(tmp_path)) == 6
