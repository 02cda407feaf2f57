"""Whether this machine is ready: a line a subject, fine or with what to do."""

import os
import platform
import re
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from nbkit import paths

PYTHON = (3, 11, 4)  # from there on tarfile refuses members that would leave their folder
Line = tuple[bool, str, str]


def lines() -> list[Line]:
    """Return, for each subject, whether all is well, its name, and what there is or what to do."""
    place = _place("results", paths.results(), "NBKIT_RESULTS")
    kept = _place("runs", paths.runs(), "NBKIT_RUNS")
    return [
        _python(),
        _packages("packages", "", "pip install -r requirements.lock"),
        _device(),
        place,
        kept,
        *_memory(),
        _data(),
        _packages("notebooks", "notebooks", "pip install 'nbkit[notebooks]'"),
    ]


def _python() -> Line:
    good = sys.version_info >= PYTHON
    fix = "" if good else f"; install Python {'.'.join(map(str, PYTHON))} or later"
    return good, "python", f"{platform.python_version()} on {platform.system()}{fix}"


def _packages(subject: str, extra: str, fix: str) -> Line:
    """What nbkit requires, for an extra or in any case, and whether it is there and new enough."""
    try:
        required = metadata.requires("nbkit") or []
    except metadata.PackageNotFoundError:
        return False, subject, "nbkit itself is not installed: pip install -e ."
    found, lost = [], []
    for line in required:
        name, least = re.match(r"([\w.-]+)(?:>=([\d.]+))?", line).groups("0")
        if extra != "".join(re.findall(r"extra == [\"'](\w+)", line)):
            continue
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            lost.append(name)
            continue
        found.append(f"{name} {version}")
        if _numbers(version) < _numbers(least):
            lost.append(f"{name} {least} or later")
    return not lost, subject, f"{', '.join(lost)} missing; {fix}" if lost else ", ".join(found)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.match(r"[\d.]*\d", version)[0].split(".")]


def _device() -> Line:
    try:
        import torch
    except ImportError:
        return False, "device", "unknown without torch"
    from nbkit.precision import has_bf16
    from nbkit.provenance import cores

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        memory = f"{card.total_memory / 2**30:.0f} GiB"
        return True, "device", f"{card.name}, {memory}, bf16 {has_bf16('cuda')}"
    flags = torch.backends.cpu.get_cpu_capability()
    precision = "bf16" if has_bf16("cpu") else "fp32 (no bf16 on this chip)"
    return True, "device", f"CPU, {cores()} cores, {flags}, {precision}; no GPU found"


def _place(subject: str, place: Path, variable: str) -> Line:
    try:
        existing = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(existing).free / 2**30
        tempfile.TemporaryFile(dir=existing).close()  # permissions alone do not tell
    except OSError:
        return False, subject, f"{place}; not writable: set {variable} to another folder"
    fix = "" if free > 1 else f"; free some space, or set {variable}"
    return free > 1, subject, f"{place}, {free:.0f} GiB free{fix}"


def _data() -> Line:
    cache = paths.cache()
    if paths.there(cache) and not cache.is_dir():
        return False, "data", f"{cache} is no folder: set NBKIT_DATA to one"
    both = [paths.there(cache / name) for name in ("cifar10", "cifar100")]
    cifar = "cached, `nbkit data verify` checks it" if all(both) else "not cached"
    return True, "data", f"digits and scenes embedded; CIFAR {cifar}"


def _memory() -> list[Line]:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return []
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    fix = "" if memory > 3 else "; use --workers 1"
    return [(memory > 3, "memory", f"{memory:.0f} GiB{fix}")]
