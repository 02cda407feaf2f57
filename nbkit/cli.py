"""The command ``nbkit``: study, sweep, data, doctor."""

import argparse
import importlib.util
import os
import platform
import sys
from collections.abc import Callable

from nbkit import __version__


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit status is 0, 1 (something failed) or 2 (wrong words)."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"nbkit {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; finished runs are kept, the same command continues", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nbkit", description="What label noise does to learning.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    study = _command(
        commands,
        "study",
        _study,
        "execute the notebooks and write their pages",
        "nbkit study --preset laptop",
    )
    study.add_argument("--preset", default="laptop", help="size of the study (default: laptop)")
    study.add_argument(
        "--fresh", action="store_true", help="recompute everything into runs/PRESET/results"
    )
    study.add_argument(
        "--refresh", action="store_true", help="rebuild notebooks/ and figures/ from the sources"
    )
    sweep = _command(
        commands,
        "sweep",
        _sweep,
        "compute the runs of an experiment that the store lacks",
        "nbkit sweep moons --engine tcp://127.0.0.1:8786",
    )
    sweep.add_argument(
        "experiment", help="thresholds, moons, classification, cifar, transfer or segmentation"
    )
    sweep.add_argument("--preset", default="laptop", help="size of the study (default: laptop)")
    sweep.add_argument(
        "--only",
        metavar="NAME",
        help="only one part of the experiment (as table or rates) or one row or loss of it; "
        "a wrong NAME lists them",
    )
    sweep.add_argument("--workers", type=int, help="worker processes (default: one a core)")
    sweep.add_argument("--list", action="store_true", help="say what is missing, compute nothing")
    for command in (study, sweep):
        command.add_argument("--device", default="auto", help="auto, cpu or cuda")
        command.add_argument(
            "--engine", default="processes", help="inline, processes, or a Dask scheduler's address"
        )
    data = _command(
        commands,
        "data",
        _data,
        "find, download or verify the data sets that are not embedded",
        "nbkit data fetch",
    )
    data.add_argument("action", choices=("where", "fetch", "verify"), nargs="?", default="where")
    data.add_argument(
        "what",
        nargs="?",
        help="fetch: cifar10, cifar100, voc or imagenet (default: both CIFAR sets); "
        "verify: a name, or any folder of the layout of PASCAL VOC (default: all in the cache)",
    )
    _command(commands, "doctor", _doctor, "say whether this machine is ready", "nbkit doctor")
    return parser


