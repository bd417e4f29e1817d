#!/usr/bin/env python3
"""Writes the inputs that fuzzing starts from, made of the data and the helpers of the other tests.

    seeds.py OUT     # OUT/TARGET/NAME; fuzz/harness.hpp says how one input holds several files
"""

from __future__ import annotations

import contextlib
import io
import json
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops
from PIL import Image

TESTS = Path(__file__).resolve().parent.parent
KJV = TESTS.parent / "examples" / "kjv-tiny"
sys.path += [str(TESTS / "sources"), str(TESTS / "chat")]
import make_variants  # noqa: E402
import templates  # noqa: E402
import writers  # noqa: E402
from expressions import template_case  # noqa: E402
from stored import Stored, Tensors, store, write  # noqa: E402

Seeds = dict[str, bytes]


def packed(**files: bytes | str) -> bytes:
    """One input of several files; '__' in a name stands for a dot."""
    parts = []
    for name, content in files.items():
        parts.append(b"@@ " + name.replace("__", ".").encode() + b"\n")
        parts.append((content.encode() if isinstance(content, str) else content) + b"\n")
    return b"".join(parts)[:-1]


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def json_seeds() -> Seeds:
    texts = ['{"a": 1, "b": [2, 3.5e300], "c": {"d": null}}', "[" * 63 + "]" * 63,
             '{"weight_map": {"a": "b", "c": [1]}}',
             '{"a": -1, "b": 18446744073709551615, "c": 18446744073709551616}', '"\\ud83d\\ude00\\u0000"', "\ufeff{}",
             '{"a": true, "b": "text", "c": [0, 1, 2147483647]}', "1e999", "123"]  # fmt: skip
    return {f"text{i}": text.encode() for i, text in enumerate(texts)}


def safetensors_seeds() -> Seeds:
    two = {"a": entry("F32", [2, 3], 0, 24), "b.weight": entry("BF16", [4], 24, 32), "__metadata__": {"format": "pt"}}
    return {
        "two": safetensors(two, bytes(32)),
        "empty": safetensors({}),
        "scalar": safetensors({"a": entry("F64", [], 0, 8)}, bytes(8)),
        "nothing": safetensors({"a": entry("I64", [0, 9223372036854775808], 0, 0)}),
        "half-bytes": safetensors({"a": entry("F4", [4, 2], 0, 4), "b": entry("F8_E4M3", [1], 4, 5)}, bytes(5)),
    }


def shard_seeds() -> Seeds:
    a = safetensors({"model.a": entry("F32", [1], 0, 4)}, bytes(4))
    b = safetensors({"model.language_model.b": entry("F16", [1], 0, 2)}, bytes(2))
    index = {"metadata": {"total_size": 6},
             "weight_map": {"model.a": "x.safetensors", "model.b": "layers-0.safetensors"}}  # fmt: skip
    wrapped = safetensors({"base_model.model._orig_mod.model.a": entry("U8", [1], 0, 1)}, b"1")
    return {
        "index": packed(model__safetensors__index__json=json.dumps(index), x__safetensors=a,
                        **{"layers-0__safetensors": b}),
        "single": packed(model__safetensors=a, other__safetensors=b),
        "numbered": packed(**{"model-00001-of-00002__safetensors": a, "model-00002-of-00002__safetensors": b}),
        "lost": packed(**{"model-00001-of-00003__safetensors": a}),
        "escape": packed(model__safetensors__index__json='{"weight_map": {"a": "../x.safetensors"}}'),
        "wrapped": packed(model__safetensors=wrapped),
        "aria": packed(model__safetensors=a, model__safetensors__aria2=b""),
    }  # fmt: skip


def config_files() -> list[Path]:
    return sorted((TESTS / "data" / "configs").glob("*.json")) + sorted((TESTS / "golden").glob("*/config.json"))


def config_seeds() -> Seeds:
    return {f"{path.parent.name}-{path.name}": path.read_bytes() for path in config_files()}


def quantization_seeds() -> Seeds:
    seeds = {}
    for name, variant in (make_variants.VARIANTS | make_variants.REFUSALS).items():
        config: dict = {"text_config": {}}
        with contextlib.suppress(Exception):  # a change that needs tensors of another base
            variant.change(tensors_of(micro_shapes(32), 32), config)
        seeds[name] = packed(config__json=json.dumps(config), **variant.files)
    return seeds


