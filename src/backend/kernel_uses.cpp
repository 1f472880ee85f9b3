#include "backend/kernel_uses.h"

#include <algorithm>
#include <set>

#include "backend/bound.h"
#include "backend/kernel.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

std::string kind_of(const plan::Constant& constant) {
  const bool encoded = constant.encoding != tensor::Encoding::plain;
  const std::string_view kind = encoded ? to_string(constant.encoding) : tensor::to_string(constant.dtype);
  return constant.layout == "plain" ? std::string(kind) : fmt::format("{} in {}", kind, constant.layout);
}

// Why activations are not rounded as the plan wants, if the kernel was asked to and refused.
void add_rounding_refusal(const Plan& plan, const Instruction& instruction, const Device& device, KernelUse& use) {
  if (use.compute.empty() || use.compute == plan.compute) return;
  Instruction rounded = instruction;
  rounded.attributes.set("compute", plan.compute);
  for (const Kernel* kernel : device.kernels) {
    if (kernel->name != use.kernel) continue;
    if (auto reason = kernel->refusal(plan, rounded)) {
      use.refusals.push_back({fmt::format("{} in {}", kernel->name, plan.compute), *std::move(reason)});
    }
  }
}

void add_refusals(const Plan& plan, const Instruction& instruction, const Device& device, KernelUse& use) {
  const KernelChoice choice = kernel_choice(plan, instruction);
  for (const Refusal& refusal : choice.refusals) {
    if (refusal.kernel == use.kernel) return;  // the engine says otherwise: a session will refuse it
    use.refusals.push_back({std::string(refusal.kernel), refusal.reason});
  }
  if (choice.kernel && choice.kernel->name != use.kernel) {
    use.refusals.push_back({std::string(choice.kernel->name), "would take it, but the engine was built without it"});
  }
  add_rounding_refusal(plan, instruction, device, use);
}

KernelUse use_of(const Plan& plan, const Instruction& instruction, const Device* device) {
  KernelUse use;
  use.op = instruction.op;
  use.kernel = instruction.kernel;
  if (instruction.attributes.has("compute")) use.compute = instruction.attributes.get_string("compute", "");
  use.instructions = 1;
  use.example = instruction.name;
  std::set<std::string> kinds;
  for (size_t i = 0; i < instruction.inputs.size(); ++i) {
    const plan::Constant* constant = constant_of(plan, instruction, i);
    if (!constant || constant->dims.size() < 2) continue;
    kinds.insert(kind_of(*constant));
    use.weight_bytes += constant->bytes;
  }
  use.weights.assign(kinds.begin(), kinds.end());
  if (device) add_refusals(plan, instruction, *device, use);
  return use;
}

}  // namespace

std::vector<KernelUse> kernel_uses(const Plan& plan) {
  for (const plan::Constant& constant : plan.constants) check_packed(constant);  // kernels believe what stands there
  const Device* device = find_device(plan.device);
  const auto key = [](const KernelUse& use) {
    return std::tie(use.op, use.weights, use.kernel, use.compute, use.refusals);
  };
  std::vector<KernelUse> uses;
  for (const Instruction& instruction : plan.instructions) {
    KernelUse use = use_of(plan, instruction, device);
    const auto same =
        std::find_if(uses.begin(), uses.end(), [&](const KernelUse& other) { return key(other) == key(use); });
    if (same == uses.end()) {
      uses.push_back(std::move(use));
      continue;
    }
    same->instructions += 1;
    same->weight_bytes += use.weight_bytes;
  }
  return uses;
}

}  // namespace lathe::backend
