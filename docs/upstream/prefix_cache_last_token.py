#!/usr/bin/env python3
"""Does a prompt that is asked twice get the same answer with prefix caching? Needs openvino_genai only.

    prefix_cache_last_token.py HYBRID_TEXT_MODEL_DIR
"""

import sys

import numpy as np
import openvino as ov
import openvino_genai as genai

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


def main(directory: str) -> None:
    prompt = ov.Tensor(np.arange(300, 341)[None])
    for caching in (False, True):
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = 64
        scheduler.enable_prefix_caching = caching
        pipeline = genai.ContinuousBatchingPipeline(directory, scheduler, "CPU", FLOAT32)
        print("prefix caching", "on" if caching else "off")
        for new_tokens in (1, 4, 4):
            config = genai.GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True, do_sample=False, logprobs=1)
            result = pipeline.generate([prompt], [config])[0]
            print(f"  {list(result.m_generation_ids[0])} log-probability {result.m_scores[0]:.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
