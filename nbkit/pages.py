"""The study as web pages: executed notebooks, figures and tables, readable without a network."""

import html
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import nbformat
import pandas as pd
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from PIL import Image

from nbkit import notebooks, paths
from nbkit.notebooks import NotebookError
from nbkit.provenance import cores
from nbkit.runs import check_writable
from nbkit.sweep import pool_of

MATH = re.compile(r"(?<!\\)\$\$(.+?)\$\$|(?<!\\)\$((?:[^$\n]|\n(?!\n))+?)\$", re.S)
REMOTE = re.compile(r"<script[^>]*\bsrc=\"https?:[^>]*>\s*</script>")
LONG = 30  # rows of a table that fill a screen
LINKED = re.compile(r'(href="[^":]+)\.ipynb([#"])')

# the stock template leaves out the alternative text of a picture
TEMPLATE = """{% extends "lab/index.html.j2" %}
{% block data_png scoped %}
{%- set alt = output | get_metadata("alt", "image/png") -%}
{{ super() | replace("<img", '<img alt="%s"' | format(alt | escape_html), 1) if alt else super() }}
{%- endblock %}
"""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; }
table { border-collapse: collapse; font-size: 90%; margin: 1rem 0; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
h3 { margin-top: 2.5rem; } small { font-weight: normal; } img { max-width: 100%; }
details { overflow-x: auto; } summary { color: #555; cursor: pointer; }
"""


def study(
    preset: str,
    *,
    fresh: bool = False,
    device: str = "auto",
    engine: str = "processes",
    show: Callable[[str], None] = print,
) -> Path:
    """Execute every notebook at a preset and write the study's pages.

    Parameters
    ----------
    preset : str
        A preset of ``presets.toml``.
    fresh : bool
        Start from ``runs/<preset>/results``, emptied, instead of the committed results: moons,
        digits and thresholds are computed anew, and the tables of the longer sweeps stay empty.
    device, engine : str
        As in ``sweep.compute``.
    show : callable
        Takes the lines of progress.

    Returns
    -------
    path
        ``runs/<preset>/index.html``.

    Raises
    ------
    NotebookError
        At the end, if notebooks failed; the pages of the others are there. At once, if there is
        none.
    StoreError
        If nothing can be written to ``NBKIT_RUNS``.
    """
    check_writable(paths.runs(), "NBKIT_RUNS")
    folder = paths.runs() / preset
    shutil.rmtree(folder / "figures", ignore_errors=True)  # or the index would show old ones
    environment = {"NBKIT_FIGURES": str(folder / "figures")}
    todo, pages, failures, start = notebooks.study_notebooks(), [], [], time.monotonic()
    if not todo:
        raise NotebookError(f"{notebooks.FOLDER} holds no notebook: run it in a clone of the study")
    if fresh:
        environment["NBKIT_RESULTS"] = str(folder / "results")
        if (folder / "results").exists():
            shutil.rmtree(folder / "results")
    wanted = {"preset": preset, "device": device, "engine": engine, "interactive": False}
    # notebooks that compute use the cores themselves; those that only read share them
    workers = 1 if fresh else min(len(todo), cores())
    if workers > 1:  # side by side, threads of PyTorch would wait for those of the other notebook
        environment["OMP_NUM_THREADS"] = str(cores() // workers)
    solutions = sorted((notebooks.FOLDER / "solutions").glob("*.ipynb"))
    jobs = [(_page, path, folder / path.name, wanted, environment) for path in todo]
    # the exercises link to the solutions; as committed
    jobs += [(_solution, path, folder / "solutions" / path.name) for path in solutions]
    results = _done(jobs, workers)
    for number, (path, done) in enumerate(zip(todo, results, strict=False), 1):
        if isinstance(done, str):
            failures.append(done)
            show(f"[{number}/{len(todo)}] {path.stem:24} FAILED: {done}")
            continue
        pages.append(done)
        left = (time.monotonic() - start) / number * (len(todo) - number)
        show(f"[{number}/{len(todo)}] {path.stem:24} {done[1]:5.0f} s, about {left:.0f} s left")
    for path, failed in zip(solutions, results, strict=True):
        if failed:
            failures.append(failed)
            todo.append(path)
            show(f"FAILED: {failed}")
    index = write_index(folder, preset, pages)
    if failures:
        raise NotebookError(f"{len(failures)} of {len(todo)} notebooks failed: {failures[0]}")
    return index


def _done(jobs: list[tuple], workers: int) -> Iterator[tuple[Path, float] | str | None]:
    """Yield what each job returns, a function and what it is given, the notebook first.

    A job whose process died has one try on its own.
    """
    with pool_of(workers) as pool:
        futures = [pool.submit(*job) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:
                if len(jobs) > 1:
                    yield from _done([job], 1)
                else:
                    yield f"{job[1].name}: its process died, most likely killed for lack of memory"


def _page(
    path: Path, copy: Path, wanted: dict[str, object], environment: dict[str, str]
) -> tuple[Path, float] | str:
    """Execute a notebook; return its page and the seconds it took, or why it failed."""
    try:
        known = notebooks.parameters(path)
        given = {name: value for name, value in wanted.items() if name in known}
        seconds = notebooks.execute(path, copy, given, environment=environment)
        return export(copy), seconds
    except NotebookError as error:
        return str(error)
    except Exception as error:  # one bad page is no reason to lose the others
        return f"{path.name}: {type(error).__name__}: {error}"


def _solution(path: Path, copy: Path) -> str | None:
    """Write the page of a solution; return why it failed, if it did."""
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        export(Path(shutil.copyfile(path, copy)))
    except Exception as error:  # as above
        return f"solutions/{path.name}: {type(error).__name__}: {error}"
    return None


def export(path: Path) -> Path:
    """Write an executed notebook as one HTML page beside it, and return the page's path."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = MATH.sub(_mathml, cell.source)
    exporter = HTMLExporter(raw_template=TEMPLATE, exclude_input_prompt=True)
    exporter.exclude_output_prompt = True
    exporter.mathjax_url = exporter.require_js_url = exporter.mermaid_js_url = ""
    body, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    page = path.with_suffix(".html")
    page.write_text(LINKED.sub(r"\1.html\2", REMOTE.sub("", body)), encoding="utf-8")
    return page


def write_index(folder: Path, preset: str, pages: list[tuple[Path, float]]) -> Path:
    """Write the page that leads to the notebooks' pages, and shows all figures and tables."""
    parts = [f"<h1>What label noise does to learning: preset {html.escape(preset)}</h1>"]
    items = "".join(
        f'<li><a href="{page.name}">{_title(page)}</a> ({seconds:.0f} s)</li>'
        for page, seconds in pages
    )
    parts.append(f"<h2>Notebooks</h2><ul>{items}</ul><h2>Figures and tables</h2>")
    shown = (path for kind in ("png", "csv") for path in folder.glob(f"figures/*.{kind}"))
    names = sorted({path.stem for path in shown})
    jumps = " · ".join(f'<a href="#{name}">{name}</a>' for name in names)
    parts.append(f"<p>{jumps}</p>")
    parts.extend(_entry(folder / "figures", name) for name in names)
    index = folder / "index.html"
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>Label noise: {html.escape(preset)}</title><style>{STYLE}</style>"
        f"<body>{''.join(parts)}</body></html>\n",
        encoding="utf-8",
    )
    return index


def _entry(folder: Path, name: str) -> str:
    """Return a figure, and the table of the same name: folded if a figure shows it, or if long."""
    kinds = [kind for kind in ("svg", "csv") if (folder / f"{name}.{kind}").exists()]
    links = ", ".join(f'<a href="figures/{name}.{kind}">{kind.upper()}</a>' for kind in kinds)
    entry = f'<h3 id="{name}">{name} <small>({links})</small></h3>'
    drawn = (folder / f"{name}.png").exists()
    if drawn:
        with Image.open(folder / f"{name}.png") as picture:
            alt = html.escape(picture.info.get("Title", name))
        entry += f'<img src="figures/{name}.png" alt="{alt}">'
    if "csv" in kinds:
        table = pd.read_csv(folder / f"{name}.csv", dtype=str).fillna("")
        state = "" if drawn or len(table) > LONG else " open"
        entry += f"<details{state}><summary>Table, {len(table)} rows</summary>"
        entry += table.to_html(index=False, border=0) + "</details>"
    return entry


def _mathml(match: re.Match) -> str:
    block, inline = match.groups()
    try:
        return convert(block or inline, display="block" if block else "inline")
    except Exception:  # of many kinds; what is no formula may still be read as text
        return match[0]


def _title(page: Path) -> str:
    notebook = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
    heading = next(
        (c.source for c in notebook.cells if c.source.startswith("# ")), f"# {page.stem}"
    )
    return html.escape(heading.splitlines()[0].removeprefix("# "))
