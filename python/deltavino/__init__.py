"""Turns Qwen3.5-class checkpoints into OpenVINO models, proves them right, and runs them.

The functions and their keywords are the commands and options of the program `deltavino`. Long ones take
`progress(stage, done, total)` and `note(sentence)`, release the GIL, and stop soon after Ctrl-C
(KeyboardInterrupt) or after a callable raised. What cannot be done raises a subclass of Error.
"""

import importlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from . import _deltavino
from ._deltavino import (
    Answer,
    CheckReport,
    Evaluation,
    EvaluationReport,
    ExportedFile,
    ExportSummary,
    FinishReason,
    TensorReport,
)
from ._errors import (
    BugError,
    Cancelled,
    Error,
    InputError,
    NetworkError,
    OutputError,
    UnsupportedError,
    UsageError,
)
from ._options import (
    Backup,
    DynamicQuantization,
    Fallback,
    Note,
    Path,
    Progress,
    RecipeName,
    ScaleSearch,
    StoredFormat,
    Task,
    WeightFormat,
    compression,
    fill,
    resolve,
    runnable,
    server_options,
    sink,
)
from ._runner import Runner, generate

__all__ = [  # as the reference shows them
    "export", "build", "inspect", "check", "eval", "bench", "generate", "Runner", "Answer", "FinishReason",
    "ExportSummary", "ExportedFile", "TensorReport", "CheckReport", "EvaluationReport", "Evaluation", "Error",
    "UsageError", "InputError", "UnsupportedError", "OutputError", "NetworkError", "BugError", "Cancelled",
    "__version__",
]  # fmt: skip

__version__ = _deltavino.version()


def export(
    model: Path,
    output: Path,
    *,
    lora: Path | None = None,
    revision: str | None = None,
    cache_dir: Path | None = None,
    task: Task = "auto",
    report: Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    verify: bool = False,
    no_sync: bool = False,
    disable_convert_tokenizer: bool = False,
    no_mtp: bool = False,
    ovms: bool | Mapping[str, str | int | bool] = False,
    assume_tied_head: bool = False,
    allow_nonfinite: bool = False,
    threads: int = 0,
    weight_format: WeightFormat | None = None,
    sym: bool = False,
    group_size: int | None = None,
    group_size_fallback: Fallback | None = None,
    ratio: float | None = None,
    backup_precision: Backup | None = None,
    all_layers: bool = False,
    keep: Iterable[str] = (),
    scale_search: ScaleSearch | None = None,
    calibrate: Path | None = None,
    calibration_tokens: int | None = None,
    recipe: RecipeName | None = None,
    target_size: str | None = None,
    target_bits: float | None = None,
    dynamic_quantization: DynamicQuantization | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
) -> ExportSummary:
    """Writes an OpenVINO model directory from a checkpoint directory or Hub id.

    The directory appears only when everything is done. `note` hears, among others, what is left out on purpose;
    without it, that goes to the logger 'deltavino' as INFO. `lora`: a folder with a PEFT LoRA adapter that is merged
    into the weights while they are written. `ovms`: True writes graph.pbtxt for OpenVINO Model Server, too; a mapping
    does it with these options of the server, for example {"max_num_seqs": 32, "target_device": "GPU"}.
    """
    if dry_run and (verify or report is not None):
        raise UsageError("dry_run writes nothing: verify and report do not go with it")
    hears = sink(progress, note)
    options = fill(
        _deltavino.ExportOptions(),
        model=resolve(model, revision, cache_dir, hears),
        output=output,
        lora=lora,
        task=task,
        report=report,
        dry_run=dry_run,
        force=force,
        sync=not no_sync,
        convert_tokenizer=not disable_convert_tokenizer,
        mtp=not no_mtp,
        ovms=server_options(ovms),
        assume_tied_head=assume_tied_head,
        allow_nonfinite=allow_nonfinite,
        threads=threads,
        compression=compression(weight_format, sym, group_size, group_size_fallback, ratio, backup_precision,
                                all_layers, keep, scale_search, calibrate, calibration_tokens,
                                recipe, target_size, target_bits, dynamic_quantization),
    )  # fmt: skip

    return _deltavino.export_model(options, verify, hears)


def build(
    model: Path,
    *,
    name: str = "openvino_model",
    lora: Path | None = None,
    revision: str | None = None,
    cache_dir: Path | None = None,
    task: Task = "text-generation-with-past",
    no_mtp: bool = False,
    assume_tied_head: bool = False,
    allow_nonfinite: bool = False,
    threads: int = 0,
    weight_format: WeightFormat | None = None,
    sym: bool = False,
    group_size: int | None = None,
    group_size_fallback: Fallback | None = None,
    ratio: float | None = None,
    backup_precision: Backup | None = None,
    all_layers: bool = False,
    keep: Iterable[str] = (),
    scale_search: ScaleSearch | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
) -> Any:
    """Makes an openvino.Model of a checkpoint in memory, ready for openvino.Core().compile_model().

    It is what an export with the same options writes, byte for byte. The package openvino has Python types of its
    own, so the model reaches it as the text of its .xml and a tensor with the weights, which are written once and
    not copied. `name`: of a task with several models, the one to return.
    """
    openvino: Any = importlib.import_module("openvino")
    hears = sink(progress, note)
    options = fill(
        _deltavino.BuildOptions(),
        model=resolve(model, revision, cache_dir, hears),
        lora=lora,
        task=task,
        mtp=not no_mtp,
        assume_tied_head=assume_tied_head,
        allow_nonfinite=allow_nonfinite,
        threads=threads,
        compression=compression(weight_format, sym, group_size, group_size_fallback, ratio, backup_precision,
                                all_layers, keep, scale_search),
    )  # fmt: skip
    weights: dict[str, Any] = {}

    def memory(of: str, size: int) -> int:
        weights[of] = openvino.Tensor(openvino.Type.u8, openvino.Shape([size]))
        weights[of].data[:] = 0
        return int(weights[of].data.ctypes.data)

    texts = _deltavino.serialize_models(options, memory, hears)
    if name not in texts:
        raise UsageError(f"'{name}' is not a model of the task {task}, which has {', '.join(texts)}")
    return openvino.Core().read_model(texts[name], weights[name])


