"""Open rasters: one set of GDAL options, and errors that name the file and the remedy."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from crossearth.errors import SceneError, SceneNotFoundError

__all__ = [
    'CACHE_BYTES',
    'WHOLE_PNG',
    'damaged',
    'gdal_environment',
    'is_remote',
    'open_raster',
    'reason_of',
]

WHOLE_PNG = {'GDAL_PNG_WHOLE_IMAGE_OPTIM': 'NO'}
"""GDAL's shortcut returns a truncated PNG as if it were complete, so it is off."""

CACHE_BYTES = 16 << 20
"""Block cache for a scene whose blocks are each read once, in the order of their storage."""

_OVER_THE_NETWORK = (
    '/vsicurl', '/vsis3', '/vsigs', '/vsiaz', '/vsiadls', '/vsioss', '/vsiswift',
)  # fmt: skip


@contextmanager
def gdal_environment(cache_bytes: int = CACHE_BYTES) -> Iterator[None]:
    """A GDAL environment with a small block cache, for reading a scene from top to bottom.

    GDAL's default is a twentieth of the machine's memory, and a scene that is read once would fill
    it. The cache belongs to the process; its previous size is restored afterwards.
    """
    with (
        rasterio.Env(GDAL_CACHEMAX=cache_bytes, **WHOLE_PNG),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        yield


def open_raster(path: str | os.PathLike[str]) -> rasterio.DatasetReader:
    """Open a raster, with errors that name the file and the remedy.

    Read whole pictures inside `gdal_environment`: GDAL looks for `WHOLE_PNG` again when it reads.

    Args:
        path: A path, or anything else that GDAL opens (`/vsicurl/…`, `s3://…`, a VRT).

    Raises:
        SceneNotFoundError: If the file does not exist.
        SceneError: If the file is not a raster, has no bands, or its header is truncated.
    """
    name = os.fspath(path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        try:
            with rasterio.Env(**WHOLE_PNG):
                dataset = rasterio.open(name)
        except UnicodeEncodeError as error:
            raise SceneError(
                f'{name!r}: the name is not valid UTF-8, which GDAL needs: rename the file'
            ) from error
        except RasterioError as error:
            raise _not_opened(name, error) from error
    if dataset.count == 0:
        inner = dataset.subdatasets
        dataset.close()
        raise SceneError(
            f'{name}: holds no bands itself but {len(inner)} datasets: open one of them, such as '
            f'{inner[0] if inner else "…"}'
        )
    return dataset


def is_remote(name: str) -> bool:
    """Whether GDAL reads a name through one of its virtual file systems instead of the disk."""
    return name.startswith('/vsi') or '://' in name


def reason_of(error: BaseException) -> str:
    """GDAL's message for an error, on one line."""
    return ' '.join(str(error.__cause__ or error).split())


def damaged(name: str, part: str, error: BaseException) -> SceneError:
    """The error for pixels that cannot be read.

    Args:
        name: Path of the file.
        part: What cannot be read, such as `'rows 0-511, columns 0-255'`.
        error: What GDAL raised.
    """
    remedy = (
        'the server or the connection failed; try again'
        if _over_the_network(name)
        else 'the file is damaged or truncated; fetch it again'
    )
    return SceneError(f'{name}: {part} cannot be read ({reason_of(error)}): {remedy}')


def _over_the_network(name: str) -> bool:
    return '://' in name or name.startswith(_OVER_THE_NETWORK)


def _not_opened(name: str, error: RasterioError) -> SceneError | SceneNotFoundError:
    reason = reason_of(error)
    if _over_the_network(name):
        if '404' in reason or 'does not exist' in reason:
            return SceneNotFoundError(f'{name}: not found; check the address of the scene')
        if 'Range downloading not supported' in reason:
            return SceneError(
                f'{name}: the server gives whole files only: fetch the file first, or read it from '
                'start to end with /vsicurl_streaming/ instead of /vsicurl/'
            )
    elif not is_remote(name) and not os.path.exists(name):  # noqa: PTH110 - Path raises in a closed folder
        return SceneNotFoundError(f'{name}: no such file; check the path')
    elif not is_remote(name) and not os.access(name, os.R_OK):
        return SceneError(f'{name}: you may not read this file: change its permissions (chmod u+r)')
    return SceneError(
        f'{name}: not a readable raster ({reason}); expected a format that GDAL reads, such as '
        'GeoTIFF, PNG, JPEG, JPEG 2000 or VRT: fetch or export the file again'
    )
