"""Recorded steps. Without a card, a tape of tensor operations stands in for a CUDA graph.

The tape has the rules of a graph: it repeats the operations that it saw, on the tensors that it saw
them with, and nothing of Python runs again. What a step reads from anywhere else is stale.
"""

import contextlib
import functools
import itertools

import pytest
import torch
from conftest import needs_card
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nbkit import fcn, graphs, layers, losses, models, optim, train
from nbkit.images import Images

CLASSES, EXAMPLES, BATCH, EPOCHS = 4, 20, 8, 5  # the last batch has 4, and is recorded in epoch 4
KNOWN = {"kept": 0.6, "prior": 0.4, "num_classes": CLASSES}


class Tape(TorchDispatchMode):
    """Takes down every operation, and repeats them."""

    def __init__(self):
        super().__init__()
        self.calls, self.has_run = [], True

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation is not torch.ops.aten._local_scalar_dense.default, "waits for the host"
        result = operation(*args, **(kwargs or {}))
        self.calls.append((operation, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def repeat(self):
        if self.has_run:  # recording runs here, as it does not on a card
            self.has_run = False
            return
        for operation, args, kwargs, before in self.calls:
            results = tree_leaves(operation(*args, **kwargs))
            for old, new in zip(tree_leaves(before), results, strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Tapes:
    """A recorder of tapes."""

    def __init__(self):
        self.tapes = []

    stream = contextlib.nullcontext

    def record(self, function, arguments):
        self.tapes.append(Tape())
        with self.tapes[-1] as tape:
            function(*arguments)
        return tape.repeat


class Plain(Tapes):
    """A recorder that runs the function every time."""

    def record(self, function, arguments):
        return functools.partial(function, *arguments)


def drawn(shape, high, dtype=torch.int64):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def images():
    return Images(drawn((EXAMPLES, 32, 32, 3), 256, torch.uint8))


def vgg8(spec, faded=False):
    loss = losses.build(spec, **KNOWN)
    loss = losses.FadeIn(loss) if faded else loss
    return models.VGG8(CLASSES, [3]), images(), drawn((1, EXAMPLES), CLASSES), loss


def masks():
    targets = drawn((1, EXAMPLES, 32, 32), CLASSES, torch.uint8)
    loss = losses.build("nnpu(per_image=True)", **KNOWN)
    return fcn.FCN(CLASSES, [3], trunk="narrow"), images(), targets, loss


def stack(spec):
    x = torch.randn(EXAMPLES, 3, generator=torch.Generator().manual_seed(0))
    model = models.MLP((3, 8, CLASSES), [1, 2, 1], dropout=0.4)
    return model, x, drawn((3, EXAMPLES), CLASSES), losses.build(spec, **KNOWN)


def weights(recorder, monkeypatch, model, inputs, targets, loss):
    """What a training leaves behind, of the network and of its losses."""
    monkeypatch.setattr(train, "recorder_on", lambda device, model: recorder)
    # nor does a card take the short cuts of a CPU
    monkeypatch.setattr(layers, "is_fp32_on_avx512", lambda x: False)
    # a learning rate in a tensor is for the fused optimiser, which a card has for every network
    monkeypatch.setattr(train, "Adam", lambda own, fused: optim.Adam(own, fused=True))
    history = train.fit(
        model,
        inputs,
        targets,
        loss,
        epochs=EPOCHS,
        batch_size=BATCH,
        learning_rate=1e-2,
        schedule="one_cycle",
        priors=torch.linspace(0.2, 0.6, EXAMPLES).to(targets.device) if loss.per_image else None,
    )
    return [*model.parameters(), *history.losses]


STEPS = {
    "vgg8": functools.partial(vgg8, "cross_entropy"),
    "vgg8_faded": functools.partial(vgg8, "exponential", faded=True),
    "vgg8_mixup": functools.partial(vgg8, "vpu"),
    "vgg8_warm_up": functools.partial(vgg8, "dist_pu(warm_up=2)"),
    "masks": masks,
    **{f"stack_{name}": functools.partial(stack, name) for name in losses.names()},
}


@pytest.mark.parametrize("made", STEPS.values(), ids=STEPS)
def test_a_recorded_step_learns_the_same(made, monkeypatch):
    tapes = Tapes()
    recorded = weights(tapes, monkeypatch, *made())
    assert len(tapes.tapes) == 2  # whole batches, and the last of an epoch
    for own, other in zip(recorded, weights(Plain(), monkeypatch, *made()), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("moved", ["moves", "generators"])
def test_what_does_not_stay_in_its_place_is_caught(moved, monkeypatch):
    """The control: what the test above relies on."""

    def trained(recorder):
        model, inputs, *rest = vgg8("cross_entropy")
        owner = inputs if moved == "moves" else model
        begin = owner.begin_epoch

        def elsewhere(*args):
            setattr(owner, moved, None)
            begin(*args)

        monkeypatch.setattr(owner, "begin_epoch", elsewhere)
        return weights(recorder, monkeypatch, model, inputs, *rest)

    pairs = zip(trained(Tapes()), trained(Plain()), strict=True)
    assert not all(itertools.starmap(torch.equal, pairs))


def test_a_wait_for_the_host_is_caught():
    with pytest.raises(AssertionError, match="waits for the host"):
        Tapes().record(lambda x: float(x.sum()), [torch.ones(2)])


def test_a_shape_is_recorded_once_and_after_its_warm_up():
    total, ran, tapes = torch.zeros(()), [], Tapes()

    def add(values):
        ran.append(len(values))
        total.add_(values.sum())

    replayed = graphs.Replayed(add, tapes)
    for i in range(10):
        replayed(torch.full((3,), float(i)))
    replayed(torch.ones(2))
    assert ran == [3] * (graphs.WARM_UP + 1) + [2]
    assert len(tapes.tapes) == 1
    assert total == 3 * sum(range(10)) + 2


def test_only_a_gpu_records_and_the_switch_ends_it(monkeypatch):
    assert graphs.recorder_on(torch.device("cpu"), None) is None
    monkeypatch.setenv("NBKIT_CUDA_GRAPH", "0")
    assert graphs.recorder_on(torch.device("cuda"), None) is None


def test_a_step_that_cannot_be_recorded_says_what_to_do(monkeypatch):
    @contextlib.contextmanager
    def refused(*_, **__):
        yield
        raise RuntimeError("operation not permitted when stream is capturing")

    class Graph:
        generators = ()

        def register_generator_state(self, generator):
            self.generators += (generator,)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", refused)
    recorder = graphs.CudaGraphs.__new__(graphs.CudaGraphs)
    recorder.model, recorder.pool, recorder.own = models.VGG8(2, [0]), None, None
    with pytest.raises(RuntimeError, match=r"not permitted.*NBKIT_CUDA_GRAPH=0"):
        recorder.record(lambda: None, [])


@pytest.mark.gpu
@needs_card
@pytest.mark.parametrize("made", STEPS.values(), ids=STEPS)
def test_a_graph_on_a_card_learns_what_single_kernels_do(made, monkeypatch):
    def trained(recorder):
        model, inputs, targets, loss = made()
        inputs = Images(inputs.pixels.cuda()) if isinstance(inputs, Images) else inputs.cuda()
        return weights(
            recorder(model.cuda()), monkeypatch, model, inputs, targets.cuda(), loss.cuda()
        )

    graph, plain = trained(graphs.CudaGraphs), trained(lambda model: Plain())
    for own, other in zip(graph, plain, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-3)
