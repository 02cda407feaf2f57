"""What the documents promise: README, environment, lock, citation, doctests."""

import doctest
import importlib
import os
import re
import shlex
import shutil
import subprocess
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name as canonical

from nbkit import losses, tables
from nbkit.runs import Store

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "nbkit").rglob("*.py")
)


def direct_dependencies() -> set[str]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return {re.match(r"[\w-]+", line)[0] for group in groups for line in group}


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples_in_docstrings():
    examples = [doctest.DocTestFinder().find(importlib.import_module(name)) for name in MODULES]
    assert sum(bool(test.examples) for found in examples for test in found) >= 3


@pytest.mark.parametrize(
    "text", ["make study", "make test", "papermill notebooks/", "NBKIT_RESULTS"]
)
def test_readme_shows_the_commands(text):
    assert text in README


def test_readme_s_own_loss_is_trained(sandbox):
    (example,) = re.findall(r"  ```python\n(.*?class Brier.*?)  ```", README, re.S)
    known = dict(losses.LOSSES)
    try:
        exec(textwrap.dedent(example), {})
    finally:
        losses.LOSSES.clear()
        losses.LOSSES.update(known)
    (accuracy,) = Store().frame("classification").query("criterion == 'last'")["accuracy"]
    assert accuracy > 0.6


def test_readme_names_every_notebook():
    names = [path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")]
    assert names
    assert all(f"notebooks/{name}.ipynb" in README for name in names)


def test_readme_gives_a_reason_for_every_dependency():
    rows = re.findall(r"^\| ([\w, -]+) \| \w.+ \|$", README.split("## Dependencies")[1], re.M)
    explained = {name for row in rows for name in row.split(", ")}
    assert direct_dependencies() <= explained


def test_relative_links_resolve():
    links = set(re.findall(r"\]\(([^)#:]+)\)", README))
    assert links > {"data/README.md", "CITATION.cff", "figures/claims.png"}
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_tables_are_the_exported_ones():
    named = set(re.findall(r"<!-- table: (\w+) -->", README))
    assert named > {"table2_cifar_finished", "table3_pets3", "hypothesis", "moons_sweep"}
    assert tables.fill(README) == README


@pytest.mark.skipif(
    not ((ROOT / ".git").exists() and shutil.which("git")), reason="needs a clone and git"
)
def test_the_course_archive_holds_all_but_the_answers(tmp_path):
    place = tmp_path / "course.zip"
    command = re.search(r"^git archive .+", README, re.M)[0].replace(place.name, str(place))
    subprocess.run(shlex.split(command), cwd=ROOT, check=True)
    listed = ["git", "ls-tree", "-r", "--name-only", "HEAD"]
    committed = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    answers = ("notebooks/solutions/", "notebooks/src/", "tests/")
    wanted = {name for name in committed.splitlines() if not name.startswith(answers)}
    held = zipfile.ZipFile(place).namelist()
    assert {name for name in held if not name.endswith("/")} == wanted  # the others are folders


def test_readme_names_every_command_that_the_course_archive_lacks():
    recipes = re.findall(r"^([a-z-]+):.*\n((?:\t.+\n)+)", MAKEFILE, re.M)
    lacking = {name for name, recipe in recipes if re.search("tests/|pytest|--refresh", recipe)}
    said = re.search(r"hold the answers too, so (.+?) need the whole clone", README, re.S)[1]
    assert set(re.findall(r"`make ([a-z-]+)`", said)) == lacking


def test_environment_installs_exactly_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(item["pip"] for item in environment["dependencies"] if isinstance(item, dict))
    assert pip == ["-r requirements.lock", "-e ."]
    assert "pytorch" not in environment["channels"]


def test_environment_has_a_python_that_the_package_takes():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = [
        Requirement(item)
        for item in environment["dependencies"]
        if isinstance(item, str) and item.startswith("python")
    ]
    (least,) = [each.version for each in python.specifier if each.operator == ">="]
    assert SpecifierSet(PROJECT["requires-python"]).contains(least)


def test_lock_pins_what_the_package_allows():
    pins = [Requirement(line) for line in LOCK if line and not line.startswith("#")]
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for needed in map(Requirement, group):
            versions = [
                pin.specifier for pin in pins if canonical(pin.name) == canonical(needed.name)
            ]
            assert versions, f"{needed.name} is not pinned"
            for version in versions:
                assert needed.specifier.contains(next(iter(version)).version)


def test_lock_names_no_place():
    assert [line for line in LOCK if re.search(r"://|^-|^\.|@", line)] == []


def test_lock_pins_every_dependency():
    assert all(re.match(r"^[\w.-]+==[\w.+!-]+( ;.*)?$", line) for line in LOCK if line)


def test_make_help_lists_every_target():
    targets = re.search(r"\.PHONY: (.+)", MAKEFILE)[1].split()
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    ).stdout
    assert [target for target in targets if f"make {target}" not in shown] == []


def test_citation_is_complete():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "title", "authors", "version", "license"} <= set(citation)
    assert citation["version"] == PROJECT["version"]


def test_ci_runs_what_the_readme_says():
    commands = [
        line for line in (ROOT / ".ci/run").read_text().splitlines() if line and line[0] not in "#"
    ]
    assert commands == ["set -eu", 'cd "$(dirname "$0")/.."', "make test"]
