"""A device that is not there: what is computed on it is computed on the processor, but its tensors must not meet those
of the processor, and everything that waits for it is counted.

Code that runs on it has no tensor left behind when its model is moved to a GPU.  Numbers are real, so control flow is
that of a training or a rollout.  It calls itself ``meta``, the one device besides the processor that any build of torch
knows.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

OTHER = torch.device("meta")
TURNING = ("transpose_", "t_.", "squeeze_", "unsqueeze_")
"""They change the shape of the tensor that they are given."""
INDEXING = ("index.Tensor", "index_put_.default", "index_put.default", "_index_put_impl_.default")
"""They take indices of the processor on a GPU too."""


class OtherTensor(Tensor):
    """A tensor of the other device; ``held`` is what it stands for."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OtherTensor:
        tensor: OtherTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=OTHER,
            requires_grad=held.requires_grad,
        )
        tensor.held = held.detach()
        return tensor

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OtherTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} was called on another device's tensor outside of OtherDevice")


class OtherDevice(TorchDispatchMode):
    """While it is entered, ``meta`` is the other device.

    ``waits`` are the operations that had to wait for it: values read one by one, and copies to the processor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self._depth = 0
        self._plain = mock.patch.object(torch._C, "_InferenceMode", lambda mode: torch.no_grad())

    def __enter__(self) -> OtherDevice:
        # Tensors that stand for others know no inference mode; without gradients is as good here.
        if not self._depth:
            self._plain.start()
        self._depth += 1
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._depth -= 1
        if not self._depth:
            self._plain.stop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        # In inference mode operations arrive that are made of others.
        with self:
            result = func.decompose(*args, **kwargs)
        if result is not NotImplemented:
            return result
        flat = tree_flatten((args, kwargs))[0]
        others = [value for value in flat if isinstance(value, OtherTensor)]
        name = f"{func.__name__}"
        asked = kwargs.get("device")
        if asked is not None and torch.device(asked).type == OTHER.type:
            there = True
            kwargs["device"] = torch.device("cpu")
        elif asked is not None:
            there = False
        else:
            there = bool(others)
        copies = name.startswith(("_to_copy", "copy_"))
        if others and not copies:
            self._check(name, flat)
        if name == "_fused_sdp_choice.default":
            return 0
        if others and (
            name.startswith(("_local_scalar_dense", "nonzero")) or (copies and self._leaves(flat, there))
        ):
            self.waits.append(name)
        if func is torch.ops.aten.detach.default and others:
            return OtherTensor(others[0].held)
        given = tree_map(
            lambda value: value.held if isinstance(value, OtherTensor) else value, (args, kwargs)
        )
        with torch.no_grad():
            result = func(*given[0], **given[1])
        if name.startswith(TURNING) and others:
            with torch._C._DisableTorchDispatch():
                func(*args, **kwargs)
        if copies and name.startswith("copy_"):
            there = isinstance(args[0], OtherTensor)
        # An operation in place gives back what it was given.
        known = {id(value.held): value for value in others}

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            if id(value) in known:
                return known[id(value)]
            return OtherTensor(value) if there else value

        return tree_map(wrapped, result)

    @staticmethod
    def _check(name: str, flat: list[Any]) -> None:
        """What CUDA refuses: tensors of the processor that are more than one number, but as indices."""
        if name in INDEXING:
            return
        strangers = [
            v for v in flat if isinstance(v, Tensor) and not isinstance(v, OtherTensor) and v.ndim > 0
        ]
        if strangers:
            shape = tuple(strangers[0].shape)
            raise RuntimeError(f"{name}: a tensor {shape} of the processor met one of the other device")

    @staticmethod
    def _leaves(flat: list[Any], there: bool) -> bool:
        source = flat[1] if len(flat) > 1 and isinstance(flat[1], Tensor) else flat[0]
        goes_to = isinstance(flat[0], OtherTensor) if source is not flat[0] else there
        return isinstance(source, OtherTensor) and not goes_to


def moved(module: nn.Module) -> nn.Module:
    """``module`` itself, with all parameters and buffers on the other device."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and not isinstance(parameter, OtherTensor):
                part._parameters[name] = nn.Parameter(OtherTensor(parameter.data), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None and not isinstance(buffer, OtherTensor):
                part._buffers[name] = OtherTensor(buffer)
    return module
