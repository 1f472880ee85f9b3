// The keys of a config.json that change what a decoder computes, and the refusal of those that nobody reads.
#pragma once

#include <span>
#include <string_view>

#include "base/json.h"

namespace lathe::frontend {

// Throws unsupported, naming key and value, for a key of the table in config_keys.cpp that is on and not among `read`,
// those that an architecture's read_config takes into account. A key that the table does not have passes: configs hold
// many that are about training, other programs or nothing, and each version of transformers brings more.
void refuse_unread_keys(const Json& config, std::span<const std::string_view> read);

// Throws unsupported, naming key and value; `where` is what the key is in, if not the config itself.
[[noreturn]] void fail_key(std::string_view key, const Json& value, std::string_view where = {});

}  // namespace lathe::frontend
