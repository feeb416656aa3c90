"""Scenes of coming steps, rendered by other processes while steps are trained (`TrainConfig.render_ahead`)."""

import signal
import sys
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize

import torch

from geometry.errors import InputError
from worldgen.training.batches.scene_stream import Footage, SceneStream
from worldgen.training.config.run import RunConfig


def scene_stream(config: RunConfig, device: torch.device, rank: int = 0, world_size: int = 1) -> SceneStream:
    """The stream of a run's scenes, rendered where the run says.

    Args:
        config: The run.
        device: What is rendered on, by other processes as well.
        rank: Which share of every batch is rendered.
        world_size: How many shares there are.
    """
    kind = RenderAhead if config.train.render_ahead else SceneStream
    return kind(config, device, rank, world_size)


class RenderAhead(SceneStream):
    """A `SceneStream` whose pools are rendered by processes of its own, each one pool ahead.

    Bit for bit the same footage. The processes start with the first footage and end with the stream, or with the
    process that has it, however that ends.
    """

    def __init__(self, config: RunConfig, device: torch.device, rank: int = 0, world_size: int = 1):
        super().__init__(config, device, rank, world_size)
        self._workers: deque[_Worker] = deque()  # the next to be asked comes first
        self._asked: deque[tuple[tuple[int, int], _Worker]] = deque()  # pools that follow one another

    def _made_pool(self, number: int, block: int) -> Footage:
        if not self._workers:
            arguments = (self.config, self.device, self.rank, self.world_size)
            self._workers.extend(_Worker(*arguments) for _ in range(self.config.train.render_ahead))
        while self._asked and self._asked[0][0] != (number, block):
            self._asked.popleft()[1].receive()  # the steps are taken in another order
        if not self._asked:
            self._ask((number, block))
        footage = self._asked.popleft()[1].receive()
        last = self._asked[-1][0] if self._asked else (number, block)
        while len(self._asked) < len(self._workers) and (last := self.pool_after(*last)) is not None:
            self._ask(last)
        return Footage(footage.clip.to(self.device), footage.captions)

    def _ask(self, pool: tuple[int, int]) -> None:
        self._workers[0].ask(pool)
        self._asked.append((pool, self._workers[0]))
        self._workers.rotate(-1)


class _Worker:
    """A process that renders the pools it is asked for, in that order; tensors come through shared memory."""

    def __init__(self, config: RunConfig, device: torch.device, rank: int, world_size: int):
        context = get_context("spawn")  # a fork would copy locks that threads of torch and numba hold
        self._connection, theirs = context.Pipe()
        arguments = (theirs, config, device, rank, world_size)
        self._process = context.Process(target=_serve, args=arguments, name="render ahead", daemon=True)
        with _interrupts_blocked():
            self._process.start()
        theirs.close()
        # Before multiprocessing ends its processes at the exit, with a signal that this one does not take.
        Finalize(self, _end, (self._connection, self._process), exitpriority=10)

    def ask(self, pool: tuple[int, int]) -> None:
        """Have a pool rendered."""
        with suppress(OSError):  # a process that has ended is noticed when its pool is needed
            self._connection.send(pool)

    def receive(self) -> Footage:
        """The earliest pool that was asked for and not received, on the CPU. Raises what rendering it raised."""
        try:
            made = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(1)
            raise InputError(
                f"the process that renders ahead ended with exit code {self._process.exitcode}; expected it to last as "
                "long as the run: it may have been short of memory, or of shared memory (/dev/shm); "
                "train.render_ahead=0 does without"
            ) from error
        if isinstance(made, Exception):
            raise made
        return deepcopy(made)  # of its own memory: what is shared is scarce in containers, and given back at once


def _end(connection: Connection, process: BaseProcess) -> None:
    connection.close()
    process.kill()
    process.join()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Have processes that are started in here deaf to Ctrl-C and SIGTERM, which also go to whole groups of processes:
    this one ends them, after its step."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # which would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, config: RunConfig, device: torch.device, rank: int, world_size: int) -> None:
    """What the process does: render what it is asked for on one thread, until there is nobody left to ask."""
    torch.set_num_threads(1)
    rendered = replace(config, data=replace(config.data, shards=None))  # captures are mixed in by the one who asks
    stream = SceneStream(rendered, device, rank, world_size)
    with suppress(EOFError, OSError):
        while True:
            number, block = connection.recv()
            connection.send(_rendered(stream, number, block))


def _rendered(stream: SceneStream, number: int, block: int) -> Footage | Exception:
    """A pool on the CPU, or why there is none."""
    try:
        pool = stream.render_pool(number, block)
        return Footage(pool.clip.to("cpu"), pool.captions)
    except InputError as error:
        return error
    except Exception as error:
        return RuntimeError("".join(traceback.format_exception(error)).rstrip())
