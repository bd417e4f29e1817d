"""Trains a small checkpoint of the family from nothing: evidence for recipes beside examples/kjv-tiny.

    tools/setup.sh --parity && tools/setup.sh --texts
    .venv-parity/bin/python bench/train_small.py dense OUT [--steps 3000]
    .venv-parity/bin/python bench/train_small.py experts OUT [--steps 3000]

dense     4 layers, 256 channels, head of its own; reads Debian's English dictionary (dict-gcide)
experts   3 layers, 256 channels, 8 experts of 256 channels, tied head; reads the manual of Perl (perl-doc)

Both take the tokenizer of examples/kjv-tiny. Every 40th paragraph is never trained on: held_out.txt; others are in
calibration.txt. After the training some channels are made to stand out, as they do in large models, by factors that
leave the function as it is: a norm's weight times s and the columns that read it divided by s, up_proj and down_proj,
v_proj and o_proj, the norm of the delta rule's heads and out_proj. --outliers 0 leaves that out.

One core. It ends after --steps or --minutes, whichever comes first: the rate of learning falls with both. Without the texts it says NOT RUN and ends with 3.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM
from transformers.models.qwen3_5 import Qwen3_5TextConfig
from transformers.models.qwen3_5_moe import Qwen3_5MoeTextConfig

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "examples" / "kjv-tiny"
DICTIONARY = Path("/usr/share/dictd/gcide.dict.dz")
HELD_EVERY = 40
WINDOW = 256

COMMON = {
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "max_position_embeddings": 32768,
    "rope_parameters": {
        "mrope_interleaved": True,
        "mrope_section": [3, 3, 2],
        "rope_type": "default",
        "rope_theta": 1000000,
        "partial_rotary_factor": 0.25,
    },
}
DENSE = {"num_hidden_layers": 4, "full_attention_interval": 2, "intermediate_size": 512, "tie_word_embeddings": False}
EXPERTS = {
    "num_hidden_layers": 3,
    "full_attention_interval": 3,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
    "shared_expert_intermediate_size": 256,
    "router_aux_loss_coef": 0.01,
    "tie_word_embeddings": True,
}


def not_run(what: str) -> None:
    print(f"NOT RUN: {what} is missing; tools/setup.sh --texts installs it", file=sys.stderr)
    sys.exit(3)


def paragraphs(kind: str) -> list[str]:
    if kind == "dense":
        if not DICTIONARY.exists():
            not_run(str(DICTIONARY))
        text = gzip.decompress(DICTIONARY.read_bytes()).decode("utf-8", "replace")
        text = re.sub(r"\n *\[1913 Webster[^\]]*\]", "", text)
        blocks = [re.sub(r"\s*\n\s*", " ", block).strip() for block in text.split("\n\n")]
        return [block for block in blocks[200:] if len(block) > 40]
    listed = subprocess.run(["dpkg", "-L", "perl-doc"], capture_output=True, text=True, check=False)
    pods = [Path(line) for line in sorted(listed.stdout.split()) if line.endswith(".pod")]
    if not pods:
        not_run("the package perl-doc")
    # What changed from version to version repeats itself.
    chosen = [pod for pod in pods if "delta" not in pod.name and "api" not in pod.name]
    text = "\n\n".join(pod.read_text("utf-8", "replace") for pod in chosen)
    return [block.strip("\n") for block in text.split("\n\n") if block.strip()]


def delta_rule(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    chunk_size: int = 64,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    **_: object,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The gated delta rule with one triangular solve for each chunk: many times faster to train than row by row."""
    q, k, v, b, g = (x.transpose(1, 2).float() for x in (query, key, value, beta, g))
    q = q * torch.rsqrt((q * q).sum(-1, keepdim=True) + 1e-6) * q.shape[-1] ** -0.5
    k = k * torch.rsqrt((k * k).sum(-1, keepdim=True) + 1e-6)
    length = q.shape[2]
    q, k, v = (pad(x, (0, 0, 0, -length % chunk_size)).unflatten(2, (-1, chunk_size)) for x in (q, k, v))
    b, g = (pad(x, (0, -length % chunk_size)).unflatten(2, (-1, chunk_size)) for x in (b, g))
    g = g.cumsum(-1)
    decay = (g[..., :, None] - g[..., None, :]).tril().exp().tril()
    weighted = k * b[..., None]
    system = (weighted @ k.transpose(-1, -2) * decay).tril(-1)
    eye = torch.eye(chunk_size).expand_as(system)
    solved = torch.linalg.solve_triangular(eye + system, eye, upper=False, unitriangular=True)
    v, read = solved @ (v * b[..., None]), solved @ (weighted * g.exp()[..., None])
    state = initial_state if initial_state is not None else torch.zeros(*q.shape[:2], q.shape[-1], v.shape[-1])
    out = []
    for i in range(q.shape[2]):
        new = v[:, :, i] - read[:, :, i] @ state
        inside = q[:, :, i] @ k[:, :, i].transpose(-1, -2) * decay[:, :, i]
        out.append((q[:, :, i] * g[:, :, i, :, None].exp()) @ state + inside @ new)
        left = (g[:, :, i, -1, None] - g[:, :, i]).exp()[..., None]
        state = state * g[:, :, i, -1, None, None].exp() + (k[:, :, i] * left).transpose(-1, -2) @ new
    result = torch.stack(out, 2).flatten(2, 3)[:, :, :length].transpose(1, 2).to(query.dtype)
    return result, state if output_final_state else None


