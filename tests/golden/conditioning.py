"""How well float32 can do on the recorded runs: their distance to the same runs in float64.

Engines are held to 1e-4 of the largest logit. That is only fair if the rounding of float32 alone
stays far below it, and if no expert is chosen by a margin that rounding can close.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

import kjv
import mtp
import vision
from cases import Case, all_cases
from double import double_model, double_precision
from reference import expected_tensors, load_model, row_logits
from weights import Tensors

LIMIT = 2e-5  # of the largest magnitude in the tensor
CLOSEST = 2e-5  # in the probability of an expert
TIE = 1e-12  # closer than this in float64 is a tie
JUDGED = ("logits", "embeds", "hidden", "merged")  # endings of the tensors that are compared


@dataclass(frozen=True)
class Condition:
    """How one recorded tensor fares."""

    where: str
    error: float  # of float32, relative to the largest magnitude
    largest: float

    @property
    def good(self) -> bool:
        """Whether float32 is accurate enough."""
        return self.error <= LIMIT

    def __str__(self) -> str:
        """Everything but the place."""
        return f"{self.error:.1e} of {self.largest:.3g}"


@dataclass
class Routing:
    """How clearly experts were chosen in some float64 runs."""

    where: str
    decisions: int = 0
    ties: int = 0  # exact, at the boundary of the top k
    closest: float = float("inf")  # lead of a chosen expert over one that is not, less the ties
    twins: tuple[int, ...] = ()

    @property
    def good(self) -> bool:
        """Whether float32 decides alike, and nothing ties but the twins."""
        return self.closest > CLOSEST and (not self.ties or bool(self.twins))

    def __str__(self) -> str:
        """Everything but the place."""
        ties = f", {self.ties} ties" if self.ties else ""
        return f"closest of {self.decisions} routing decisions {self.closest:.1e}{ties}"

    def add(self, probabilities: torch.Tensor, chosen: int) -> None:
        """Count decisions [N, E] for the best `chosen`."""
        sorted_ = probabilities.sort(-1, descending=True)
        values, order = sorted_.values, sorted_.indices
        tied = values[:, chosen - 1] - values[:, chosen] < TIE
        twins = torch.tensor(self.twins, dtype=torch.long)
        at_boundary = torch.isin(order[:, chosen - 1 : chosen + 1], twins).all(-1)
        if (tied & ~at_boundary).any():
            raise RuntimeError(f"{self.where}: experts tie that are not twins")
        self.decisions += len(values)
        self.ties += int(tied.sum())
        leads = values[:, :-1] - values[:, 1:]
        # When twins tie, one of them is in whatever happens: the leads around both must be clear.
        around = torch.stack([leads[:, max(chosen - 2, 0)], leads[:, chosen]], -1).amin(-1)
        lead = torch.where(tied, around, leads[:, chosen - 1])
        self.closest = min(self.closest, lead.min().item())


@contextlib.contextmanager
def watching(model: torch.nn.Module, routing: Routing) -> Iterator[None]:
    """Inside, every routing decision of the model is counted."""
    routers = [module for module in model.modules() if type(module).__name__.endswith("Router")]
    hooks = [
        router.register_forward_hook(lambda m, _, output: routing.add(output[0], m.top_k))
        for router in routers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def relative(where: str, single: torch.Tensor, double: torch.Tensor) -> Condition:
    """The error of a float32 tensor."""
    largest = double.abs().max().item()
    return Condition(where, (single.double() - double).abs().max().item() / largest, largest)


def compared(where: str, single: Tensors, double: Tensors) -> list[Condition]:
    """Every judged tensor; what is not computed in floats must be equal."""
    for name, tensor in single.items():
        if not tensor.is_floating_point() and not torch.equal(tensor, double[name]):
            raise RuntimeError(f"{where}: {name} differs between float32 and float64")
    names = [name for name in single if name.endswith(JUDGED)]
    return [relative(f"{where} {name}", single[name], double[name]) for name in names]


Verdicts = list[Condition | Routing]


def case_condition(folder: Path, case: Case) -> Verdicts:
    """The expected tensors of a case."""
    model = double_model(load_model(folder, case))
    routing = Routing(case.name, twins=case.twin_experts)
    with double_precision(), watching(model, routing):
        double = expected_tensors(model, case)
    found = compared(case.name, load_file(folder / "expected.safetensors"), double)
    return [*found, routing] if routing.decisions else found


def worst(where: str, found: list[Condition]) -> Condition:
    """The least accurate tensor stands for all of them."""
    bad = max(found, key=lambda condition: condition.error)
    return Condition(f"{where}, worst: {bad.where.split()[-1]}", bad.error, bad.largest)


def vision_condition(folder: Path) -> Verdicts:
    """Towers and prompts of every model with pictures."""
    verdicts: Verdicts = []
    for name, single in vision.models().items():
        model = double_model(single)
        routing = Routing(f"vision/{name}")
        with double_precision(), watching(model, routing):
            files = dict(zip(("tower", "prompts"), vision.model_files(name, model), strict=True))
        for kind, double in files.items():
            where = f"vision/{name}.{kind}"
            recorded = load_file(folder / f"{name}.{kind}.safetensors")
            verdicts.append(worst(where, compared(where, recorded, double)))
        if routing.decisions:
            verdicts.append(routing)
    return verdicts


def mtp_condition(folder: Path) -> Verdicts:
    """The multi-token-prediction layers."""
    verdicts: Verdicts = []
    for name, single in mtp.recorded(folder).items():
        case = mtp.cases()[name]
        layer, tensors = mtp.make(case)
        model = double_model(layer)
        text = double_model(mtp.text_model(folder, name))
        routing = Routing(case.name)
        given = mtp.inputs(tensors, case)
        with double_precision(), watching(model, routing), watching(text, routing):
            double = mtp.expected_tensors(model, text, given)
        verdicts += compared(case.name, single, double)
        verdicts += [routing] if routing.decisions else []
    return verdicts


def kjv_condition(folder: Path) -> Verdicts:
    """The greedy continuations of the example model: logits at every position."""
    recorded = json.loads((folder / "greedy.json").read_text(encoding="utf-8"))
    single = kjv.load_model()
    double = double_model(single)
    verdicts: Verdicts = []
    for kind in ("single", "batch"):
        for entry in recorded[kind]:
            ids = torch.tensor(entry["prompt_ids"] + entry["continuation_ids"])
            logits = row_logits(single, ids)
            with double_precision():
                exact = row_logits(double, ids)
            where = f"kjv-tiny {kind}, {len(entry['prompt_ids'])} tokens"
            verdicts.append(relative(where, logits, exact))
    return verdicts


@torch.no_grad()
def conditions(root: Path, name: str) -> Verdicts:
    """The verdicts on one generated folder."""
    if name == "vision":
        return vision_condition(root / name)
    if name == "mtp":
        return mtp_condition(root / name)
    if name == "kjv-tiny":
        return kjv_condition(root / name)
    (case,) = (case for case in all_cases() if case.name == name)
    return case_condition(root / name, case)


def print_table(verdicts: Verdicts) -> None:
    """One line per tensor."""
    width = max((len(v.where) for v in verdicts), default=0)
    for v in verdicts:
        print(f"{'ok  ' if v.good else 'FAIL'}  {v.where:<{width}}  {v}")
