// JSON values as FlexBuffers bytes and back: the form of manifests and receipts.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "base/json.h"

namespace lathe::plan {

// Deterministic; members of objects come out sorted by key. Throws invalid_input for a key with a zero byte.
std::string encode_flex(const Json& json);

// Reads what encode_flex writes: null, booleans, numbers, strings, maps and untyped vectors. Never reads
// outside `bytes` and needs time and memory in proportion to them. Throws invalid_input for anything else.
Json decode_flex(std::span<const std::byte> bytes);

}  // namespace lathe::plan