def inspect(
    model: Path, *, device: str = "", revision: str | None = None, cache_dir: Path | None = None
) -> dict[str, Any]:
    """What a checkpoint or an exported directory holds, and what is wrong with it. Reads no weights."""
    path = resolve(model, revision, cache_dir, sink(None, None))
    facts: dict[str, Any] = json.loads(_deltavino.inspect(path, device))
    return facts


def check(
    model: Path,
    *,
    against: Path | None = None,
    lora: Path | None = None,
    adapter: Path | None = None,
    revision: str | None = None,
    cache_dir: Path | None = None,
    text: Path | None = None,
    prompt: str | None = None,
    image: Path | None = None,
    tokens: int = 300,
    device: str = "CPU",
    threads: int = 0,
    report: Path | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
) -> CheckReport:
    """Says whether an exported directory is right, and whether weights, graph, precision or runtime are to blame.

    `image`: a picture for vision-language directories to look at, in place of the built-in one.
    `lora`: the adapter that export(lora=...) merged into `against`.
    `adapter`: a .safetensors file, or its folder, that openvino_genai is to apply while it runs `model`: whether its
    names and shapes fit.
    `report`: an HTML file to write, with plots.
    """
    if lora is not None and against is None:
        raise UsageError("lora is for the checkpoint of against")
    hears = sink(progress, note)
    options = fill(
        _deltavino.CheckOptions(),
        model=model,
        against=resolve(against, revision, cache_dir, hears) if against is not None else None,
        lora=lora,
        adapter=adapter,
        text=text,
        prompt=prompt,
        image=image,
        tokens=tokens,
        device=device,
        threads=threads,
    )
    found = _deltavino.check(options, hears)
    if report is not None:
        with open(report, "w", encoding="utf-8") as file:
            file.write(found.html())
    return found


def eval(
    *models: Path,
    text: Path,
    against: Path | None = None,
    window: int = 256,
    windows: int = 0,
    device: str = "CPU",
    precision: str = "f32",
    as_generate: bool = False,
    threads: int = 0,
    weight_format: StoredFormat | None = None,
    sym: bool = False,
    group_size: int | None = None,
    lora: Path | None = None,
    task: Task | None = None,
    revision: str | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    note: Note | None = None,
) -> EvaluationReport:
    """Compares models on a text: perplexity, and distance from the reference.

    The reference is the checkpoint `against`, else the first of `models`. Those that are checkpoints or Hub ids are
    exported first, as Runner does. `as_generate`: run them with Runner's own operations on a CPU. `lora`: a folder
    with a PEFT LoRA adapter that is merged into these, and into `against`.
    """
    hears = sink(progress, note)
    in_use = []
    for path in models:
        adapter = None if against is not None and _deltavino.is_exported(path) else lora
        in_use.append(runnable(path, weight_format, sym, group_size, adapter, task, revision, cache_dir, 0, hears))
    options = fill(
        _deltavino.EvaluationOptions(),
        models=[directory for directory, _ in in_use],
        text=text,
        against=resolve(against, revision, cache_dir, hears) if against is not None else None,
        lora=lora if against is not None else None,
        window=window,
        windows=windows,
        device=device,
        precision=precision,
        as_generate=as_generate,
        threads=threads,
    )
    return _deltavino.evaluate(options, hears)


def bench(
    model: Path,
    *,
    against: Iterable[Path] = (),
    prompt_tokens: Iterable[int] = (512, 2048),
    new_tokens: int = 64,
    rounds: int = 4,
    device: str = "CPU",
    precision: str = "",
    threads: int = 0,
    plugin_only: bool = False,
    profile: bool = False,
    progress: Progress | None = None,
    note: Note | None = None,
) -> dict[str, Any]:
    """Measures how fast exported directories are here, in alternating fresh processes; gives what --json prints.

    `against`: other directories, which the ratios compare `model` with. `profile`: CPU, the time by kind of operation.
    """
    options = fill(
        _deltavino.BenchOptions(),
        model=model,
        against=list(against),
        prompt_tokens=list(prompt_tokens),
        new_tokens=new_tokens,
        rounds=rounds,
        device=device,
        precision=precision,
        threads=threads,
        plugin_only=plugin_only,
        profile=profile,
        program=pathlib.Path(__file__).parent / "bin" / "deltavino",
    )
    report: dict[str, Any] = json.loads(_deltavino.bench(options, sink(progress, note)))
    return report
