"""The reference in float64: the same transformers code with every float32 replaced by float64."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS


def widened(value: Any) -> Any:
    """float64 in place of float32, anything else as it is."""
    return torch.float64 if value is torch.float32 else value


class Widen(TorchFunctionMode):
    """Turns the casts to float32 that modelling code spells out into casts to float64.

    Raises when an operation gives float32 all the same.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Call with the dtypes replaced and look at the result."""
        kwargs = {key: widened(value) for key, value in (kwargs or {}).items()}
        func = torch.Tensor.double if func is torch.Tensor.float else func
        result = func(*(widened(value) for value in args), **kwargs)
        parts = result if isinstance(result, tuple | list) else [result]
        if any(isinstance(part, torch.Tensor) and part.dtype == torch.float32 for part in parts):
            raise RuntimeError(f"{func} gave float32 in a float64 run")
        return result


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Inside, whatever would be computed in float32 is computed in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with Widen():
            yield
    finally:
        torch.set_default_dtype(before)


def exact_frequencies(module: torch.nn.Module) -> torch.Tensor:
    """The rotary frequencies of a text model or a tower, without the rounding to float32."""
    if hasattr(module, "compute_default_rope_parameters"):
        if module.rope_type == "yarn":
            return ROPE_INIT_FUNCTIONS["yarn"](module.config)[0]
        if module.rope_type != "default":
            raise RuntimeError(f"no float64 frequencies for rope type '{module.rope_type}'")
        return module.compute_default_rope_parameters(module.config)[0]
    return 1.0 / (module.theta ** (torch.arange(0, module.dim, 2) / module.dim))


def double_model(model: torch.nn.Module) -> torch.nn.Module:
    """A float64 copy of a float32 model, to be run within `double_precision`."""
    model = copy.deepcopy(model).double()
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # the grouped product knows no float64
    with double_precision():
        for module in model.modules():
            if hasattr(module, "inv_freq"):
                module.inv_freq = exact_frequencies(module)
    return model
