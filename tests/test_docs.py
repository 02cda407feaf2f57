"""What the documents promise: README, environment, lock, citation, doctests."""

import doctest
import importlib
import os
import re
import subprocess
import textwrap
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name as canonical

from nbkit import losses, tables
from nbkit.experiments import cifar
from nbkit.runs import Store

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
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


CIFAR, LESS, PETS = "extended_cifar", "dropout_cifar_paper", "table3_pets3"
RIVALS = [(row, score) for score in ("accuracy", "f1") for row in ("Exponential", "Weighted")]
PROSE = [  # where, the words, and the cell of each number: table, row, column, digits or "%"
    (
        "README.md",
        "cross-entropy falls from {} to {}, and class weights bring it to {}.",
        [(CIFAR, row, "accuracy", 3) for row in ("Complete", "CrossEntropy", "Weighted")],
    ),
    (
        "README.md",
        "handwritten digits ({} against {}; cross-entropy {}; ten seeds), but not on CIFAR ({}).",
        [
            *(
                ("table2_digits_draft", row, "accuracy", 3)
                for row in ("Exponential", "Weighted", "CrossEntropy")
            ),
            (CIFAR, "Exponential", "accuracy", 3),
        ],
    ),
    (
        "README.md",
        "class weights on CIFAR:** {} against {}, at full size {} against {}.",
        [
            (table, row, "accuracy", 3)
            for table in (CIFAR, "table2_cifar_paper")
            for row in ("Exponential, r = 1", "Weighted")
        ],
    ),
    (
        "README.md",
        "with weights {} becomes {} at dropout .1, not told apart from class weights ({}); "
        "without, {}, it leads them",
        [
            ("table2_cifar_paper", "Exponential", "accuracy", 3),
            *(
                (LESS, f"{row}, 0.1", "accuracy", 3)
                for row in ("Exponential", "Weighted", "Exponential, r = 1")
            ),
        ],
    ),
    (
        "README.md",
        "labels without names add {} mean IU, random names {}, clean ones {} (12 pairs)",
        [
            ("table1_differences_scenes", row, "difference", 3)
            for row in ("PixelObjectness", "RandomCategory", "CompleteCategory")
        ],
    ),
    (
        "README.md",
        "even from clean labels** (-{}, 95 % interval",
        [("table1_differences_msrc", "CompleteCategory", "difference", -3)],
    ),
    (
        "README.md",
        "the exponential loss finds {} of the positives",
        [(CIFAR, "Exponential", "detection_recall", "%")],
    ),
    (
        "README.md",
        "hard bootstrapping has the same threshold and finds {}",
        [(CIFAR, "BootstrapHard", "detection_recall", "%")],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "with balanced weights, it is beside CrossEntropy ({} and {})",
        [(CIFAR, "Exponential", "accuracy", 3), (CIFAR, "CrossEntropy", "accuracy", 3)],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "BootstrapHard and Weighted ({} and {})",
        [(CIFAR, "BootstrapHard", "accuracy", 3), (CIFAR, "Weighted", "accuracy", 3)],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "finds {} of the positives at a precision of only {}",
        [(CIFAR, "Exponential", f"detection_{kind}", 2) for kind in ("recall", "precision")],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "With {} it leaves CrossEntropy behind ({}, the draft's .64), but not Weighted and "
        "BootstrapHard ({} and {})",
        [
            ("table2_cifar_paper", row, "accuracy", 3)
            for row in ("Exponential", "CrossEntropy", "Weighted", "BootstrapHard")
        ],
    ),
    (
        "README.md",
        "above cross-entropy ({} against {}; told apart)",
        [("table2_cifar_paper", row, "accuracy", 3) for row in ("Exponential", "CrossEntropy")],
    ),
    (
        "notebooks/src/00_overview.py",
        "({} with complete masks, {} with half of the objects missing)",
        [(PETS, row, "mean_iu", 2) for row in ("Complete", "CrossEntropy")],
    ),
    (
        "notebooks/src/00_overview.py",
        "class weights win most of it back ({})",
        [(PETS, "Weighted", "mean_iu", 2)],
    ),
    (
        "notebooks/src/06_transfer.py",
        "({} at 90 %, against {}), misclassified ones cost less and level off at {}",
        [
            ("rates_scenes", "missing", "0.9", 3),
            ("missing_scenes", "FromScratch", "mean", 3),
            ("rates_scenes", "misclassified", "0.9", 3),
        ],
    ),
    (
        "README.md",
        "lower on these folds ({})",
        [("table1_differences_msrc", "ImageLabels", "difference", 3)],
    ),
    (
        "README.md",
        "With a threshold of one half Exponential (*Bayes r*) reaches {} instead of {}, and "
        "Forward and Backward correction {} and {}",
        [
            ("extended_cifar", row, "accuracy", 3)
            for row in ("Exponential, Bayes r", "Exponential", "Forward", "Backward")
        ],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "Exponential finds {} of the positives, Weighted, half {} and BootstrapHard {}",
        [
            ("extended_cifar", row, "detection_recall", 3)
            for row in ("Exponential", "Weighted, half", "BootstrapHard")
        ],
    ),
    (
        "README.md",
        "nnPU and Dist-PU reach {} and {}, VPU {}; class weights at their Bayes ratio {}.",
        [
            ("vehicles_cifar", row, "last epoch", 3)
            for row in ("nnPU, fade-in", "Dist-PU, fade-in", "VPU, fade-in", "Weighted, Bayes r")
        ],
    ),
    *(
        (
            where,
            words,
            [
                ("vehicles_cifar", "VPU, fade-in", f"last epoch{cut}", 3)
                for cut in (", VPU's cut", "")
            ],
        )
        for where, words in (
            ("README.md", "at half of its largest output, reaches {} instead of {}."),
            ("notebooks/src/04_pu_tables.py", "cut so (last column), it reaches {} instead of {}."),
        )
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "(The fp32 seeds of Complete alone deviate by .0009, less than its {}, its bf16 seeds by",
        [("precision_cifar", "Complete, fp32", "difference", 4)],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "from {} of them at a rate of .1 to {} at .8",
        [("dropout_cifar", f"CrossEntropy, {rate}", "detection_recall", 3) for rate in (0.1, 0.8)],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "Weighted is {} ahead of it at half size and {} here",
        [(f"differences_cifar{size}", "Weighted", "difference", 3) for size in ("", "_paper")],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "Exponential falls further, from {} to {}:",
        [("dropout_cifar", f"Exponential, {rate}", "accuracy", 3) for rate in (0.1, 0.8)],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "Exponential reaches {} instead of {}, Weighted {} instead of {}, CrossEntropy {} instead "
        "of {} (one seed)",
        [
            ("length_cifar", f"{row}, {epochs} epochs", "accuracy", 3)
            for row in ("Exponential", "Weighted", "CrossEntropy")
            for epochs in (48, 12)
        ],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "Weighted and BootstrapHard are {} above Exponential, the same loss without weights {}, "
        "CrossEntropy is {} and DropoutReg {} below it",
        [
            ("differences_cifar_paper", row, "difference", digits)
            for row, digits in (
                ("Weighted", -2),
                ("Exponential, r = 1", -3),
                ("CrossEntropy", -2),
                ("DropoutReg", -2),
            )
        ],
    ),
    (
        "notebooks/src/08_claims.py",
        "above cross-entropy by {} and below class weights by {}",
        [
            ("differences_cifar_paper", row, "difference", -3)
            for row in ("CrossEntropy", "Weighted")
        ],
    ),
    *(
        (where, words, [(LESS, f"{row}, 0.1", score, 3) for row, score in cells])
        for where, words, cells in (
            (
                "notebooks/src/04_pu_tables.py",
                "Exponential reaches {} and Weighted {} (three seeds), which is not told apart; in "
                "F1, where Weighted gives up positives, {} and {}, which is",
                RIVALS,
            ),
            (
                "notebooks/src/04_pu_tables.py",
                "with about as little ours reaches {} (4.11",
                RIVALS[:1],
            ),
            (
                "README.md",
                "the exponential loss reaches {}, not told apart from class weights ({}), and in "
                "F1, {} against {}, it is ahead; *without* weights it reaches {} and leads",
                [*RIVALS, ("Exponential, r = 1", "accuracy")],
            ),
            (
                "README.md",
                "Hard bootstrapping gains too, to {}, ",
                [("BootstrapHard", "accuracy")],
            ),
            (
                "notebooks/src/04_pu_tables.py",
                "with {} it is above Weighted and balanced Exponential in each of three seeds",
                [("BootstrapHard", "accuracy")],
            ),
            (
                "notebooks/src/04_pu_tables.py",
                "(*r = 1*) it reaches {} with .1, .020 above Weighted in accuracy",
                [("Exponential, r = 1", "accuracy")],
            ),
        )
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "less dropout wins it {} on Weighted, and {} at the smaller size",
        [
            ("lead_dropout_cifar", ("Exponential", size), "difference", -3)
            for size in ("full size", "preset small")
        ],
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "at .1 it is {} below Weighted, at .5 {}",
        [
            (
                "differences_dropout_cifar",
                ("accuracy, preset small", "Exponential"),
                "difference",
                -3,
            ),
            ("differences_cifar", "Weighted", "difference", -3),
        ],
    ),
    *(
        (
            where,
            words,
            [
                ("differences_dropout_cifar", (f"{score}, full size", row), "difference", -3)
                for score, row in cells
            ],
        )
        for where, words, cells in (
            (
                "notebooks/src/04_pu_tables.py",
                "{} above Weighted in accuracy and {} in F1 (both told apart here",
                [(score, "Exponential, r = 1") for score in ("accuracy", "macro F1")],
            ),
            (
                "notebooks/src/04_pu_tables.py",
                "{} above Weighted, and beside Exponential without weights",
                [("accuracy", "BootstrapHard")],
            ),
            (
                "notebooks/src/04_pu_tables.py",
                "without weights too it is {} above it, half of the draft's lead",
                [("accuracy", "Exponential, r = 1")],
            ),
            (
                "notebooks/src/08_claims.py",
                "Without weights it is {} above them, as is hard bootstrapping by {}: both miss",
                [("accuracy", "Exponential, r = 1"), ("accuracy", "BootstrapHard")],
            ),
            (
                "README.md",
                "and leads them by {}, half of the draft's .04 (three seeds, told apart among "
                "these rows). Hard bootstrapping gains too, to .794, {} above class weights",
                [("accuracy", "Exponential, r = 1"), ("accuracy", "BootstrapHard")],
            ),
        )
    ),
    *(
        (
            where,
            words,
            [
                ("claims", (claim, "CIFAR, full size, dropout .1"), "p, Holm", 3)
                for claim in (
                    "Exponential, no weights, beats class weights",
                    "Class weights beat hard bootstrapping",
                )
            ],
        )
        for where, words in (
            ("README.md", "*p* is {} and {}"),
            ("notebooks/src/08_claims.py", "miss the mark of this list (p = {} and {})"),
        )
    ),
    *(
        (where, words, [("dropout_cifar", f"{row}, 0.1", "accuracy", 3) for row, _ in RIVALS[:2]])
        for where, words in (
            ("README.md", "loss stays behind class weights ({} and {}, five seeds)"),
            ("notebooks/src/04_pu_tables.py", "with .1 too ({} and {}, five seeds)"),
        )
    ),
    *(
        (
            where,
            words,
            [
                (table, row, "accuracy", 3)
                for table in (CIFAR, "table2_cifar_paper")
                for row in ("Exponential, r = 1", "Weighted")
            ],
        )
        for where, words in (
            ("README.md", "at both sizes: {} and {} on half of the images, {} and {} on all"),
            ("notebooks/src/04_pu_tables.py", "with Weighted: {} and {}, at full size {} and {}"),
        )
    ),
    (
        "README.md",
        "{} is background everywhere, {} foreground everywhere",
        [("several_cases", row, "several", 3) for row in ("nnPU, fade-in", "Exponential")],
    ),
    *(
        (where, words, [("moons_sweep", row, share, 3) for row, share in cells])
        for where, words, cells in (
            (
                "notebooks/src/00_overview.py",
                "cross-entropy has fallen from {} to {} (a guess has .5). The draft's exponential "
                "loss still has {} there, and {} with seven tenths gone. With class weights {} "
                "(*Balanced CE*) and {} (*Weighted*) are left",
                [
                    *(("CrossEntropy", share) for share in ("0.0", "0.5")),
                    *(("Exponential", share) for share in ("0.5", "0.7")),
                    *((row, "0.9") for row in ("Balanced CE", "Weighted")),
                ],
            ),
            (
                "notebooks/src/02_moons.py",
                "CrossEntropy from {} with .2 missing to {} with .6, Exponential from {} with .5 "
                "missing to {} with .8. Weighted ones walk down a slope: with .9 missing the three "
                "still have {} to {}",
                [
                    *(("CrossEntropy", share) for share in ("0.2", "0.6")),
                    *(("Exponential", share) for share in ("0.5", "0.8")),
                    *((row, "0.9") for row in ("Balanced CE", "Weighted")),
                ],
            ),
        )
    ),
    (
        "notebooks/src/04_pu_tables.py",
        "(Forward {}, Backward {}, Exponential with its Bayes ratio {}; two seeds) lie beside the "
        "best that are not, BootstrapHard ({}) and Weighted ({}; five seeds)",
        [
            (CIFAR, row, "accuracy", 3)
            for row in (
                *("Forward", "Backward", "Exponential, Bayes r"),
                *("BootstrapHard", "Weighted"),
            )
        ],
    ),
    (
        "README.md",
        "but only {} of what it calls positive is",
        [(CIFAR, "Exponential", "detection_precision", "%")],
    ),
    (
        "notebooks/src/06_transfer.py",
        "CompleteCategory (+{}). On the scenes objects without names (+{}) and with random names "
        "(+{}) lie between the two. OneCategory (+{})",
        [
            ("table1_differences_scenes", row, "difference", 3)
            for row in ("CompleteCategory", "PixelObjectness", "RandomCategory", "OneCategory")
        ],
    ),
    (
        "notebooks/src/06_transfer.py",
        "CompleteCategory from {} to {}, RandomCategory from {} to {}",
        [
            ("layers_scenes", f"{row}Category, frozen", layer, 3)
            for row in ("Complete", "Random")
            for layer in ("4", "5")
        ],
    ),
    (
        "notebooks/src/06_transfer.py",
        "RandomCategory and OneCategory lie {} and {} below FromScratch",
        [
            ("table1_differences_msrc", row, "difference", -3)
            for row in ("RandomCategory", "OneCategory")
        ],
    ),
    (
        "notebooks/src/07_pu_segmentation.py",
        "a row lies below Complete ({} on the scenes), and which rows come close to P+N ({}), for "
        "which somebody had to check half of the images. CrossEntropy has {}. The best rows with "
        "missing instances lie between {} and {}",
        [
            ("table3_scenes", row, "mean_iu", 3)
            for row in (
                *("Complete", "P+N", "CrossEntropy"),
                *("Weighted, Bayes r", "Exponential, Bayes r"),
            )
        ],
    ),
    (
        "notebooks/src/07_pu_segmentation.py",
        "(CrossEntropy {} instead of {}, Weighted {} instead of {}; Complete has {})",
        [
            *(
                ("several_scenes", (case, row), "mean_iu", 3)
                for row in ("CrossEntropy", "Weighted")
                for case in ("hard", "several")
            ),
            ("several_scenes", ("several", "Complete"), "mean_iu", 3),
        ],
    ),
    (
        "notebooks/src/07_pu_segmentation.py",
        "only Weighted ({}) is clearly above",
        [("several_cases", "Weighted", "several", 3)],
    ),
]


