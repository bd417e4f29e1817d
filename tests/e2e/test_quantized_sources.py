"""Checkpoints that are quantized already: kept bit for bit, or read exactly and stored anew, or refused by name.

The truth is read_back.py, which reads the published formats apart from the program; the vendors' own code is
asked in tests/parity.
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino

sys.path.insert(0, str(ROOT / "tests" / "sources"))
import make_variants  # noqa: E402
import read_back  # noqa: E402
from stored import store, values_of, write  # noqa: E402

BASES = {"kjv-tiny": KJV, "moe-e8k2": GOLDEN / "moe-e8k2", "moe-split": GOLDEN / "moe-split"}
IMPORTED = [name for name, row in make_variants.VARIANTS.items() if row.imported]
FORMATS = {
    "fp8": ["int4"],
    "fp8-partial-blocks": ["int8", "fp32"],
    "gptq-asym": ["int8", "nf4", "fp32"],
    "awq": ["int4 --sym"],
    "compressed": ["int4 --group-size 64", "fp16"],
}
FORMATS |= {
    "fp8-expert-stacks": ["int4 --group-size 16", "int8"],
    "compressed-8bit": ["int4"],
    "gptq-group-48": ["int4"],
    "auto-round-layers": ["int4 --ratio 0.5", "bf16"],
    "gptq-experts": ["int8"],
}


def export(checkpoint: Path, out: Path, *options: str):
    arguments = [
        "--task",
        "text-generation-with-past",
        "--disable-convert-tokenizer",
        "--report",
        out.with_suffix(".json"),
    ]
    result = run_deltavino("export", "--model", checkpoint, out, *arguments, *options)
    assert result.returncode == 0, result.stderr
    return result


class Made:
    """One variant, and the plain checkpoint of the values that it stands for."""

    def __init__(self, name: str, directory: Path):
        self.row = make_variants.VARIANTS[name]
        self.path = directory / "variant"
        self.tensors, self.config = make_variants.make(BASES[self.row.base], self.row.change, self.path, self.row.files)
        self.truth = read_back.weights(self.tensors, self.config)
        self.directory = directory

    def values(self) -> dict[str, np.ndarray]:
        return {name: t if isinstance(t, np.ndarray) else t.values() for name, t in self.truth.items()}

    def dequantized(self, dtype: str | None) -> Path:
        """Without a type: the one that deltavino takes when no weight format is asked for."""
        out = self.directory / f"plain-{dtype}"
        base = BASES[self.row.base]
        plain, config = make_variants.make(base, lambda tensors, config: None, out)
        for name in list(plain):
            if name not in self.tensors and name not in self.truth:
                del plain[name]
        for name, tensor in self.tensors.items():
            if name == "lm_head.weight":
                plain[name] = tensor
        for name, values in self.values().items():
            own = dtype or ("BF16" if isinstance(self.truth[name], np.ndarray) else "F16")
            plain[name] = store(own, values)
        config = {k: v for k, v in self.config.items() if k != "quantization_config"}
        (out / "config.json").write_text(json.dumps(config))
        write(out / "model.safetensors", plain)
        return out


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    cache: dict[str, Made] = {}

    def once(name: str) -> Made:
        if name not in cache:
            cache[name] = Made(name, tmp_path_factory.mktemp(name))
        return cache[name]

    return once


def constants(model: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Type, shape and bytes of every constant by the name of its node."""
    data = model.with_suffix(".bin").read_bytes()
    found = {}
    for layer in ElementTree.parse(model).getroot().iter("layer"):
        if layer.get("type") == "Const":
            attributes = layer.find("data").attrib
            shape = [int(size) for size in attributes["shape"].split(",") if size.strip()]
            offset, size = int(attributes["offset"]), int(attributes["size"])
            found[layer.get("name")] = (attributes["element_type"], shape, data[offset : offset + size])
    return found


def fits(truth: read_back.Integers) -> bool:
    """Whether OpenVINO has such groups; the rows of a shared expert may not divide."""
    return truth.codes.shape[1] % truth.group == 0


def nibbles(data: bytes) -> np.ndarray:
    pairs = np.frombuffer(data, np.uint8)
    return np.stack([pairs & 15, pairs >> 4], -1).reshape(-1)


