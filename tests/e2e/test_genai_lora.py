"""LoRA adapters that openvino_genai applies while it runs an export, against the same adapter merged by `export --lora`
(tests/parity holds that against peft), and `check --adapter`.

Compared are log-probabilities of every token of a prompt, and tokens.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from conftest import KJV, ROOT, run_deltavino
from exported import Constants, stored_tensors, stored_values
from genai_support import greedy_config, held_out_rows, one_by_one, paged, row_of, stateful
from lora_support import factors_of, write_adapter

sys.path.insert(0, str(ROOT / "tests" / "sources"))
import stored  # noqa: E402

TEXT = ("--task", "text-generation-with-past")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "in_proj_qkv", "in_proj_z",
               "in_proj_a", "in_proj_b", "out_proj")  # fmt: skip
ALPHA = 2.0  # lora_alpha / r of lora_support.CONFIG
NEAR = 5e-5
Mode = genai.AdapterConfig.Mode


def export(checkpoint: Path, out: Path, *options: object) -> Path:
    result = run_deltavino("export", "-m", checkpoint, out, *options)
    assert result.returncode == 0, result.stderr
    return out


def small_factors(*ends: str, seed: int = 1):
    """Of the language model, small enough that the answers stay text."""
    found = factors_of(KJV, ends or PROJECTIONS, seed=seed)
    return {module: (0.15 * a, 0.15 * b) for module, (a, b) in found.items() if "language_model" in module}


def log_probabilities(pipeline: genai.ContinuousBatchingPipeline, rows: list[list[int]],
                      adapters: genai.AdapterConfig | None = None) -> np.ndarray:  # fmt: skip
    """Of each token of the prompts but the first, and of eight that follow, with the tokens.

    Only generate() sets adapters; what add_request() is told of them is not looked at.
    """
    if adapters is not None:
        pipeline.generate([row_of([5])], [greedy_config(1, adapters=adapters)])
    found = []
    for ids in rows:
        handle = pipeline.add_request(0, row_of(ids), greedy_config(8, echo=True, logprobs=1))
        while pipeline.has_non_finished_requests():
            pipeline.step()
        (output,) = handle.read_all()
        found += [output.generated_log_probs, output.generated_ids]
    return np.concatenate([np.asarray(values, np.float64) for values in found])


class Tuned:
    def __init__(self, folder: Path):
        self.factors = small_factors()
        self.folder = write_adapter(folder / "adapter", self.factors)
        self.file = self.folder / "adapter_model.safetensors"
        self.base = export(KJV, folder / "base", *TEXT, "--weight-format", "fp32")
        self.merged = export(KJV, folder / "merged", *TEXT, "--weight-format", "fp32", "--lora", self.folder)
        self.rows = held_out_rows(genai.Tokenizer(str(self.base)), [60, 33], seed=5)
        self.of_base = log_probabilities(paged(self.base), self.rows)
        self.of_merged = log_probabilities(paged(self.merged), self.rows)
        assert np.abs(self.of_merged - self.of_base).max() > 0.3


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Tuned:
    return Tuned(tmp_path_factory.mktemp("lora"))


# --- the paged backend


@pytest.mark.parametrize("mode", [Mode.MODE_AUTO, Mode.MODE_DYNAMIC, Mode.MODE_STATIC_RANK])
def test_switched_at_run_time(tuned, mode):
    """As merged when it is on; bit for bit the base when it is off; and on again."""
    adapter = genai.Adapter(str(tuned.file))
    pipeline = paged(tuned.base, {"adapters": genai.AdapterConfig(adapter, ALPHA, mode)})
    on = genai.AdapterConfig(adapter, ALPHA)
    assert log_probabilities(pipeline, tuned.rows, on) == pytest.approx(tuned.of_merged, abs=NEAR)
    assert np.array_equal(log_probabilities(pipeline, tuned.rows, genai.AdapterConfig(adapter, 0.0)), tuned.of_base)
    if mode != Mode.MODE_STATIC_RANK:
        assert np.array_equal(log_probabilities(pipeline, tuned.rows, genai.AdapterConfig()), tuned.of_base)
    assert log_probabilities(pipeline, tuned.rows, on) == pytest.approx(tuned.of_merged, abs=NEAR)


def test_static_rank_cannot_be_without_an_adapter(tuned):
    """2026.4.1; alpha 0 turns it off there (docs/guides/lora.md)."""
    adapter = genai.Adapter(str(tuned.file))
    pipeline = paged(tuned.base, {"adapters": genai.AdapterConfig(adapter, ALPHA, Mode.MODE_STATIC_RANK)})
    with pytest.raises(RuntimeError, match="incompatible with provided dimensions"):
        log_probabilities(pipeline, tuned.rows, genai.AdapterConfig())


@pytest.mark.parametrize(("mode", "near"), [(Mode.MODE_STATIC, NEAR), (Mode.MODE_FUSE, 0.02)])
def test_fixed_when_loaded(tuned, mode, near):
    """MODE_FUSE adds the product in the precision that the device likes, bfloat16 where it has it, whatever is asked."""
    pipeline = paged(tuned.base, {"adapters": genai.AdapterConfig(genai.Adapter(str(tuned.file)), ALPHA, mode)})
    assert log_probabilities(pipeline, tuned.rows) == pytest.approx(tuned.of_merged, abs=near)


def test_many_adapters_in_one_pipeline(tuned, tmp_path):
    """One for each kind of projection: each alone does something, all together are the merged one."""
    adapters = []
    for end in PROJECTIONS:
        chosen = {module: pair for module, pair in tuned.factors.items() if module.endswith("." + end)}
        adapters.append(genai.Adapter(str(write_adapter(tmp_path / end, chosen) / "adapter_model.safetensors")))
    every = genai.AdapterConfig([(adapter, ALPHA) for adapter in adapters])
    pipeline = paged(tuned.base, {"adapters": every})
    for end, adapter in zip(PROJECTIONS, adapters, strict=True):
        alone = log_probabilities(pipeline, tuned.rows[1:], genai.AdapterConfig(adapter, ALPHA))
        assert np.abs(alone - tuned.of_base[-len(alone) :]).max() > 10 * NEAR, end
    assert log_probabilities(pipeline, tuned.rows, every) == pytest.approx(tuned.of_merged, abs=NEAR)


def test_requests_bring_no_adapters(tuned):
    """add_request() goes on with what the last generate() set, here nothing."""
    adapter = genai.Adapter(str(tuned.file))
    pipeline = paged(tuned.base, {"adapters": genai.AdapterConfig(adapter, ALPHA)})
    assert np.array_equal(log_probabilities(pipeline, tuned.rows), tuned.of_base)


@pytest.mark.parametrize("weight_format", ["int8", "int4"])
def test_on_compressed_weights(tuned, tmp_path, weight_format):
    """The truth: the weights as the codes give them back, stored as floats, with the adapter merged into them."""
    model = export(KJV, tmp_path / "model", *TEXT, "--weight-format", weight_format)
    constants = Constants(model / "openvino_model.xml")
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(KJV, checkpoint, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = {}
    for name, tensor in stored_tensors(KJV).items():
        held = name in constants.nodes or name + "/stored" in constants.nodes
        values = constants.values(name, tensor[1]) if held else stored_values(tensor)
        tensors[name] = stored.store("F32", values.astype(np.float32))
    stored.write(checkpoint / "model.safetensors", tensors)
    merged = export(checkpoint, tmp_path / "merged", *TEXT, "--weight-format", "fp32", "--lora", tuned.folder)
    expected = log_probabilities(paged(merged), tuned.rows)
    adapter = genai.Adapter(str(tuned.file))
    pipeline = paged(model, {"adapters": genai.AdapterConfig(adapter, ALPHA)})
    found = log_probabilities(pipeline, tuned.rows, genai.AdapterConfig(adapter, ALPHA))
    assert found == pytest.approx(expected, abs=2 * NEAR)
    off = log_probabilities(pipeline, tuned.rows, genai.AdapterConfig(adapter, 0.0))
    assert np.array_equal(off, log_probabilities(paged(model), tuned.rows))
    with pytest.raises(RuntimeError, match="not supported decompression pattern"):
        paged(model, {"adapters": genai.AdapterConfig(adapter, ALPHA, Mode.MODE_FUSE)})


# --- the stateful backend, and pictures


def test_stateful(tuned):
    """Beams, because their scores are log-probabilities."""
    adapter = genai.Adapter(str(tuned.file))
    pipeline = stateful(tuned.base, adapters=genai.AdapterConfig(adapter, ALPHA))
    plain, merged = stateful(tuned.base), stateful(tuned.merged)

    def beams(of: genai.LLMPipeline, alpha: float | None = None) -> tuple[list[list[int]], list[float]]:
        config = genai.GenerationConfig(max_new_tokens=12, num_beams=3, num_return_sequences=3, ignore_eos=True)
        if alpha is not None:
            config.adapters = genai.AdapterConfig(adapter, alpha)
        found = one_by_one(of, tuned.rows[0], config)
        return [list(tokens) for tokens in found.tokens], list(found.scores)

    base, truth = beams(plain), beams(merged)
    assert base[1] != pytest.approx(truth[1], abs=0.01)
    for alpha, expected, near in ((ALPHA, truth, NEAR), (0.0, base, 0.0), (ALPHA, truth, NEAR)):
        tokens, scores = beams(pipeline, alpha)
        assert tokens == expected[0] and scores == pytest.approx(expected[1], abs=near, rel=0)


def test_vision_language(tuned, tmp_path):
    """The adapter goes into the language model of a directory that also reads pictures."""
    base = export(KJV, tmp_path / "base", "--weight-format", "fp32")
    merged = export(KJV, tmp_path / "merged", "--weight-format", "fp32", "--lora", tuned.folder)
    adapter = genai.Adapter(str(tuned.file))
    question = "And it came to pass"

    def answers(pipeline: genai.ContinuousBatchingPipeline, **more: object) -> tuple[str, float]:
        (found,) = pipeline.generate([question], [greedy_config(24, logprobs=1, **more)])
        return found.m_generation_ids[0], found.m_scores[0]

    pipeline = paged(base, {"adapters": genai.AdapterConfig(adapter, ALPHA)})
    on = answers(pipeline, adapters=genai.AdapterConfig(adapter, ALPHA))
    off = answers(pipeline, adapters=genai.AdapterConfig(adapter, 0.0))
    assert off == answers(paged(base))
    text, score = answers(paged(merged))
    assert on == (text, pytest.approx(score, abs=20 * NEAR)) and abs(score - off[1]) > 0.01


# --- whether an adapter fits: check --adapter


def adapter_items(model: Path, adapter: Path, *more: object) -> tuple[int, dict[str, tuple[str, str]]]:
    result = run_deltavino("check", model, "--adapter", adapter, "--tokens", 4, "--json", *more)
    report = json.loads(result.stdout)
    assert f" --adapter {adapter} " in report["command"]
    items = [item for item in report["items"] if item["part"] == "adapter"]
    return result.returncode, {item["subject"]: (item["finding"].lower(), item["says"]) for item in items}


@pytest.mark.parametrize("path", ["folder", "file"])
def test_an_adapter_that_fits(tuned, path):
    code, items = adapter_items(tuned.base, getattr(tuned, path))
    assert code == 0 and items["names"] == ("good", "62 of 62 weights are found in the model")
    assert items["alpha"][0] == "note" and "AdapterConfig(adapter, 2)" in items["alpha"][1]
    assert set(items) == {"names", "alpha"}


def changed(factors, change):
    return {change(module): pair for module, pair in factors.items()}


# What is done to an adapter: the names of its tensors, the arguments of write_adapter, what is said.
MISFITS = {
    "no prefix": (lambda m: m, {"prefix": ""}, "not found", "does not begin with 'base_model.model.'"),
    "own name": (lambda m: m, {"end": ".default"}, "not read", "lora_A.default.weight"),
    "another model": (lambda m: m.replace("layers.", "layers.9"), {}, "not found", "no MatMul of the model has such a name"),
    "text model inside": (lambda m: m.replace("model.language_model.", "transformer.language_model."), {}, "not found",
                          "the model has it as 'model.language_model.layers.3.self_attn.q_proj'"),
    "vision tower": (lambda m: m.replace("language_model.layers", "visual.blocks"), {}, "not found", "it is of the vision tower"),
    "one expert": (lambda m: m.replace("self_attn", "mlp.experts.1"), {}, "not found", "holds the experts of a layer in one weight"),
    "swapped": (lambda m: m.replace("q_proj", "o_proj"), {}, "shapes", "make no [128, 256]"),
    "two scales": (lambda m: m, {"alpha_pattern": {"layers.3.self_attn.q_proj": 32}}, "alpha", "2 scales, from 2 to 8"),
    "dora": (lambda m: m, {"use_dora": True}, "adapter_config.json", "DoRA"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_an_adapter_that_does_not_fit(tuned, tmp_path, name):
    change, form, subject, words = MISFITS[name]
    adapter = write_adapter(tmp_path / "adapter", changed(small_factors("q_proj"), change), **form)
    code, items = adapter_items(tuned.base, adapter)
    assert code == 1 and items[subject][0] == "bad" and words in items[subject][1], items


def test_an_adapter_that_fits_in_part(tuned, tmp_path):
    factors = small_factors("q_proj")
    module = next(iter(factors))
    more = {"model.language_model.layers.0.self_attn.z_proj.lora_A.weight": factors[module][0]}
    factors |= {module.replace("q_proj", "y_proj"): factors[module]}
    code, items = adapter_items(tuned.base, write_adapter(tmp_path / "adapter", factors, more=more))
    assert code == 1 and items["names"] == ("bad", "2 of 4 weights are found in the model")
    assert "y_proj" in items["not found"][1] and "z_proj" in items["one factor"][1]


def test_adapters_that_cannot_be_read(tuned, tmp_path):
    result = run_deltavino("check", tuned.base, "--adapter", tmp_path / "none.safetensors")
    assert result.returncode == 3 and "none.safetensors" in result.stderr
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 40)
    result = run_deltavino("check", tuned.base, "--adapter", tmp_path / "bad.safetensors")
    assert result.returncode == 3 and "bad.safetensors" in result.stderr


@pytest.mark.parametrize("form", [{"prefix": ""}, {"end": ".default"}], ids=["no prefix", "own name"])
def test_the_library_drops_what_check_reports(tuned, tmp_path, form):
    """Without an error; the answers are the base's."""
    adapter = genai.Adapter(str(write_adapter(tmp_path / "adapter", tuned.factors, **form) / "adapter_model.safetensors"))
    config = genai.AdapterConfig(adapter, ALPHA)
    found = log_probabilities(paged(tuned.base, {"adapters": config}), tuned.rows, config)
    assert np.array_equal(found, tuned.of_base)


