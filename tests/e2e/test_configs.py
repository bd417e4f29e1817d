"""Variants of one checkpoint, as training stacks, hubs and users write them.

Each is exported to the very bytes of the plain checkpoint, or refused with a message that names what is wrong.
"""

import copy
import hashlib
import itertools
import json
import math
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import GOLDEN
from test_cli import INPUT, TEXT, UNSUPPORTED, load_bytes, write_bytes

LANGUAGE = "model.language_model."
INDEX = "model.safetensors.index.json"
GIGABYTE = 1 << 30


@dataclass
class Variant:
    """A checkpoint in memory: a row of a table changes it, then it is written."""

    config: dict
    tensors: dict  # name -> (dtype, shape, bytes)
    shards: dict = field(default_factory=dict)  # name -> file; one file for the rest
    index: str = ""  # file name
    promised: dict = field(default_factory=dict)  # name -> file: entries of the index that no file keeps
    unlisted: set = field(default_factory=set)  # names that the index leaves out
    linked: bool = False  # the files are links to blobs, as in the cache of the Hub
    files: dict = field(default_factory=dict)  # other files

    @property
    def text(self) -> dict:
        return self.config.get("text_config", self.config)

    def rename(self, change: Callable[[str], str]) -> None:
        self.tensors = {change(name): tensor for name, tensor in self.tensors.items()}

    def write(self, folder: Path) -> Path:
        if self.linked:
            return self.link(folder)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        for file in {self.shards.get(name, "model.safetensors") for name in self.tensors}:
            write_bytes(
                folder / file,
                {n: t for n, t in self.tensors.items() if self.shards.get(n, "model.safetensors") == file},
            )
        if self.index:
            weight_map = {name: self.shards.get(name, "model.safetensors") for name in self.tensors}
            listed = {n: file for n, file in weight_map.items() if n not in self.unlisted} | self.promised
            (folder / self.index).write_text(json.dumps({"weight_map": listed}))
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder

    def link(self, folder: Path) -> Path:
        """Blobs by their hash, and a snapshot of relative links to them."""
        self.linked = False
        blobs, snapshot = folder / "blobs", folder / "snapshots" / folder.name
        folder.mkdir()
        snapshot.mkdir(parents=True)
        for file in self.write(blobs).iterdir():
            blob = blobs / hashlib.sha256(file.name.encode()).hexdigest()
            file.rename(blob)
            (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
        return snapshot


def read(name: str) -> Variant:
    folder = GOLDEN / name
    tensors: dict = {}
    for shard in sorted(folder.glob("model*.safetensors")):
        tensors |= load_bytes(shard)
    return Variant(json.loads((folder / "config.json").read_text()), tensors)


@pytest.fixture(scope="module")
def plain() -> dict[str, Variant]:
    return {name: read(name) for name in ("dense-vl", "dense-v2", "moe-e8k2", "moe-split")}


@pytest.fixture(scope="module")
def base(deltavino, plain, tmp_path_factory) -> Path:
    """The export that the variants must equal."""
    folder = tmp_path_factory.mktemp("base")
    result = deltavino("export", "-m", plain["dense-vl"].write(folder / "in"), folder / "out", *TEXT)
    assert result.returncode == 0, result.stderr
    return folder / "out"


def prefix(before: str) -> Callable[[Variant], None]:
    return lambda v: v.rename(lambda name: before + name)


def replace(old: str, new: str) -> Callable[[Variant], None]:
    return lambda v: v.rename(lambda name: name.replace(old, new))


def mixed_prefixes(v: Variant) -> None:
    forms = ["_orig_mod.model.language_model.", "module.model.language_model.", "model.language_model.language_model."]
    names = iter(range(10**6))
    v.rename(lambda name: name.replace(LANGUAGE, forms[next(names) % 3]))


def odd_shards(v: Variant) -> None:
    v.shards = {name: f"layers-{i % 3}.safetensors" for i, name in enumerate(v.tensors)}
    v.index = INDEX


def numbered_shards(v: Variant) -> None:
    v.shards = {name: f"model.safetensors-{i % 2 + 1:05}-of-00002.safetensors" for i, name in enumerate(v.tensors)}


def ties(outer: bool | None, inner: bool | None) -> Callable[[Variant], None]:
    def change(v: Variant) -> None:
        for config, value in ((v.config, outer), (v.text, inner)):
            config.pop("tie_word_embeddings", None)
            if value is not None:
                config["tie_word_embeddings"] = value

    return change


def text_keys(**keys: object) -> Callable[[Variant], None]:
    return lambda v: v.text.update(copy.deepcopy(keys))


def vision_keys(**keys: object) -> Callable[[Variant], None]:
    return lambda v: v.config["vision_config"].update(keys)


def outer_keys(**keys: object) -> Callable[[Variant], None]:
    return lambda v: v.config.update(keys)


def rope_in_other_key(v: Variant) -> None:
    v.text["rope_scaling"] = v.text.pop("rope_parameters")


def rope_theta_flat(v: Variant) -> None:
    v.text["rope_theta"] = v.text["rope_parameters"].pop("rope_theta")


def rope_parameters_replaced(v: Variant) -> None:
    v.text["rope_scaling"] = v.text["rope_parameters"]
    v.text["rope_parameters"] = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5.0}


