"""A training step that a GPU repeats by itself: recorded once as a CUDA graph, then replayed.

A step is a hundred small kernels, and launching them one by one takes longer than running them. A
graph launches all of them at once, on the tensors that it was recorded with: whatever changes from
step to step is an argument, and everything else stays where it is in memory.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

WARM_UP = 3  # first calls choose kernels and reserve memory, which a recording cannot
SWITCH = "NBKIT_CUDA_GRAPH"


class CudaGraphs:
    """Records calls as CUDA graphs, on a stream of their own and from one pool of memory.

    Parameters
    ----------
    model : module
        Its ``generators`` are told to a graph, which then draws new numbers at every replay.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.own = _stream()
        self.pool = torch.cuda.graph_pool_handle()

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Run what is inside on the stream of the graphs, in order with what stands around it."""
        around = torch.cuda.current_stream()
        self.own.wait_stream(around)
        with torch.cuda.stream(self.own):
            yield
        around.wait_stream(self.own)

    def record(self, function: Callable[..., None], arguments: list[Tensor]) -> Callable[[], None]:
        """Return what repeats ``function(*arguments)``, without having run it.

        Raises
        ------
        RuntimeError
            If the function waits for the host, or its memory does not suffice.
        """
        graph = torch.cuda.CUDAGraph()
        if torch.__version__ < "2.14":  # from there on a graph finds them by itself
            for generator in self.model.generators:
                graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.own):
                function(*arguments)
        except RuntimeError as error:
            raise RuntimeError(
                f"this training step cannot be recorded as a CUDA graph ({error}); set {SWITCH}=0 "
                "to train without"
            ) from error
        return graph.replay


@functools.cache
def _stream() -> torch.cuda.Stream:
    """One for the process: what the libraries reserve for a stream is never given back."""
    return torch.cuda.Stream()


class Replayed:
    """A function of tensors that is recorded once for every shape of them, and then replayed.

    Parameters
    ----------
    function : callable
        Takes tensors and returns nothing: it changes tensors that it holds.
    recorder : CudaGraphs
    """

    def __init__(self, function: Callable[..., None], recorder: CudaGraphs):
        self.function, self.recorder = function, recorder
        self.calls, self.recorded = {}, {}

    def __call__(self, *arguments: Tensor) -> None:
        """Call the function: as it is for the first ``WARM_UP`` times of a shape."""
        shape = tuple(argument.shape for argument in arguments)
        self.calls[shape] = self.calls.get(shape, 0) + 1
        with self.recorder.stream():
            if self.calls[shape] <= WARM_UP:
                self.function(*arguments)
                return
            if shape not in self.recorded:
                own = [argument.clone() for argument in arguments]
                self.recorded[shape] = own, self.recorder.record(self.function, own)
            own, replay = self.recorded[shape]
            for mine, given in zip(own, arguments, strict=True):
                mine.copy_(given)
            replay()


def recorder_on(device: torch.device, model: nn.Module) -> CudaGraphs | None:
    """Return what records a step on a device: CUDA graphs, or None where there are none.

    ``NBKIT_CUDA_GRAPH=0`` in the environment switches them off.
    """
    if device.type != "cuda" or os.environ.get(SWITCH) == "0":
        return None
    return CudaGraphs(model)
