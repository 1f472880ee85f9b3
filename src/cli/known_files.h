// Published checkpoints whose repositories are gone or copied, told by their content.
#pragma once

#include <string_view>

namespace lathe::cli {

// What the file with this sha256 is; empty: not known.
std::string_view find_known_file(std::string_view sha256);

}  // namespace lathe::cli
