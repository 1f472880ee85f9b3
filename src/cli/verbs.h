// The table of verbs, generated from the files in cli/verbs.
#pragma once

#include <span>

#include "cli/verb.h"

namespace lathe::cli {

std::span<const Verb* const> all_verbs();

}  // namespace lathe::cli
