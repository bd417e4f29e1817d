"""`export --ovms`: graph.pbtxt as protobuf's own parser reads it with the published messages."""

import json
import re
from pathlib import Path

import pytest
from conftest import KJV, run_deltavino
from exported import joined_with_mtp
from google.protobuf import text_format
from ovms_messages import HANDLER_EXTENSION, MESSAGES, POOL, message

USAGE = 2
TEXT = ("--task", "text-generation-with-past")
# An option, a value of its own, the field, and what it holds then.
OPTIONS = [
    ("target_device", "GPU.1", "device", "GPU.1"), ("max_num_seqs", "7", "max_num_seqs", 7),
    ("max_num_batched_tokens", "512", "max_num_batched_tokens", 512), ("cache_size", "3", "cache_size", 3),
    ("cache_interval_multiplier", "4", "cache_interval_multiplier", 4), ("dynamic_split_fuse", "false", "dynamic_split_fuse", False),
    ("enable_prefix_caching", "true", "enable_prefix_caching", True), ("max_tokens_limit", "100", "max_tokens_limit", 100),
    ("tool_parser", "hermes3", "tool_parser", "hermes3"), ("reasoning_parser", "none", "reasoning_parser", "none"),
    ("enable_tool_guided_generation", "true", "enable_tool_guided_generation", True), ("draft_models_path", "dra\"ft\\ \té", "draft_models_path", "dra\"ft\\ \té"),
]  # fmt: skip
PLUGIN = [("kv_cache_precision", "u8", {"KV_CACHE_PRECISION": "u8"}), ("max_prompt_len", "2048", {"MAX_PROMPT_LEN": 2048}),
          ("model_distribution_policy", "PIPELINE_PARALLEL", {"MODEL_DISTRIBUTION_POLICY": "PIPELINE_PARALLEL"}),
          ("plugin_config", '{"A": "it\'s \\"b\\"", "N": 1}', {"A": 'it\'s "b"', "N": 1})]  # fmt: skip


def read(directory: Path):
    """The graph of a directory and the options of its one node."""
    graph = text_format.Parse((directory / "graph.pbtxt").read_text(), message("CalculatorGraphConfig")(), descriptor_pool=POOL)
    assert len(graph.node) == 1 and len(graph.node[0].node_options) == 1
    packed = graph.node[0].node_options[0]
    name = packed.type_url.removeprefix("type.googleapis.com/mediapipe.")
    options = message(name)()
    assert packed.Unpack(options) and options.IsInitialized()
    return graph, options


def fields(options) -> dict:
    return {field.name: value for field, value in options.ListFields()}


def written(out: Path, *words: object, checkpoint: Path = KJV, task: tuple = TEXT) -> dict:
    """The options in the file that an export writes."""
    result = run_deltavino("export", "-m", checkpoint, out, *task, "--ovms", *words)
    assert result.returncode == 0, result.stderr
    return fields(read(out)[1])


@pytest.fixture(scope="module")
def drafting(tmp_path_factory) -> Path:
    return joined_with_mtp(tmp_path_factory.mktemp("ovms") / "checkpoint")


def test_a_graph_that_loops(kjv_text, tmp_path):
    found = written(tmp_path / "out")
    graph, options = read(tmp_path / "out")
    node = graph.node[0]
    assert (node.name, node.calculator) == ("LLMExecutor", "HttpLLMCalculator")
    assert list(graph.input_stream) == ["HTTP_REQUEST_PAYLOAD:input"] and list(graph.output_stream) == ["HTTP_RESPONSE_PAYLOAD:output"]
    assert list(node.input_stream) == ["LOOPBACK:loopback", "HTTP_REQUEST_PAYLOAD:input"]
    assert list(node.output_stream) == ["LOOPBACK:loopback", "HTTP_RESPONSE_PAYLOAD:output"]
    assert list(node.input_side_packet) == ["LLM_NODE_RESOURCES:llm"]
    assert [(info.tag_index, info.back_edge) for info in node.input_stream_info] == [("LOOPBACK:0", True)]
    handler = node.input_stream_handler
    assert handler.input_stream_handler == "SyncSetInputStreamHandler"
    extension = POOL.FindExtensionByName("mediapipe.SyncSetInputStreamHandlerOptions.ext")
    assert extension.number == HANDLER_EXTENSION
    assert [list(sync.tag_index) for sync in handler.options.Extensions[extension].sync_set] == [["LOOPBACK:0"]]
    assert type(options).DESCRIPTOR.name == "LLMCalculatorOptions"
    template = (tmp_path / "out" / "chat_template.jinja").read_text()
    parsers = {"tool_parser": "hermes3"} if "<tool_call>" in template else {}
    parsers |= {"reasoning_parser": "qwen3"} if "</think>" in template else {}
    assert found == {"models_path": "./", "max_num_seqs": 256, "cache_size": 0, "enable_prefix_caching": False} | parsers
    # One file more, and all others as they were.
    here, there = ({path.name for path in folder.iterdir()} for folder in (tmp_path / "out", kjv_text))
    assert here - there == {"graph.pbtxt"} and there < here
    for name in there:
        assert (tmp_path / "out" / name).read_bytes() == (kjv_text / name).read_bytes(), name
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert isinstance(config["max_position_embeddings"], int)