def old_types(v: Variant) -> None:
    v.text.pop("layer_types")
    v.text["rope_parameters"]["type"] = v.text["rope_parameters"].pop("rope_type")


def links_of_a_cache(v: Variant) -> None:
    odd_shards(v)
    v.linked = True


def promised_head(v: Variant) -> None:
    odd_shards(v)
    v.promised = {"mtp.fc.weight": "layers-0.safetensors", "mtp.norm.weight": "layers-1.safetensors"}
    for name in [name for name in v.tensors if name.startswith("mtp.")]:
        del v.tensors[name]


def wide_mtp(v: Variant) -> None:
    names = [name for name in v.tensors if name.startswith("mtp.")]
    assert names
    for name in names:
        _, shape, _ = v.tensors[name]
        v.tensors[name] = ("F64", shape, bytes(8 * math.prod(shape)))


def unlisted_weights(v: Variant) -> None:
    odd_shards(v)
    v.unlisted = {LANGUAGE + "norm.weight", LANGUAGE + "embed_tokens.weight"}


EQUAL: dict[str, tuple[Callable[[Variant], None], str]] = {
    # name: change, a word that must be in the notes
    "single file": (lambda v: None, ""),
    "odd shard names": (odd_shards, ""),
    "numbered shards without an index": (numbered_shards, ""),
    "index promises what no shard has": (promised_head, ""),
    "shards have what no index lists": (unlisted_weights, "2 tensors that the index does not list"),
    "links of the Hub's cache": (links_of_a_cache, ""),
    "index under another name": (
        lambda v: (odd_shards(v), setattr(v, "index", "model.bf16.safetensors.index.json")),
        "",
    ),
    "_orig_mod.": (prefix("_orig_mod."), "'_orig_mod.'"),
    "module.": (prefix("module."), "'module.'"),
    "base_model.model.": (prefix("base_model.model."), "'base_model.model.'"),
    "language_model. three times": (replace(LANGUAGE, "model." + 3 * "language_model."), "'language_model.'"),
    "checkpoint wrappers": (replace("mlp.", "_checkpoint_wrapped_module.mlp."), "'_checkpoint_wrapped_module.'"),
    "mixed prefixes": (mixed_prefixes, "'_orig_mod.'"),
    "stray file": (lambda v: v.files.update({"consolidated.safetensors": b"?"}), "'consolidated.safetensors'"),
    "vision_config is empty": (outer_keys(vision_config={}), ""),
    "deepstack": (vision_keys(deepstack_visual_indexes=[0, 1]), ""),
    "activation of the tower": (vision_keys(hidden_act="gelu"), ""),
    "tower not saved": (lambda v: [v.tensors.pop(n) for n in list(v.tensors) if ".visual." in n], ""),
    "tied outside only": (ties(True, False), "tie_word_embeddings is false in /text_config and true outside"),
    "tied inside only": (ties(False, True), "tie_word_embeddings is true in /text_config and false outside"),
    "tied inside, nothing outside": (ties(None, True), ""),
    "tied outside, nothing inside": (ties(True, None), ""),
    "mtp embeddings": (text_keys(mtp_use_dedicated_embeddings=True), "multi-token prediction"),
    "mtp announced, absent": (lambda v: [v.tensors.pop(n) for n in list(v.tensors) if n.startswith("mtp.")], ""),
    "mtp kept, not announced": (text_keys(mtp_num_hidden_layers=0), ""),
    "mtp in another type": (wide_mtp, ""),
    "outer keys contradict the text model's": (outer_keys(num_key_value_heads=7, hidden_size=1, head_dim=3), ""),
    "architectures of the bare model": (outer_keys(architectures=["Qwen3_5Model"]), ""),
    "architectures of a text model": (outer_keys(architectures=["Qwen3_5ForCausalLM"]), ""),
    "no architectures": (lambda v: v.config.pop("architectures"), ""),
    "written by an older transformers": (outer_keys(transformers_version="4.57.1"), ""),
    "gptq key, plain tensors": (
        outer_keys(quantization_config={"quant_method": "gptq", "bits": 4, "desc_act": True}),
        "'gptq (4 bits, desc_act)'",
    ),
    "gate is swish": (text_keys(output_gate_type="swish"), ""),
    "no layer_types, old rope key": (old_types, ""),
    "rope in rope_scaling": (rope_in_other_key, ""),
    "rope_theta flat": (rope_theta_flat, ""),
    "rope_scaling wins": (rope_parameters_replaced, "rope_scaling is used"),
    "rope_scaling is null": (text_keys(rope_scaling=None), ""),
    "inv_freq saved": (
        lambda v: v.tensors.update({LANGUAGE + "rotary_emb.inv_freq": ("F32", [1], b"\0" * 4)}),
        "rotary frequencies",
    ),
}