@pytest.mark.parametrize(("where", "words", "cells"), PROSE)
def test_a_number_in_prose_stands_in_its_table(where, words, cells):
    found = []
    for name, row, column, digits in cells:
        levels = list(range(len(row))) if isinstance(row, tuple) else 0
        table = pd.read_csv(ROOT / "figures" / f"{name}.csv", index_col=levels, dtype=str)
        number = float(re.match(r"[+-]?[\d.]+", table.loc[row, column])[0])
        if digits in (-2, -3):  # words say which way
            number, digits = abs(number), -digits
        shown = f"{number:.0%}".replace("%", " %") if digits == "%" else f"{number:.{digits}f}"
        found.append(shown.replace("0.", ".", 1))
    text = " ".join(re.sub(r"^# ", "", (ROOT / where).read_text(), flags=re.M).split())
    assert words.format(*found) in text


def means(table: str, column: str) -> pd.Series:
    text = pd.read_csv(ROOT / "figures" / f"{table}.csv", index_col=0)[column]
    return text.str.split(" ").str[0].astype(float)


def test_less_dropout_gives_two_hundredths_to_every_row_that_04_names():
    whole = means("table2_cifar_paper", "accuracy")
    less = means(LESS, "accuracy").filter(regex=r", 0\.1$").rename(lambda run: run[:-5])
    gain = (less - whole).dropna()
    assert gain[["BootstrapHard", "Complete", "P+N", "CrossEntropy"]].between(0.015, 0.026).all()
    assert abs(gain["Weighted"]) < 0.005
    text = (ROOT / "notebooks" / "src" / "04_pu_tables.py").read_text().replace("\n#  ", "")
    assert "gains too, as Complete, P+N and CrossEntropy do (about .02 each; Weighted" in text


