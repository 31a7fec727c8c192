"""Several processes that learn together from one rollout, each of which holds the part of its own environments.

`Ranks` is a process that learns alone: the interface, whose every operation does nothing. `ProcessGroup` is the same
over ``torch.distributed``. What both compute is the same mathematics: sums over all samples, wherever they lie.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import RankLostError

T = TypeVar("T")

COLLECTIVE_SECONDS = 600.0
"""How long a rank waits for the others, who may be starting their environments. One that has died is noticed at once,
as its connections close; this is for machines that vanish without a word."""

MEETING_PAUSE = 0.02
"""Seconds after which rank 0 looks again who has come."""


class Ranks:
    """A process that learns alone.

    Attributes:
        rank: 0 to `size` − 1; rank 0 leads: it alone writes, prints and is steered.
        size: processes that learn together.
        local_size: those of them on this machine, which share its cores.
        device: where this rank computes, or None where nothing but the configuration decides it.
    """

    rank = 0
    size = 1
    local_size = 1
    device: torch.device | None = None

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of `count` things, a multiple of `size`, are this rank's."""
        own = count // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    # ── Values ──────────────────────────────────────────────────────────────────────────────────────────────

    def agree(self, decide: Callable[[], T], kind: Any) -> T:
        """What `decide` returns on rank 0, on every rank; it is called on rank 0 alone.

        Args:
            kind: the type of the result, as msgspec decodes it.

        Raises:
            RankLostError: another rank is gone. This holds for all that follows, too.
        """
        return decide()

    def exchange(self, own: T, kind: Any) -> list[T]:
        """What each rank gives, in the order of the ranks, on every rank; `kind` is as for `agree`."""
        return [own]

    def gather(self, own: T, kind: Any) -> list[T]:
        """As `exchange`, on rank 0; elsewhere nothing."""
        return [own]

    # ── Tensors ─────────────────────────────────────────────────────────────────────────────────────────────

    def concatenate(self, tensor: Tensor, dim: int) -> Tensor:
        """The tensors of all ranks, which are of one shape, along `dim`."""
        return tensor

    def add_up(self, tensor: Tensor) -> Tensor:
        """The sum of the tensors of all ranks; `tensor` itself may hold it."""
        return tensor

    def largest(self, tensor: Tensor) -> Tensor:
        """The maximum, element by element, over all ranks; `tensor` itself may hold it."""
        return tensor

    def lead(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite `tensors` with those of rank 0."""

    def backward(self, loss: Tensor | None, means: Tensor, share: float, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Give `parameters` the gradient of the loss over the samples of all ranks.

        Args:
            loss: mean over the samples that lie here; None where there are none.
            means: other means over them, `[S]`.
            share: samples here over those of all ranks.

        Returns:
            `means` over the samples of all ranks.
        """
        loss.backward()
        return means

    def moments(self, samples: Tensor) -> tuple[int, Tensor, Tensor]:
        """How many samples, `[M, *shape]`, all ranks have, and their mean and variance, `[*shape]`."""
        return len(samples), samples.mean(0), samples.var(0, correction=0)


ALONE = Ranks()


class ProcessGroup(Ranks):
    """One of several processes that learn together; where torch.distributed fails, every method raises `RankLostError`.

    `backward` sums one flat gradient, weighted by samples, instead of wrapping the policy in DistributedDataParallel:
    that averages the ranks with equal weights, while a minibatch drawn from the whole rollout has a different number
    of samples on each of them, or none; and here the means that the learner reports travel in the same message.
    Gradients of PPO's networks are small (7 MB for a Nature CNN), so that sending them during the backward pass, which
    is what DistributedDataParallel is for, gains little.

    Values, and tensors on the CPU, go through gloo; tensors on a GPU, where there is any, through NCCL.

    Args:
        local_size: ranks on this machine.
        init_method, rank, size: as for ``torch.distributed.init_process_group``; by default the environment says them.
        timeout: seconds to wait for others.

    Raises:
        RankLostError: the others could not be reached.
    """

    def __init__(
        self,
        *,
        local_size: int,
        init_method: str = "env://",
        rank: int = -1,
        size: int = -1,
        timeout: float = COLLECTIVE_SECONDS,
    ) -> None:
        patience = datetime.timedelta(seconds=timeout)
        with _telling_of_losses(rank):
            store, rank, size = next(dist.rendezvous(init_method, rank, size, timeout=patience))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=dist.PrefixStore(_meet(store, rank, size, timeout), store),
                rank=rank,
                world_size=size,
                timeout=patience,
            )
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.local_size = local_size
        self.compute_on(torch.device("cpu"))

    def compute_on(self, device: torch.device) -> None:
        """Let this rank compute there."""
        self.device = device
        if device.type == "cuda":
            torch.cuda.set_device(device)

    def close(self) -> None:
        """Leave the group."""
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()

    def agree(self, decide: Callable[[], T], kind: Any) -> T:
        payload = _encoded(decide()) if self.leads else b""
        with self._communicating():
            size = torch.tensor([len(payload)])
            dist.broadcast(size, 0)
            content = _tensor_of(payload) if self.leads else torch.empty(int(size), dtype=torch.uint8)
            dist.broadcast(content, 0)
        return _decoder(kind).decode(_bytes_of(content))

    def exchange(self, own: T, kind: Any) -> list[T]:
        content, sizes = self._padded(own)
        parts = [torch.empty_like(content) for _ in sizes]
        with self._communicating():
            dist.all_gather(parts, content)
        return _decoded(parts, sizes, kind)

    def gather(self, own: T, kind: Any) -> list[T]:
        content, sizes = self._padded(own)
        parts = [torch.empty_like(content) for _ in sizes] if self.leads else None
        with self._communicating():
            dist.gather(content, parts)
        return _decoded(parts or (), sizes, kind)

    def _padded(self, own: Any) -> tuple[Tensor, list[int]]:
        """`own` as bytes, as many of them as the longest that any rank has; and how long each really is."""
        payload = _encoded(own)
        with self._communicating():
            lengths = [torch.empty(1, dtype=torch.int64) for _ in range(self.size)]
            dist.all_gather(lengths, torch.tensor([len(payload)]))
        sizes = [int(length) for length in lengths]
        return _tensor_of(payload.ljust(max(sizes), b"\0")), sizes

    def concatenate(self, tensor: Tensor, dim: int) -> Tensor:
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with self._communicating():
            dist.all_gather(parts, tensor)
        return torch.cat(parts, dim)

    def add_up(self, tensor: Tensor) -> Tensor:
        with self._communicating():
            dist.all_reduce(tensor)
        return tensor

    def largest(self, tensor: Tensor) -> Tensor:
        with self._communicating():
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor

    def lead(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            content = tensor.detach().contiguous()
            with self._communicating():
                dist.broadcast(content, 0)
            tensor.detach().copy_(content)

    def backward(self, loss: Tensor | None, means: Tensor, share: float, parameters: Sequence[nn.Parameter]) -> Tensor:
        if loss is not None:
            (loss * share).backward()
        for parameter in parameters:
            if parameter.grad is None:  # no sample lies here
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters]
        summed = self.add_up(torch.cat([*(gradient.reshape(-1) for gradient in gradients), means * share]))
        *pieces, means = summed.split([*(gradient.numel() for gradient in gradients), len(means)])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view(gradient.shape))
        return means

    def moments(self, samples: Tensor) -> tuple[int, Tensor, Tensor]:
        count = len(samples) * self.size
        mean = self.add_up(samples.sum(0)) / count
        return count, mean, self.add_up((samples - mean).square().sum(0)) / count

    def _communicating(self) -> contextlib.AbstractContextManager[None]:
        return _telling_of_losses(self.rank)


