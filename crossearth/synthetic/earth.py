"""The synthetic Earth: scenes of any domain from a seed, in memory or on disk."""

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, get_args

import numpy as np
from affine import Affine
from jaxtyping import UInt8, UInt32

from crossearth.describing import Described
from crossearth.errors import ConfigError
from crossearth.synthetic import writer
from crossearth.synthetic.domains import Bands, EarthDomain
from crossearth.synthetic.plan import Dice, Lot, Site, Sun, stamp_trees
from crossearth.synthetic.regions import REGIONS, Region, taste_of
from crossearth.synthetic.render import Light, Noise, Placement, lay_out, render
from crossearth.synthetic.sensors import (
    SENSORS,
    Platform,
    draw_bends,
    draw_light,
    draw_optics,
)
from crossearth.synthetic.spectra import BANDS, Climate, draw_spectra
from crossearth.synthetic.town import build_town, largest_lot_m

__all__ = ['Drawing', 'SyntheticEarth']

PITCH_M: Final = 5_000.0
"""Distance of neighbouring scenes of a domain, and the largest side of a scene."""
SCENES_PER_ROW: Final = 20
BAND_ORDER: Final[dict[Bands, tuple[int, ...]]] = {
    'rgb': (2, 1, 0),
    'irrg': (3, 2, 1),
    'rgbnir': (2, 1, 0, 3),
}
TALLEST_M: Final = 28.0
LONGEST_SHADOW_M: Final = 90.0
BLUR_PX: Final = 4
LARGEST_TREE_M: Final = 9.0


class Drawing(NamedTuple):
    """A drawn scene.

    Args:
        image: 8-bit values, (c, h, w), bands in the order of the domain.
        mask: Class ids of `crossearth.labels.ISPRS`, (h, w); no pixel is ignored.
    """

    image: UInt8[np.ndarray, 'c h w']
    mask: UInt8[np.ndarray, 'h w']


