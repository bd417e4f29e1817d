// The mixture-of-experts layer: k of E small feed-forward layers per token, and one that all tokens pass.
//
//   p = softmax(W_r h)
//   T = the k experts of largest p;  w_e = p_e for e in T, divided by their sum when norm_topk_prob says so
//   y = sum over e in T of w_e swiglu_e(h) + sigmoid(w_s h) * swiglu_s(h)
//
// Source: transformers `Qwen3_5MoeSparseMoeBlock`, `Qwen3NextSparseMoeBlock`. h [T, C].
#pragma once

#include "checkpoint/config.hpp"
#include "reference/layers.hpp"

namespace deltavino::reference {

Matrix mixture_of_experts(ConstMatrixRef x, const Context& context, const std::string& module,
                          const checkpoint::TextConfig& config);

}  // namespace deltavino::reference
