// Which build of this program is running.
#pragma once

#include <string>

namespace lathe::cli {

// Differs between builds of different sources or flags: the linker's build id, or a hash of the program's file where
// it was linked without one.
std::string build_id();

}  // namespace lathe::cli