# --- generate and eval of a checkpoint with an adapter


def test_generate_and_eval_with_an_adapter(tuned, tmp_path):
    """Through the cache, whose entry is another one for each adapter, and for the same folder when it was changed."""
    prompt = ("--raw", "--prompt", "And it came to pass", "--max-new-tokens", 12, "--precision", "f32", "--json")

    def ids(model: Path, *more: object, note: str = "") -> list[int]:
        result = run_deltavino("generate", model, *prompt, *more)
        assert result.returncode == 0 and note in result.stderr, result.stderr
        return json.loads(result.stdout)["ids"]

    checkpoint = (KJV, "--weight-format", "fp32", *TEXT)
    folder = write_adapter(tmp_path / "adapter", tuned.factors, lora_alpha=40)
    strong = export(KJV, tmp_path / "strong", *TEXT, "--weight-format", "fp32", "--lora", folder)
    base, merged = ids(tuned.base), ids(strong)
    assert base != merged
    assert ids(*checkpoint, note="exported '") == base
    assert ids(*checkpoint, "--lora", folder, note="exported '") == merged
    assert ids(*checkpoint, "--lora", folder, note="was exported before") == merged
    none = {module: (0 * a, b) for module, (a, b) in tuned.factors.items()}
    shutil.rmtree(folder)
    write_adapter(folder, none)
    assert ids(*checkpoint, "--lora", folder, note="exported '") == base

    text = ("--text", KJV / "held_out.txt", "--windows", 1, "--window", 64, "--json")
    result = run_deltavino("eval", *checkpoint, "--lora", tuned.folder, "--against", KJV, *text)
    assert result.returncode == 0, result.stderr
    truth, model = json.loads(result.stdout)["models"]
    assert model["kl_divergence"] < 1e-8 and model["top1_agreement"] == 1.0
    result = run_deltavino("eval", tuned.merged, "--lora", tuned.folder, "--against", KJV, *text)
    assert json.loads(result.stdout)["models"][0]["perplexity"] == truth["perplexity"]
    result = run_deltavino("eval", tuned.merged, "--against", KJV, *text)
    assert json.loads(result.stdout)["models"][1]["kl_divergence"] > 1e-4


def test_adapters_are_for_checkpoints(tuned):
    result = run_deltavino("generate", tuned.base, "--prompt", "a", "--lora", tuned.folder)
    assert result.returncode == 2 and "--lora is for checkpoints" in result.stderr
    result = run_deltavino("generate", KJV, "--prompt", "a", "--lora", tuned.base)
    assert result.returncode == 3 and "adapter_config.json" in result.stderr
