"""What a run is, and the store that never loses or repeats one.

A result is one small JSON file, ``<root>/<experiment>/<key>.json``, written under another name and
then linked into place: a file is either whole or not there, and the first of two writers wins.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from nbkit import checks, paths

KEY = re.compile(r"[0-9a-f]{16}")
EXPERIMENTS = ("thresholds", "moons", "classification", "cifar", "segmentation", "transfer")


class StoreError(RuntimeError):
    """The results store cannot be read or written."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One training with one set of parameters and one seed: plain scalars and strings.

    Experiments subclass it, give every parameter a default, and set the class variables;
    ``version`` is raised by hand whenever the meaning of a parameter or a metric changes, which
    makes old results strangers. ``score_names`` are columns of a frame of runs, finished or not;
    ``free`` are the parameters in which the runs of one stack may differ.
    """

    experiment: ClassVar[str]
    version: ClassVar[int]
    score_names: ClassVar[tuple[str, ...]] = ()
    free: ClassVar[tuple[str, ...]] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (np.bool_, np.integer, np.float64)):  # a float32 of .3 is not .3
                value = value.item()
                object.__setattr__(self, field.name, value)
            if field.type not in (bool, int, float, str):
                raise ValueError(f"{field.name} is no plain scalar or string: {field.type}")
            if field.type is float and type(value) in (int, float):
                number = checks.finite(field.name, value)
                object.__setattr__(self, field.name, number + 0.0)  # -0.0 becomes 0.0, its equal
            elif type(value) is not field.type:
                raise ValueError(
                    f"{field.name} must be {field.type.__name__}, got {value!r} "
                    f"({type(value).__name__})"
                )
        checks.count("seed", self.seed, least=0)

    def data_fingerprint(self) -> str:
        """Return what identifies the data of the run."""
        raise NotImplementedError

    def check_data(self) -> None:
        """Raise RuntimeError unless the data are at hand; they are fetched if they can be."""

    def stack(self) -> tuple:
        """Return what runs must share to be trained as one stack."""
        return tuple(value for name, value in self.parameters.items() if name not in self.free)

    def checkpoints(self) -> tuple[str, ...]:
        """Return the names of the checkpoints of its trainings; its key names that of the last."""
        return (self.key,)

    @property
    def parameters(self) -> dict:
        """The parameters by name."""
        return dataclasses.asdict(self)

    @property
    def key(self) -> str:
        """16 hexadecimal digits: hash of experiment, version, data and parameters."""
        return _key(self.experiment, self.version, self.data_fingerprint(), self.parameters)


class Store:
    """Results on disk, one file a run.

    Parameters
    ----------
    root : path, optional
        ``data/results`` of the project by default.
    """

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root).expanduser() if root is not None else paths.results()

    def path(self, run: Run) -> Path:
        """Return the file of a run, there or not."""
        return self.root / run.experiment / f"{run.key}.json"

    def load(self, run: Run) -> dict | None:
        """Return the result of a run, or None if it has not been computed.

        A file that is not a result of this run (truncated, empty, foreign) is set aside with a
        warning that names it, so that the run is computed again.
        """
        return _read(self.path(run))

    def missing(self, runs: Iterable[Run]) -> list[Run]:
        """Return the runs without a result, each once, in their order."""
        return [run for run in dict.fromkeys(runs) if self.load(run) is None]

    def save(self, run: Run, result: dict) -> None:
        """Write the result of a run; does nothing if another writer was first.

        Parameters
        ----------
        result : dict
            ``metrics`` (criterion -> name -> number), ``curves``, and what else it has to tell.

        Raises
        ------
        ValueError
            If its metrics are no numbers by criterion, a number is not finite, or it says in
            ``data`` that it was trained on other data than the run's are now: nothing is stored.
        StoreError
            If the disk is full or the store cannot be written.
        """
        data = run.data_fingerprint()
        if result.get("data", data) != data:
            raise ValueError(
                f"trained on {result['data']}, and here the data are {data}: they were changed, or "
                "differ from machine to machine; nothing was stored, compute it again"
            )
        own = {"experiment": run.experiment, "version": run.version, "data": data}
        own["parameters"] = run.parameters
        record = own | _plain(result) | own
        if not _scored(record.get("metrics")):
            raise ValueError(f"the metrics of run {run.key} are no numbers by criterion")
        self._write(self.path(run), json.dumps(record, allow_nan=False) + "\n")
        _remove(self.error_path(run))

    def error_path(self, run: Run) -> Path:
        """Return the file that tells why a run failed, there or not."""
        return self.root / run.experiment / "errors" / f"{run.key}.txt"

    def save_error(self, run: Run, text: str) -> Path:
        """Keep the traceback of a failed run in a file of its own, and return its path."""
        path = self.error_path(run)
        _remove(path)
        parameters = "".join(f"{name} = {value!r}\n" for name, value in run.parameters.items())
        self._write(path, f"{run.experiment} {run.key}\n{parameters}\n{text}\n")
        return path

    def frame(self, which: str | Iterable[Run]) -> pd.DataFrame:
        """Return results as a tidy frame: one row a run and selection criterion.

        Parameters
        ----------
        which : str or iterable of Run
            An experiment (all results of its newest version), or the runs wanted.

        Returns
        -------
        DataFrame
            Columns ``key``, ``data`` (fingerprint of the data set), the parameters, ``criterion``,
            and the metrics; sorted by parameters.

        Raises
        ------
        StoreError
            If a wanted run has no result.
        ValueError
            For a name that is no experiment's, or a single run.
        """
        if isinstance(which, Run):
            raise ValueError("give an experiment's name or several runs; of one run: frame([run])")
        if isinstance(which, str):
            if not which.isidentifier() or not paths.there(self.root / which):
                checks.choice("experiment", which, EXPERIMENTS)
            found = list(self._records(which))
            newest = max((record["version"] for _, record in found), default=0)
            records = (one for one in found if one[1]["version"] == newest)
        else:
            records = ((run.key, self.load(run)) for run in dict.fromkeys(which))
        rows, names = [], {}
        for key, record in records:
            if record is None:
                raise StoreError(f"run {key} has no result in {self.root}: sweep.compute makes it")
            names |= record["parameters"]
            for criterion, metrics in record["metrics"].items():
                own = {"key": key, "data": record["data"], **record["parameters"]}
                rows.append(own | {"criterion": criterion, **metrics})
        if not rows:
            return pd.DataFrame(columns=["key", "data", "criterion"])
        return pd.DataFrame(rows).sort_values([*names], kind="stable", ignore_index=True)

    def grid_frame(self, grid: Mapping[tuple, Run], names: Sequence[str]) -> pd.DataFrame:
        """Return the scores of a grid of which some runs, or all, may not be finished.

        Parameters
        ----------
        grid : mapping
            Tuple -> Run; one run may stand under several keys.
        names : sequence of str
            A column for each part of the tuples.

        Returns
        -------
        DataFrame
            One row a run and selection criterion, in the order of the grid: the names, ``key``,
            ``device`` (with the precision if that is known, as "cpu bf16"), ``criterion``, and the
            scores. An unfinished run has one row, of criterion "last" and device "", without any.
        """
        rows = []
        for parts, run in grid.items():
            record = self.load(run) or {"metrics": {"last": {}}}
            device = record.get("provenance", {}).get("device", "")
            own = dict(zip(names, parts, strict=True)) | {"key": run.key}
            own["device"] = f"{device} {record.get('precision', '')}".strip()
            rows += [own | {"criterion": name} | one for name, one in record["metrics"].items()]
        found = pd.DataFrame(rows)
        scores = [name for run in grid.values() for name in run.score_names]
        first = [*names, "key", "device", "criterion", *scores]
        return found.reindex(columns=dict.fromkeys([*first, *found.columns]))

    def _records(self, experiment: str) -> Iterator[tuple[str, dict]]:
        for path in sorted((self.root / experiment).glob("*.json")):
            if KEY.fullmatch(path.stem) and (record := _read(path)) is not None:
                yield path.stem, record

    def _write(self, path: Path, text: str) -> None:
        try:
            with (
                paths.writing(path, keep=True) as partial,
                partial.open("w", encoding="utf-8", errors="backslashreplace") as file,
            ):
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _refused("write", path, error) from error


def check_writable(folder: Path, variable: str) -> None:
    """Raise StoreError if nothing can be written to a folder, which a variable can move.

    To be asked before hours of training, not after.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # permissions alone do not tell
    except OSError as error:
        raise _refused("write to", folder, error, variable) from error


