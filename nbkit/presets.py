"""The sizes of the study by preset: ``presets.toml``, read and checked."""

import copy
import functools
import tomllib
from pathlib import Path

from nbkit import checks

FILE = Path(__file__).with_name("presets.toml")
SHIPPED = ("smoke", "laptop", "small", "paper")  # what another preset is compared with
WHOLE = "images"  # 0 of them are all there are
STUDY = ("thresholds", "moons", "classification", "label_noise", "segmentation", "transfer")


def sizes(preset: str, section: str) -> dict:
    """Return the sizes of a section of the study in a preset.

    Raises
    ------
    ValueError
        If there is none, or a name or value in it is not as in the other shipped presets. The
        message says where in ``presets.toml``.
    """
    presets = _read()
    chosen = presets[checks.choice("preset", preset, presets)]
    if section not in chosen:
        offered = [name for name in presets if section in presets[name]]
        raise ValueError(f"preset {preset} has no {section}; there is {', '.join(offered)}")
    shipped = {name: presets[name][section] for name in SHIPPED if section in presets.get(name, {})}
    shipped.pop(preset, None)  # it is no measure of itself
    _check(f"{FILE.name}, [{preset}.{section}]", chosen[section], [*shipped.values()])
    return copy.deepcopy(chosen[section])


def photographs(preset: str, section: str) -> dict:
    """Return ``sizes`` of a section of photographs; ValueError for synthetic scenes too."""
    try:
        chosen = sizes(preset, section)
    except ValueError as error:
        raise ValueError(f"photographs = {preset!r}: {error}") from error
    parts = {name: part for name, part in chosen.items() if isinstance(part, dict)}
    made = [name for name, part in parts.items() if part.get("dataset") == "scenes"]
    if set(made) - {"live"}:
        raise ValueError(
            f"photographs = {preset!r}: its {section} is of synthetic scenes; take small, paper, "
            "or a preset of your own photographs"
        )
    return chosen


def check_study(preset: str) -> None:
    """Raise ValueError unless a preset has all sections that the notebooks need together."""
    presets = _read()
    lost = [name for name in STUDY if name not in presets[checks.choice("preset", preset, presets)]]
    if lost:
        whole = [name for name in presets if set(STUDY) <= set(presets[name])]
        raise ValueError(
            f"preset {preset} has no {', '.join(lost)}, which the notebooks need: take "
            f"{' or '.join(whole)}, or give a single notebook this one (README, Your own runs)"
        )
    for section in STUDY:
        sizes(preset, section)


def _read() -> dict[str, dict[str, dict]]:
    """Return the sections by preset; what stands outside of a section is left out."""
    try:
        return _parsed(FILE.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{FILE.name}: {error}") from error


@functools.cache  # every run of a grid asks, and the same text takes milliseconds each time
def _parsed(text: str) -> dict[str, dict[str, dict]]:
    whole = tomllib.loads(text)
    return {
        preset: {name: table for name, table in sections.items() if isinstance(table, dict)}
        for preset, sections in whole.items()
        if isinstance(sections, dict)
    }


def _check(where: str, given: dict, shipped: list[dict]) -> None:
    known: dict = {}
    for section in shipped:
        for name, value in section.items():  # what one preset leaves out of a table another has
            known[name] = {**known.get(name, {}), **value} if isinstance(value, dict) else value
    _fit(where, given, known)
    if lost := [name for name in known if name not in given]:
        raise ValueError(f"{where}: {', '.join(lost)} missing")
    for name, value in given.items():
        if isinstance(value, dict):
            _fit(f"{where}: {name}", value, known[name])


def _fit(where: str, given: dict, known: dict) -> None:
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{where}: {name} is unknown; there is {', '.join(known)}")
        if not _alike(value, known[name]) and not (name == WHOLE and value == 0):
            raise ValueError(f"{where}: {name} must be like {known[name]!r}, got {value!r}")


def _alike(value: object, example: object) -> bool:
    """Whether a value is of the kind of an example; only where that is 0 a number may be 0."""
    if isinstance(example, list):
        several = isinstance(value, list) and len(value) > 0
        return several and all(_alike(item, example[0]) for item in value)
    kinds = (int, float) if isinstance(example, float) else (type(example),)
    if type(value) not in kinds:
        return False
    number = type(value) in (int, float)
    return not number or (value > 0 or value == example == 0)
