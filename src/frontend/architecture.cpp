// The table of architectures, generated from the files in frontend/arch.
#include "base/error.h"
#include "frontend/decoder.h"

namespace lathe::frontend {

#include "frontend_arch_declarations.inc"

namespace {

std::string known(std::string_view Architecture::*name) {
  std::vector<std::string_view> names;
  for (const Architecture* architecture : all_architectures()) names.push_back(architecture->*name);
  return fmt::format("{}", fmt::join(names, ", "));
}

const Architecture& get_by(std::string_view Architecture::*field, std::string_view name, std::string_view what) {
  for (const Architecture* architecture : all_architectures()) {
    if (architecture->*field == name) return *architecture;
  }
  fail(ErrorCode::unsupported, "{} \"{}\" is not known; known: {}", what, name, known(field));
}

}  // namespace

std::span<const Architecture* const> all_architectures() {
  using Getter = const Architecture& (*)();
  static constexpr Getter kGetters[] = {
#include "frontend_arch_entries.inc"
  };
  static const auto kTable = [] {
    std::vector<const Architecture*> table;
    for (const Getter getter : kGetters) table.push_back(&getter());
    return table;
  }();
  return kTable;
}

const Architecture& get_architecture(std::string_view model_type) {
  return get_by(&Architecture::model_type, model_type, "model_type");
}

const Architecture& get_gguf_architecture(std::string_view gguf_name) {
  return get_by(&Architecture::gguf_name, gguf_name, "general.architecture");
}

}  // namespace lathe::frontend
