// Attributes and names as printed plans spell them.
#pragma once

#include <string>
#include <string_view>

#include "op/attributes.h"

namespace lathe::plan {

// In quotes, control characters and quotes escaped.
std::string quoted(std::string_view text);
// 1, 1.0, "text", [1, 2], a tensor by its type and hash, "graph".
std::string attribute_text(const op::AttributeValue& value);

}  // namespace lathe::plan