def _meet(store: dist.Store, rank: int, size: int, timeout: float) -> str:
    """A name that these processes, and none before them, have for what they put into `store`.

    torchrun keeps one store over its restarts, so that a rank would find the addresses of dead ones there, and its own
    count of restarts differs from machine to machine. So each rank leaves a word that is its own; rank 0 answers every
    such word with the name, until all have acknowledged it. Words of the dead are answered in vain.
    """
    deadline = time.monotonic() + timeout
    own = uuid.uuid4().hex
    if rank:
        store.set(f"ppo-tui/word/{rank}", own)
        store.wait([f"ppo-tui/answer/{own}"], datetime.timedelta(seconds=timeout))
        name = store.get(f"ppo-tui/answer/{own}").decode()
        store.set(f"ppo-tui/{name}/{rank}", "here")
        return name
    missing = set(range(1, size))
    while missing:
        for other in list(missing):
            if store.check([f"ppo-tui/{own}/{other}"]):
                missing.discard(other)
            elif store.check([f"ppo-tui/word/{other}"]):
                store.set(f"ppo-tui/answer/{store.get(f'ppo-tui/word/{other}').decode()}", own)
        if missing and time.monotonic() > deadline:
            raise RuntimeError(f"ranks {sorted(missing)} have not come within {timeout:.0f} s")
        time.sleep(MEETING_PAUSE)
    return own


@contextlib.contextmanager
def _telling_of_losses(rank: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RankLostError(
            f"{'this rank' if rank < 0 else f'rank {rank}'} has lost the others: {reason[:300]}",
            hint="torchrun --max-restarts N starts all ranks again, and the run goes on from its newest checkpoint",
        ) from error


def _encoded(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


@functools.cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder:
    return msgspec.msgpack.Decoder(kind)


def _decoded(parts: Sequence[Tensor], sizes: Sequence[int], kind: Any) -> list[Any]:
    return [_decoder(kind).decode(_bytes_of(part[:size])) for part, size in zip(parts, sizes, strict=False)]


def _tensor_of(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _bytes_of(content: Tensor) -> bytes:
    return content.numpy().tobytes()
