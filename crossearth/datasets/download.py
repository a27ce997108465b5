"""Files from the web: downloads that resume, are checked, and are unpacked safely."""

import contextlib
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from crossearth.archives import Download
from crossearth.errors import SceneError, WriteError
from crossearth.progress import progress_bar

__all__ = ['extract_zip', 'fetch', 'fetch_all']

_CHUNK = 1 << 20
_TIMEOUT_S = 60.0


def fetch_all(downloads: Sequence[Download], root: str | os.PathLike[str]) -> None:
    """Fetch and unpack what a root lacks; interrupted downloads are finished.

    Raises:
        SceneError: If a file cannot be fetched, is damaged, or is unsafe to unpack.
        WriteError: If the disk is full, or the root cannot be written to.
    """
    folder = Path(root)
    for download in downloads:
        kept = folder / download.name
        if not kept.exists():
            # an unpacked copy is enough, without the zip that it came from
            if (folder / download.makes).is_dir():
                continue
            fetch(download.url, kept, md5=download.md5)
            if not zipfile.is_zipfile(kept):
                kept.unlink()
                raise SceneError(
                    f'{download.url}: did not send a zip file; what it sent was removed: check '
                    f'whether the link still works, and put the file at {kept} by hand'
                )
        extract_zip(kept, folder)


def fetch(url: str, path: str | os.PathLike[str], *, md5: str | None = None) -> Path:
    """Download a file, with a progress bar.

    Received bytes are kept as `path.part`. The next call continues from there if the server allows
    it. The file appears under its final name only when complete and with the right checksum.

    Args:
        url: Address, http or https.
        path: File to write.
        md5: Expected checksum; None for no check.

    Returns:
        The file.

    Raises:
        SceneError: If the server cannot be reached or refuses, the connection breaks, the checksum
            differs, or another process is fetching the same file.
        WriteError: If the folder cannot be written to.
    """
    final = Path(path)
    part = final.with_name(f'{final.name}.part')
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise WriteError(f'{part}: cannot be written ({error}): choose another folder') from error
    with _alone(part):
        _fetch(url, part, final, md5)
    return final


def _fetch(url: str, part: Path, final: Path, md5: str | None) -> None:
    try:
        _receive(url, part)
    except (OSError, http.client.HTTPException) as error:
        raise SceneError(
            f'{url}: the download stopped ({error}); the part so far is kept in {part}: try again '
            'to continue'
        ) from error
    found = _md5(part) if md5 is not None else md5
    if found != md5:
        part.unlink()
        raise SceneError(
            f'{url}: has MD5 {found}, expected {md5}; the file was removed: fetch it again, or '
            'download it by hand from its page'
        )
    part.replace(final)


def extract_zip(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> None:
    """Unpack a zip file; nothing is written outside the folder, and no links are made.

    Every member is checked before the first is written. Files appear under their final names only
    when complete, and existing files of the right size are kept, so an interrupted run is finished.

    Raises:
        SceneError: If the file is not a zip file, is damaged or encrypted, or a member points
            outside the folder or is a link.
        WriteError: If the disk is full, or the folder cannot be written to.
    """
    root = Path(folder).resolve()
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            targets = {member.filename: _inside(path, root, member) for member in members}
            for member in progress_bar(members, desc=f'unpacking {Path(path).name}', unit='file'):
                target = targets[member.filename]
                if not (target.is_file() and target.stat().st_size == member.file_size):
                    _unpack(archive, member, target)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise SceneError(
            f'{os.fspath(path)}: is damaged ({error}); remove it and fetch it again'
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        raise SceneError(
            f'{os.fspath(path)}: cannot be unpacked ({error}); unpack it with another program'
        ) from error
    except OSError as error:
        raise WriteError(
            f'{os.fspath(path)}: cannot be unpacked into {root} ({error}); make room there, or '
            'choose another folder, and try again to continue'
        ) from error


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f'.{target.name}.{os.getpid()}')
    try:
        with archive.open(member) as source, beside.open('wb') as sink:
            while chunk := source.read(_CHUNK):
                sink.write(chunk)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Lock a file against other processes, where the system can."""
    try:
        import fcntl
    except ImportError:  # on Windows, two processes that fetch one file fail its checksum
        yield
        return
    with part.open('ab') as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SceneError(
                f'{part}: another process is fetching it: wait for that process'
            ) from error
        except OSError:
            pass  # the file system has no locks
        yield


def _receive(url: str, part: Path) -> None:
    done = part.stat().st_size
    request = urllib.request.Request(url, headers={'Range': f'bytes={done}-'} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if not done:
            part.unlink(missing_ok=True)
        if not done or error.code != 416:
            raise
        # Nothing is left to send: the file is complete already, or belongs to something else.
        whole = re.fullmatch(r'bytes \*/(\d+)', error.headers.get('Content-Range') or '')
        if whole is None or int(whole[1]) == done:
            return
        part.write_bytes(b'')
        _receive(url, part)
        return
    with response:
        # a server that ignores the range answers 200, and sends the file from its start
        start = done if response.status == 206 else 0
        sent = re.match(r'bytes (\d+)-', response.headers.get('Content-Range') or '')
        if response.status == 206 and sent is not None:
            start = int(sent[1])
        if start > done:
            raise OSError(f'the server sent bytes from {start}, expected from {done}')
        left = response.headers.get('Content-Length')
        total = None if left is None else int(left) + start
        got = start
        with (
            part.open('r+b') as sink,
            progress_bar(
                total=total, initial=got, unit='B', unit_scale=True, desc=part.stem
            ) as bar,
        ):
            sink.seek(start)
            sink.truncate()
            while chunk := response.read(_CHUNK):
                sink.write(chunk)
                got += len(chunk)
                bar.update(len(chunk))
    # reading in chunks ends without an error when the connection breaks
    if total is not None and got < total:
        raise OSError(f'the connection broke after {got} of {total} bytes')


def _inside(path: str | os.PathLike[str], root: Path, member: zipfile.ZipInfo) -> Path:
    # on Windows a backslash separates folders, too, and could hide `..`
    name = PurePosixPath(member.filename.replace('\\', '/'))
    target = (root / name).resolve()
    # the upper bits are the Unix mode, whose type 0o12 is a symbolic link
    is_link = member.external_attr >> 28 == 0o12
    # a colon names a drive, or a hidden stream of a file, on Windows
    inside = target.is_relative_to(root) and target != root and ':' not in name.parts[0]
    if name.is_absolute() or not inside or is_link:
        fault = 'is a link' if is_link else 'points outside the folder'
        raise SceneError(
            f'{os.fspath(path)}: its member {member.filename!r} {fault}; nothing was unpacked: do '
            'not trust this file'
        )
    return target


def _md5(path: Path) -> str:
    with path.open('rb') as source:
        # the publishers state MD5; it finds damage, and is not meant to stop an attacker
        return hashlib.file_digest(source, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
