"""The table of golden cases: one published-style config.json per tiny checkpoint.

Only data lives here. Every case stresses something a real checkpoint has and a lazy exporter
would get wrong; `why` says what. Configs carry the keys of the published files, so a reader of
config.json is tested on them as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

IMAGE_TOKEN, VIDEO_TOKEN = 120, 121
VISION_START, VISION_END = 122, 123
FIRST_SPECIAL = 120  # text ids are drawn below this one

Config = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A checkpoint to make and the reference run to record on it."""

    name: str
    why: str
    config: Config
    stored: str = "float32"  # dtype of the tensors in the checkpoint
    seed: int = 0
    embed_std: float = 0.3  # far below 1, many layers amplify the rounding of float32
    keep_f32: tuple[str, ...] = ()  # name endings stored in float32 whatever `stored` says
    shards: int = 1
    mtp: bool = False  # add multi-token-prediction tensors, which an exporter must ignore
    split_experts: bool = False  # one tensor per expert and projection instead of fused ones
    twin_experts: tuple[int, ...] = ()  # in each layer these share the first one's weights
    tokens: int = 37
    tail: int = 0  # record only the last `tail` positions, one row, no padding and no beams

    @property
    def text(self) -> Config:
        """The part of the config that describes the language model."""
        return self.config.get("text_config", self.config)


def layer_types(layers: int, interval: int) -> list[str]:
    """Every `interval`-th layer attends to everything, the others are linear."""
    return [
        "full_attention" if (i + 1) % interval == 0 else "linear_attention" for i in range(layers)
    ]


def text_config(**changes: Any) -> Config:
    """A Qwen3.5 text config with the published keys at toy sizes, then `changes`."""
    config: Config = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_output_gate": True,
        "dtype": "bfloat16",
        "eos_token_id": 0,
        "full_attention_interval": 4,
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 80,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_value_head_dim": 16,
        "mamba_ssm_dtype": "float32",
        "max_position_embeddings": 262144,
        "mlp_only_layers": [],
        "model_type": "qwen3_5_text",
        "mtp_num_hidden_layers": 0,
        "mtp_use_dedicated_embeddings": False,
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {
            "mrope_interleaved": True,
            "mrope_section": [2, 1, 1],
            "partial_rotary_factor": 0.25,
            "rope_theta": 10000000,
            "rope_type": "default",
        },
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": 128,
    }
    config.update(changes)
    layers, interval = config["num_hidden_layers"], config["full_attention_interval"]
    config.setdefault("layer_types", layer_types(layers, interval))
    return config


def causal_config(architecture: str, **changes: Any) -> Config:
    """The config of a text-only checkpoint."""
    return {"architectures": [architecture], **text_config(**changes)}


def vision_language_config(
    architecture: str, text: Config, vision: Config, model_type: str
) -> Config:
    """The config of a checkpoint with a vision tower, as published: two nested sections."""
    tower: Config = {
        "deepstack_visual_indexes": [],
        "depth": 2,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 32,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": 48,
        "model_type": model_type,
        "num_heads": 2,
        "num_position_embeddings": 36,
        "out_hidden_size": text["hidden_size"],
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        **vision,
    }
    return {
        "architectures": [architecture],
        "image_token_id": IMAGE_TOKEN,
        "model_type": model_type,
        "text_config": text,
        "tie_word_embeddings": text["tie_word_embeddings"],
        "video_token_id": VIDEO_TOKEN,
        "vision_config": tower,
        "vision_end_token_id": VISION_END,
        "vision_start_token_id": VISION_START,
    }


