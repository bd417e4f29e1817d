"""What transformers computes on a golden checkpoint: the expected tensors.

The model is loaded from the files just written, upcast to float32, with eager attention and the
plain torch delta rule. All logits come from full-sequence forwards of unpadded rows without a
cache, so neither padding nor cache handling of the reference can leak into the expectations.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from cases import FIRST_SPECIAL, Case
from weights import Tensors, generator, make_tensors, write_checkpoint

PAD = 9  # left padding of the second row
PREFIX, STEPS = 13, 5  # beam schedule: a common prefix length, then tokens after the reorder
BEAMS = (2, 0, 0)


def model_class(case: Case) -> type:
    """The class that config.json names."""
    return getattr(transformers, case.config["architectures"][0])


def empty_model(case: Case) -> torch.nn.Module:
    """The model without storage, for the names and shapes of its parameters."""
    cls = model_class(case)
    with torch.device("meta"):
        return cls(cls.config_class.from_dict(copy.deepcopy(case.config)))  # it changes rope keys


def load_model(folder: Path, case: Case) -> torch.nn.Module:
    """The reference in float32; refuses a checkpoint that does not fit it exactly."""
    cls = model_class(case)
    model, info = cls.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    problems = {key: value for key, value in info.items() if value}
    if problems:
        raise RuntimeError(f"transformers does not take '{folder}' as it is: {problems}")
    if case.text.get("output_gate_type") == "sigmoid":
        open_gate(model)
    return model.eval()


class SigmoidGate(torch.nn.Module):
    """The gated norm of the delta block with the activation that vLLM and SGLang take.

    transformers 5.2 ignores output_gate_type for this family.
    """

    def __init__(self, norm: torch.nn.Module) -> None:
        """Take over the weight and epsilon of the module that it replaces."""
        super().__init__()
        self.weight = norm.weight
        self.eps = norm.variance_epsilon

    def forward(self, hidden_states: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
        """Norm, weight, then the gate."""
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        normed = hidden_states * torch.rsqrt(variance + self.eps)
        return self.weight * normed * torch.sigmoid(gate)


def open_gate(model: torch.nn.Module) -> None:
    """Replace the gated norm of every linear layer."""
    layers = [layer.linear_attn for layer in model.model.layers if hasattr(layer, "linear_attn")]
    if not layers:
        raise RuntimeError("no linear layer to patch")
    for layer in layers:
        layer.norm = SigmoidGate(layer.norm)


def row_logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Logits [T, V] of one unpadded row of text."""
    if hasattr(model.model, "rope_deltas"):
        model.model.rope_deltas = None  # else offsets of the last pictures leak into this text
    row = ids[None]
    with torch.no_grad():
        output = model(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False)
    return output.logits[0].float()


def batch_logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Logits [B, T, V], each row on its own."""
    return torch.stack([row_logits(model, row) for row in ids])


def random_ids(case: Case, name: str, *shape: int) -> torch.Tensor:
    """Token ids of ordinary text for one tensor of a case."""
    limit = min(case.text["vocab_size"], FIRST_SPECIAL)
    return torch.randint(0, limit, shape, generator=generator(case.seed, name))


def padded_tensors(model: torch.nn.Module, case: Case) -> Tensors:
    """A batch whose second row is left-padded with arbitrary ids."""
    ids = random_ids(case, "padded_ids", 2, case.tokens)
    mask = torch.ones_like(ids)
    mask[1, :PAD] = 0
    logits = torch.zeros(2, case.tokens, case.text["vocab_size"])
    logits[0] = row_logits(model, ids[0])
    logits[1, PAD:] = row_logits(model, ids[1, PAD:])
    return {"padded_ids": ids, "padded_mask": mask, "padded_logits": logits}


def beam_tensors(model: torch.nn.Module, case: Case) -> Tensors:
    """Three rows read a prefix, the states are permuted by beam_idx, then each goes on."""
    prefix = random_ids(case, "beam_prefix", len(BEAMS), PREFIX)
    following = random_ids(case, "beam_next", len(BEAMS), STEPS)
    index = torch.tensor(BEAMS)
    logits = batch_logits(model, torch.cat([prefix[index], following], dim=1))[:, PREFIX:]
    return {
        "beam_prefix": prefix,
        "beam_idx": index,
        "beam_next": following,
        "beam_logits": logits,
    }


def expected_tensors(model: torch.nn.Module, case: Case) -> Tensors:
    """Every expected tensor of a case."""
    if case.tail:
        ids = random_ids(case, "input_ids", 1, case.tokens)
        start = case.tokens - case.tail
        logits = batch_logits(model, ids)[:, start:]
        return {"input_ids": ids, "logits": logits, "logits_from": torch.tensor([start])}
    ids = random_ids(case, "input_ids", 2, case.tokens)
    tensors = {"input_ids": ids, "logits": batch_logits(model, ids)}
    return tensors | padded_tensors(model, case) | beam_tensors(model, case)


def origin(name: str, seed: int) -> dict[str, str]:
    """Where the numbers of a file come from, for its metadata: one key, hence a fixed order."""
    versions = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
    return {"origin": f"{name}, seed {seed}, {versions}"}


def save_tensors(path: Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """One safetensors file; views become tensors of their own."""
    own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(own, path, metadata=metadata)


def generate_case(folder: Path, case: Case) -> None:
    """Write one case's checkpoint, then what the reference makes of it."""
    write_checkpoint(folder, case, make_tensors(empty_model(case), case))
    model = load_model(folder, case)
    expected = expected_tensors(model, case)
    save_tensors(folder / "expected.safetensors", expected, origin(case.name, case.seed))
