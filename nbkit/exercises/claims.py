"""Checks of the exercises of notebook 08, on claims and their tests."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy import stats

from nbkit import rng, statistics
from nbkit.exercises import TODO, verdict


def where_it_holds(answer: Iterable[str] | None, found: pd.DataFrame, claim: str) -> None:
    """08 warm-up: the data sets on which a claim holds, read off the tests."""
    if answer is None or answer is ...:
        print(TODO)
        return
    tested = found[found["claim"] == claim].set_index("data")["outcome"]
    if not _names(answer):
        verdict("expected a list of names, such as those of the table")
        return
    given = set(answer)
    if given - set(tested.index):
        verdict(f"the claim is tested on {', '.join(tested.index)}")
        return
    wrong = sum(tested[name] != "holds" for name in given)
    short = (tested == "holds").sum() - (len(given) - wrong)
    if wrong:
        verdict(f"on {wrong} of them it does not hold beyond luck")
    else:
        verdict(None if not short else f"there are {short} more")


def sign_flips(answer: Callable | None) -> None:
    """08 core: the exact p-value of the sign-flip test."""
    draw = rng.generator(8, "exercise")
    cases = [[1.5, 0.5, 2.0, 1.0, 0.5], [3.0, 1.0, -1.0]]
    cases += [np.round(8 * draw.normal(0.4, 1.0, 7)) / 8 for _ in range(3)]  # sums without rounding
    for values in (np.array(case) for case in cases):
        given = answer(values.copy()) if callable(answer) else None
        if given is None or given is ...:
            print(TODO)
            return
        wanted = stats.permutation_test(
            (values,), np.sum, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        if np.isclose(float(given), wanted):
            continue
        if np.isclose(float(given), wanted / 2):
            verdict("that counts one side only: a sum as far below 0 counts too")
        elif np.isclose(float(given), wanted - 2 / 2 ** len(values)):
            verdict("the signs that were seen are one of the choices, and so is their mirror image")
        else:
            verdict(f"for {np.round(values, 2).tolist()} a count of all choices says otherwise")
        return
    verdict(None)


def decided_by_data(
    answer: tuple[str, str] | None,
    digits: pd.DataFrame,
    photographs: pd.DataFrame,
    known: Iterable[tuple[str, str]],
) -> None:
    """08 open: a pair of rows whose order is one on digits and the other on photographs.

    Tested on the digits' seeds from 5 on, which were not to be looked at.
    """
    if answer is None or answer is ...:
        print(TODO)
        return
    rows = [name for name in dict.fromkeys(digits["row"]) if name in set(photographs["row"])]
    if not _names(answer) or len({*answer} & {*rows}) != 2 or len(answer) != 2:
        verdict(f"expected two of {', '.join(rows)}")
        return
    better, worse = answer
    if {better, worse} in map(set, known):
        verdict("that pair is in the lists already")
        return
    found = pd.concat(
        statistics.contrasts(frame, {"own": (better, worse)}, by="row", value="accuracy")
        for frame in (digits[digits["seed"] >= 5], photographs)
    )
    said = statistics.judged(found)["verdict"].tolist()
    problem = f"on digits {better} is {said[0]}, on CIFAR {said[1]}"
    verdict(None if said == ["higher", "lower"] else problem)


def _names(answer: object) -> bool:
    return isinstance(answer, (list, tuple, set)) and all(isinstance(one, str) for one in answer)
