"""From keywords to the option structs of the library."""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias, Union

from . import _deltavino
from ._errors import UsageError

Path: TypeAlias = Union[str, "os.PathLike[str]"]
Progress: TypeAlias = Callable[[str, int, int], object]
Note: TypeAlias = Callable[[str], object]
WeightFormat: TypeAlias = Literal["fp32", "fp16", "bf16", "int8", "int4", "nf4", "mxfp4"]
StoredFormat: TypeAlias = Literal["stored", "fp32", "fp16", "bf16", "int8", "int4", "nf4", "mxfp4"]
Task: TypeAlias = Literal[
    "auto", "text-generation-with-past", "image-text-to-text", "feature-extraction", "text-classification"
]
Fallback: TypeAlias = Literal["error", "ignore", "adjust"]
Backup: TypeAlias = Literal["none", "int8_sym", "int8_asym"]
RecipeName: TypeAlias = Literal["balanced", "smallest", "fastest", "best", "npu"]
DynamicQuantization: TypeAlias = Union[int, Literal["off"]]
ScaleSearch: TypeAlias = Literal["least-error", "nncf"]


_log = logging.getLogger("deltavino")


def hearer(note: Note | None) -> Note:
    """Who hears notes: without `note` the logger."""
    return note if note is not None else _log.info


def sink(progress: Progress | None, note: Note | None) -> _deltavino.Sink:
    """What a long function of the library talks to."""
    return _deltavino.Sink(progress, hearer(note))


def fill(options: Any, **values: Any) -> Any:
    """Sets what is not None; of the others the struct's defaults stay. Wrong types raise TypeError."""
    for name, value in values.items():
        if value is None:
            continue
        try:
            setattr(options, name, value)
        except TypeError:
            raise TypeError(f"{name} is {value!r}, of a type that cannot be used") from None
    return options


def compression(
    weight_format: str | None,
    sym: bool,
    group_size: int | None,
    group_size_fallback: str | None,
    ratio: float | None,
    backup_precision: str | None,
    all_layers: bool,
    keep: Iterable[str],
    scale_search: str | None,
    calibrate: Path | None = None,
    calibration_tokens: int | None = None,
    recipe: str | None = None,
    target_size: str | None = None,
    target_bits: float | None = None,
    dynamic_quantization: DynamicQuantization | None = None,
) -> _deltavino.CompressionOptions:
    """How weights are stored."""
    options: _deltavino.CompressionOptions = fill(
        _deltavino.CompressionOptions(),
        weight_format=weight_format,
        sym=sym,
        group_size=group_size,
        group_size_fallback=group_size_fallback,
        ratio=ratio,
        backup_precision=backup_precision,
        all_layers=all_layers,
        keep=list(keep),
        scale_search=scale_search,
        calibrate=calibrate,
        calibration_tokens=calibration_tokens,
        recipe=recipe,
        target_size=target_size,
        target_bits=target_bits,
        dynamic_quantization=0 if dynamic_quantization == "off" else dynamic_quantization,
    )
    return options


def server_options(ovms: bool | Mapping[str, str | int | bool]) -> dict[str, str] | None:
    """Values of OpenVINO Model Server's options as its command line has them; None: no file for it."""
    if isinstance(ovms, bool):
        return {} if ovms else None
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in ovms.items()}


def runnable(
    model: Path,
    weight_format: str | None,
    sym: bool,
    group_size: int | None,
    lora: Path | None,
    task: str | None,
    revision: str | None,
    cache_dir: Path | None,
    threads: int,
    hears: _deltavino.Sink,
) -> tuple[str, object]:
    """An exported directory as it is; of a checkpoint or a Hub id the export in the cache, made when it is not there.

    The second value is to be held while the directory is in use.
    """
    path = os.fspath(model)
    if _deltavino.is_exported(path):
        if weight_format or sym or group_size is not None or lora or task or revision:
            raise UsageError(
                "weight_format, sym, group_size, lora, task and revision are for checkpoints, "
                f"but '{path}' is exported already"
            )
        return path, None
    wanted = compression(weight_format or "int4", sym, group_size, None, None, None, False, (), None)
    if weight_format == "stored":
        wanted.weight_format = ""
    cache = os.fspath(cache_dir or "")
    adapter = os.fspath(lora or "")
    cached = _deltavino.export_to_cache(path, revision or "", cache, task or "auto", wanted, threads, adapter, hears)
    return str(cached.directory), cached


def resolve(model: Path, revision: str | None, cache_dir: Path | None, hears: _deltavino.Sink) -> str:
    """The folder of a checkpoint, or of a Hub id, which is downloaded where it is not in the cache."""
    return str(_deltavino.resolve_checkpoint(os.fspath(model), revision or "", os.fspath(cache_dir or ""), hears))
