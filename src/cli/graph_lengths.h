// NAME=1x3x224x224 and SYMBOL=8 on the command line: lengths for what a graph leaves open.
#pragma once

#include <string>
#include <vector>

#include "opt/fix_lengths.h"

namespace lathe::cli {

// Each text is one or more of them, separated by commas; a scalar is NAME=. Throws usage, naming `flag`, for other
// texts and for a name that comes twice.
opt::Lengths read_lengths(std::string_view flag, const std::vector<std::string>& texts);

}  // namespace lathe::cli
