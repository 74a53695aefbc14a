"""What is asked of every part of benchmarks/gpu_check.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What is asked of every part."""

    out: Path
    device: str = "cuda"
    quick: bool = False

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


def allow_tf32(allowed: bool) -> None:
    """Whether float32 numbers may be multiplied as TF32, with 10 bits after the point."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed


def wait(options: Options) -> None:
    """Until the device is done."""
    import torch

    if options.cuda:
        torch.cuda.synchronize()
