#pragma once

#include <deltavino/check.hpp>

namespace deltavino::evaluation {

inline const char* finding_name(Finding finding) {
    return finding == Finding::Good ? "good" : finding == Finding::Note ? "note" : "BAD";
}

}  // namespace deltavino::evaluation
