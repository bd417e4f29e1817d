"""GenAI's pipeline for NPUs, on the CPU: no NPU, and no compiler for one, is needed.

The pipeline brings a model into the form that an NPU can take: static shapes, a prompt padded on the left to its
full length or cut into chunks, one token at a time afterwards. NPUW_DEVICES=CPU runs what comes out on the CPU. So
this proves that the rewriting leaves the states of the delta rule right, not that the compiler for NPUs takes the graph.
"""

import shutil
import sys

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from conftest import KJV, ROOT, run_deltavino

sys.path.insert(0, str(ROOT / "tests" / "gpu"))
import wide  # noqa: E402

NPUW = {
    "NPU_USE_NPUW": "YES",
    "NPUW_DEVICES": "CPU",
    "MAX_PROMPT_LEN": 512,
    "MIN_RESPONSE_LEN": 64,
    # Without it CPUs with bf16 round: the tests are about the rewriting.
    "INFERENCE_PRECISION_HINT": "f32",
}
# What NPUs take: 4 bit, symmetric, one scale for a whole row.
CHANNEL_WISE = ["--weight-format", "int4", "--recipe", "npu"]


def continue_greedily(model, device: str, prompts: list[list[int]], count: int, **config: object) -> list[list[int]]:
    pipeline = genai.LLMPipeline(str(model), device, **config)
    wanted = genai.GenerationConfig()
    wanted.max_new_tokens = wanted.min_new_tokens = count
    wanted.do_sample = wanted.apply_chat_template = False
    wanted.ignore_eos = True
    found = []
    for prompt in prompts:
        ids = np.array([prompt], np.int64)
        inputs = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
        found.append(list(pipeline.generate(inputs, wanted).tokens[0]))
    return found


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    out = tmp_path_factory.mktemp("npu") / "dense"
    result = run_deltavino("export", "--model", KJV, out, "--task", "text-generation-with-past", "--weight-format", "fp16")
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.parametrize("prefill", ["STATIC", "DYNAMIC"])
def test_the_pipeline_for_npus_gives_the_golden_tokens(dense, greedy, prefill):
    """Prompts of 1, 40 and 500 tokens: padded to 512, or read in chunks of 128."""
    prompts = [entry["prompt_ids"] for entry in greedy["single"]]
    config = {**NPUW, "NPUW_LLM_PREFILL_HINT": prefill, "NPUW_LLM_PREFILL_CHUNK_SIZE": 128}
    found = continue_greedily(dense, "NPU", prompts, greedy["new_tokens"], **config)
    assert found == [entry["continuation_ids"] for entry in greedy["single"]]


@pytest.fixture(scope="module")
def experts(tmp_path_factory, dense):
    """A checkpoint of experts, and the tokenizer models without which GenAI does not start.

    The golden ones are too narrow: in 4 bit the pipeline wants columns in multiples of 64.
    """
    folder = tmp_path_factory.mktemp("experts")
    return wide.make("wide-moe", folder), sorted(dense.glob("openvino_*tokenizer.*"))


@pytest.mark.parametrize("options", [["--weight-format", "fp16"], CHANNEL_WISE], ids=["fp16", "int4"])
@pytest.mark.parametrize("case", ["dense", "experts"])
def test_the_pipeline_for_npus_is_that_for_cpus(case, options, greedy, experts, tmp_path):
    """The same files by the plain pipeline: 4 bit changes tokens, the pipeline must not."""
    checkpoint, tokenizer = experts if case == "experts" else (KJV, [])
    model = tmp_path / "model"
    result = run_deltavino("export", "--model", checkpoint, model, "--task", "text-generation-with-past",
                           *options, *(["--disable-convert-tokenizer"] if tokenizer else []))  # fmt: skip
    assert result.returncode == 0, result.stderr
    for file in tokenizer:
        shutil.copy(file, model)
    prompts = [entry["prompt_ids"] for entry in greedy["single"]][:2]
    if tokenizer:
        prompts = [[5, 17, 40, 3, 99, 61, 7], list(range(11, 51))]
    expected = continue_greedily(model, "CPU", prompts, 20, ATTENTION_BACKEND="SDPA", INFERENCE_PRECISION_HINT="f32",
                                 DYNAMIC_QUANTIZATION_GROUP_SIZE="0", KV_CACHE_PRECISION="f32")  # fmt: skip
    assert continue_greedily(model, "NPU", prompts, 20, **{**NPUW, "MAX_PROMPT_LEN": 128}) == expected