def check_import(name: str, truth: read_back.Integers, found: dict) -> None:
    """Codes, zero points and scales of the file are those of the checkpoint."""
    kind, shape, data = found[name]
    rows, columns = truth.codes.shape
    codes = (nibbles(data) if truth.bits == 4 else np.frombuffer(data, np.uint8)).reshape(rows, columns)
    middle = 2 ** (truth.bits - 1)
    assert kind[1:] == str(truth.bits)
    symmetric = bool((truth.zeros == middle).all())
    assert kind[0] == ("i" if symmetric else "u"), f"{name} is {kind}"
    assert (codes ^ (middle if symmetric else 0) == truth.codes).all()
    groups = truth.scales.shape[1]
    assert shape == ([rows, columns] if groups == 1 else [rows, groups, columns // groups])
    scales = np.frombuffer(found[name + "/scale"][2], np.float16).reshape(rows, groups)
    assert (scales == truth.scales.astype(np.float16)).all()
    if not symmetric:
        zeros = found[name + "/zero_point"][2]
        zeros = (nibbles(zeros) if truth.bits == 4 else np.frombuffer(zeros, np.uint8))[: rows * groups]
        assert (zeros.reshape(rows, groups) == truth.zeros).all()


def test_tables_are_whole(capsys):
    """The rows that the tests below run, and their count."""
    with capsys.disabled():
        print(f"\n{len(make_variants.VARIANTS)} quantized variants, {len(IMPORTED)} imported bit for bit:")
        print(", ".join(make_variants.VARIANTS))
        print(f"{len(make_variants.REFUSALS)} refusals: {', '.join(make_variants.REFUSALS)}")
    assert set(FORMATS) <= set(make_variants.VARIANTS)
    assert len(make_variants.VARIANTS) >= 46
    assert len(make_variants.REFUSALS) >= 42


@pytest.mark.parametrize("name", IMPORTED)
def test_codes_are_kept_bit_for_bit(made, name, tmp_path):
    variant = made(name)
    out = tmp_path / "out"
    printed = export(variant.path, out).stdout
    found = constants(out / "openvino_model.xml")
    assert variant.truth
    kept = {weight: truth for weight, truth in variant.truth.items() if ".experts." not in weight and fits(truth)}
    for weight, truth in kept.items():
        check_import(weight, truth, found)
    assert len(kept) > len(variant.truth) / 20
    assert "keep the codes of the checkpoint bit for bit" in printed
    if variant.row.base == "moe-split":
        check_stacks(variant, found)
    report = {row["name"]: row for row in json.loads(out.with_suffix(".json").read_text())["tensors"]}
    for weight in kept:
        assert report[weight]["relative_error"] == 0.0
        assert report[weight]["reason"].startswith("kept bit for bit")
    config = json.loads((out / "config.json").read_text())
    assert "quantization_config" not in config


def check_stacks(variant: Made, found: dict) -> None:
    """A stack of experts is the experts one after the other."""
    stacks = [name for name in found if ".experts." in name and name.endswith("_proj.weight")]
    assert len(stacks) >= 3
    for name in stacks:
        module, projection = name.split(".experts.")
        parts = [variant.truth[f"{module}.experts.{e}.{projection}"] for e in range(8)]
        whole = read_back.Integers(
            4,
            *(np.concatenate([getattr(p, key) for p in parts]) for key in ("codes", "zeros", "scales")),
            parts[0].group,
        )
        kind, shape, data = found[name]
        flat = {name: (kind, [len(whole.codes), *shape[2:]], data)} | {
            name + end: found[name + end] for end in ("/scale", "/zero_point") if name + end in found
        }
        check_import(name, whole, flat)


@pytest.mark.parametrize(
    "name",
    [n for n in IMPORTED if make_variants.VARIANTS[n].base == "kjv-tiny" and "8bit" not in n and "bytes" not in n],
)
def test_int4_keeps_four_bit_codes(made, name, tmp_path):
    """Asked for the kind that the checkpoint has, nothing is quantized a second time."""
    variant = made(name)
    export(variant.path, tmp_path / "out", "--weight-format", "int4")
    found = constants(tmp_path / "out" / "openvino_model.xml")
    four = {weight: truth for weight, truth in variant.truth.items() if truth.bits == 4}
    assert four
    for weight, truth in four.items():
        check_import(weight, truth, found)


@pytest.mark.parametrize("name", [n for n, row in make_variants.VARIANTS.items() if not row.imported])
def test_floats_equal_the_dequantized_checkpoint(made, name, tmp_path):
    """Byte for byte, without a weight format and as float32."""
    variant = made(name)
    export(variant.path, tmp_path / "quantized")
    export(variant.dequantized(None), tmp_path / "plain")
    assert same_files(tmp_path / "quantized", tmp_path / "plain")
    export(variant.path, tmp_path / "quantized32", "--weight-format", "fp32")
    export(variant.dequantized("F32"), tmp_path / "plain32", "--weight-format", "fp32")
    assert same_files(tmp_path / "quantized32", tmp_path / "plain32")


@pytest.mark.parametrize(("name", "options"), [(n, o) for n, options in FORMATS.items() for o in options])
def test_other_formats_equal_those_of_the_dequantized_checkpoint(made, name, options, tmp_path):
    variant = made(name)
    printed = export(variant.path, tmp_path / "quantized", "--weight-format", *options.split()).stdout
    export(variant.dequantized("F32"), tmp_path / "plain", "--weight-format", *options.split())
    if "auto-round-layers" in name and "int4" in options:
        return  # keeps its four-bit layers: the other test
    assert same_files(tmp_path / "quantized", tmp_path / "plain")
    assert "are stored anew as" in printed


def same_files(left: Path, right: Path) -> bool:
    """The models but for what the source was called."""

    def model(directory: Path, end: str) -> bytes:
        return re.sub(rb'<source value="[^"]*" ?/>', b"", (directory / f"openvino_model.{end}").read_bytes())

    return all(model(left, end) == model(right, end) for end in ("xml", "bin"))


@pytest.mark.parametrize("name", make_variants.REFUSALS)
def test_refused_by_name(name, tmp_path):
    row = make_variants.REFUSALS[name]
    make_variants.make(KJV, row.change, tmp_path / "checkpoint", row.files, row.drops_weights)
    result = run_deltavino(
        "export", "--model", tmp_path / "checkpoint", tmp_path / "out", "--task", "text-generation-with-past"
    )
    assert result.returncode == row.exit_code, result.stderr
    assert row.message in result.stderr
    assert not (tmp_path / "out").exists()


def test_rounded_scales_are_reported(made, tmp_path):
    printed = export(made("compressed-wide-scales").path, tmp_path / "out").stdout
    assert "are not exact in float16 and were rounded" in printed
    assert (
        values_of(
            made("compressed-wide-scales").tensors["model.language_model.layers.0.mlp.up_proj.weight_scale"]
        ).dtype
        == np.float32
    )


def test_vision_and_text_exports_read_the_same(made, tmp_path):
    """The vision-language directory of a quantized checkpoint keeps the codes, too."""
    result = run_deltavino("export", "--model", made("gptq-asym").path, tmp_path / "vlm")
    assert result.returncode == 0, result.stderr
    found = constants(tmp_path / "vlm" / "openvino_language_model.xml")
    for weight, truth in made("gptq-asym").truth.items():
        check_import(weight, truth, found)


@pytest.mark.parametrize(("name", "bytes_of_codes"), [("gptq", 0.5), ("fp8", 1.0), ("compressed-8bit", 1.0)])
def test_inspect_counts_weights_not_words(made, name, bytes_of_codes):
    """The parameters are those of the plain checkpoint, and decoding reads the codes."""
    facts = json.loads(run_deltavino("inspect", made(name).path, "--json").stdout)
    plain = json.loads(run_deltavino("inspect", KJV, "--json").stdout)
    assert facts["weights"]["parameters"] == plain["weights"]["parameters"]
    quantized = sum(values.size for values in made(name).values().values())
    saved = plain["weights"]["bytes_per_token"] - facts["weights"]["bytes_per_token"]
    assert saved == quantized * (2 - bytes_of_codes)
    kinds = [note for note in facts["notes"] if note.startswith("quantized in the checkpoint: ")]
    assert sum(int(note.split(": ")[1].split()[0]) for note in kinds) == len(made(name).truth)
