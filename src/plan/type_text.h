// The types of values as plans of graphs store them: the text of op::to_string, read back.
#pragma once

#include <string_view>

#include "op/op.h"

namespace lathe::plan {

// "f32[batch, 3]", "f32[...]", "?", "sequence(f32)", "optional(sequence(?))". Throws invalid_input for other texts,
// ranks above 64 and negative lengths.
op::TypeInfo parse_type(std::string_view text);

}  // namespace lathe::plan