class SyntheticEarth(Described):
    """Draws georeferenced scenes of made-up places, image and mask, from a seed.

    It is a laboratory for domain gaps, not evidence: label numbers that come from it as synthetic.
    A scene depends only on the seed, the domain, its index and its size. The order of calls does
    not matter, and no global state is read or changed. For one place, another size shows more or
    less around the same centre, other bands show the same reflectances, and winter shows the town
    of summer.

    Args:
        seed: Seed of this Earth, at least 0.

    Raises:
        ConfigError: If the seed is negative or not an integer.

    Example:
        >>> from crossearth.synthetic import EARTH_DOMAINS
        >>> scene = SyntheticEarth(seed=0).draw(
        ...     EARTH_DOMAINS['source'], index=0, height=64, width=96
        ... )
        >>> scene.image.shape, scene.mask.shape, scene.image.dtype.name
        ((3, 64, 96), (64, 96), 'uint8')
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = _whole('seed', seed, low=0)
        self._noise: Noise | None = None

    def draw(self, domain: EarthDomain, *, index: int, height: int, width: int) -> Drawing:
        """One scene of a domain, in memory.

        Args:
            domain: Place, season and sensor.
            index: Which scene of the domain; it also determines the place, see `transform`.
            height: Rows.
            width: Columns.

        Returns:
            Image and mask.

        Raises:
            ConfigError: If the index is negative, a side is below 1 px, or longer than 5 km, where
                scenes would begin to overlap.
        """
        index = _whole('index', index, low=0)
        self._check_size(domain, height, width)
        return self._draw(domain, ('scene', domain.name, str(index)), height, width)

    def transform(self, domain: EarthDomain, index: int) -> Affine:
        """Where a scene lies: `(col, row)` of its pixel corners → metres in the domain's CRS.

        Scenes of a domain lie on a grid of 5 km, 20 in a row, so none overlap.

        Args:
            domain: Domain whose CRS, origin and pixel size to use.
            index: Which scene.

        Returns:
            Transform whose `(0, 0)` is the upper-left corner of the scene.

        Raises:
            ConfigError: If the index is negative.

        Example:
            >>> from crossearth.synthetic import EARTH_DOMAINS
            >>> transform = SyntheticEarth().transform(EARTH_DOMAINS['region'], 21)
            >>> transform.a, transform.c, transform.f
            (0.25, 501000.0, 5419000.0)
        """
        row, col = divmod(_whole('index', index, low=0), SCENES_PER_ROW)
        x, y = domain.origin_xy
        gsd = SENSORS[domain.platform].gsd_m
        return Affine(gsd, 0.0, x + col * PITCH_M, 0.0, -gsd, y - row * PITCH_M)

    def write(
        self,
        root: str | Path,
        domain: EarthDomain,
        *,
        scenes: int,
        size_px: int | tuple[int, int],
        split: str = 'train',
        start: int = 0,
        progress: Callable[[int], object] | None = None,
    ) -> list[tuple[Path, Path]]:
        """Writes scenes as tiled GeoTIFFs, image and mask.

        Files are `root/{domain}/{split}/images/{domain}_{index:03d}.tif`, and masks of the same
        name in `masks`. Images have band names and colours; masks have class ids, the ISPRS palette
        and no-data 255. The same arguments give the same bytes. A file appears under its final name
        only when complete.

        Args:
            root: Folder to write into; created if it is missing.
            domain: Place, season and sensor.
            scenes: How many scenes.
            size_px: Side of a scene, or its height and width.
            split: Folder of the split.
            start: Index of the first scene. An index is a place, so splits must not share any.
            progress: Called after each scene with the number of scenes done.

        Returns:
            Paths of images and masks.

        Raises:
            ConfigError: If a number is out of range, or another split of the domain already holds
                one of the scenes.
        """
        height, width = _sides(size_px)
        scenes, start = _whole('scenes', scenes, low=1), _whole('start', start, low=0)
        self._check_size(domain, height, width)
        if not split or not all(c.isascii() and (c.isalnum() or c in '_-') for c in split):
            raise ConfigError(f'split {split!r} cannot name a folder: use letters, digits, _ and -')
        base = Path(root) / domain.name
        names = [f'{domain.name}_{index:03d}.tif' for index in range(start, start + scenes)]
        for name in names:
            for twin in base.glob(f'*/images/{name}'):
                if twin.parts[-3] != split:
                    raise ConfigError(
                        f'{twin} already shows this place in split {twin.parts[-3]!r}: splits must '
                        f'not share scenes, pass a larger start than {start}'
                    )
        written = []
        for done, name in enumerate(names):
            scene = self.draw(domain, index=start + done, height=height, width=width)
            image, mask = (base / split / kind / name for kind in ('images', 'masks'))
            writer.write_pair(
                image,
                mask,
                scene.image,
                scene.mask,
                bands=tuple(BANDS[band] for band in BAND_ORDER[domain.bands]),
                crs=domain.crs,
                transform=self.transform(domain, start + done),
            )
            written.append((image, mask))
            if progress is not None:
                progress(done + 1)
        return written

    def draw_style(self, *, images: int, size_px: int) -> Iterator[UInt8[np.ndarray, '3 s s']]:
        """Draws the images of `write_style`, without writing them.

        Raises:
            ConfigError: If a number is out of range.
        """
        images, size_px = _whole('images', images, low=1), _whole('size_px', size_px, low=1)
        for number in range(images):
            rng = self._rng('style', 'knobs', str(number))
            bands: Bands = ('rgb', 'irrg')[int(rng.random() > 0.65)]
            domain = EarthDomain(
                'style',
                _pick(get_args(Region.__value__), rng),
                bands,
                _pick(get_args(Platform.__value__), rng),
                _pick(get_args(Climate.__value__), rng),
            )
            stream = ('style', 'scene', str(number))
            yield self._draw(domain, stream, size_px, size_px, spread=2.5).image

    def write_style(self, root: str | Path, *, images: int, size_px: int) -> list[Path]:
        """Writes an unlabelled collection of appearances: PNGs of three bands, not georeferenced.

        It covers every region, climate and platform that `EarthDomain` knows, in RGB or IR-R-G.
        Each image draws all of them, and gains, tints, tone curves, haze and sun. It thus includes
        appearances of the unseen domains (tropical gardens, satellite blur, IR-R-G), as
        Million-AID, the style source of the paper, covers the regions, seasons and sensors of its
        benchmarks. It includes none of their scenes: the layouts come from a separate stream of the
        seed, and no labels are written. These images are synthetic. If a model gains from them,
        this shows what style injection can do when the style source covers the target, and no more.

        Args:
            root: Folder to write `style_{number:04d}.png` into; created if it is missing.
            images: Number of images.
            size_px: Side of an image.

        Returns:
            Paths of the images.

        Raises:
            ConfigError: If a number is out of range.
        """
        written = []
        for number, image in enumerate(self.draw_style(images=images, size_px=size_px)):
            path = Path(root) / f'style_{number:04d}.png'
            writer.write_picture(path, image)
            written.append(path)
        return written

    def _draw(
        self,
        domain: EarthDomain,
        stream: tuple[str, ...],
        height: int,
        width: int,
        *,
        spread: float = 1.0,
    ) -> Drawing:
        # A separate stream, so that season and sensor leave the town as it is.
        look = self._rng(*stream, 'look')
        sensor = SENSORS[domain.platform]
        light = draw_light(domain.climate, domain.crs, domain.origin_xy, look)
        spectra = draw_spectra(domain.climate, look, jitter=0.06 * spread**0.5)
        optics = draw_optics(sensor, look, spread)
        margins = _margins(light, sensor.gsd_m)
        packed = self._lay_town(domain, stream, light, margins, height, width)
        image, mask = render(
            packed,
            spectra,
            light,
            optics,
            self._noise_tiles(),
            self._rng(*stream, 'noise'),
            bands=BAND_ORDER[domain.bands],
            gsd_m=sensor.gsd_m,
            margins=margins,
        )
        return Drawing(image, mask)

    def _lay_town(
        self,
        domain: EarthDomain,
        stream: tuple[str, ...],
        light: Light,
        margins: tuple[int, int, int, int],
        height: int,
        width: int,
    ) -> UInt32[np.ndarray, 'y x']:
        """Builds the town and puts it under the image and its margins, as packed cells."""
        style, gsd = REGIONS[domain.region], SENSORS[domain.platform].gsd_m
        rng = self._rng(*stream, 'placement')
        angle = rng.uniform(-math.pi / 4, math.pi / 4)
        placement = Placement(angle, draw_bends(style, gsd, rng), draw_bends(style, gsd, rng))
        top, bottom, left, right = margins
        # The larger margin on both sides keeps the centre of the board at that of the image.
        full = (height + 2 * max(top, bottom), width + 2 * max(left, right))
        rows, cols = placement.board_shape(*full)
        reach = (cols * gsd / 2 + LARGEST_TREE_M, rows * gsd / 2 + LARGEST_TREE_M)
        # Lots at the border are painted completely. Memory pages without paint cost nothing.
        border = 2 * math.ceil((largest_lot_m(style) + LARGEST_TREE_M) / gsd)
        # Even sides keep the centre at a corner of cells, so that places round alike at every size.
        board = np.zeros((rows + rows % 2 + border, cols + cols % 2 + border), np.uint32)
        cos, sin = math.cos(angle), math.sin(angle)
        flat = math.hypot(1, light.rise)
        sun = Sun(
            (cos * light.to_sun[0] + sin * light.to_sun[1]) / flat,
            (-sin * light.to_sun[0] + cos * light.to_sun[1]) / flat,
            light.rise / flat,
        )
        town, flora = (Dice(self.seed, *self._key(*stream, part)) for part in ('town', 'flora'))
        site = Site(1 / gsd, town, flora, sun, leafless=domain.climate == 'winter')
        slack = placement.slack_px * gsd + LARGEST_TREE_M
        half_x, half_y = full[1] * gsd / 2 + slack, full[0] * gsd / 2 + slack

        def seen(u: float, v: float, radius: float) -> bool:
            x, y = cos * u - sin * v, sin * u + cos * v
            return abs(x) < half_x + radius and abs(y) < half_y + radius

        taste = taste_of(domain.region, domain.climate)
        build_town(Lot(board, site), style, taste, seen, reach=reach)
        places = np.array([tree[:2] for tree in site.trees], np.float64).reshape(-1, 2)
        u, v = ((places - np.array(board.shape)[::-1] / 2) * gsd).T
        near = np.abs(cos * u - sin * v) < half_x
        near &= np.abs(sin * u + cos * v) < half_y
        stamp_trees(board, site, near)
        return lay_out(
            board,
            placement,
            rows=range(-top, height + bottom),
            cols=range(-left, width + right),
            hw=(height, width),
        )

    def _noise_tiles(self) -> Noise:
        if self._noise is None:
            self._noise = Noise.draw(self._rng('noise'))
        return self._noise

    def _rng(self, *words: str) -> np.random.Generator:
        """The generator of a stream; streams of different words are independent."""
        sequence = np.random.SeedSequence(self.seed, spawn_key=self._key(*words))
        return np.random.default_rng(sequence)

    def _key(self, *words: str) -> tuple[int, ...]:
        """Numbers that stand for words; Python's `hash` would change from run to run."""
        digest = hashlib.sha256('\0'.join(words).encode()).digest()
        return tuple(int.from_bytes(digest[k : k + 4], 'little') for k in range(0, 16, 4))

    def _check_size(self, domain: EarthDomain, height: int, width: int) -> None:
        gsd = SENSORS[domain.platform].gsd_m
        for name, side in (('height', height), ('width', width)):
            if _whole(name, side, low=1) * gsd > PITCH_M:
                raise ConfigError(
                    f'{name} {side} px is {side * gsd:.0f} m at {gsd} m per pixel, but scenes lie '
                    f'{PITCH_M:.0f} m apart: pass at most {int(PITCH_M / gsd)} px'
                )


def _whole(name: str, value: int, *, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise ConfigError(f'{name} is {value!r}: expected a whole number from {low} upwards')
    return int(value)


def _margins(light: Light, gsd_m: float) -> tuple[int, int, int, int]:
    """Margins that affect an image by blur and shadows: pixels at top, bottom, left, right."""
    longest_px = min(TALLEST_M / light.rise, LONGEST_SHADOW_M) / gsd_m
    reach_x, reach_y = (math.ceil(abs(part) * longest_px) + 2 for part in light.to_sun)
    top, bottom = (reach_y, 0) if light.to_sun[1] < 0 else (0, reach_y)
    left, right = (reach_x, 0) if light.to_sun[0] < 0 else (0, reach_x)
    return top + BLUR_PX, bottom + BLUR_PX, left + BLUR_PX, right + BLUR_PX


def _sides(size_px: int | tuple[int, int]) -> tuple[int, int]:
    if not isinstance(size_px, tuple):
        return size_px, size_px
    if len(size_px) != 2:
        raise ConfigError(f'size_px is {size_px}: expected one side, or height and width')
    return size_px


def _pick[T](items: tuple[T, ...], rng: np.random.Generator) -> T:
    return items[int(rng.random() * len(items))]
