#include "backend/kernel.h"

#include "base/error.h"

namespace lathe::backend {

// backend/reference/reference.cpp: takes every instruction.
const Kernel& reference_kernel();

namespace {

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

KernelChoice kernel_choice(const plan::Plan& plan, const plan::Instruction& instruction) {
  KernelChoice choice;
  const auto takes = [&](const Kernel& kernel) {
    if (auto reason = kernel.refusal(plan, instruction)) {
      choice.refusals.push_back({kernel.name, *std::move(reason)});
      return false;
    }
    choice.kernel = &kernel;
    return true;
  };
  const Device& device = get_device(plan.device);
  for (const Kernel* kernel : device.kernels) {
    if (kernel->op == instruction.op && takes(*kernel)) return choice;
  }
  if (device.host_memory()) takes(reference_kernel());
  return choice;
}

const Kernel& choose_kernel(const plan::Plan& plan, const plan::Instruction& instruction) {
  const KernelChoice choice = kernel_choice(plan, instruction);
  if (choice.kernel) return *choice.kernel;
  std::string refusals;
  for (const Refusal& refusal : choice.refusals) refusals += fmt::format("; {}: {}", refusal.kernel, refusal.reason);
  const bool others = !get_device(plan.device).host_memory();
  fail(ErrorCode::unsupported, "no kernel of device {} takes {} \"{}\"{}{}", plan.device, instruction.op,
       instruction.name, refusals, others ? "; --device cpu runs every operator" : "");
}

const Kernel& get_kernel(const Device& device, std::string_view name) {
  for (const Kernel* kernel : device.kernels) {
    if (kernel->name == name) return *kernel;
  }
  if (reference_kernel().name == name && device.host_memory()) return reference_kernel();
  fail(ErrorCode::unsupported, "this program has no kernel \"{}\" for device {}", name, device.name);
}

void check_packed(const plan::Constant& constant) {
  const PackedLayout* layout = find_layout(constant.layout);
  if (!layout && constant.layout != "plain") {
    fail(ErrorCode::unsupported,
         "constant \"{}\" lies in layout {}, which this program does not have: another version built the engine; build "
         "it "
         "again from its model: lathe build MODEL -o ENGINE",
         constant.name, constant.layout);
  }
  if (!layout) return;
  with_context(fmt::format("constant \"{}\"", constant.name), [&] {
    if (!layout->holds(constant.dtype, constant.encoding)) {
      fail(ErrorCode::invalid_input, "{} does not hold {} {}", constant.layout, tensor::to_string(constant.dtype),
           tensor::to_string(constant.encoding));
    }
    if (constant.dims.size() != 2) {
      fail(ErrorCode::invalid_input, "{} holds matrices, found {} dimensions", constant.layout, constant.dims.size());
    }
    const size_t expected = layout->size(constant.dims[0], constant.dims[1]);
    if (uint64_t(constant.bytes) == expected) return;
    fail(ErrorCode::invalid_input, "[{}, {}] as {}: expected {} bytes, found {}", constant.dims[0], constant.dims[1],
         constant.layout, expected, constant.bytes);
  });
}

void check_plan(const plan::Plan& plan) {
  const Device& device = get_device(plan.device);
  if (plan.logits < 0) fail(ErrorCode::invalid_input, "the plan names no logits");
  for (const plan::Constant& constant : plan.constants) check_packed(constant);
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const plan::Instruction& instruction = plan.instructions[i];
    with_context(fmt::format("instruction {} {} \"{}\"", i, instruction.op, instruction.name), [&] {
      const Kernel& kernel = get_kernel(device, instruction.kernel);
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
