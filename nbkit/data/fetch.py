"""Get an archive: from several mirrors, resumed where it broke off, verified before it counts."""

import contextlib
import hashlib
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from filelock import FileLock

ATTEMPTS = 2  # at each mirror: the second resumes a broken transfer, or starts a spoilt one again
TIMEOUT = 30  # seconds without a byte
EMBEDDED = "or work with embedded data instead: dataset='digits', or 'scenes' for segmentation"


class DataError(RuntimeError):
    """A data set is missing, broken, or not what it claims to be; the message tells the way out."""


@dataclass(frozen=True)
class Archive:
    """A file that is published at several addresses.

    Attributes
    ----------
    file : str
        Its name.
    sha256 : str
        64 hexadecimal digits; a file with another sum is never used.
    mirrors : tuple of str
        Addresses, in the order in which they are tried.
    instead : str
        What can be done without it; ends an error.
    """

    file: str
    sha256: str
    mirrors: tuple[str, ...]
    instead: str = EMBEDDED


def download(archive: Archive, folder: Path, *, show: Callable[[str], None] | None = None) -> Path:
    """Return the path of an archive in ``folder``, downloading it if it is not there.

    The transfer goes to ``<file>.part``, which the next attempt continues (HTTP Range), at this
    mirror or another; it gets its name once its SHA-256 is right. A mirror that cannot continue it
    replaces it only by the whole, right file.

    Parameters
    ----------
    archive : Archive
    folder : path
        Made if need be.
    show : callable, optional
        Takes a line of progress.

    Raises
    ------
    DataError
        If no mirror gave the right file, or a file of that name is another one; at once if the
        folder cannot be written to, or the disk is full.
    """
    path = Path(folder) / archive.file
    partial = path.with_name(f"{path.name}.part")
    with writable(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    if path.exists():
        partial.unlink()
        flaw = _flaw(path, archive)
        if flaw is not None:
            raise DataError(f"{path} is {flaw}; delete it and fetch it again, {archive.instead}")
        return path
    if partial.stat().st_size and _flaw(partial, archive) is None:  # killed before it got its name
        partial.replace(path)
        return path
    problems, whole = [], path.with_name(f"{path.name}.whole")
    whole.unlink(missing_ok=True)  # of a killed process
    for mirror in (mirror for mirror in archive.mirrors for _ in range(ATTEMPTS)):
        if show is not None:
            show(f"downloading {mirror}")
        try:
            sent = _transfer(mirror, partial, whole)
            flaw = _flaw(sent, archive)
            if flaw is None:
                sent.replace(path)
                partial.unlink(missing_ok=True)
                return path
            problems.append(f"{mirror}: sent {flaw}")
            sent.write_bytes(b"")
        except (OSError, HTTPException, ValueError) as error:
            problems.append(f"{mirror}: {error}")
        finally:
            whole.unlink(missing_ok=True)
    reasons = "\n  ".join(dict.fromkeys(problems))
    raise DataError(
        f"{archive.file} could not be downloaded:\n  {reasons}\n"
        f"Run the same command again to resume; or put the file at {path} by hand "
        f"(SHA-256 {archive.sha256}) and run it again; {archive.instead}"
    )


def unpack(path: Path, folder: Path) -> None:
    """Unpack a tar archive, refusing members that would leave ``folder``.

    Raises
    ------
    DataError
        If the archive is truncated or unsafe, or the disk is full.
    """
    try:
        with writable(folder), tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        message = f"{path} cannot be unpacked ({error}); delete it and fetch it again"
        raise DataError(message) from error


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from making the same folder at the same time; they wait.

    Raises
    ------
    DataError
        If the folder is a link to nowhere, or the one that holds it cannot be written to.
    """
    with writable(folder.parent):
        if folder.is_symlink() and not folder.exists():
            raise DataError(
                f"{folder} is a link to {folder.readlink()}, which is not there: mount it, "
                "or delete the link"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder.with_name(f"{folder.name}.lock")).acquire()
    with held:
        yield


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``folder`` if, and only if, all goes well.

    Whoever calls it must be ``alone``: what a killed process left of the same folder is deleted.
    """
    for stale in folder.parent.glob(f"{folder.name}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    with writable(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(".tmp", f"{folder.name}.", folder.parent))
        partial.chmod(0o755)
    try:
        yield partial
        with writable(folder.parent):
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn a refusal of the file system into a DataError that names the folder."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error.strerror or error}); set NBKIT_DATA to a folder "
            f"that you can write to, {EMBEDDED}"
        ) from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flaw(path: Path, archive: Archive) -> str | None:
    """Return what a file is instead of the archive, or None."""
    found = sha256(path)
    if found == archive.sha256:
        return None
    with path.open("rb") as file:
        kind = "a page of HTML" if file.read(256).lstrip().startswith(b"<") else "another file"
    return f"{kind}, SHA-256 {found} instead of {archive.sha256}"


def _transfer(mirror: str, partial: Path, whole: Path) -> Path:
    """Continue a part, or fill ``whole`` where a mirror cannot: its page must not replace the part.

    Returns the file that holds what was sent.
    """
    start = partial.stat().st_size
    headers = {"User-Agent": "nbkit"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(mirror, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing beyond what is there: whole, or longer than the real one
            return partial
        raise
    with answer:
        sent = partial if not start or answer.status == 206 else whole
        _append(answer, sent)
    return sent


def _append(answer: HTTPResponse, path: Path) -> None:
    """Append an answer to a file; OSError of the network, DataError of the file system."""
    got, chunk = 0, None
    while chunk != b"":
        chunk = answer.read(1 << 20)
        with writable(path.parent), path.open("ab") as file:
            got += file.write(chunk)
    announced = answer.headers["Content-Length"]
    if announced is not None and got != int(announced):
        raise OSError(f"the connection ended after {got:,} of {int(announced):,} bytes")
