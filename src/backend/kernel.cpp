#include "backend/kernel.h"

#include "backend/cpu/layout_names.h"
#include "base/error.h"

namespace lathe::backend {

// Generated from the file names in backend/cpu/ops.
#include "backend_cpu_ops_declarations.inc"

// backend/reference/reference.cpp: takes every instruction.
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

template <class Counts>
int64_t rows_of(const Counts& counts, plan::Rows kind) {
  switch (kind) {
    case plan::Rows::tokens:
      return counts.tokens;
    case plan::Rows::outputs:
      return counts.outputs;
    case plan::Rows::sequences:
      return counts.sequences;
    case plan::Rows::sequences_one:
      return counts.sequences + 1;
  }
  return 0;
}

}  // namespace

int64_t Step::rows(plan::Rows kind) const {
  return rows_of(*this, kind);
}
int64_t Capacity::rows(plan::Rows kind) const {
  return rows_of(*this, kind);
}

std::span<const Kernel* const> kernels() {
  return table();
}

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

void check_packed(const plan::Constant& constant) {
  const auto layout = cpu::find_layout(constant.layout);
  if (!layout) return;  // plain, or its kernel refuses it
  with_context(fmt::format("constant \"{}\"", constant.name), [&] {
    const bool plain = constant.encoding == tensor::Encoding::plain;
    if (constant.encoding != cpu::stored_encoding(*layout) || (plain && constant.dtype != cpu::stored_dtype(*layout))) {
      fail(ErrorCode::invalid_input, "{} does not hold {} {}", constant.layout, tensor::to_string(constant.dtype),
           tensor::to_string(constant.encoding));
    }
    if (constant.dims.size() != 2) {
      fail(ErrorCode::invalid_input, "{} holds matrices, found {} dimensions", constant.layout, constant.dims.size());
    }
    const size_t expected = cpu::packed_size(*layout, constant.dims[0], constant.dims[1]);
    if (uint64_t(constant.bytes) == expected) return;
    fail(ErrorCode::invalid_input, "[{}, {}] as {}: expected {} bytes, found {}", constant.dims[0], constant.dims[1],
         constant.layout, expected, constant.bytes);
  });
}

void check_plan(const plan::Plan& plan) {
  if (plan.logits < 0) fail(ErrorCode::invalid_input, "the plan names no logits");
  for (const plan::Constant& constant : plan.constants) check_packed(constant);
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction& instruction = plan.instructions[i];
    with_context(fmt::format("instruction {} {} \"{}\"", i, instruction.op, instruction.name), [&] {
      const Kernel& kernel = get_kernel(instruction.kernel);
      if (!kernel.op.empty() && kernel.op != instruction.op) {
        fail(ErrorCode::invalid_input, "kernel {} computes {}", kernel.name, kernel.op);
      }
      if (const auto refusal = kernel.refusal(plan, instruction)) {
        fail(ErrorCode::unsupported, "kernel {} does not take it: {}", kernel.name, *refusal);
      }
    });
  }
}

}  // namespace lathe::backend