def _key(experiment: str, version: int, data: str, parameters: dict) -> str:
    text = json.dumps([experiment, version, data, parameters], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> dict | None:
    """Return what a file holds if it is the result that its name says."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        key = _key(*(record[name] for name in ("experiment", "version", "data", "parameters")))
        whole = _scored(record["metrics"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(
            f"cannot read {path}: {error.strerror or error}; let it be read, or set NBKIT_RESULTS "
            "to another folder"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return _set_aside(path, f"it is not a result ({error.__class__.__name__}: {error})")
    if key != path.stem:
        return _set_aside(path, "it holds another run")
    return record if whole else _set_aside(path, "its metrics are no numbers by criterion")


def _scored(metrics: object) -> bool:
    """Whether these are numbers by name by criterion, and there are some."""
    if not isinstance(metrics, dict) or not metrics:
        return False
    scores = [one.values() if isinstance(one, dict) else () for one in metrics.values()]
    return all(one and {*map(type, one)} <= {int, float} for one in scores)


def _no_number(text: str) -> None:
    raise ValueError(f"it holds {text}")


def _set_aside(path: Path, reason: str) -> None:
    bad, number = path.with_name(f"{path.name}.bad"), 1
    while bad.exists():  # an earlier one may be what somebody still wants to look at
        bad, number = path.with_name(f"{path.name}.bad{number}"), number + 1
    try:
        path.replace(bad)
    except FileNotFoundError:
        pass  # another process was first
    except OSError as error:  # of a folder that may only be read, the others can be
        warnings.warn(f"{path}: {reason}; it cannot be set aside: {error}", stacklevel=4)
        return
    warnings.warn(f"{path}: {reason}; set aside as {bad.name}, to be computed again", stacklevel=4)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _refused("remove", path, error) from error


def _refused(verb: str, path: Path, error: OSError, variable: str = "NBKIT_RESULTS") -> StoreError:
    return StoreError(
        f"cannot {verb} {path}: {error.strerror or error}; free some space or set {variable} to a "
        "folder you can write to, and run the same command again: finished runs are kept"
    )


def _plain(value: object, name: str = "") -> object:
    """Return JSON types, floats rounded to 6 significant digits; a NaN is an error."""
    if isinstance(value, dict):
        return {str(key): _plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, name) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), name)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{name[1:]} is {value}, not a finite number: nothing was stored")
        return float(f"{value:.6g}")
    return value
