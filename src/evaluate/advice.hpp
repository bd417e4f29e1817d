// What to do on this device with this version: a table, each row with the version it was measured on.
#pragma once

#include <deltavino/check.hpp>

#include <openvino/runtime/core.hpp>

#include <string>
#include <string_view>

namespace deltavino::evaluation {

// The precision that a device takes when nobody asks: "bf16".
std::string device_precision(ov::Core& core, const std::string& device);

// Adds to report.advice what holds for its device, version and figures.
void advise(CheckReport& report, const CheckOptions& options);

// A few paragraphs to read when the user gives no text: some 400 tokens.
extern const std::string_view kBuiltInText;

}  // namespace deltavino::evaluation