def micro_config(width: int) -> dict:
    return {
        "model_type": "qwen3_5_text", "vocab_size": 16, "hidden_size": width, "intermediate_size": width,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "linear_num_key_heads": 1, "linear_num_value_heads": 2, "linear_key_head_dim": 4, "linear_value_head_dim": 4,
        "linear_conv_kernel_dim": 4, "max_position_embeddings": 64, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.5},
        "layer_types": ["linear_attention", "full_attention"],
    }  # fmt: skip


def micro_shapes(width: int) -> dict[str, list[int]]:
    layers = {"input_layernorm.weight": [width], "post_attention_layernorm.weight": [width]}
    layers |= {f"mlp.{name}_proj.weight": [width, width] for name in ("gate", "up", "down")}
    linear = {"A_log": [2], "dt_bias": [2], "conv1d.weight": [16, 1, 4], "in_proj_a.weight": [2, width],
              "in_proj_b.weight": [2, width], "in_proj_qkv.weight": [16, width], "in_proj_z.weight": [8, width],
              "norm.weight": [4], "out_proj.weight": [width, 8]}  # fmt: skip
    full = {"q_proj.weight": [32, width], "k_proj.weight": [8, width], "v_proj.weight": [8, width],
            "o_proj.weight": [width, 16], "q_norm.weight": [8], "k_norm.weight": [8]}  # fmt: skip
    shapes = {"model.embed_tokens.weight": [16, width], "model.norm.weight": [width]}
    for i, (kind, parts) in enumerate((("linear_attn", linear), ("self_attn", full))):
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layers.items()}
        shapes |= {f"model.layers.{i}.{kind}.{name}": shape for name, shape in parts.items()}
    return shapes


def tensors_of(shapes: dict[str, list[int]], seed: int) -> Tensors:
    random = np.random.default_rng(seed)
    return {name: store("BF16", random.standard_normal(shape).astype(np.float32)) for name, shape in shapes.items()}


def checkpoint_seeds(scratch: Path) -> Seeds:
    changes = {
        "plain": lambda tensors, config: None,
        "fp8": writers.float8((8, 8)),
        "gptq": writers.gptq(group=8, skip=["*in_proj_a*", "*in_proj_b*"]),
        "awq": writers.awq(group=8),
        "compressed": writers.compressed(group=8, sym=False),
        "bytes": writers.compressed(bits=8, group=None, as_bytes=True),
        "auto-round": writers.auto_round("auto_round:auto_gptq", group=8),
    }
    seeds = {}
    for name, change in changes.items():
        tensors, config = tensors_of(micro_shapes(16), 16), micro_config(16)
        change(tensors, config)
        write(scratch, tensors)
        seeds[name] = packed(config__json=json.dumps(config), model__safetensors=scratch.read_bytes())
    return seeds


def micro_tokenizer(**changes: object) -> dict:
    words = list("abc") + ["Ġ", "ab", "Ġa"]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 6, "content": "<|im_end|>", "special": True, "lstrip": False, "rstrip": False,
                          "single_word": False, "normalized": False}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+"}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "vocab": {w: i for i, w in enumerate(words)},
                  "merges": ["a b", ["Ġ", "a"]]},
    }  # fmt: skip
    return tokenizer | changes


def tokenizer_seeds() -> Seeds:
    config = '{"eos_token": "<|im_end|>", "added_tokens_decoder": {"6": {"content": "<|im_end|>", "special": true}}}'
    template = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "e", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"e": {"id": "e", "ids": [6], "tokens": ["<|im_end|>"]}}}  # fmt: skip
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_id": 6, "pad_token": "<|im_end|>"}
    texts = {
        "plain": micro_tokenizer(),
        "template": micro_tokenizer(post_processor=template, padding=padding),
        "bare": micro_tokenizer(normalizer=None, pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}),
        "other": micro_tokenizer(model={"type": "Unigram", "vocab": [["a", -1.5]]}),
    }
    seeds = {}
    for name, value in texts.items():
        seeds[name] = packed(tokenizer__json=json.dumps(value), tokenizer_config__json=config)
    seeds["alone"] = json.dumps(texts["plain"], ensure_ascii=False).encode()
    seeds["old"] = packed(
        tokenizer__json=json.dumps(texts["plain"]), tokenizer_config__json="{}", added_tokens__json='{"<x>": 7}',
        special_tokens_map__json='{"eos_token": "<|im_end|>", "additional_special_tokens": ["<y>"]}',
        config__json='{"eos_token_id": 6}',
        generation_config__json='{"eos_token_id": [6, 1], "pad_token_id": 0}')  # fmt: skip
    return seeds