def dense_cases() -> list[Case]:
    """Checkpoints with a plain gated MLP."""
    causal = "Qwen3_5ForCausalLM"
    wide_rope = {
        "mrope_interleaved": True,
        "mrope_section": [3, 3, 2],
        "partial_rotary_factor": 0.25,
        "rope_theta": 1000000,
        "rope_type": "default",
    }
    no_layer_types = causal_config(
        causal,
        num_hidden_layers=6,
        full_attention_interval=2,
        linear_num_value_heads=6,
        dtype="float16",
        vocab_size=160,
    )
    del no_layer_types["layer_types"]
    return [
        Case(
            name="dense-v1",
            why="value heads = key heads, key and value head widths differ, tied head",
            config=causal_config(
                causal, tie_word_embeddings=True, linear_key_head_dim=32, dtype="float32"
            ),
            seed=101,
        ),
        Case(
            name="dense-v2",
            why="value heads = 2 key heads, wider value heads, head_dim 64, bf16, untied",
            config=causal_config(
                causal,
                num_hidden_layers=8,
                intermediate_size=64,
                linear_num_value_heads=4,
                linear_value_head_dim=32,
                head_dim=64,
                num_attention_heads=2,
                num_key_value_heads=1,
                vocab_size=96,
                rope_parameters=wide_rope,
            ),
            stored="bfloat16",
            embed_std=1.0,
            seed=102,
        ),
        Case(
            name="dense-v3",
            why="value heads = 3 key heads, f16, every second layer full, no layer_types key",
            config=no_layer_types,
            stored="float16",
            embed_std=1.0,
            seed=103,
        ),
        Case(
            name="dense-vl",
            why="vision-language names, three shards, mtp.* to ignore, a few f32 tensors",
            config=vision_language_config(
                "Qwen3_5ForConditionalGeneration",
                text_config(
                    tie_word_embeddings=True, linear_num_value_heads=4, mtp_num_hidden_layers=1
                ),
                {"patch_size": 8},
                "qwen3_5",
            ),
            stored="bfloat16",
            keep_f32=("linear_attn.A_log", "linear_attn.norm.weight"),
            shards=3,
            mtp=True,
            embed_std=0.5,
            seed=104,
        ),
        Case(
            name="dense-long",
            why="positions beyond 2048",
            config=causal_config(
                causal,
                hidden_size=32,
                intermediate_size=48,
                num_attention_heads=2,
                num_key_value_heads=1,
                tie_word_embeddings=True,
                vocab_size=96,
                dtype="float32",
            ),
            embed_std=0.4,
            tokens=2300,
            tail=40,
            seed=1105,
        ),
        *yarn_cases(),
        Case(
            name="dense-sigmoid",
            why="output_gate_type sigmoid: the activation of the gated norm in the delta block",
            config=causal_config(
                causal, output_gate_type="sigmoid", linear_num_value_heads=4, dtype="float32"
            ),
            embed_std=1.0,
            seed=106,
        ),
    ]


def yarn_cases() -> list[Case]:
    """Rotary positions scaled by YaRN, trained for 16 positions and run over 37."""
    yarn = {"factor": 4.0, "original_max_position_embeddings": 16}
    return [
        Case(
            name="dense-yarn",
            why="rope_scaling beside rope_parameters, key 'type', a ramp over several frequencies",
            config=causal_config(
                "Qwen3_5ForCausalLM",
                head_dim=64,
                num_attention_heads=2,
                num_key_value_heads=1,
                vocab_size=96,
                dtype="float32",
                rope_scaling={
                    "type": "yarn",
                    "rope_theta": 100.0,
                    "beta_fast": 4.0,
                    "beta_slow": 0.25,
                    "truncate": False,
                    "mscale": 1.0,
                    "mscale_all_dim": 0.5,
                    **yarn,
                },
            ),
            embed_std=1.0,
            seed=1107,
        ),
        Case(
            name="vl-yarn",
            why="YaRN with multimodal positions, the form of the long-context recipe of Qwen3.8",
            config=vision_language_config(
                "Qwen3_5ForConditionalGeneration",
                text_config(
                    tie_word_embeddings=True,
                    linear_num_value_heads=4,
                    hidden_size=32,
                    intermediate_size=48,
                    num_attention_heads=2,
                    num_key_value_heads=1,
                    rope_parameters={
                        "mrope_interleaved": True,
                        "mrope_section": [2, 1, 1],
                        "partial_rotary_factor": 0.25,
                        "rope_theta": 100.0,
                        "rope_type": "yarn",
                        **yarn,
                    },
                ),
                {"patch_size": 8, "depth": 1, "hidden_size": 16, "intermediate_size": 16},
                "qwen3_5",
            ),
            stored="bfloat16",
            embed_std=1.0,
            seed=108,
        ),
    ]