def new_model(kind: str, vocabulary: int, end: int) -> nn.Module:
    more = {"vocab_size": vocabulary, "eos_token_id": end, "bos_token_id": end, "pad_token_id": end}
    if kind == "dense":
        config = Qwen3_5TextConfig(**COMMON, **DENSE, **more)
    else:
        config = Qwen3_5MoeTextConfig(**COMMON, **EXPERTS, **more)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, experts_implementation="eager")
    for layer in model.model.layers:
        if hasattr(layer, "linear_attn"):
            layer.linear_attn.chunk_gated_delta_rule = delta_rule
    return model


@torch.no_grad()
def held_loss(model: nn.Module, held: torch.Tensor) -> float:
    model.eval()
    loss = model(input_ids=held, labels=held, use_cache=False).loss.item()
    model.train()
    return loss


def train(model: nn.Module, data: torch.Tensor, held: torch.Tensor, args: argparse.Namespace) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0.05)
    more = {"output_router_logits": True} if args.kind == "experts" else {}
    model.train()
    begin, begin_cpu = time.time(), time.process_time()
    for step in range(args.steps):
        done = max(step / args.steps, (time.time() - begin) / (60 * args.minutes))
        if done > 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 60) * (0.03 + 0.97 * (1 - done))
        starts = torch.randint(0, len(data) - args.length, (args.batch,)).tolist()
        ids = torch.stack([data[start : start + args.length] for start in starts])
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=ids, use_cache=False, **more).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 9:
            print(f"{time.process_time() - begin_cpu:.0f} s, step {step + 1}: loss {loss.item():.3f}", flush=True)
        if step % 500 == 499:
            print(f"held-out loss {held_loss(model, held):.3f}", flush=True)