def tokenizer_config_seeds() -> Seeds:
    listed = json.dumps({"chat_template": [{"name": "default", "template": "{{ messages[0].content|d }}"}]})
    return {
        "kjv": (KJV / "tokenizer_config.json").read_bytes(),
        "jinja": packed(tokenizer_config__json='{"bos_token": {"content": "<s>"}}',
                        chat_template__jinja="{{ x is undefined }}"),
        "list": packed(tokenizer_config__json=listed, chat_template__json='{"chat_template": "{{ 1 }}"}'),
        "old": packed(tokenizer_config__json='{"extra_special_tokens": {"x_token": "<i>"}, "model_max_length": 1e30}',
                      added_tokens__json='{"a": 3}', special_tokens_map__json='{"pad_token": {"content": "a"}}'),
    }  # fmt: skip


def chat_template_seeds() -> Seeds:
    seeds = {f"case{i}": template_case(i)["template"].encode() for i in range(60)}
    for name, value in vars(templates).items():
        if isinstance(value, str) and "{%" in value:
            seeds[name] = value.encode()
    return seeds | {"kjv": (KJV / "chat_template.jinja").read_bytes()}


def picture_seeds() -> Seeds:
    seeds = {}
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK"):
        picture = Image.effect_noise((9, 6), 80).convert("L" if mode == "I;16" else mode)
        picture = picture.convert("I").convert("I;16") if mode == "I;16" else picture
        kinds = {"png": {}} if mode != "CMYK" else {}
        kinds |= {"jpeg": {}, "progressive": {"progressive": True}} if mode in ("RGB", "L", "CMYK") else {}
        for kind, options in kinds.items():
            out = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = 6
            picture.save(out, "PNG" if kind == "png" else "JPEG", exif=exif, **options)
            seeds[f"{mode.replace(';', '')}-{kind}"] = out.getvalue()
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    return seeds | {"webp": b"RIFF\x10\0\0\0WEBPVP8 ", "tiff": tiff}


def picture_settings_seeds() -> Seeds:
    one = (KJV / "preprocessor_config.json").read_text()
    video = (KJV / "video_preprocessor_config.json").read_text()
    usual = '{"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "min_pixels": 1, "max_pixels": 4096}'
    return {
        "kjv": packed(preprocessor_config__json=one, video_preprocessor_config__json=video),
        "both": packed(processor_config__json=f'{{"image_processor": {one}, "video_processor": {video}}}',
                       config__json='{"vision_config": {"num_position_embeddings": 4}, "max_position_embeddings": 9}'),
        "usual": packed(preprocessor_config__json=usual),
        "size": packed(preprocessor_config__json='{"size": {"shortest_edge": 3136, "longest_edge": 12845056}}'),
    }  # fmt: skip


def generation_config_seeds() -> Seeds:
    everything = {
        "eos_token_id": [1, 2], "pad_token_id": 0, "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8,
        "min_p": 0.1, "repetition_penalty": 1.1, "no_repeat_ngram_size": 2, "bad_words_ids": [[1, 2], [3]],
        "sequence_bias": [[[1, 2], -1.5]], "stop_strings": ["a", "b"], "suppress_tokens": [5], "max_length": 20,
        "min_length": 1, "presence_penalty": 0.5, "num_beams": 4, "watermarking_config": {"a": 1},
    }  # fmt: skip
    return {
        "kjv": packed(generation_config__json=(KJV / "generation_config.json").read_text(),
                      tokenizer_config__json='{"eos_token": "<|im_end|>"}'),
        "all": json.dumps(everything).encode(),
    }  # fmt: skip


def hub_seeds() -> Seeds:
    sha1, sha256 = "0123456789abcdef0123456789abcdef01234567", "ab" * 32
    tree = [{"type": "file", "path": "config.json", "size": 5, "oid": sha1}, {"type": "directory", "path": "x"},
            {"type": "file", "path": "model.safetensors", "size": 9, "oid": sha1,
             "lfs": {"oid": sha256, "size": 9, "pointerSize": 130}}]  # fmt: skip
    kept = {"format_version": 1, "files": {"config.json": {"size": 5, "blob_id": sha1},
            "a.safetensors": {"size": 1, "lfs_size": 9, "blob_id": sha1, "lfs_sha256": sha256}}}  # fmt: skip
    return {
        "tree": b"t" + json.dumps(tree).encode(),
        "revision": b"r" + json.dumps({"sha": sha1, "id": "owner/name"}).encode(),
        "cache": b"c" + json.dumps(kept).encode(),
        "needed": b"n" + json.dumps({"format_version": 1, "files": {"config.json": 5}}).encode(),
        "index": b"i" + json.dumps({"weight_map": {"x": "a.safetensors", "y": "model.safetensors"}}).encode(),
        "headers": b"h<https://h/api?cursor=a>; rel=\"next\", <https://h>; rel=\"last\"\n120\nlimit;r=0;t=55",
        "date": b"h\nWed, 21 Oct 2026 07:28:00 GMT\n",
        "name": b"aowner/name@main",
        "path": b"aadditional_chat_templates/x.jinja",
    }  # fmt: skip


