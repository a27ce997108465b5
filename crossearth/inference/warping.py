"""Scenes seen on another grid, resampled by GDAL while they are read.

Rasterio's `WarpedVRT` fills a given grid only from scenes with a transform. For ground control
points and rational polynomials the same virtual dataset is written down here, as GDAL's own
`gdalwarp -of VRT` does.
"""

from xml.etree import ElementTree as ET

import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from crossearth.inference.georeference import Georeference
from crossearth.inference.ground import ModelGrid

__all__ = ['resampled']

_TOLERANCE_PX = 0.01


def resampled(dataset: DatasetReader, grid: ModelGrid) -> DatasetReader | WarpedVRT:
    """A raster on another grid; what lies outside of it is nodata, or hidden by an alpha band.

    Args:
        dataset: Stays open as long as the result.
        grid: The grid.
    """
    where = Georeference.of(dataset)
    if where.tie != 'transform':
        return rasterio.open(_virtual_dataset(dataset, where, grid))
    crs, transform = dataset.crs, dataset.transform
    left, right = sorted((dataset.bounds.left, dataset.bounds.right))
    if crs.is_geographic and not (left >= -180 and right <= 180):
        # longitudes come back from the projection within 180° of the prime meridian: it has to be
        # on the same side of the world as the scene
        middle = round((left + right) / 2)
        crs = CRS.from_proj4(f'{crs.to_proj4()} +pm={middle}')
        a, b, c, d, e, f = transform[:6]
        transform = Affine(a, b, c - middle, d, e, f)
    return WarpedVRT(
        dataset,
        src_crs=crs,
        src_transform=transform,
        crs=grid.crs,
        transform=grid.transform,
        height=grid.height,
        width=grid.width,
        resampling=Resampling[grid.resampling],
        add_alpha=_needs_alpha(dataset),
        tolerance=_TOLERANCE_PX,
    )


def _needs_alpha(dataset: DatasetReader) -> bool:
    """Whether nothing else tells what lies outside of the scene from black."""
    flags = [flag for band in dataset.mask_flag_enums for flag in band]
    return MaskFlags.nodata not in flags and ColorInterp.alpha not in dataset.colorinterp


def _virtual_dataset(dataset: DatasetReader, where: Georeference, grid: ModelGrid) -> str:
    vrt = ET.Element(
        'VRTDataset',
        rasterXSize=str(grid.width),
        rasterYSize=str(grid.height),
        subClass='VRTWarpedDataset',
    )
    ET.SubElement(vrt, 'SRS', dataAxisToSRSAxisMapping='1,2').text = grid.crs.to_wkt()
    _element(vrt, 'GeoTransform', _numbers(grid.transform))
    kinds = list(dataset.colorinterp)
    alpha = next((i for i, kind in enumerate(kinds, 1) if kind is ColorInterp.alpha), None)
    made_alpha = dataset.count + 1 if _needs_alpha(dataset) else alpha
    if made_alpha is not None and alpha is None:
        kinds.append(ColorInterp.alpha)
    for index, kind in enumerate(kinds, 1):
        dtype = dataset.dtypes[min(index, dataset.count) - 1]
        band = ET.SubElement(
            vrt,
            'VRTRasterBand',
            dataType=_gdal_name(dtype),
            band=str(index),
            subClass='VRTWarpedRasterBand',
        )
        if index <= dataset.count and dataset.nodatavals[index - 1] is not None:
            _element(band, 'NoDataValue', repr(dataset.nodatavals[index - 1]))
        _element(band, 'ColorInterp', kind.name.capitalize())
    options = ET.SubElement(vrt, 'GDALWarpOptions')
    _element(options, 'ResampleAlg', grid.resampling.capitalize())
    start = '0' if dataset.nodata is None else 'NO_DATA'
    ET.SubElement(options, 'Option', name='INIT_DEST').text = start
    ET.SubElement(options, 'SourceDataset', relativeToVRT='0').text = dataset.name
    _add_transformer(options, where, grid)
    bands = ET.SubElement(options, 'BandList')
    for index, nodata in enumerate(dataset.nodatavals, 1):
        if index == alpha:
            continue
        mapping = ET.SubElement(bands, 'BandMapping', src=str(index), dst=str(index))
        if nodata is not None:
            for end in ('Src', 'Dst'):
                _element(mapping, f'{end}NoDataReal', repr(nodata))
                _element(mapping, f'{end}NoDataImag', '0')
    if alpha is not None:
        _element(options, 'SrcAlphaBand', str(alpha))
    if made_alpha is not None:
        _element(options, 'DstAlphaBand', str(made_alpha))
    return ET.tostring(vrt, encoding='unicode')


def _add_transformer(options: ET.Element, where: Georeference, grid: ModelGrid) -> None:
    approximate = ET.SubElement(ET.SubElement(options, 'Transformer'), 'ApproxTransformer')
    _element(approximate, 'MaxError', str(_TOLERANCE_PX))
    exact = ET.SubElement(ET.SubElement(approximate, 'BaseTransformer'), 'GenImgProjTransformer')
    if where.tie == 'gcps':
        part = ET.SubElement(ET.SubElement(exact, 'SrcGCPTransformer'), 'GCPTransformer')
        _element(part, 'Order', '0')  # as high as the number of points allows
        _element(part, 'Reversed', '0')
        points = ET.SubElement(part, 'GCPList')
        for index, point in enumerate(where.gcps, 1):
            ET.SubElement(
                points,
                'GCP',
                Id=str(index),
                Pixel=repr(point.col),
                Line=repr(point.row),
                X=repr(point.x),
                Y=repr(point.y),
            )
    else:
        assert where.rpcs is not None
        part = ET.SubElement(ET.SubElement(exact, 'SrcRPCTransformer'), 'RPCTransformer')
        _element(part, 'Reversed', '0')
        _element(part, 'HeightOffset', repr(where.rpcs.height_off))
        _element(part, 'PixErrThreshold', '0.01')
        metadata = ET.SubElement(part, 'Metadata')
        for key, value in where.rpcs.to_gdal().items():
            ET.SubElement(metadata, 'MDI', key=key).text = value
    for name, transform in (
        ('DstGeoTransform', grid.transform),
        ('DstInvGeoTransform', ~grid.transform),
    ):
        _element(exact, name, _numbers(transform))
    between = ET.SubElement(ET.SubElement(exact, 'ReprojectTransformer'), 'ReprojectionTransformer')
    assert where.tie_crs is not None
    _element(between, 'SourceSRS', where.tie_crs.to_wkt())
    _element(between, 'TargetSRS', grid.crs.to_wkt())


def _element(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _numbers(transform: Affine) -> str:
    return ','.join(map(repr, transform.to_gdal()))


def _gdal_name(dtype: str) -> str:
    if dtype == 'uint8':
        return 'Byte'
    return dtype.replace('uint', 'UInt') if dtype.startswith('u') else dtype.capitalize()
