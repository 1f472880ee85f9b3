// The size of what a pipeline's safety checker is shown of a picture, by its preprocessor_config.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"

namespace lathe::contract {

struct ClassifierSize {
  int64_t width, height;
};

// "do_resize" and its like, true where the file says nothing.
bool classifier_flag(const Json& config, std::string_view key);
// A picture's size with its shorter side brought to the one asked for, if any is (do_resize). Throws invalid_input,
// naming the key, for sizes that are none or beyond 16384.
ClassifierSize resized_for_classifier(int64_t width, int64_t height, const Json& config);
// The part of that which is shown (do_center_crop). Throws as above.
ClassifierSize cropped_for_classifier(ClassifierSize size, const Json& config);
// Both, out of the file's text.
ClassifierSize classifier_size(int64_t width, int64_t height, const std::string& preprocessor_config);

}  // namespace lathe::contract
