"""The command ``nbkit``: study, sweep, data, doctor."""

import argparse
import importlib.util
import os
import signal
import sys
from collections.abc import Callable

from nbkit import __version__


def run() -> int:
    """Run the command of this process; a time limit stops it (SIGTERM) as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return main()


def main(argv: list[str] | None = None) -> int:
    """Run a command; its status is 0, 1 (something failed), 2 (wrong words) or 130 (stopped)."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, RuntimeError, OSError) as error:
        print(f"nbkit {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        way = "what is finished is kept, the same command continues"
        way = "--fresh starts over" if getattr(args, "fresh", False) else way
        print(f"\nstopped; {way}", file=sys.stderr)
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
    study.add_argument("--preset", default="laptop", help="smoke, laptop (default), or your own")
    study.add_argument(
        "--fresh",
        action="store_true",
        help="recompute moons, digits and thresholds into runs/PRESET/results, emptied first",
    )
    study.add_argument(
        "--refresh",
        action="store_true",
        help="rebuild notebooks/ and figures/ from the sources and the committed results",
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
        action="append",
        help="only one part of the experiment (as table or rates), or one row or loss of any part; "
        "may be given several times, and a wrong NAME lists them",
    )
    sweep.add_argument(
        "--workers", type=int, help="of the engine processes: how many (default: one a core)"
    )
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
        usual = {"preset": "laptop", "engine": "processes", "device": "auto", "fresh": False}
        odd = [f"--{name}" for name, value in usual.items() if getattr(args, name) != value]
        if odd:
            raise ValueError(f"--refresh reads the committed results: leave out {', '.join(odd)}")
        from nbkit import notebooks

        for line in notebooks.refresh():
            print(line, flush=True)
        return 0
    from nbkit import pages
    from nbkit.presets import check_study
    from nbkit.sweep import check, pick_device

    check_study(args.preset)
    check(args.engine, args.device)
    if args.device == "cuda":  # told now if it is not there; for the others PyTorch is not loaded
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
    from nbkit.sweep import check, compute

    check(args.engine, args.device, args.workers)
    grid = experiments.module(args.experiment).grid(args.preset)
    first = dict.fromkeys(names[0] for names in grid)
    second = dict.fromkeys(names[1] for names in grid if isinstance(names[1], str))
    chosen = {} if args.only else grid
    for name in args.only or ():
        checks.choice("only", name, first | second)
        place = 0 if name in first else 1  # a part may have the name of a row of another
        chosen |= {names: run for names, run in grid.items() if names[place] == name}
    runs = list(dict.fromkeys(chosen.values()))
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
    """Do the action on a data set, or on all of them; status 1 if what is there is flawed."""
    lines, flaws = {"where": _where, "fetch": _fetch, "verify": _verify}[args.action](args.what)
    for line in lines:
        print(line)
    for flaw in flaws:
        print(flaw, file=sys.stderr)
    return int(bool(flaws))


Checked = tuple[list[str], list[str]]  # a line on each data set, and on each flaw


def _where(what: str | None) -> Checked:
    from nbkit.data import imagenet, voc
    from nbkit.data.cifar import where

    if what is not None:
        raise ValueError(f"where tells of every data set and takes no name, got {what!r}")
    return where() + voc.where() + imagenet.where(), []


def _fetch(what: str | None) -> Checked:
    from nbkit import checks
    from nbkit.data import imagenet, voc
    from nbkit.data.cifar import SOURCES, fetch_all

    def show(line: str) -> None:
        print(line, flush=True)

    others = {"voc": voc.fetch_pascal, "imagenet": imagenet.fetch_weights}
    if what in others:
        return others[what](show), []
    if what in voc.OFFICIAL:
        raise ValueError(f"{what} is put there by hand: see data/README.md, Photos with masks")
    if what is not None:
        checks.choice("data set", what, [*SOURCES, *others])
    return fetch_all([what] if what else SOURCES, show=show), []


def _verify(what: str | None) -> Checked:
    from nbkit import checks, paths
    from nbkit.data import imagenet, voc
    from nbkit.data.cifar import SOURCES, verify

    if what in SOURCES:
        return verify(what)
    if what == "imagenet":
        return imagenet.verify()
    if what is not None:
        if os.path.basename(what) == what and not os.path.isdir(what):
            checks.choice("data set", what, [*SOURCES, "imagenet", *voc.OFFICIAL])
        return voc.verify(what)
    parts = [verify(), voc.verify()]
    if imagenet.present():
        parts.append(imagenet.verify())
    lines, flaws = ([line for part in parts for line in part[i]] for i in (0, 1))
    nothing = f"nothing in the cache yet, {paths.cache()}: nbkit data fetch"
    return lines if lines or flaws else [nothing], flaws


def _doctor(args: argparse.Namespace) -> int:
    """Print a line a subject, ``ok`` or what to do; status 1 if something is missing."""
    from nbkit import doctor

    lines = doctor.lines()
    for good, subject, text in lines:
        print(f"{'ok  ' if good else 'FIX '} {subject:10} {text}")
    return int(not all(good for good, _, _ in lines))
