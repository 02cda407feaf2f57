"""Where the study keeps its files, and how it writes one; environment variables move them."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "NBKIT_RESULTS": "data/results",
    "NBKIT_DATA": "data/cache",
    "NBKIT_RUNS": "runs",
    "NBKIT_FIGURES": "figures",
}
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


def results() -> Path:
    """Folder of the results store: ``NBKIT_RESULTS``, or data/results of the project."""
    return _folder("NBKIT_RESULTS")


def cache() -> Path:
    """Folder of downloaded data: ``NBKIT_DATA``, or data/cache of the project."""
    return _folder("NBKIT_DATA")


def runs() -> Path:
    """Folder of checkpoints and pages: ``NBKIT_RUNS``, or runs of the project."""
    return _folder("NBKIT_RUNS")


def checkpoint(name: str) -> Path:
    """File from which an interrupted training goes on; see ``runs.Run.checkpoints``."""
    return runs() / "checkpoints" / f"{name}.pt"


def exports() -> Path | None:
    """Folder to export figures and tables to, if ``NBKIT_FIGURES`` names one."""
    return _folder("NBKIT_FIGURES") if os.environ.get("NBKIT_FIGURES") else None


def environment() -> dict[str, str]:
    """Return the variables that are set, as a process in another folder must have them."""
    return {name: str(_folder(name)) for name in FOLDERS if os.environ.get(name)}


def there(path: Path) -> bool:
    """Whether a path exists and may be looked at; what may not be entered is as good as missing."""
    try:
        return path.exists()
    except OSError:
        return False


@contextlib.contextmanager
def writing(path: Path, *, keep: bool = False) -> Iterator[Path]:
    """Yield a name beside ``path`` to write to, which becomes ``path`` if all goes well.

    A reader finds a whole file or none. With ``keep``, a file that is there already stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        yield partial
        if not keep or not _linked(partial, path):
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # it must not hide why the writing failed
            partial.unlink()


@contextlib.contextmanager
def exporting(path: Path) -> Iterator[Path]:
    """As ``writing``, of a figure or a table; RuntimeError with the way out if it cannot be."""
    try:
        with writing(path) as partial:
            yield partial
    except OSError as error:
        raise RuntimeError(
            f"cannot write {path}: {error.strerror or error}; free some space or set NBKIT_FIGURES "
            "to a folder you can write to"
        ) from error


def _linked(partial: Path, path: Path) -> bool:
    """Link a file into place unless one is there; False where only a renaming can do it."""
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    except OSError as error:  # exFAT and some network folders have no links
        if error.errno not in NO_LINKS:
            raise
        return path.exists()
    return True


def _folder(variable: str) -> Path:
    """Absolute, so that notebooks, which run in folders of their own, mean the same one."""
    given = os.environ.get(variable)
    return Path(given).expanduser().absolute() if given else ROOT / FOLDERS[variable]
