"""The processes that train one model together, one per GPU or CPU worker, as torchrun describes them."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class World:
    """`size` processes, of which this is number `rank`. One process alone needs no torch.distributed."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: "torch.device") -> "World":
        """The world that torchrun's variables describe; waits until all its processes are there."""
        if "RANK" not in os.environ:
            return cls()
        import torch

        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        # Gradients meet on the GPUs; votes and messages over the CPU, so that no GPU waits for them.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend)
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def leave(self) -> None:
        """End the connection to the others, once all have come here."""
        import torch

        if torch.distributed.is_initialized():
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

    def all_reduce_sum(self, tensor: "torch.Tensor") -> "torch.Tensor":
        """Replace `tensor` by its sum over all processes, and return it."""
        if self.size > 1:
            import torch

            torch.distributed.all_reduce(tensor)
        return tensor

    def any(self, *wishes: bool) -> list[bool]:
        """Per wish, whether any process has it; the same answer in all of them."""
        if self.size == 1:
            return list(wishes)
        import torch

        votes = torch.tensor([int(wish) for wish in wishes])
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
        return [bool(vote) for vote in votes]

    def from_first(self, number: int) -> int:
        """The first process's `number`, in all of them."""
        if self.size == 1:
            return number
        import torch

        message = torch.tensor([number])
        torch.distributed.broadcast(message, 0)
        return int(message)

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.size > 1:
            self.any(False)


# One process that needs nobody.
SINGLE = World()