def test_tables_are_whole(capsys):
    """The rows that the tests below run, and their count."""
    with capsys.disabled():
        print(f"\n{len(EQUAL)} variants give the bytes of the plain checkpoint: {', '.join(EQUAL)}")
        print(f"{len(PREFIXES)} prefixes of text models: {', '.join(map(repr, PREFIXES))}")
        print(f"{len(REFUSED)} variants are refused: {', '.join(REFUSED)}")
    assert len(EQUAL) >= 39 and len(PREFIXES) >= 5 and len(REFUSED) >= 26


@pytest.mark.parametrize("name", EQUAL)
def test_variant_gives_the_same_model(deltavino, plain, base, tmp_path, name):
    change, note = EQUAL[name]
    variant = copy.deepcopy(plain["dense-vl"])
    change(variant)
    result = deltavino("export", "-m", variant.write(tmp_path / "in"), tmp_path / "out", *TEXT)
    assert result.returncode == 0, result.stderr
    assert note in result.stderr
    for file in ("openvino_model.xml", "openvino_model.bin"):
        assert (tmp_path / "out" / file).read_bytes() == (base / file).read_bytes(), file


PREFIXES = {form: (form,) for form in ("model.", "language_model.model.", "language_model.", "")}
PREFIXES["three in one file"] = ("model.", LANGUAGE, "language_model.model.")


@pytest.mark.parametrize("form", PREFIXES)
def test_prefixes_of_text_models(deltavino, plain, base, tmp_path, form):
    """Names in the file follow the checkpoint's, the weights do not change."""
    variant = copy.deepcopy(plain["dense-vl"])
    variant.config = variant.config["text_config"]
    forms = itertools.cycle(PREFIXES[form])
    variant.rename(lambda name: name.replace(LANGUAGE, next(forms)))
    result = deltavino("export", "-m", variant.write(tmp_path / "in"), tmp_path / "out", *TEXT)
    assert result.returncode == 0, result.stderr
    assert "taken off" not in result.stderr
    assert (tmp_path / "out" / "openvino_model.bin").read_bytes() == (base / "openvino_model.bin").read_bytes()


def without(part: str) -> Callable[[Variant], None]:
    return lambda v: [v.tensors.pop(name) for name in list(v.tensors) if part in name]


def layers(count: int) -> Callable[[Variant], None]:
    def change(v: Variant) -> None:
        v.text["num_hidden_layers"] = count
        v.text.pop("layer_types", None)

    return change


def add(name: str, dtype: str = "F32", shape: tuple = (1,), size: int = 4) -> Callable[[Variant], None]:
    return lambda v: v.tensors.update({name: (dtype, list(shape), b"\0" * size)})


def both(*changes: Callable[[Variant], None]) -> Callable[[Variant], None]:
    return lambda v: [change(v) for change in changes]


def empty_feed_forward(v: Variant) -> None:
    for name, (dtype, _, _) in list(v.tensors.items()):
        if ".mlp." in name:
            v.tensors[name] = (dtype, [0], b"")


