"""Checks of the exercises of notebook 08, on claims and their tests."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from nbkit import rng, statistics
from nbkit.exercises.answers import NotYetError, called, check, enough, names, number


@check
def where_it_holds(answer: Iterable[str] | None, found: pd.DataFrame, claim: str) -> None:
    """08 warm-up: the data sets on which a claim holds, read off the tests."""
    chosen = set(names(answer))
    tested = found[found["claim"] == claim].set_index("data")["outcome"]
    if chosen - set(tested.index):
        raise NotYetError(f"the claim is tested on {', '.join(tested.index)}")
    wrong = sum(tested[name] != "holds" for name in chosen)
    if wrong:
        raise NotYetError(f"on {wrong} of them it does not hold beyond luck")
    if short := (tested == "holds").sum() - len(chosen):
        raise NotYetError(f"there are {short} more")


@check
def sign_flips(answer: Callable | None) -> None:
    """08 core: the exact p-value of the sign-flip test."""
    draw = rng.generator(8, "exercise")
    cases = [[1.5, 0.5, 2.0, 1.0, 0.5], [3.0, 1.0, -1.0]]
    cases += [np.round(8 * draw.normal(0.4, 1.0, 7)) / 8 for _ in range(3)]  # sums without rounding
    for values in (np.array(case) for case in cases):
        p = number(called(answer, values.copy()), "a p-value")
        wanted = stats.permutation_test(
            (values,), np.sum, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        if np.isclose(p, wanted):
            continue
        if np.isclose(p, wanted / 2):
            raise NotYetError("that counts one side only: a sum as far below 0 counts too")
        if np.isclose(p, wanted - 2 / 2 ** len(values)):
            raise NotYetError(
                "the signs that were seen are one of the choices, and so is their mirror image"
            )
        raise NotYetError(f"for {np.round(values, 2).tolist()} a count of all choices disagrees")


@check
def decided_by_data(
    answer: tuple[str, str] | None,
    frames: Mapping[str, pd.DataFrame],
    commands: Mapping[str, str],
    known: Iterable[tuple[str, str]],
) -> None:
    """08 open: two rows of which the first is better on digits and worse on CIFAR.

    Tested on the digits' seeds from 5 on, which were not to be looked at.
    """
    pair, digits, cifar = names(answer), frames["digits"], frames["CIFAR"]
    rows = [name for name in dict.fromkeys(digits["row"]) if name in set(cifar["row"])]
    if isinstance(answer, set) or len(pair) != 2 or len({*pair} & {*rows}) != 2:
        raise NotYetError(f"expected a pair, in order, of {'; '.join(rows)}")
    if {*pair} in map(set, known):
        raise NotYetError("that pair is in the lists already")
    tested = {"digits": digits[digits["seed"] >= 5], "CIFAR": cifar}
    for name, frame in tested.items():
        both = frame.pivot(index="seed", columns="row", values="accuracy").reindex(columns=pair)
        enough(len(both.dropna()) > 1, commands[name])
    found = pd.concat(
        statistics.contrasts(frame, {"own": tuple(pair)}, by="row", value="accuracy")
        for frame in tested.values()
    )
    said = statistics.judged(found)["verdict"].tolist()
    if said != ["higher", "lower"]:
        raise NotYetError(f"on digits {pair[0]} is {said[0]}, on CIFAR {said[1]}")