def micro_model(embeddings: bool) -> tuple[str, bytes]:
    """A graph with the inputs, states and output that a language model of this program has."""
    ids = ops.parameter([-1, -1, 4] if embeddings else [-1, -1], np.float32 if embeddings else np.int64)
    mask, beam = ops.parameter([-1, -1], np.int64), ops.parameter([-1], np.int32)
    positions = ops.parameter([4, -1, -1], np.int64)
    inputs = {"inputs_embeds" if embeddings else "input_ids": ids, "attention_mask": mask, "beam_idx": beam}
    inputs |= {"position_ids": positions} if embeddings else {}
    for name, node in inputs.items():
        node.output(0).set_names({name})
    codes = ops.constant(np.arange(32, dtype=np.uint8).reshape(8, 4))
    codes.set_friendly_name("model.layers.0.mlp.up_proj.weight")
    zeros, scales = ops.constant(np.ones((8, 1), np.uint8)), ops.constant(np.ones((8, 1), np.float16))
    weight = ops.convert(
        ops.multiply(ops.subtract(ops.convert(codes, "f16"), ops.convert(zeros, "f16")), scales), "f32")  # fmt: skip
    hidden = ids if embeddings else ops.gather(weight, ops.convert(ids, "i32"), ops.constant(0))
    batch = ops.gather(ops.shape_of(ids, "i32"), ops.constant([0]), ops.constant(0))
    begin = ops.broadcast(ops.constant(np.float32(0)), ops.concat([batch, ops.constant(np.array([4, 4], np.int32))], 0))
    name = "cache_params.past.conv.0cache_params.present.conv.0"
    state = ops.read_value(begin, name, ov.Type.f32, ov.PartialShape([-1, 4, 4]))
    gathered = ops.gather(state, beam, ops.constant(0))
    logits = ops.matmul(ops.add(hidden, ops.reduce_sum(gathered, ops.constant([1]), True)), weight, False, True)
    logits.output(0).set_names({"logits"})
    model = ov.Model([ops.result(logits)], [ops.assign(gathered, name)], list(inputs.values()), "micro")
    return serialized(model)


def serialized(model: ov.Model) -> tuple[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "model.xml"
        ov.serialize(model, xml)
        return xml.read_text(), xml.with_suffix(".bin").read_bytes()


def directory_seeds() -> Seeds:
    text, _ = micro_model(False)
    language, _ = micro_model(True)
    ids = ops.parameter([-1, -1], np.int64)
    embedding = serialized(ov.Model([ops.convert(ids, "f32")], [ids], "embedding"))[0]
    config = '{"dtype": "int4", "quantization_config": {"bits": 4}, "deltavino": {"version": "1", "recipe": ["a"]}}'
    return {
        "text": packed(openvino_model__xml=text, openvino_config__json=config),
        "vlm": packed(openvino_language_model__xml=language, openvino_text_embeddings_model__xml=embedding,
                      openvino_language_model__bin=bytes(200), openvino_text_embeddings_model__bin=b"0"),
    }  # fmt: skip


def main() -> int:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    scratch = out / "scratch.safetensors"
    targets = {
        "json": json_seeds(), "safetensors": safetensors_seeds(), "shards": shard_seeds(), "config": config_seeds(),
        "quantization": quantization_seeds(), "checkpoint": checkpoint_seeds(scratch), "tokenizer": tokenizer_seeds(),
        "tokenizer_config": tokenizer_config_seeds(), "chat_template": chat_template_seeds(),
        "picture": picture_seeds(), "picture_settings": picture_settings_seeds(),
        "generation_config": generation_config_seeds(), "hub": hub_seeds(), "directory": directory_seeds(),
    }  # fmt: skip
    scratch.unlink()
    for target, seeds in targets.items():
        (out / target).mkdir(exist_ok=True)
        for name, content in seeds.items():
            (out / target / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
