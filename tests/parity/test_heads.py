"""Hidden states and scores of whole texts are transformers', and openvino_genai's and optimum-intel's classes read them."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
import torch
import transformers
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from optimum.intel import OVModelForFeatureExtraction, OVModelForSequenceClassification
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(ROOT / "bench"))
from quality import text_only_checkpoint  # noqa: E402
from transformers.modeling_layers import GenericForSequenceClassification  # noqa: E402
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5PreTrainedModel  # noqa: E402
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoePreTrainedModel  # noqa: E402

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
PAD = 0
TEXTS = ["Jesus wept.", "In the beginning God created the heaven and the earth.", "And the LORD said unto Moses, Go"]
QUERY = "Who wept? "


# Of transformers after 5.2; its Qwen3-Next has the class.
class Qwen3_5ForSequenceClassification(GenericForSequenceClassification, Qwen3_5PreTrainedModel):
    config_class = transformers.Qwen3_5TextConfig


class Qwen3_5MoeForSequenceClassification(GenericForSequenceClassification, Qwen3_5MoePreTrainedModel):
    config_class = transformers.Qwen3_5MoeTextConfig


CLASSES = {"dense-v1": Qwen3_5ForSequenceClassification, "moe-e8k2": Qwen3_5MoeForSequenceClassification,
           "next-e8k2": transformers.Qwen3NextForSequenceClassification, "kjv": Qwen3_5ForSequenceClassification}  # fmt: skip


def classifier(source: Path, out: Path, labels: int) -> Path:
    """The checkpoint with a score for each label in the place of its head."""
    shutil.copytree(source, out)
    tensors = {name: tensor for name, tensor in load_file(out / "model.safetensors").items() if not name.startswith("lm_head.")}
    config = json.loads((out / "config.json").read_text())
    tensors["score.weight"] = torch.randn(labels, config["hidden_size"], generator=torch.Generator().manual_seed(labels)) * 0.3
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    config |= {"pad_token_id": PAD, "id2label": {str(i): f"label {i}" for i in range(labels)}, "label2id": {f"label {i}": i for i in range(labels)}}
    (out / "config.json").write_text(json.dumps(config))
    return out


def exported(checkpoint: Path, out: Path, *options: str) -> Path:
    result = run_deltavino("export", "-m", checkpoint, out, *options)
    assert result.returncode == 0, result.stderr
    return out


def batch(rows: torch.Tensor, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Three texts of 13, 7 and 1 tokens, none of which is padding."""
    ids, mask = torch.full((3, 13), PAD), torch.zeros((3, 13), dtype=torch.long)
    for row, length in enumerate((13, 7, 1)):
        place = slice(0, length) if side == "right" else slice(13 - length, 13)
        ids[row, place] = rows[row % 2, :length].clamp(min=1)
        mask[row, place] = 1
    return ids, mask


