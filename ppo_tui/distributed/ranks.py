"""The ranks of a run: processes learning together, each with own environments.

`Ranks` is the interface, and a process that learns alone: its operations have nothing to combine. `ProcessGroup` is the
same over ``torch.distributed``. Both compute the same mathematics: sums over all samples of all ranks.
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
"""Longest wait for the other ranks, which may be starting their environments. A dead rank is noticed at once, because
its connections close; this is for machines that vanish from the network."""

RENDEZVOUS_PAUSE = 0.02
"""Seconds between two looks of rank 0 for ranks that have arrived."""


class Ranks:
    """A process on its own: rank 0 of 1.

    Attributes:
        rank: 0 to `size` − 1; rank 0 leads: it alone writes, prints and takes commands.
        size: number of processes that learn together.
        local_size: number of those on this machine, which share its cores.
        device: of this rank's computations, or None where the configuration decides.
    """

    rank = 0
    size = 1
    local_size = 1
    device: torch.device | None = None

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This rank's part of `count` items, a multiple of `size`."""
        length = count // self.size
        return slice(self.rank * length, (self.rank + 1) * length)

    # ── Values ──────────────────────────────────────────────────────────────────────────────────────────────

    def agree(self, decide: Callable[[], T], kind: Any) -> T:
        """Call `decide` on rank 0 and return its result on every rank.

        Args:
            kind: the type of the result, for msgspec.

        Raises:
            RankLostError: another rank is gone. All further methods raise it, too.
        """
        return decide()

    def exchange(self, value: T, kind: Any) -> list[T]:
        """The values of all ranks, in order, on every rank.

        `kind` as for `agree`.
        """
        return [value]

    def gather(self, value: T, kind: Any) -> list[T]:
        """As `exchange` on rank 0; an empty list elsewhere."""
        return [value]

    # ── Tensors ─────────────────────────────────────────────────────────────────────────────────────────────

    def concatenate(self, tensor: Tensor, dim: int) -> Tensor:
        """Concatenate the tensors of all ranks, all of one shape, along `dim`."""
        return tensor

    def add_up(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks; `tensor` itself may hold it."""
        return tensor

    def largest(self, tensor: Tensor) -> Tensor:
        """The elementwise maximum over all ranks; `tensor` itself may hold it."""
        return tensor

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite `tensors` with rank 0's."""

    def backward(self, loss: Tensor | None, means: Tensor, share: float, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Set the gradients of `parameters` to the loss over all ranks.

        Args:
            loss: mean over this rank's samples; None where it has none.
            means: other means over this rank's samples, `[S]`.
            share: this rank's samples divided by those of all ranks.

        Returns:
            `means` over the samples of all ranks.
        """
        assert loss is not None, "a process that learns alone has all samples"
        loss.backward()
        return means

    def moments(self, samples: Tensor) -> tuple[int, Tensor, Tensor]:
        """Number, mean and variance, `[*shape]`, of all ranks' samples, `[M, *shape]`."""
        return len(samples), samples.mean(0), samples.var(0, correction=0)


ALONE = Ranks()


class ProcessGroup(Ranks):
    """One of several ranks, over ``torch.distributed``.

    Every method raises `RankLostError` where ``torch.distributed`` fails.

    `backward` sums one flat gradient, weighted by samples, instead of wrapping the policy in DistributedDataParallel:
    that averages the ranks with equal weights, while a minibatch drawn from the whole rollout has a different number
    of samples on each of them, or none; and here the learner's means travel in the same message.
    Gradients of PPO's networks are small (7 MB for a Nature CNN): to send them during the backward pass, the strength
    of DistributedDataParallel, gains little.

    Values and CPU tensors go through gloo, GPU tensors through NCCL.

    Args:
        local_size: ranks on this machine.
        init_method, rank, size: as for ``torch.distributed.init_process_group``; by default from the environment.
        timeout: seconds to wait for other ranks.

    Raises:
        RankLostError: the other ranks could not be reached.
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
        wait = datetime.timedelta(seconds=timeout)
        with _raising_rank_lost(rank):
            # PyTorch documents the three names here that its stubs take for private.
            store, rank, size = next(
                dist.rendezvous(init_method, rank, size, timeout=wait)  # pyright: ignore[reportPrivateImportUsage]
            )
            name = _agree_on_name(store, rank, size, timeout)
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=dist.PrefixStore(name, store),  # pyright: ignore[reportPrivateImportUsage]
                rank=rank,
                world_size=size,
                timeout=wait,
            )
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.local_size = local_size
        self.device = torch.device("cpu")

    def compute_on(self, device: torch.device) -> None:
        """Compute on `device` from now on."""
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

    def exchange(self, value: T, kind: Any) -> list[T]:
        content, sizes = self._padded(value)
        parts = [torch.empty_like(content) for _ in sizes]
        with self._communicating():
            dist.all_gather(parts, content)
        return _decoded(parts, sizes, kind)

    def gather(self, value: T, kind: Any) -> list[T]:
        content, sizes = self._padded(value)
        parts = [torch.empty_like(content) for _ in sizes] if self.leads else None
        with self._communicating():
            dist.gather(content, parts)
        return _decoded(parts or (), sizes, kind)

    def _padded(self, value: Any) -> tuple[Tensor, list[int]]:
        """`value` as bytes, padded to the longest rank's, and all lengths."""
        payload = _encoded(value)
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

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            content = tensor.detach().contiguous()
            with self._communicating():
                dist.broadcast(content, 0)
            tensor.detach().copy_(content)

    def backward(self, loss: Tensor | None, means: Tensor, share: float, parameters: Sequence[nn.Parameter]) -> Tensor:
        if loss is not None:
            (loss * share).backward()
        gradients: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is None:  # this rank has no sample
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
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
        return _raising_rank_lost(self.rank)


def _agree_on_name(
    store: dist.Store,  # pyright: ignore[reportPrivateImportUsage]
    rank: int,
    size: int,
    timeout: float,
) -> str:
    """A name for these processes' keys in `store`, new at each restart.

    torchrun keeps one store over its restarts, so that a rank would find the addresses of dead ranks there, and its
    count of restarts differs from machine to machine. So each rank stores a random token; rank 0 answers every token
    with the name, its own token, until all ranks have acknowledged it. Answers to dead ranks are never read.
    """
    deadline = time.monotonic() + timeout
    token = uuid.uuid4().hex
    if rank:
        store.set(f"ppo-tui/token/{rank}", token)
        store.wait([f"ppo-tui/answer/{token}"], datetime.timedelta(seconds=timeout))
        name = store.get(f"ppo-tui/answer/{token}").decode()
        store.set(f"ppo-tui/{name}/{rank}", "here")
        return name
    missing = set(range(1, size))
    while missing:
        for other in list(missing):
            if store.check([f"ppo-tui/{token}/{other}"]):
                missing.discard(other)
            elif store.check([f"ppo-tui/token/{other}"]):
                store.set(f"ppo-tui/answer/{store.get(f'ppo-tui/token/{other}').decode()}", token)
        if missing and time.monotonic() > deadline:
            raise RuntimeError(f"ranks {sorted(missing)} have not arrived within {timeout:.0f} s")
        time.sleep(RENDEZVOUS_PAUSE)
    return token


@contextlib.contextmanager
def _raising_rank_lost(rank: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RankLostError(
            f"{'this rank' if rank < 0 else f'rank {rank}'} has lost the other ranks: {reason[:300]}",
            hint="start torchrun with --max-restarts N: it starts all ranks again, from the newest checkpoint",
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