def eight_bit_leftovers(v: Variant) -> None:
    """A merged QLoRA model: codes that nothing in config.json speaks of, and their scales beside them."""
    name = "model.layers.0.mlp.up_proj.weight"
    _, shape, _ = v.tensors[name]
    v.tensors[name] = ("I8", shape, bytes(math.prod(shape)))
    add("model.layers.0.mlp.up_proj.SCB", "F32", (shape[0],), 4 * shape[0])(v)


REFUSED: dict[str, tuple[str, tuple, Callable[[Variant], None], int, tuple[str, ...]]] = {
    # name: checkpoint, options, change, exit code, words
    "tower not saved": (
        "dense-vl",
        (),
        without(".visual."),
        INPUT,
        ("no vision tower", "--task text-generation-with-past"),
    ),
    "vision_config is empty": (
        "dense-vl",
        (),
        outer_keys(vision_config={}),
        INPUT,
        ("/vision_config/depth is missing", "--task"),
    ),
    "deepstack": (
        "dense-vl",
        (),
        vision_keys(deepstack_visual_indexes=[1]),
        UNSUPPORTED,
        ("deepstack_visual_indexes is [1]", "--task"),
    ),
    "tower of another depth": (
        "dense-vl",
        (),
        vision_keys(depth=4096),
        INPUT,
        ("/vision_config/depth is 4096", "only 2 vision blocks"),
    ),
    "fewer layers": (
        "dense-v2",
        TEXT,
        layers(4),
        INPUT,
        ("num_hidden_layers is 4", "there is layer 4", "model.layers.4."),
    ),
    "more layers": (
        "dense-v2",
        TEXT,
        layers(4096),
        INPUT,
        ("num_hidden_layers is 4096", "only 8 layers", "none is of layer 8"),
    ),
    "millions of layers": ("dense-v2", TEXT, layers(16_000_000), INPUT, ("/num_hidden_layers is 16000000",)),
    "other kinds": (
        "dense-v2",
        TEXT,
        both(layers(8), text_keys(full_attention_interval=2)),
        INPUT,
        ("layer 1 is full_attention by config.json", "2 layers differ"),
    ),
    "no layer by name": (
        "dense-v2",
        TEXT,
        replace("model.layers.", "transformer.h."),
        INPUT,
        ("no tensor is named like one of this model", "'transformer.h."),
    ),
    "more experts": (
        "moe-e8k2",
        TEXT,
        text_keys(num_experts=60_000),
        INPUT,
        ("num_experts is 60000", "mlp.gate.weight' has shape [8, 32]"),
    ),
    "more experts, split": ("moe-split", TEXT, text_keys(num_experts=60_000), INPUT, ("num_experts is 60000",)),
    "more heads": (
        "dense-v2",
        TEXT,
        text_keys(linear_num_value_heads=40_000, linear_num_key_heads=40_000),
        INPUT,
        ("linear_num_value_heads is 40000", "A_log' has shape [4]"),
    ),
    "no head, untied": (
        "dense-vl",
        TEXT,
        ties(False, False),
        INPUT,
        ("tie_word_embeddings is false", "--assume-tied-head"),
    ),
    "no head, untied inside": ("dense-vl", TEXT, ties(None, False), INPUT, ("tie_word_embeddings is false",)),
    "two names": (
        "dense-v2",
        TEXT,
        add("_orig_mod.model.norm.weight"),
        INPUT,
        ("'model.norm.weight'", "'_orig_mod.model.norm.weight'"),
    ),
    "adapter not merged": (
        "dense-v2",
        TEXT,
        add("model.layers.0.mlp.up_proj.lora_A.weight"),
        UNSUPPORTED,
        ("LoRA adapter that is not merged", "lora_A"),
    ),
    "fp8": (
        "dense-v2",
        TEXT,
        both(
            outer_keys(quantization_config={"quant_method": "fp8"}), add("model.layers.0.mlp.up_proj.weight_scale_inv")
        ),
        INPUT,
        ("is BF16 and has a scale", "weight_scale_inv"),
    ),
    "gptq": (
        "dense-v2",
        TEXT,
        both(
            outer_keys(quantization_config={"quant_method": "gptq", "desc_act": True}),
            add("model.layers.0.mlp.up_proj.qweight", "I32"),
        ),
        INPUT,
        ("is unexpected: no quantized weight of the model uses it", "qweight"),
    ),
    "mlx": (
        "dense-v2",
        TEXT,
        both(outer_keys(quantization={"bits": 4}), add("model.layers.0.mlp.up_proj.scales", "BF16", (2,))),
        UNSUPPORTED,
        ("converted for MLX",),
    ),
    "bitsandbytes leftovers": (
        "dense-v2",
        TEXT,
        eight_bit_leftovers,
        UNSUPPORTED,
        ("bitsandbytes",),
    ),
    "ungathered": ("dense-v2", TEXT, empty_feed_forward, INPUT, ("has shape [0]", "ZeRO-3")),
    "float64": (
        "dense-v2",
        TEXT,
        lambda v: v.tensors.update({"model.norm.weight": ("F64", [64], b"\0" * 512)}),
        INPUT,
        ("has type F64, expected F32",),
    ),
    "classifier": ("dense-v2", TEXT, add("score.weight"), INPUT, ("'score.weight'", "classifier")),
    "gate": ("dense-v2", TEXT, text_keys(output_gate_type="tanh"), UNSUPPORTED, ("/output_gate_type is 'tanh'",)),
    "linear scaling": (
        "dense-v2",
        TEXT,
        text_keys(rope_scaling={"type": "linear", "factor": 8.0}),
        UNSUPPORTED,
        ("/rope_scaling/rope_type is 'linear'",),
    ),
    "another family": (
        "dense-v2",
        TEXT,
        outer_keys(model_type="qwen4_exp"),
        UNSUPPORTED,
        ("'qwen4_exp' is not built", "hyper-connections"),
    ),
}


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTE, GIGABYTE))