def run(directory: Path, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    compiled = ov.Core().compile_model(directory / "openvino_model.xml", "CPU", FLOAT32)
    return torch.from_numpy(compiled([ids.numpy(), mask.numpy()])[0].copy())


def relative(found: torch.Tensor, truth: torch.Tensor) -> float:
    assert found.shape == truth.shape
    return float((found - truth).abs().max() / truth.abs().max())


@pytest.fixture(scope="module", params=["dense-v1", "moe-e8k2", "next-e8k2"])
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    checkpoint = classifier(GOLDEN / request.param, folder / "checkpoint", 3)
    theirs = CLASSES[request.param].from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    return folder, checkpoint, theirs, load_file(GOLDEN / request.param / "expected.safetensors")["input_ids"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_scores(case, side):
    folder, checkpoint, theirs, rows = case
    out = folder / "scores"
    if not out.exists():
        exported(checkpoint, out, "--weight-format", "fp32", "--disable-convert-tokenizer")  # auto: there is a score and no head
    ids, mask = batch(rows, side)
    with torch.no_grad():
        # Row by row: transformers lets padding into the states of linear layers.
        truth = torch.cat([theirs(row[keep.bool()][None]).logits for row, keep in zip(ids, mask, strict=True)])
    assert relative(run(out, ids, mask), truth) < 2e-5
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == [CLASSES[checkpoint.parent.name[:-1]].__name__] and len(config["id2label"]) == 3


@pytest.mark.parametrize("side", ["right", "left"])
def test_hidden_states(case, side):
    folder, checkpoint, theirs, rows = case
    out = folder / "features"
    if not out.exists():
        exported(checkpoint, out, "--weight-format", "fp32", "--disable-convert-tokenizer", "--task", "feature-extraction")
    ids, mask = batch(rows, side)
    found = run(out, ids, mask)
    with torch.no_grad():
        for row, keep, hidden in zip(ids, mask.bool(), found, strict=True):
            assert relative(hidden[keep], theirs.model(row[keep][None]).last_hidden_state[0]) < 2e-5


@pytest.fixture(scope="module")
def kjv(tmp_path_factory):
    """The bundled model as a reranker of one label and as a maker of embeddings, with transformers' truth."""
    folder = tmp_path_factory.mktemp("kjv")
    text_only_checkpoint(folder / "text")
    checkpoint = classifier(folder / "text", folder / "checkpoint", 1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    theirs = CLASSES["kjv"].from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    exported(checkpoint, folder / "scores")
    exported(checkpoint, folder / "features", "--task", "feature-extraction")

    def hidden(text: str) -> torch.Tensor:
        with torch.no_grad():
            return theirs.model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0, -1]

    def score(*parts: str) -> float:
        ids = [token for part in parts for token in tokenizer(part)["input_ids"]]
        with torch.no_grad():
            return float(torch.sigmoid(theirs(torch.tensor([ids])).logits[0, 0]))

    return folder, hidden, score


@pytest.mark.parametrize("side", [None, "left", "right"])
def test_embeddings_of_genai(kjv, side):
    """Its TextEmbeddingPipeline on the CPU, by the last token; without a side it takes what the tokenizer has."""
    folder, hidden, _ = kjv
    last = genai.TextEmbeddingPipeline.PoolingType.LAST_TOKEN
    words = {"padding_side": side} if side else {}
    pipeline = genai.TextEmbeddingPipeline(str(folder / "features"), "CPU", pooling_type=last, normalize=True, **words, **FLOAT32)
    truth = np.stack([torch.nn.functional.normalize(hidden(text), dim=0).numpy() for text in TEXTS])
    assert np.abs(np.array(pipeline.embed_documents(TEXTS)) - truth).max() < 1e-5
    assert np.abs(np.array(pipeline.embed_query(TEXTS[0])) - truth[0]).max() < 1e-5


@pytest.mark.parametrize("side", [None, "left", "right"])
def test_reranker_of_genai(kjv, side):
    """Its TextRerankPipeline on the CPU: the tokens of the query, then those of a text."""
    folder, _, score = kjv
    words = {"padding_side": side} if side else {}
    pipeline = genai.TextRerankPipeline(str(folder / "scores"), "CPU", top_n=3, **words, **FLOAT32)
    found = pipeline.rerank(QUERY, TEXTS)
    truth = {i: score(QUERY, text) for i, text in enumerate(TEXTS)}
    assert [i for i, _ in found] == sorted(truth, key=truth.get, reverse=True)
    assert all(abs(value - truth[i]) < 1e-5 for i, value in found)


def test_classes_of_optimum(kjv):
    """OVModelForFeatureExtraction of 2.2.0 takes every qwen3_5_text for a vision-language model."""
    folder, _, score = kjv
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "scores", padding_side="right")
    inputs = tokenizer(TEXTS, return_tensors="pt", padding=True)
    logits = OVModelForSequenceClassification.from_pretrained(folder / "scores", ov_config=FLOAT32)(**inputs).logits
    assert all(abs(float(torch.sigmoid(value[0])) - score(text)) < 1e-5 for value, text in zip(logits, TEXTS, strict=True))
    with pytest.raises(RuntimeError, match="openvino_language_model"):
        OVModelForFeatureExtraction.from_pretrained(folder / "features", ov_config=FLOAT32)


def test_compressed_scores_are_close(kjv, tmp_path):
    folder, _, score = kjv
    exported(folder / "checkpoint", tmp_path / "int8", "--weight-format", "int8")
    pipeline = genai.TextRerankPipeline(str(tmp_path / "int8"), "CPU", top_n=3, **FLOAT32)
    assert all(abs(value - score(QUERY, TEXTS[i])) < 0.02 for i, value in pipeline.rerank(QUERY, TEXTS))