def factors(channels: int, strength: float) -> torch.Tensor:
    """One factor for each channel: a mild spread, and one in 32 that stands out."""
    s = torch.exp(0.25 * strength * torch.randn(channels))
    chosen = torch.randperm(channels)[: max(1, channels // 32)]
    s[chosen] = torch.exp(strength * (0.7 + 1.4 * torch.rand(len(chosen))))  # 2 to 8 times
    return s


def scale_norm(norm: nn.Module, readers: list[torch.Tensor], s: torch.Tensor) -> None:
    norm.weight.copy_((1 + norm.weight) * s - 1)  # the family stores them around zero
    for weight in readers:
        weight.div_(s)


def add_outliers_to_attention(layer: nn.Module, config: object, strength: float) -> None:
    width = config.hidden_size
    if hasattr(layer, "linear_attn"):
        delta = layer.linear_attn
        readers = [delta.in_proj_qkv, delta.in_proj_z, delta.in_proj_b, delta.in_proj_a]
        scale_norm(layer.input_layernorm, [reader.weight for reader in readers], factors(width, strength))
        s = factors(config.linear_value_head_dim, strength)
        delta.norm.weight.mul_(s)
        delta.out_proj.weight.div_(s.repeat(config.linear_num_value_heads))
        return
    attention = layer.self_attn
    readers = [attention.q_proj, attention.k_proj, attention.v_proj]
    scale_norm(layer.input_layernorm, [reader.weight for reader in readers], factors(width, strength))
    s = factors(config.num_key_value_heads * config.head_dim, strength)
    attention.v_proj.weight.mul_(s[:, None])
    shared = config.num_attention_heads // config.num_key_value_heads
    attention.o_proj.weight.div_(s.view(config.num_key_value_heads, 1, -1).expand(-1, shared, -1).reshape(-1))


def add_outliers_to_mlp(layer: nn.Module, config: object, strength: float) -> None:
    mlp = layer.mlp
    pairs = [mlp.shared_expert] if hasattr(mlp, "experts") else [mlp]
    readers = [weight for pair in pairs for weight in (pair.gate_proj.weight, pair.up_proj.weight)]
    if hasattr(mlp, "experts"):
        readers += [mlp.gate.weight, mlp.shared_expert_gate.weight, mlp.experts.gate_up_proj]
        for expert in range(config.num_experts):
            s = factors(config.moe_intermediate_size, strength)
            mlp.experts.gate_up_proj[expert, config.moe_intermediate_size :].mul_(s[:, None])
            mlp.experts.down_proj[expert].div_(s)
    for pair in pairs:
        s = factors(pair.down_proj.weight.shape[1], strength)
        pair.up_proj.weight.mul_(s[:, None])
        pair.down_proj.weight.div_(s)
    scale_norm(layer.post_attention_layernorm, readers, factors(config.hidden_size, strength))


@torch.no_grad()
def add_outliers(model: nn.Module, strength: float) -> None:
    for layer in model.model.layers:
        add_outliers_to_attention(layer, model.config, strength)
        add_outliers_to_mlp(layer, model.config, strength)
    if not model.config.tie_word_embeddings:
        scale_norm(model.model.norm, [model.lm_head.weight], factors(model.config.hidden_size, strength))


def write(model: nn.Module, out: Path) -> None:
    model.eval().to(torch.bfloat16).save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(TINY / name, out / name)
    settings = json.loads((TINY / "generation_config.json").read_text())
    (out / "generation_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("dense", "experts"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--outliers", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    blocks = paragraphs(args.kind)
    held_text = "\n".join(blocks[::HELD_EVERY][:2000]) + "\n"
    trained_text = "\n".join(block for place, block in enumerate(blocks) if place % HELD_EVERY)[:12_000_000]
    (args.out / "held_out.txt").write_text(held_text[:120_000])
    (args.out / "calibration.txt").write_text(trained_text[1_000_000:1_300_000])
    tokenizer = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    pieces = [trained_text[at : at + 100_000] for at in range(0, len(trained_text), 100_000)]
    data = torch.tensor([i for piece in tokenizer.encode_batch(pieces) for i in piece.ids])
    held = torch.tensor(tokenizer.encode(held_text[:120_000]).ids)[: 16 * WINDOW].view(16, WINDOW)
    end = tokenizer.token_to_id("<|endoftext|>")
    vocabulary = (tokenizer.get_vocab_size() + 63) // 64 * 64
    model = new_model(args.kind, vocabulary, end)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{size} parameters, {len(data)} tokens, vocabulary of {vocabulary}", flush=True)
    train(model, data, held, args)
    before = held_loss(model, held)
    if args.outliers > 0:
        add_outliers(model, args.outliers)
    print(f"held-out loss {before:.4f}, with outliers {held_loss(model, held):.4f}", flush=True)
    write(model, args.out)


if __name__ == "__main__":
    main()