def test_every_option_reaches_its_field(tmp_path):
    words = [word for option, value, *_ in [*OPTIONS, *PLUGIN] for word in (f"--{option}", value)]
    found = written(tmp_path / "out", *words, "--pipeline_type", "LM_CB")
    plugin = {key: value for *_, entries in PLUGIN for key, value in entries.items()}
    assert json.loads(found.pop("plugin_config")) == plugin
    kinds = MESSAGES["LLMCalculatorOptions"]
    expected = {field: value for _, _, field, value in OPTIONS} | {"models_path": "./"}
    assert found.pop("pipeline_type") == 2 and kinds["pipeline_type"][2] == "PIPELINE"
    assert found == expected


def test_every_option_of_the_help_is_tried():
    text = run_deltavino("export", "--help").stdout
    part = text[text.index("OpenVINO Model Server (") :]
    shown = set(re.findall(r"^ +--(\w+) ", part.split("\n\n")[0], re.MULTILINE))
    tried = {row[0] for row in [*OPTIONS, *PLUGIN]} | {"pipeline_type"}
    of_other_tasks = {"pooling", "normalize", "truncate", "max_allowed_chunks", "num_streams"}
    assert shown == tried | of_other_tasks


@pytest.mark.parametrize(("template", "parsers"), [
    ("{{ '<tool_call>\n<function=' }}{{ '<parameter=a>\n</parameter>' }}{{ '<think>' }}", ("qwen3coder", "qwen3")),
    ("{{ '<tool_call>\n{\"name\": ' }}", ("hermes3", None)),
    ("{{ '</think>' }}", (None, "qwen3")),
    ("{{ 'hello' }}", (None, None)),
])  # fmt: skip
def test_parsers_are_those_of_the_chat_template(template, parsers, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for path in KJV.iterdir():
        if path.is_file() and path.name != "chat_template.jinja":
            (checkpoint / path.name).symlink_to(path)
    (checkpoint / "chat_template.jinja").write_text(template)
    found = written(tmp_path / "out", checkpoint=checkpoint)
    assert (found.get("tool_parser"), found.get("reasoning_parser")) == parsers


def test_drafts_of_its_own(drafting, tmp_path):
    found = written(tmp_path / "out", "--draft_models_path", ".", checkpoint=drafting, task=())
    assert (found["draft_models_path"], found["enable_prefix_caching"]) == (".", False)
    assert {"openvino_mtp_model.xml", "openvino_text_embeddings_model.xml", "openvino_vision_embeddings_model.bin"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert isinstance(json.loads((tmp_path / "out" / "config.json").read_text())["max_position_embeddings"], int)


@pytest.mark.parametrize(("words", "said"), [
    (("--max_num_seqs", "many"), "max_num_seqs is 'many', expected a whole number"),
    (("--max_tokens_limit", "4294967296"), "max_tokens_limit is '4294967296', expected a whole number up to 4294967295"),
    (("--enable_prefix_caching", "yes"), "expected one of true, false"),
    (("--plugin_config", "[1]"), "plugin_config is '[1]', expected a JSON object"),
    (("--plugin_config", '{"A": ' + 60000 * "[" + 60000 * "]" + "}"), "cannot read 'plugin_config': JSON nested deeper than 64 levels"),
    (("--plugin_config", '{"A": '), "cannot read 'plugin_config': "),
    (("--plugin_config", '{"KV_CACHE_PRECISION": "u8"}', "--kv_cache_precision", "u8"), "kv_cache_precision stands in plugin_config, too"),
    (("--pipeline_type", "VLM_CB"), "pipeline_type VLM_CB is not for text-only exports"),
    (("--pooling", "LAST"), "pooling is not for a model that generates text"),
    (("--draft_models_path", ".", "--enable_prefix_caching", "true"), "vision-language exports only"),
    (("--draft_models_path", ".", "--enable_prefix_caching", "true"), "refuses with drafts of '.'"),
    (("--tool_parser", ""), "tool_parser is '', expected a text"),
    (("--tool_parser", "none", "--enable_tool_guided_generation", "true"), "enable_tool_guided_generation needs a tool_parser"),
])  # fmt: skip
def test_wrong_options(words, said, tmp_path):
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", *TEXT, "--ovms", *words)
    assert result.returncode == USAGE and said in result.stderr, result.stderr
    assert not (tmp_path / "out").exists()


def test_options_of_a_vision_language_export(tmp_path):
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", "--ovms", "--pipeline_type", "LM", "--draft_models_path", ".")
    assert result.returncode == USAGE and "pipeline_type LM is not for vision-language exports" in result.stderr
    assert "there is no multi-token-prediction model" in result.stderr


def test_an_option_needs_the_file(tmp_path):
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", *TEXT, "--cache_size", "1")
    assert result.returncode == USAGE and "--cache_size is for OpenVINO Model Server: give --ovms, too" in result.stderr


def test_a_dry_run_counts_the_file(tmp_path):
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", *TEXT, "--ovms", "--dry-run")
    assert result.returncode == 0 and "graph.pbtxt" in result.stdout and not (tmp_path / "out").exists()


def test_the_parser_is_strict():
    for text in ("node { no_such: 1 }", 'node { name: 3 }', "node { node_options { [type.googleapis.com/mediapipe.LLMCalculatorOptions] { cache_size: true } } }"):
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text, message("CalculatorGraphConfig")(), descriptor_pool=POOL)
