"""The processes that train one model: a single one, or as many as Accelerate launched, by DDP or FSDP.

Every process calls the same methods in the same order. What is decided once (when to save, whether to stop) travels
between CPUs, so that no accelerator has to be waited for.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from auricle.errors import AuricleError, DeviceError, InputError
from auricle.jobs.extras import needed

Found = TypeVar("Found")


class Single:
    """A process that works alone."""

    rank, count, main, sharded = 0, 1, True, False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def summed(self, numbers: Sequence[float]) -> list[float]:
        """The sum of each number over all processes."""
        return list(numbers)

    def total(self, sums: Tensor) -> Tensor:
        """The same, of a tensor on any device; on the CPU, in float64."""
        return sums.detach().double().cpu().clone()


class Workers(Single):
    """This process among those that train.

    Args:
        device: auto, cpu or cuda.

    Raises:
        DeviceError: the device isn't there. UnsupportedError: Accelerate isn't installed.
    """

    def __init__(self, device: str = "auto") -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise DeviceError("device is cuda, and torch sees no CUDA device here: use cpu, or auto")
        accelerate = needed("accelerate", "training", "train")
        kwargs = needed("accelerate.utils", "training", "train").DistributedDataParallelKwargs
        ddp = kwargs(find_unused_parameters=True)  # of the NAR half a step trains one codebook's
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it chose a number of threads, which `threads` overrides
            # Autocast is ours (objective.py): an Accelerator can't change its own within a process.
            self._accelerator = accelerate.Accelerator(
                cpu=device == "cpu" or not torch.cuda.is_available(), mixed_precision="no", kwargs_handlers=[ddp]
            )
        super().__init__(self._accelerator.device)
        self.rank: int = self._accelerator.process_index
        self.count: int = self._accelerator.num_processes
        self.main = self.rank == 0  # whether this process writes and talks
        self.sharded = "FSDP" in str(self._accelerator.distributed_type)
        # Beside NCCL's, a group of CPUs.
        self._group = torch.distributed.new_group(backend="gloo") if self.count > 1 else None

    def prepared(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The model as it is trained by all, on its device, and its optimizer."""
        model, wrapped = self._accelerator.prepare(model, optimizer)
        return model, wrapped.optimizer

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def alone(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Within it, gradients stay this process's own: more batches of the step follow."""
        return self._accelerator.no_sync(model)

    def clipped(self, model: nn.Module, most: float) -> Tensor:
        """The norm of the whole gradient, a scalar; where it is above `most` (not 0), it is scaled down to that."""
        norm = self._accelerator.clip_grad_norm_(model.parameters(), most or float("inf")).detach()
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of FSDP's shards: whole

    def summed(self, numbers: Sequence[float]) -> list[float]:
        if self._group is None:
            return super().summed(numbers)
        shared = torch.tensor(numbers, dtype=torch.float64)
        torch.distributed.all_reduce(shared, group=self._group)
        return [float(one) for one in shared]

    def total(self, sums: Tensor) -> Tensor:
        found = super().total(sums)
        if self._group is not None:
            torch.distributed.all_reduce(found, group=self._group)
        return found

    def agreed(self, decide: Callable[[], Found]) -> Found:
        """What the main process finds, in all of them.

        Raises:
            InputError, AuricleError: the main process met one; the others get it in its words.
        """
        if self._group is None:
            return decide()
        found: list[Any] = [None, None, 0]
        error: AuricleError | None = None
        if self.main:
            try:
                found[0] = decide()
            except AuricleError as met:
                error, found[1], found[2] = met, str(met), met.exit_status
        torch.distributed.broadcast_object_list(found, src=0, group=self._group)
        if error is not None:
            raise error
        if found[1] is not None:
            raise (InputError if found[2] == InputError.exit_status else AuricleError)(found[1])
        return found[0]

    def weights(self, model: nn.Module) -> dict[str, Any]:
        """A model's state as a single process has it; of shards, whole in the main process alone."""
        if not self.sharded:
            return self._accelerator.unwrap_model(model).state_dict()
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))

    def moments(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """The same, of its optimizer."""
        if not self.sharded:
            return optimizer.state_dict()
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

        whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(model, optimizer, options=whole)

    def restore(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, weights: dict[str, Any], moments: dict[str, Any]
    ) -> None:
        """Puts back what `weights` and `moments` gave in the main process; every process gives them."""
        if not self.sharded:
            self._accelerator.unwrap_model(model).load_state_dict(weights)
            optimizer.load_state_dict(moments)
            return
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_state_dict

        whole = StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)
        set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments, options=whole)

    def close(self) -> None:
        """Leaves the others; the process goes on alone. Calling it again does nothing."""
        if self._group is not None and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        self._group = None
