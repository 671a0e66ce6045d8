"""One process or several: the device each computes on, its share of the work, and what they say to each other.

`torchrun --nproc_per_node N` starts the processes and tells each in its environment who it is; without it there is one.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as messages
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from storage.errors import InputError, TrainingFailed
from train.config import Network

SHORT_OF_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


@dataclass(frozen=True, slots=True)
class Processes:
    """Where this process stands among those that train together.

    Attributes:
        device: what it computes on.
        rank: its number.
        world: how many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    def share(self, objective: nn.Module, network: Network) -> nn.Module:
        """The same module, its gradients averaged over the processes."""
        if self.world == 1:
            return objective
        # a detached denoiser gets no gradient in the last stage
        return DistributedDataParallel(objective, find_unused_parameters=network.detach)

    def hold_back(self, objective: nn.Module, ready: bool) -> AbstractContextManager[None]:
        """Keep the gradients of all but the last part of a batch to this process."""
        if isinstance(objective, DistributedDataParallel) and not ready:
            return objective.no_sync()
        return nullcontext()

    def autocast(self) -> AbstractContextManager[None]:
        """bfloat16 where a GPU computes; full precision on a CPU, which is not faster with less."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def agree(self, mine: bool) -> bool:
        """Whether any process says so."""
        if self.world == 1:
            return mine
        flag = torch.tensor(float(mine), device=self.device)
        messages.all_reduce(flag, messages.ReduceOp.MAX)
        return bool(flag.item())


@contextmanager
def join_processes(device: str, world: int = 1, local_rank: int = 0) -> Iterator[Processes]:
    """Take this process's place among those started together.

    Args:
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        world: how many were started (`WORLD_SIZE` of torchrun).
        local_rank: which of its machine's GPUs this one computes on (`LOCAL_RANK`).

    Raises:
        InputError: there is no such device here.
        TrainingFailed: memory ran short inside the block.
    """
    chosen = find_device(device)
    try:
        if world == 1:
            yield Processes(chosen)
            return
        if chosen.type == "cuda":
            if local_rank >= torch.cuda.device_count():
                raise InputError(f"{world} processes were started, but only {torch.cuda.device_count()} GPUs are to be seen; start as many")
            chosen = torch.device("cuda", local_rank)
            torch.cuda.set_device(chosen)
        # the first process judges while the others wait
        messages.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=timedelta(hours=2))
        try:
            yield Processes(chosen, messages.get_rank(), world)
        finally:
            messages.destroy_process_group()
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(text in str(error).lower() for text in SHORT_OF_MEMORY):
            raise
        raise TrainingFailed(
            f"memory ran short on {chosen}; use smaller crops or batches, or the same batch in parts (--accumulate)"
        ) from error


def find_device(name: str) -> torch.device:
    """The device of this name; raises InputError where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is not known; use auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("no GPU is to be seen here, but --device cuda asks for one; use --device cpu, or install a torch that sees it")
    return torch.device(name)
