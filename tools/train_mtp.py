"""Trains a multi-token-prediction layer for a small text model that stays as it is.

    .venv-parity/bin/python tools/train_mtp.py examples/kjv-tiny tests/data/kjv-tiny-mtp [--steps 1200]

No text is needed: the model writes what it is trained on (sampled at temperature 1), and its own predictions are the
targets, which is what a draft is measured by. The first pass is given the model's hidden states; two more are given
the layer's own, as when several tokens are drafted in a row. The result is OUT/mtp.safetensors (bfloat16), to be joined
with the checkpoint by an index of weights. One core does it in about ten minutes.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "golden"))
from mtp import Layer  # noqa: E402

PASSES = 3
PLACES = 256  # of a batch and pass at which the predictions are compared
HELD = 16
BEGINNING = "\n"  # of a verse


@torch.no_grad()
def written_by(model: torch.nn.Module, start: int, rows: int, length: int) -> torch.Tensor:
    """Texts [rows, length] that the model writes after one token."""
    model.model.rope_deltas = None
    ids = torch.full((rows, 1), start)
    settings = {"do_sample": True, "temperature": 1.0, "top_k": 0, "min_new_tokens": length - 1, "max_new_tokens": length - 1}
    return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)


@torch.no_grad()
def hidden_states(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """What the head reads, [rows, length, C]."""
    model.model.rope_deltas = None
    return model.model.language_model(input_ids=ids, use_cache=False).last_hidden_state


def losses(
    layer: Layer, head: torch.Tensor, ids: torch.Tensor, hidden: torch.Tensor, places: int
) -> tuple[torch.Tensor, list[float]]:
    """The divergence of the drafts from the model, summed over the passes, and how often the best tokens agree."""
    loss, agreements = torch.zeros(()), []
    given = hidden[:, :-1]
    for depth in range(PASSES):
        given = layer(head[ids[:, 1 + depth :]], given)  # row t has read token t + 1 + depth
        some = torch.randperm(given.shape[0] * given.shape[1])[:places]
        wanted = (hidden[:, 1 + depth :].flatten(0, 1)[some] @ head.T).log_softmax(-1)
        drafted = (given.flatten(0, 1)[some] @ head.T).log_softmax(-1)
        loss = loss + torch.nn.functional.kl_div(drafted, wanted, log_target=True, reduction="none").sum(-1).mean()
        agreements.append((drafted.argmax(-1) == wanted.argmax(-1)).float().mean().item())
        given = given[:, :-1]
    return loss, agreements


def train(model: torch.nn.Module, start: int, args: argparse.Namespace) -> Layer:
    """The layer, in float32."""
    text = copy.deepcopy(model.config.text_config.to_dict())
    layer = Layer(SimpleNamespace(text=text))
    head = model.lm_head.weight.detach()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=args.rate, betas=(0.9, 0.95), weight_decay=0.05)
    begin = time.time()
    texts = torch.cat([written_by(model, start, 96, args.length) for _ in range(args.texts // 96)])
    hidden = torch.cat([hidden_states(model, some) for some in texts.split(32)])
    print(f"{time.time() - begin:.0f} s: {texts.numel()} tokens, the first {HELD} texts are not trained on", flush=True)
    begin = time.time()
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 50) * (0.02 + 0.98 * (1 - step / args.steps))
        some = torch.randint(HELD, len(texts), (args.batch,))
        loss, _ = losses(layer, head, texts[some], hidden[some], PLACES)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 99:
            with torch.no_grad():
                checked, agreements = losses(layer, head, texts[:HELD], hidden[:HELD], 10**6)
            shares = ", ".join(f"{share:.3f}" for share in agreements)
            print(f"{time.time() - begin:.0f} s, step {step + 1}: loss {checked:.3f}, best tokens agree {shares}", flush=True)
    return layer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--texts", type=int, default=576)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = transformers.Qwen3_5ForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32).eval()
    model.requires_grad_(False)
    start = Tokenizer.from_file(str(args.model / "tokenizer.json")).encode(BEGINNING).ids[0]
    layer = train(model, start, args)
    args.out.mkdir(parents=True, exist_ok=True)
    tensors = {"mtp." + name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in layer.named_parameters()}
    save_file(tensors, args.out / "mtp.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
