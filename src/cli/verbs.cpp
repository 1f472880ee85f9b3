#include "cli/verbs.h"

#include <vector>

namespace lathe::cli {

#include "cli_verbs_declarations.inc"

std::span<const Verb* const> all_verbs() {
  using Getter = const Verb& (*)();
  static constexpr Getter kGetters[] = {
#include "cli_verbs_entries.inc"
  };
  static const auto kTable = [] {
    std::vector<const Verb*> table;
    for (const Getter getter : kGetters) table.push_back(&getter());
    return table;
  }();
  return kTable;
}

}  // namespace lathe::cli
