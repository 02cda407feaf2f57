"""The house: imports in one direction, small modules, documented names, a bare top level."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nbkit"
README = (ROOT / "README.md").read_text()

# the README's map of nbkit: a module imports only from the lines above its own, or its own folder
TABLE = README.split("| in `nbkit/` | what |\n")[1].split("\n\n")[0]
MAP = [re.findall(r"`(\w+/?)`", names) for names in re.findall(r"^\| (`.+?) \|", TABLE, re.M)]
LAYERS = [{"__init__"}, *({name.strip("/") for name in line} for line in MAP), {"__main__"}]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def part(path: Path) -> str:
    """The layer's name of a module: its package, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere, functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """The parts of nbkit that a file imports."""
    names = {name.split(".")[1] for name in imported(path) if name.startswith("nbkit.")}
    return {name for name in names if name in LEVEL}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path):
    own = part(path)
    later = {name for name in own_imports(path) - {own} if LEVEL[name] >= LEVEL[own]}
    assert not later, f"{own} imports {sorted(later)}, which stand beside or after it"


def test_the_map_names_every_module_and_folder_once():
    found = {part(path) + "/" * (path.parent != PACKAGE) for path in MODULES}
    named = [name for line in MAP for name in line]
    assert sorted(named) == sorted(found - {"__init__", "__main__"})


def test_no_modules_import_each_other_in_a_circle():
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in MODULES
    }
    graph = {}
    for name, path in names.items():
        found = imported(path) & set(names)
        packages = {other.rpartition(".")[0] for other in found}  # named on the way to a module
        graph[name] = found - packages - {name}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


CORE = [path for path in MODULES if LEVEL.get(part(path), 0) <= LEVEL["sweep"]]
ALLOWED = {"torch", "numpy", "pandas", "sklearn", "scipy", "PIL", "filelock", "dask", "nbkit"}


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_needs_no_notebook_package(path):
    needed = {name.split(".")[0] for name in imported(path)}
    assert needed - ALLOWED <= sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_small(path):
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_names_are_documented(path):
    tree = ast.parse(path.read_text())
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
    ]
    assert ast.get_docstring(tree), "the module has no docstring"
    assert not bare


def test_the_top_level_holds_what_the_map_says():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    top = {line.split("/")[0] for line in listed.splitlines()}
    folders = {"notebooks", "nbkit", "data", "figures", "tests"}
    files = {"README.md", "environment.yml", "pyproject.toml", "requirements.lock", "Makefile"}
    assert {name for name in top if not name.startswith(".")} <= folders | files | {
        "LICENSE",
        "CITATION.cff",
    }
