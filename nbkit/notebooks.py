"""Build, check and execute the notebooks; papermill does the executing.

A notebook has one source, ``notebooks/src/NAME.py`` (jupytext percent format). From it come the
notebook that readers open, with empty exercises, and its twin in ``notebooks/solutions/``.
"""

import ast
import logging
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jupytext
import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError

from nbkit import paths, tables

FOLDER = paths.ROOT / "notebooks"
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
SOLUTION = re.compile(r"^( *)# BEGIN SOLUTION\n.*?^ *# END SOLUTION\n?", re.M | re.S)
HERE = "...  # your code here\n"
MARKERS = re.compile(r"^ *# (BEGIN|END) SOLUTION\n", re.M)
ENGINE = "nbkit"  # papermill's name for the engine below
SAVED_EVERY = 5  # seconds


class NotebookError(RuntimeError):
    """A notebook cannot be run, or failed; the message is one line."""


def study_notebooks() -> list[Path]:
    """Return the notebooks of the study in reading order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))


def parameters(path: Path | str) -> dict[str, object]:
    """Return the parameters of a notebook with their defaults.

    Raises
    ------
    NotebookError
        If the notebook cannot be read, has no cell tagged ``parameters``, or one that holds more
        than plain values.
    """
    path = Path(path)
    try:
        notebook = nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise NotebookError(f"{path}: no such notebook") from None
    except Exception as error:
        raise NotebookError(f"{path.name}: not a notebook ({type(error).__name__})") from error
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            return _assignments(path.name, cell.source)
    raise NotebookError(f"{path.name}: no cell is tagged 'parameters', so none can be set")


def check_parameters(path: Path | str, given: Mapping[str, object]) -> dict[str, object]:
    """Return the given parameters, refusing what papermill would pass on silently.

    Raises
    ------
    NotebookError
        For a name the notebook does not have, a value of another type than the default (a whole
        number may stand for a float), or a number that is not finite. One line; it names the
        notebook and the parameter.
    """
    path = Path(path)
    known = parameters(path)
    checked = {}
    for name, value in given.items():
        where = f"{path.name}: parameter {name}"
        if name not in known:
            raise NotebookError(f"{where} is unknown; there is {', '.join(known)}")
        wanted = type(known[name])
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise NotebookError(
                f"{where} must be {wanted.__name__}, got {value!r} ({type(value).__name__})"
            )
        if wanted is float and not math.isfinite(value):
            raise NotebookError(f"{where} must be a finite number, got {value!r}")
        checked[name] = value
    return checked


def _check_output(path: Path, output: Path) -> None:
    if output.resolve() == path.resolve():
        raise NotebookError(f"{output} would be overwritten: name another file for the copy")
    if output.is_dir():
        raise NotebookError(f"{output} is a folder: name the file of the executed copy")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        reason = error.strerror or error
        raise NotebookError(f"cannot write to {output.parent} ({reason}): name another") from error


def execute(
    path: Path | str,
    output: Path | str,
    given: Mapping[str, object] | None = None,
    *,
    cell_seconds: int = 3600,
    environment: Mapping[str, str | None] | None = None,
) -> float:
    """Execute a notebook headlessly and keep the executed copy, whether it succeeds or not.

    Parameters
    ----------
    path, output : path
        The notebook, and where its executed copy goes.
    given : mapping, optional
        Parameters to set; JSON scalars of the type of the default.
    cell_seconds : int
        Time limit of a cell.
    environment : mapping, optional
        Variables for the kernel; None for one that is not to be set.

    Returns
    -------
    float
        The seconds it took.

    Raises
    ------
    NotebookError
        One line: what failed, in which cell, and where the executed copy is.
    """
    path, output = Path(path), Path(output)
    checked = check_parameters(path, given or {})
    _check_output(path, output)
    start = time.monotonic()
    settings = {"NBKIT_INTERACTIVE": "0", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    variables = {**os.environ, **settings, **paths.environment(), **(environment or {})}
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="nbkit-") as folder:
            papermill_engines.register(ENGINE, _SparingEngine)
            papermill.execute_notebook(
                str(path),
                str(output),
                parameters=checked,
                engine_name=ENGINE,
                kernel_name=KERNEL["name"],
                language=KERNEL["language"],
                kernel_manager_class=_kernel_manager(folder, variables),
                progress_bar=False,
                execution_timeout=cell_seconds,
                start_timeout=120,
                autosave_cell_every=0,
                coalesce_streams=True,  # the kernel cuts what is printed at random
                shutdown_kernel="immediate",  # PyTorch needs seconds to leave by itself
                cwd=str(output.parent),
            )
    except PapermillExecutionError as error:
        raise _failed(path, output, f"raised {error.ename}: {error.evalue}") from error
    except CellTimeoutError as error:
        raise _failed(path, output, f"took longer than {cell_seconds} s") from error
    except DeadKernelError as error:
        reason = "killed its kernel, most likely for lack of memory"
        raise _failed(path, output, reason) from error
    except (NoSuchKernel, RuntimeError, OSError) as error:
        reason = f"no kernel, or no room for its copy: {_line(error)}"
        raise NotebookError(f"{path.name}: cannot be run: {reason}") from error
    _tidy(output)
    return time.monotonic() - start


class _SparingEngine(NBClientEngine):
    """papermill's engine, which saves the copy every few seconds, not twice a cell.

    Of a long notebook the copy is long too, and saving it took a tenth of the time.
    """

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: NotebookExecutionManager, kernel_name: str, **options: object
    ) -> None:
        save = nb_man.save

        def save_at_times() -> None:
            if (nb_man.now() - nb_man.last_save_time).total_seconds() >= SAVED_EVERY:
                save()

        nb_man.save = save_at_times
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **options)
        finally:
            nb_man.save = save  # papermill calls it once more, however this ended


def _kernel_manager(folder: str, variables: Mapping[str, str | None]) -> type[AsyncKernelManager]:
    """Return a manager that talks to its kernel through files in a folder, not open TCP ports.

    Kernels that start side by side in one folder would take each other's sockets. A variable of the
    environment that is None is not set.
    """
    known = {name: value for name, value in variables.items() if value is not None}

    class LocalKernelManager(AsyncKernelManager):
        transport = "tcp" if sys.platform == "win32" else "ipc"

        def __init__(self, **options: object):
            super().__init__(**options)
            self.connection_file = str(Path(folder, "kernel.json"))

        async def start_kernel(self, **options: object) -> None:
            await super().start_kernel(**options | {"env": known})

    return LocalKernelManager


def build(source: Path) -> tuple[nbformat.NotebookNode, nbformat.NotebookNode | None]:
    """Return the notebook of a source and, if it has exercises, its solutions.

    In a cell tagged ``exercise``, lines between ``# BEGIN SOLUTION`` and ``# END SOLUTION`` become
    ``...`` for the reader, and after an ``answer = None`` nothing. The solutions hold the title,
    the cells tagged ``parameters`` and ``setup``, and everything from the cell tagged ``exercises``
    on.
    """
    whole = jupytext.read(source, fmt="py:percent")
    reader, solved = [], []
    in_exercises = False
    for position, cell in enumerate(whole.cells):
        cell.metadata = {"tags": cell.metadata.get("tags", [])} if "tags" in cell.metadata else {}
        cell.id = f"{source.stem[:2]}-{position:02d}"
        tags = cell.metadata.get("tags", [])
        in_exercises |= "exercises" in tags
        blank, filled = nbformat.from_dict(cell), nbformat.from_dict(cell)
        if "exercise" in tags:
            blank.source = SOLUTION.sub(rf"\1{HERE}", cell.source + "\n").rstrip()
            blank.source = blank.source.replace(f"= None\n{HERE}", "= None  # your code here\n")
            filled.source = MARKERS.sub("", cell.source + "\n").rstrip()
        filled.source = filled.source.replace("](solutions/", "](")  # it lies there itself
        reader.append(blank)
        if in_exercises or position == 0 or {"parameters", "setup"} & set(tags):
            solved.append(filled)
    return _notebook(reader), _notebook(solved) if in_exercises else None


def refresh() -> Iterator[str]:
    """Rebuild every notebook from its source, execute it on the committed results, and save it.

    Figures and tables are exported to ``figures/``, and the tables of README.md are renewed from
    them, whatever NBKIT_RESULTS and NBKIT_FIGURES say. Yields a line a notebook.
    """
    own = {"NBKIT_RESULTS": None, "NBKIT_FIGURES": None}
    for source in sorted((FOLDER / "src").glob("*.py")):
        reader, solved = build(source)
        targets = [(FOLDER / f"{source.stem}.ipynb", reader)]
        if solved is not None:
            targets.append((FOLDER / "solutions" / f"{source.stem}.ipynb", solved))
        for target, notebook in targets:
            target.parent.mkdir(exist_ok=True)
            draft = paths.runs() / "refresh" / target.relative_to(FOLDER)
            draft.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, draft)
            figures = {"NBKIT_FIGURES": str(paths.ROOT / "figures")}
            exports = own | (figures if target.parent == FOLDER else {})
            copy = draft.with_suffix(".out.ipynb")
            seconds = execute(draft, copy, environment=exports)
            executed = nbformat.read(copy, as_version=4)
            for cell in executed.cells:
                cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
            executed.metadata = notebook.metadata
            nbformat.write(executed, target)
            yield f"{target.relative_to(paths.ROOT)}: {seconds:.0f} s"
    readme = paths.ROOT / "README.md"
    filled = tables.fill(readme.read_text(encoding="utf-8"))
    with paths.writing(readme) as partial:
        partial.write_text(filled, encoding="utf-8")


def _notebook(cells: list) -> nbformat.NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata = {"kernelspec": dict(KERNEL), "language_info": {"name": "python"}}
    notebook.nbformat_minor = 5
    return notebook


def _assignments(where: str, source: str) -> dict[str, object]:
    where = f"{where}: line"
    try:
        nodes = ast.parse(source).body
    except SyntaxError as error:
        reason = f"{where} {error.lineno} of the cell 'parameters' is no Python: {error.msg}"
        raise NotebookError(reason) from error
    found = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError as error:
                line = f"{node.lineno} of the cell 'parameters', `{ast.unparse(node)}`"
                raise NotebookError(f"{where} {line}, gives no plain value") from error
    return found


def _tidy(output: Path) -> None:
    """Name the kernel a reader has, and drop widget state that viewers choke on."""
    notebook = nbformat.read(output, as_version=4)
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, output)


def _failed(path: Path, output: Path, reason: str) -> NotebookError:
    _tidy(output)
    line = f"cell {_last_started(output)} {_line(reason)}"
    return NotebookError(f"{path.name}: {line} [executed copy: {output}]")


def _last_started(output: Path) -> int:
    """Return the cell that an executed copy stopped at, counted from 1 as in its notebook."""
    added = {"injected-parameters", "papermill-error-cell-tag"}
    cells = nbformat.read(output, as_version=4).cells
    own = [cell for cell in cells if not added & set(cell.metadata.get("tags", []))]
    started = [cell.metadata.get("papermill", {}).get("start_time") for cell in own]
    return max(number for number, start in enumerate(started, 1) if start)


def _line(reason: object) -> str:
    return " ".join(str(reason).split())
