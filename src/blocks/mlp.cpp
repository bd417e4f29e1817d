#include "blocks/mlp.hpp"

namespace deltavino::blocks {

using namespace graph;

Value swiglu(const Value& x, const Scope& scope) {
    const Value gated = multiply(swish(scope.linear(x, "gate_proj")), scope.linear(x, "up_proj"));
    return scope.linear(gated, "down_proj");
}

}  // namespace deltavino::blocks
