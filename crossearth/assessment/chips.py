"""Pictures of the surroundings of drawn pixels, for the person who labels them."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Shaped, UInt8
from PIL import Image, ImageDraw
from pyproj import CRS

from crossearth.assessment.sample_folder import Design, Unit
from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.rasters import GroundToPixels, Raster, RasterReader, describe_raster

__all__ = ['write_chips']

_FOLDER = 'chips'
_MARGIN_PX = 3  # between a pixel and its frame, so that the frame does not hide the pixel
_BLACK, _YELLOW = (0, 0, 0), (255, 224, 0)


def write_chips(folder: Path, design: Design, scene: str | Path, *, chip_px: int) -> dict[int, str]:
    """Write a PNG for every unit, with a frame around the pixel to label.

    Bytes are shown unchanged. Other values are stretched from the 2nd to the 98th percentile of
    each chip.

    Args:
        folder: Folder of the sample.
        design: The sample.
        scene: The image; its CRS and pixel size may differ from the map's.
        chip_px: Side of a chip, in pixels of the scene.

    Returns:
        Path of each chip, relative to the folder, by the id of its unit.

    Raises:
        ConfigError: If a unit lies outside the scene, or the size is not positive.
        SceneError: If the scene cannot be read.
    """
    if chip_px < 16:
        raise ConfigError(f'chip_px is {chip_px}: expected at least 16')
    raster = describe_raster(scene)
    to_scene = GroundToPixels(
        raster.georeference,
        CRS.from_wkt(design.crs_wkt),
        height=raster.height,
        width=raster.width,
        name=str(scene),
    )
    (folder / _FOLDER).mkdir()
    reader = RasterReader()
    digits = len(str(len(design.units)))
    paths: dict[int, str] = {}
    for unit in sorted(design.units, key=lambda unit: unit.row):  # each block is decoded once
        x, y = np.array(design.outline(unit)).T
        frame = np.stack(to_scene(x, y))
        middle = frame[:, :4].mean(1)
        if not ((middle >= 0) & (middle < (raster.width, raster.height))).all():
            raise ConfigError(
                f'point {unit.id} of the map lies outside {scene}: pass the scene that was mapped, '
                'or none'
            )
        col, row = (int(at) - chip_px // 2 for at in middle)
        picture = _picture(reader, raster, Window(0, row, col, chip_px, chip_px))
        image = Image.fromarray(picture)
        _draw_frame(image, frame - np.array([[col], [row]]))
        paths[unit.id] = f'{_FOLDER}/{_name(unit, digits)}'
        image.save(folder / paths[unit.id])
    reader.close()
    return paths


def _name(unit: Unit, digits: int) -> str:
    return f'{unit.id:0{digits}d}.png'


def _picture(reader: RasterReader, raster: Raster, window: Window) -> UInt8[np.ndarray, 'h w 3']:
    pixels, shown = reader.read(raster, window)
    bands = pixels[:3] if len(pixels) >= 3 else pixels[[0, 0, 0]]
    if bands.dtype != np.uint8:
        bands = _stretched(bands, np.ones(bands.shape[1:], bool) if shown is None else shown)
    if shown is not None:
        bands = np.where(shown, bands, 0).astype(np.uint8)
    return np.ascontiguousarray(bands.transpose(1, 2, 0))


def _stretched(
    bands: Shaped[np.ndarray, 'c h w'], shown: Bool[np.ndarray, 'h w']
) -> UInt8[np.ndarray, 'c h w']:
    # No-data may be NaN or far from all other values, so it must not take part in percentiles.
    known = shown & np.isfinite(bands).all(0)
    if not known.any():
        return np.zeros(bands.shape, np.uint8)
    values: Float64[np.ndarray, 'c h w'] = np.where(known, bands, 0).astype(np.float64)
    low, high = np.percentile(values[:, known], (2, 98), axis=1)[..., None, None]
    # a chip of one value has no spread to divide by
    shares = np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.asarray(shares * 255, np.uint8)


def _draw_frame(image: Image.Image, corners: Float64[np.ndarray, '2 n']) -> None:
    # Pillow draws the last pixel of a rectangle as well, while corners are pixel edges
    left, top = np.floor(corners.min(1)) - _MARGIN_PX
    right, bottom = np.ceil(corners.max(1)) - 1 + _MARGIN_PX
    draw = ImageDraw.Draw(image)
    for grown, colour in ((1, _BLACK), (0, _YELLOW)):
        draw.rectangle(
            (left - grown, top - grown, right + grown, bottom + grown), outline=colour, width=1
        )
