"""What README and notebooks say in words: each number in its table, each verdict in its list."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from nbkit.experiments import cifar
from nbkit.runs import Store

ROOT = Path(__file__).resolve().parent.parent
NUMBER = r"(?<![\d.])([+-]?(?:\d*\.\d+|\d+)(?: %)?)"
SENTENCES = [
    (where, sentence["of"], sentence["words"])
    for where, sentences in yaml.safe_load((ROOT / "tests" / "prose.yaml").read_text()).items()
    for sentence in sentences
]
LESS_HERE = "CIFAR, full size, dropout .1"
VERDICTS = [  # a list, a row of it, and what the texts say of that lead
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
    ("differences_cifar_paper", ("CrossEntropy",), "lower"),
]


def prose(where: str) -> str:
    return " ".join(re.sub(r"^# ", "", (ROOT / where).read_text(), flags=re.M).split())


def exported(table: str, row: tuple[str, ...], column: str) -> str:
    index = list(range(len(row)))
    frame = pd.read_csv(ROOT / "figures" / f"{table}.csv", index_col=index, dtype=str)
    return frame.loc[row if len(row) > 1 else row[0], column]


def number(brace: str, of: str) -> float:
    parts = brace.removeprefix("-").split(" | ")
    row, column, table = [*parts, *of.split(" | ")[len(parts) - 1 :]]
    mean = float(re.match(r"[+-]?[\d.]+", exported(table, tuple(row.split(" / ")), column))[0])
    return -mean if brace.startswith("-") else mean


def as_written(value: float, written: str) -> str:
    sign = "+" if written[0] in "+-" else ""
    if written.endswith("%"):
        return f"{value:{sign}.0%}".replace("%", " %")
    return re.sub(r"\b0\.", ".", f"{value:{sign}.{len(written.partition('.')[2])}f}")


@pytest.mark.parametrize(("where", "of", "words"), SENTENCES)
def test_a_number_in_prose_stands_in_its_table(where, of, words):
    plain, braces = re.split(r"\{.*?\}", words), re.findall(r"\{(.*?)\}", words)
    found = [*re.finditer(NUMBER.join(map(re.escape, plain)), prose(where))]
    assert len(found) == 1, f"{where} has it {len(found)} times"
    written = list(found[0].groups())
    values = [number(brace, of) for brace in braces]
    assert written == [as_written(*pair) for pair in zip(values, written, strict=True)]


@pytest.mark.parametrize(("table", "row", "verdict"), VERDICTS)
def test_a_lead_is_told_apart_where_the_texts_say_so(table, row, verdict):
    assert exported(table, row, "verdict") == verdict


def means(table: str, column: str) -> pd.Series:
    text = pd.read_csv(ROOT / "figures" / f"{table}.csv", index_col=0)[column]
    return text.str.split(" ").str[0].astype(float)


def test_less_dropout_gives_two_hundredths_to_every_row_that_04_names():
    whole = means("table2_cifar_paper", "accuracy")
    less = (
        means("dropout_cifar_paper", "accuracy")
        .filter(regex=r", 0\.1$")
        .rename(lambda run: run[:-5])
    )
    gain = (less - whole).dropna()
    assert gain[["BootstrapHard", "Complete", "P+N", "CrossEntropy"]].between(0.015, 0.026).all()
    assert abs(gain["Weighted"]) < 0.005
    said = "gains too, as Complete, P+N and CrossEntropy do (about .02 each; Weighted"
    assert said in prose("notebooks/src/04_pu_tables.py")


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


def test_networks_lie_in_the_mean_as_close_to_the_formula_as_the_readme_says():
    table = pd.read_csv(ROOT / "figures" / "thresholds.csv")
    gap = table["threshold"].str.split(" ").str[0].astype(float) - table["closed_form"]
    (bound,) = re.findall(r"mean of five networks lies within (\.\d+) of", prose("README.md"))
    assert gap.abs().max() <= float(bound)
    assert (gap < 0).mean() > 0.5


def test_the_number_of_tests_that_04_names_is_that_of_08():
    tested = pd.read_csv(ROOT / "figures" / "claims.csv")["p, Holm"] != "–"
    said = re.findall(r"the (\d+) tests of", prose("notebooks/src/04_pu_tables.py"))
    assert said == [str(tested.sum())]
