"""Files from the web, resumed where they were cut off, checked, and unpacked safely."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from crossearth.errors import SceneError

__all__ = ['Download', 'extract_zip', 'fetch', 'fetch_all']

_CHUNK = 1 << 20
_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Download:
    """A zip file with a public link.

    Args:
        url: Its address.
        name: Name that it is kept under.
        md5: Its checksum; None where none is published, then only its inner CRCs are checked.
        makes: A folder that unpacking makes; where it exists, nothing is fetched.
    """

    url: str
    name: str
    md5: str | None
    makes: str


def fetch_all(downloads: Sequence[Download], root: str | os.PathLike[str]) -> None:
    """Fetch and unpack what a root lacks.

    Raises:
        SceneError: If a file cannot be fetched, is damaged, or is unsafe to unpack.
    """
    folder = Path(root)
    for download in downloads:
        if (folder / download.makes).is_dir():
            continue
        kept = folder / download.name
        if not kept.exists():
            fetch(download.url, kept, md5=download.md5)
        extract_zip(kept, folder)


def fetch(url: str, path: str | os.PathLike[str], *, md5: str | None = None) -> Path:
    """Download a file, with a progress bar.

    What has come so far is kept as `path.part`; the next call continues from there, if the server
    can. The file appears under its name once it is whole and has the checksum.

    Args:
        url: Address, http or https.
        path: File to write.
        md5: Expected checksum; None for no check.

    Returns:
        The file.

    Raises:
        SceneError: If the server cannot be reached or says no, the connection breaks, or the
            checksum differs.
    """
    final = Path(path)
    part = final.with_name(f'{final.name}.part')
    final.parent.mkdir(parents=True, exist_ok=True)
    try:
        _receive(url, part)
    except (OSError, http.client.HTTPException) as error:
        raise SceneError(
            f'{url}: the download stopped ({error}); what has come is kept in {part}: try again to '
            'continue'
        ) from error
    found = _md5(part) if md5 is not None else md5
    if found != md5:
        part.unlink()
        raise SceneError(
            f'{url}: has MD5 {found}, expected {md5}; the file was removed: fetch it again, or '
            'from its page by hand'
        )
    part.replace(final)
    return final


def extract_zip(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Unpack a zip file; nothing is written outside the folder, and no links are made.

    Every member is checked before the first is written. Files appear under their names whole.

    Raises:
        SceneError: If the file is no zip or is damaged, or a member points outside the folder or
            is a link.
    """
    root = Path(folder).resolve()
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            targets = {member.filename: _inside(path, root, member) for member in members}
            for member in tqdm(members, desc=f'unpacking {Path(path).name}', unit='file'):
                target = targets[member.filename]
                target.parent.mkdir(parents=True, exist_ok=True)
                beside = target.with_name(f'.{target.name}.{os.getpid()}')
                try:
                    with archive.open(member) as source, beside.open('wb') as sink:
                        while chunk := source.read(_CHUNK):
                            sink.write(chunk)
                    beside.replace(target)
                finally:
                    beside.unlink(missing_ok=True)
    except (zipfile.BadZipFile, EOFError) as error:
        raise SceneError(f'{os.fspath(path)}: is damaged ({error}); fetch it again') from error


def _receive(url: str, part: Path) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={'Range': f'bytes={done}-'} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if done and error.code == 416:  # nothing is left to send: it was whole already
            return
        raise
    with response:
        continues = done and response.status == 206
        left = response.headers.get('Content-Length')
        total = None if left is None else int(left) + (done if continues else 0)
        got = done if continues else 0
        with (
            part.open('ab' if continues else 'wb') as sink,
            tqdm(total=total, initial=got, unit='B', unit_scale=True, desc=part.stem) as bar,
        ):
            while chunk := response.read(_CHUNK):
                sink.write(chunk)
                got += len(chunk)
                bar.update(len(chunk))
    if total is not None and got < total:
        raise OSError(f'the connection broke after {got} of {total} bytes')


def _inside(path: str | os.PathLike[str], root: Path, member: zipfile.ZipInfo) -> Path:
    name = PurePosixPath(member.filename.replace('\\', '/'))
    target = (root / name).resolve()
    is_link = member.external_attr >> 28 == 0o12
    if name.is_absolute() or ':' in name.parts[0] or not target.is_relative_to(root) or is_link:
        fault = 'is a link' if is_link else 'points outside the folder'
        raise SceneError(
            f'{os.fspath(path)}: its member {member.filename!r} {fault}; nothing was unpacked: do '
            'not trust this file'
        )
    return target


def _md5(path: Path) -> str:
    with path.open('rb') as source:
        return hashlib.file_digest(source, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
