// The texts that stand for pictures in a prompt.
#pragma once

namespace deltavino::runtime {

inline constexpr const char* kVisionStart = "<|vision_start|>";
inline constexpr const char* kVisionEnd = "<|vision_end|>";
inline constexpr const char* kImagePad = "<|image_pad|>";
inline constexpr const char* kVideoPad = "<|video_pad|>";

}  // namespace deltavino::runtime