@pytest.mark.parametrize("name", REFUSED)
def test_variant_is_refused_in_one_message(deltavino, plain, tmp_path, name):
    source, options, change, code, words = REFUSED[name]
    variant = copy.deepcopy(plain[source])
    change(variant)
    result = deltavino(
        "export", "-m", variant.write(tmp_path / "in"), tmp_path / "out", *options, preexec_fn=limit_memory
    )
    assert result.returncode == code, result.stderr
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / "out").exists()
    if name not in ("vision_config is empty", "ungathered"):  # these have several things wrong
        assert len(result.stderr.splitlines()) <= 2, result.stderr


@pytest.mark.parametrize("stored", ["split", "fused"])
def test_experts_of_mtp_do_not_matter(deltavino, plain, tmp_path, stored):
    """Published checkpoints store them in either way, whatever way the other experts have."""
    variant = copy.deepcopy(plain["moe-e8k2"])
    result = deltavino("export", "-m", variant.write(tmp_path / "in"), tmp_path / "out", *TEXT)
    assert result.returncode == 0, result.stderr
    names = ["0.gate_proj.weight", "0.up_proj.weight"] if stored == "split" else ["gate_up_proj", "down_proj"]
    for name in names:
        add(f"mtp.layers.0.mlp.experts.{name}")(variant)
    result = deltavino("export", "-m", variant.write(tmp_path / "b" / "in"), tmp_path / "mtp", *TEXT)
    assert result.returncode == 0, result.stderr
    for file in ("openvino_model.xml", "openvino_model.bin"):
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "mtp" / file).read_bytes(), file


def test_assumed_head(deltavino, plain, base, tmp_path):
    variant = copy.deepcopy(plain["dense-vl"])
    ties(False, False)(variant)
    result = deltavino("export", "-m", variant.write(tmp_path / "in"), tmp_path / "out", *TEXT, "--assume-tied-head")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "openvino_model.bin").read_bytes() == (base / "openvino_model.bin").read_bytes()


def test_folders_that_are_no_checkpoint(deltavino, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type":"LORA"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"\0" * 8)
    gguf = tmp_path / "gguf"
    gguf.mkdir()
    (gguf / "m.gguf").write_bytes(b"GGUF")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(GOLDEN / "dense-v2" / "config.json", pickled)
    (pickled / "pytorch_model.bin.index.json").write_text("{}")
    for folder, word in ((adapter, "LoRA adapter"), (gguf, "'m.gguf' is a GGUF file"), (pickled, "pickled")):
        result = deltavino("export", "-m", folder, tmp_path / "out")
        assert result.returncode == UNSUPPORTED and word in result.stderr, result.stderr
