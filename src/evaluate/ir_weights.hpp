// The weights of an exported directory as float32, under the names of the reference.
//
// A stored weight is a constant and the operations that widen it: Convert, Subtract of a zero point, Multiply by
// a scale, Reshape. deltavino, optimum-intel and nncf all write this chain, and all name the constant after the
// tensor of the checkpoint, each with a beginning of its own.
#pragma once

#include "reference/weights.hpp"

#include <openvino/core/model.hpp>
#include <openvino/op/constant.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace deltavino::evaluation {

using ConstantPtr = std::shared_ptr<ov::op::v0::Constant>;

// One weight as it is stored: value = (code - zero point) * scale, per group of neighbouring columns.
struct StoredWeight {
    ConstantPtr codes;
    std::vector<float> zero_points;  // one per group, row after row; empty: none
    std::vector<float> scales;       // likewise; empty: the codes are the values
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::string name = {};  // of the checkpoint's tensor

    std::uint64_t groups_per_row() const { return scales.empty() ? 1 : scales.size() / rows; }
    std::string text() const;  // "u4 in groups of 128", "bf16"
};

// 'self.model.model.language_model.layers.0.mlp.up_proj.weight' -> 'model.layers.0.mlp.up_proj.weight'; empty for
// what is no weight of the family.
std::string reference_name(const std::string& constant_name);

class IrWeights : public reference::WeightSource {
public:
    // `otherwise` serves what the models fold into other constants: norms, A_log, dt_bias. It must outlive this.
    IrWeights(const std::vector<std::shared_ptr<ov::Model>>& models, const reference::WeightSource& otherwise);

    void read_rows(const std::string& name, std::uint64_t first, reference::MatrixRef out) const override;
    bool has_own_head() const override;

    const std::map<std::string, StoredWeight>& stored() const { return stored_; }

private:
    // A tied head that is stored as the embedding is, in another file, is no weight of its own.
    void join_tied_tables();

    std::map<std::string, StoredWeight> stored_;
    const reference::WeightSource& otherwise_;
};

}  // namespace deltavino::evaluation
