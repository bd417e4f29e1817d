// The weights of a layer while it is being quantized: those that are done as what they stand for, the others as the
// checkpoint has them.
#pragma once

#include "quant/packed.hpp"
#include "reference/weights.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace deltavino::calibration {

class QuantizedWeights : public reference::WeightSource {
public:
    // `others` must outlive this.
    explicit QuantizedWeights(const reference::WeightSource& others) : others_(others) {}

    void read_rows(const std::string& name, std::uint64_t first, reference::MatrixRef out) const override;

    // Rows from `first` on. Not while rows are read.
    void add(const std::string& name, std::uint64_t first, quant::CodeRows codes);
    bool has(const std::string& name, std::uint64_t row) const;
    // Forgets all: no layer needs those of another.
    void clear() { done_.clear(); }

private:
    const reference::WeightSource& others_;
    std::map<std::string, std::map<std::uint64_t, quant::CodeRows>> done_;  // by first row
};

}  // namespace deltavino::calibration
