"""Where an interrupted training goes on: its checkpoint, written whole and read with suspicion."""

from pathlib import Path

import torch
from torch import Tensor

from nbkit import paths

EVERY = 30  # seconds: what a kill may cost; a save can take as long as a small epoch on a card


class TrainingError(RuntimeError):
    """Training stopped: a loss that is not finite, or a checkpoint that cannot be used."""


def save(path: Path, tensors: list[Tensor], **state) -> None:
    """Write a checkpoint: tensors, and plain values by name.

    Raises
    ------
    TrainingError
        If it cannot be written; nothing is left behind.
    """
    try:
        with paths.writing(path) as partial:
            torch.save({"tensors": tensors, **state}, partial)
    except (OSError, RuntimeError) as error:  # torch tells of a full disk with the latter
        raise TrainingError(
            f"cannot write the checkpoint {path}: {_reason(error)}; free some space or set "
            "NBKIT_RUNS to a folder you can write to, and run the same command again"
        ) from error


def load(path: Path, tensors: list[Tensor], epochs: int, **training) -> dict | None:
    """Fill tensors from a checkpoint and return its history, or None if there is no checkpoint.

    Raises
    ------
    TrainingError
        If it cannot be read, is of tensors of other sizes or beyond ``epochs``, or one of the names
        had another value when it was saved.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # its history stays there
        others = [name for name, now in training.items() if state.get(name, now) != now]
        history = {name: state["history"][name] for name in ("epochs", "losses", "diverged")}
        longer = len(history["losses"]) > epochs
        if not others and not longer:
            if [t.shape for t in tensors] != [t.shape for t in state["tensors"]]:
                raise RuntimeError("its network has other sizes")
            with torch.no_grad():
                for tensor, saved in zip(tensors, state["tensors"], strict=True):
                    tensor.copy_(saved)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a file of another kind makes of the reading
        raise TrainingError(
            f"{path} cannot be read ({_reason(error)}); delete it and start again, or name another "
            "file if it is no checkpoint"
        ) from error
    if others:
        name = others[0]
        raise TrainingError(
            f"{path} began with {name} = {state[name]!r} and would go on with {training[name]!r}; "
            "go on as it began, or delete it and start again"
        )
    if longer:
        raise TrainingError(
            f"{path} holds {len(history['losses'])} epochs, and {epochs} were asked for; ask for "
            "as many or more, or delete it and start again"
        )
    return history


def _reason(error: Exception) -> str:
    """One line; of what torch says of a strange file only the kind, not the advice to trust it."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    lines = str(error).splitlines() if isinstance(error, RuntimeError) else []
    return lines[0] if lines and "weights_only" not in lines[0] else type(error).__name__
