#include "backend/kernel.h"

#include "base/error.h"

namespace lathe::backend {

// Generated from the file names in backend/cpu/ops.
#include "backend_cpu_ops_declarations.inc"

// backend/reference.cpp: takes every instruction.
const Kernel& reference_kernel();

namespace {

std::span<const Kernel* const> table() {
  using Getter = const Kernel& (*)();
  static constexpr Getter kGetters[] = {
#include "backend_cpu_ops_entries.inc"
      &reference_kernel,
  };
  static const auto kTable = [] {
    std::vector<const Kernel*> kernels;
    for (const Getter getter : kGetters) kernels.push_back(&getter());
    return kernels;
  }();
  return kTable;
}

}  // namespace

int64_t Step::rows(plan::Rows kind) const {
  switch (kind) {
    case plan::Rows::tokens: return tokens;
    case plan::Rows::outputs: return outputs;
    case plan::Rows::sequences: return sequences;
    case plan::Rows::sequences_one: return sequences + 1;
  }
  return 0;
}

std::span<const Kernel* const> kernels() { return table(); }

const Kernel& choose_kernel(const plan::Plan& plan, const plan::Instruction& instruction) {
  std::string refusals;
  for (const Kernel* kernel : table()) {
    if (!kernel->op.empty() && kernel->op != instruction.op) continue;
    const auto refusal = kernel->refusal(plan, instruction);
    if (!refusal) return *kernel;
    refusals += fmt::format("; {}: {}", kernel->name, *refusal);
  }
  fail(ErrorCode::unsupported, "no kernel takes {} \"{}\"{}", instruction.op, instruction.name, refusals);
}

const Kernel& get_kernel(std::string_view name) {
  for (const Kernel* kernel : table()) {
    if (kernel->name == name) return *kernel;
  }
  fail(ErrorCode::unsupported, "this program has no kernel \"{}\"", name);
}

}  // namespace lathe::backend
