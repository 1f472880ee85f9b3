// The "post_processor" of a tokenizer.json: which special tokens stand around an encoded text.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"

namespace lathe::text {

// Token ids in order, with one place for the text's own ids.
struct SpecialFrame {
  static constexpr int32_t kText = -1;
  std::vector<int32_t> items = {kText};
};

// `config` may be null (no post-processor). Throws invalid_input; unsupported, by name, for a kind that is
// not known and for templates that use the text more than once.
SpecialFrame make_special_frame(const Json& config);

}  // namespace lathe::text