def _command(
    commands: argparse._SubParsersAction, name: str, run: Callable, what: str, example: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=what,
        description=what[0].upper() + what[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _study(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("papermill") is None:
        raise ValueError("the notebooks need more packages: pip install 'nbkit[notebooks]'")
    if args.refresh:
        from nbkit import notebooks

        for line in notebooks.refresh():
            print(line, flush=True)
        return 0
    from nbkit import pages
    from nbkit.runs import sizes
    from nbkit.sweep import check_engine, pick_device

    sizes(args.preset, "moons")
    check_engine(args.engine)
    pick_device(args.device)
    index = pages.study(
        args.preset,
        fresh=args.fresh,
        device=args.device,
        engine=args.engine,
        show=lambda line: print(line, flush=True),
    )
    print(index)
    return 0


def _sweep(args: argparse.Namespace) -> int:
    from nbkit import checks, experiments
    from nbkit.runs import Store
    from nbkit.sweep import compute

    grid = experiments.module(args.experiment).grid(args.preset)
    if args.only is not None:
        checks.choice("only", args.only, dict.fromkeys(name for name, *_ in grid))
        grid = {names: run for names, run in grid.items() if names[0] == args.only}
    runs = list(dict.fromkeys(grid.values()))
    store = Store()
    if args.list:
        missing = store.missing(runs)
        print(f"{len(runs)} runs, {len(missing)} missing in {store.root}")
        return 0
    report = compute(
        runs, store=store, engine=args.engine, workers=args.workers, device=args.device
    )
    print(
        f"{report.total} runs: {report.found} found, {report.computed} computed "
        f"in {report.seconds:.0f} s; results in {store.root / args.experiment}"
    )
    return 0


def _data(args: argparse.Namespace) -> int:
    """Do the action on CIFAR, on a folder of masks, or on both; status 1 if a folder is flawed."""
    from nbkit import checks
    from nbkit.data import imagenet, voc
    from nbkit.data.cifar import SOURCES, fetch_all, verify, where

    others = {"voc": voc.fetch_pascal, "imagenet": imagenet.fetch_weights}
    if args.action == "fetch" and args.what:
        checks.choice("data set", args.what, [*SOURCES, *others])

    def show(line: str) -> None:
        print(line, flush=True)

    if args.action == "where":
        lines, flaws = where() + voc.where() + imagenet.where(), []
    elif args.action == "fetch" and args.what in others:
        lines, flaws = others[args.what](show), []
    elif args.action == "fetch":
        lines, flaws = fetch_all([args.what] if args.what else SOURCES, show=show), []
    elif args.what in SOURCES:
        lines, flaws = verify([args.what]), []
    elif args.what == "imagenet":
        lines, flaws = [f"imagenet: {imagenet.weights()} is whole"], []
    elif args.what:
        lines, flaws = voc.verify(args.what)
    else:
        lines, flaws = voc.verify()
        lines = verify() + lines or ["nothing in the cache yet: nbkit data fetch"]
    print("\n".join(lines))
    for flaw in flaws:
        print(flaw, file=sys.stderr)
    return int(bool(flaws))


def _doctor(args: argparse.Namespace) -> int:
    """Print a line a subject, ``ok`` or what to do; status 1 if something is missing."""
    lines = [
        _check_python(),
        _check_packages(),
        *_check_device(),
        *_check_place(),
        _check_widgets(),
    ]
    for good, subject, text in lines:
        print(f"{'ok  ' if good else 'FIX '} {subject:10} {text}")
    return int(not all(good for good, _, _ in lines))


Line = tuple[bool, str, str]


def _check_python() -> Line:
    good = sys.version_info >= (3, 11)
    fix = "" if good else "; install Python 3.11 or later"
    return good, "python", f"{platform.python_version()} on {platform.system()}{fix}"


def _check_packages() -> Line:
    from importlib.metadata import PackageNotFoundError, version

    found, lost = [], []
    for name in ("torch", "numpy", "pandas", "scikit-learn"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lost.append(name)
    if lost:
        return False, "packages", f"{', '.join(lost)} missing; pip install -r requirements.lock"
    return True, "packages", ", ".join(found)


def _check_device() -> list[Line]:
    try:
        import torch
    except ImportError:
        return [(False, "device", "unknown without torch")]
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        memory = f"{card.total_memory / 2**30:.0f} GiB"
        return [(True, "device", f"{card.name}, {memory}, bf16 {torch.cuda.is_bf16_supported()}")]
    from nbkit.precision import has_bf16
    from nbkit.sweep import cores

    flags = torch.backends.cpu.get_cpu_capability()
    precision = "bf16" if has_bf16("cpu") else "fp32 (no bf16 on this chip)"
    return [(True, "device", f"CPU, {cores()} cores, {flags}, {precision}; no GPU found")]


def _check_place() -> list[Line]:
    import shutil
    import tempfile

    from nbkit import paths

    place = paths.results()
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(existing).free / 2**30
    try:
        tempfile.TemporaryFile(dir=existing).close()  # permissions alone do not tell
        writable, fix = True, "" if free > 1 else "; free some space, or set NBKIT_RESULTS"
    except OSError:
        writable, fix = False, "; not writable: set NBKIT_RESULTS to another folder"
    lines = [(writable and free > 1, "results", f"{place}, {free:.0f} GiB free{fix}")]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        fix = "" if memory > 3 else "; use --workers 1"
        lines.append((memory > 3, "memory", f"{memory:.0f} GiB{fix}"))
    cifar = (paths.cache() / "cifar10").is_dir()
    found = "found" if cifar else "not cached"
    lines.append((True, "data", f"digits and scenes embedded; CIFAR {found}"))
    return lines


def _check_widgets() -> Line:
    names = ("jupyterlab", "ipywidgets", "papermill")
    lost = [name for name in names if importlib.util.find_spec(name) is None]
    if lost:
        return False, "notebooks", f"{', '.join(lost)} missing; pip install 'nbkit[notebooks]'"
    from importlib.metadata import version

    good = int(version("ipywidgets").split(".")[0]) >= 8
    fix = "" if good else "; widgets need ipywidgets 8: pip install -U ipywidgets"
    return good, "notebooks", ", ".join(f"{name} {version(name)}" for name in names) + fix


if __name__ == "__main__":
    sys.exit(main())