def moe_text_config(**changes: Any) -> Config:
    """A Qwen3.5 text config with routed experts: top 2 of 8 unless changed."""
    config = text_config(
        **{
            "hidden_size": 32,
            "model_type": "qwen3_5_moe_text",
            "moe_intermediate_size": 16,
            "num_attention_heads": 2,
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "num_key_value_heads": 1,
            "output_router_logits": False,
            "router_aux_loss_coef": 0.001,
            "shared_expert_intermediate_size": 24,
            **changes,
        }
    )
    del config["intermediate_size"]
    return config


def next_config(**changes: Any) -> Config:
    """A Qwen3-Next config in its published form: flat rope keys, no layer_types."""
    config = causal_config(
        "Qwen3NextForCausalLM",
        **{
            "bos_token_id": 0,
            "decoder_sparse_step": 1,
            "hidden_size": 32,
            "model_type": "qwen3_next",
            "moe_intermediate_size": 16,
            "norm_topk_prob": True,
            "num_attention_heads": 2,
            "num_experts": 8,
            "num_experts_per_tok": 2,
            "num_key_value_heads": 1,
            "output_router_logits": False,
            "partial_rotary_factor": 0.25,
            "rope_scaling": None,
            "rope_theta": 10000000,
            "router_aux_loss_coef": 0.001,
            "shared_expert_intermediate_size": 24,
            "torch_dtype": "bfloat16",
            "use_sliding_window": False,
            **changes,
        },
    )
    unpublished = (
        "attn_output_gate",
        "dtype",
        "layer_types",
        "mamba_ssm_dtype",
        "mtp_num_hidden_layers",
        "mtp_use_dedicated_embeddings",
        "rope_parameters",
    )
    return {key: value for key, value in config.items() if key not in unpublished}


def moe_cases() -> list[Case]:
    """Qwen3.5 checkpoints with routed and shared experts."""
    causal = {"architectures": ["Qwen3_5MoeForCausalLM"]}
    small = {**causal, **moe_text_config(dtype="float32")}
    return [
        Case(
            name="moe-e8k2",
            why="top 2 of 8 experts, fused expert tensors, f32",
            config=small,
            embed_std=1.0,
            seed=201,
        ),
        Case(
            name="moe-e16k4",
            why="top 4 of 16 experts, value heads = 2 key heads, bf16",
            config={
                **causal,
                **moe_text_config(
                    hidden_size=64,
                    num_experts=16,
                    num_experts_per_tok=4,
                    linear_num_value_heads=4,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                ),
            },
            stored="bfloat16",
            embed_std=1.0,
            seed=202,
        ),
        Case(
            name="moe-split",
            why="the weights and results of moe-e8k2, stored one tensor per expert and projection",
            config=small,
            split_experts=True,
            embed_std=1.0,
            seed=201,
        ),
        Case(
            name="moe-tie",
            why="two experts with equal weights and equal scores, often tied at the top-k boundary",
            config=small,
            twin_experts=(2, 5),
            embed_std=1.0,
            seed=4204,
        ),
        Case(
            name="moe-vl",
            why="vision-language names around experts, patches of 16, bf16 with a few f32 tensors",
            config=vision_language_config(
                "Qwen3_5MoeForConditionalGeneration",
                moe_text_config(linear_num_value_heads=4),
                {},
                "qwen3_5_moe",
            ),
            stored="bfloat16",
            keep_f32=("linear_attn.A_log", "linear_attn.norm.weight"),
            embed_std=1.0,
            seed=2205,
        ),
    ]


def next_cases() -> list[Case]:
    """Qwen3-Next checkpoints: fused, interleaved projections and one tensor per expert."""
    return [
        Case(
            name="next-e8k2",
            why="fused in_proj_qkvz and in_proj_ba, value heads = key heads, f32",
            config=next_config(torch_dtype="float32"),
            split_experts=True,
            embed_std=1.0,
            seed=301,
        ),
        Case(
            name="next-r2",
            why="value heads = 2 key heads, wider value heads, bf16, two shards, mtp.* to ignore",
            config=next_config(
                linear_num_value_heads=4, linear_value_head_dim=32, num_experts_per_tok=3
            ),
            stored="bfloat16",
            split_experts=True,
            shards=2,
            mtp=True,
            embed_std=1.0,
            seed=1302,
        ),
    ]


def all_cases() -> list[Case]:
    """Every case, in the order in which they are generated."""
    return dense_cases() + moe_cases() + next_cases()