def test_hard_bootstrapping_leads_with_less_dropout_in_each_seed(committed_results):
    grid = {
        names: run
        for names, run in cifar.dropout("paper").items()
        if names[1] == cifar.LESS_DROPOUT
        and names[0] in ("BootstrapHard", "Exponential", "Weighted")
    }
    frame = Store(committed_results).grid_frame(grid, ("row", "dropout", "seed"))
    scores = frame[frame["criterion"] == "last"].pivot(
        index="seed", columns="row", values="accuracy"
    )
    scores = scores.dropna()
    assert len(scores) >= 3
    assert (scores["BootstrapHard"] > scores.drop(columns="BootstrapHard").max(axis=1)).all()


LESS_HERE = "CIFAR, full size, dropout .1"
VERDICTS = [  # what the README and the notebooks say of a lead: its list, its row, the verdict
    ("claims", ("Exponential, balanced, beats class weights", "digits"), "holds"),
    ("claims", ("Exponential, balanced, helps", "CIFAR"), "not told apart"),
    ("claims", ("Exponential, balanced, helps", "CIFAR, full size"), "holds"),
    ("claims", ("Exponential, balanced, beats class weights", "CIFAR"), "the other way round"),
    ("claims", ("Exponential, balanced, beats class weights", LESS_HERE), "not told apart"),
    ("claims", ("Exponential, no weights, beats class weights", "CIFAR"), "not told apart"),
    ("claims", ("Exponential, no weights, beats class weights", LESS_HERE), "not told apart"),
    ("claims", ("Class weights beat hard bootstrapping", LESS_HERE), "not told apart"),
    ("differences_dropout_cifar", ("accuracy, full size", "Exponential, r = 1"), "higher"),
    ("differences_dropout_cifar", ("accuracy, full size", "BootstrapHard"), "higher"),
    ("differences_cifar_paper", "CrossEntropy", "lower"),
]


@pytest.mark.parametrize(("table", "row", "verdict"), VERDICTS)
def test_a_lead_is_told_apart_where_the_texts_say_so(table, row, verdict):
    levels = list(range(len(row))) if isinstance(row, tuple) else 0
    frame = pd.read_csv(ROOT / "figures" / f"{table}.csv", index_col=levels)
    assert frame.loc[row, "verdict"] == verdict


def test_networks_lie_in_the_mean_as_close_to_the_formula_as_the_readme_says():
    table = pd.read_csv(ROOT / "figures" / "thresholds.csv")
    gap = table["threshold"].str.split(" ").str[0].astype(float) - table["closed_form"]
    (bound,) = re.findall(r"mean of five networks lies within (\.\d+) of", README)
    assert gap.abs().max() <= float(bound)
    assert (gap < 0).mean() > 0.5


def test_the_number_of_tests_that_04_names_is_that_of_08():
    tested = pd.read_csv(ROOT / "figures" / "claims.csv")["p, Holm"] != "–"
    text = (ROOT / "notebooks" / "src" / "04_pu_tables.py").read_text()
    assert re.findall(r"the (\d+) tests of", text) == [str(tested.sum())]


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
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"\.PHONY: (.+)", makefile)[1].split()
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
