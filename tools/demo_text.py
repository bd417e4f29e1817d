#!/usr/bin/env python3
"""demo_text.py MODEL_DIR PROMPT: continues PROMPT with openvino_genai's LLMPipeline."""

import sys

import openvino_genai as genai


def main() -> None:
    directory, prompt = sys.argv[1], sys.argv[2]
    pipeline = genai.LLMPipeline(directory, "CPU", ATTENTION_BACKEND="SDPA")
    config = pipeline.get_generation_config()
    config.max_new_tokens = 40
    config.apply_chat_template = False
    print(prompt, end="", flush=True)
    pipeline.generate(prompt, config, lambda piece: print(piece, end="", flush=True) or False)
    print()


if __name__ == "__main__":
    main()
