// What a backend offers: an ordered table of kernels per operator; the first that takes an instruction gets it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backend/device.h"
#include "base/team.h"
#include "plan/plan.h"

namespace lathe::backend {

class Stream;

// Limits that scratch and arena are booked for.
struct Capacity {
  int64_t tokens = 0;
  int64_t outputs = 0;
  int64_t sequences = 0;
  int64_t blocks_per_sequence = 0;
  int threads = 1;
  int64_t rows(plan::Rows kind) const;
};

// What a session chose for its run.
struct Settings {
  int isa = 0;        // of the device's instruction sets, by Device::choose_isa
  bool exact = true;  // forbids all rounding of activations that instructions ask for
  bool same_bits = false;  // a row's bits may not depend on how many others are in the step
  tensor::DType kv = tensor::DType::f32;
};

// One packed step as the kernels see it.
struct Step {
  int64_t tokens = 0;
  int64_t outputs = 0;
  int64_t sequences = 0;
  int64_t longest = 0;  // positions of the longest of them when the step is over
  int64_t rows(plan::Rows kind) const;
};

// Of devices with memory of their own: the queue that a session's kernels launch to, and what they know of each token.
struct OnStream {
  Stream* stream = nullptr;
  const int32_t* sequence = nullptr;  // [tokens]: its row of the block table
  const int32_t* position = nullptr;  // [tokens]
};

// An instruction with everything resolved to addresses.
struct Bound {
  const plan::Plan* plan = nullptr;
  const plan::Instruction* instruction = nullptr;
  std::vector<std::byte*> inputs;  // null for absent operands; constants are read only
  std::vector<std::byte*> outputs;
  std::byte* scratch = nullptr;  // shared by all instructions, scratch_size() of the largest
  int64_t blocks_per_sequence = 0;
  Settings settings;
  Capacity capacity;
  OnStream device;  // null where kernels work in the host's memory
  // The program's: a kernel that can fail (the reference, and a launch) leaves the step's first exception here; it is
  // thrown when the step is over.
  std::exception_ptr* failure = nullptr;
  // Kernel's own prepared data (call descriptors); owned here, made by prepare().
  std::shared_ptr<void> prepared;
};

// One file of backend/cpu/ops: `const Kernel& <file>_kernel()`; the file's name is the registration.
struct Kernel {
  std::string_view name;  // "cpu.linear"
  std::string_view op;    // "lathe.Linear"; empty: any
  // Why this kernel does not take the instruction; nullopt if it does.
  std::optional<std::string> (*refusal)(const plan::Plan& plan, const plan::Instruction& instruction);
  // Bytes of scratch it needs. May be null.
  size_t (*scratch_size)(const plan::Plan& plan, const plan::Instruction& instruction, const Settings& settings,
                         const Capacity& capacity);
  // Once per session, after addresses are known. May be null.
  void (*prepare)(Bound& bound);
  // Every member of the team runs it; a barrier follows. No allocation, no lock, no log, except in the reference
  // kernel: it is the operator's own evaluate, which makes tensors.
  void (*run)(const Bound& bound, const Step& step, TeamMember& member) noexcept;
};

// Of the plan's device, the first that takes the instruction, the reference last (it computes in the host's memory);
// and why those before it did not.
struct Refusal {
  std::string_view kernel;
  std::string reason;
};
struct KernelChoice {
  const Kernel* kernel = nullptr;  // none takes it
  std::vector<Refusal> refusals;
};
KernelChoice kernel_choice(const plan::Plan& plan, const plan::Instruction& instruction);
// Its kernel. Throws unsupported with every refusal when there is none.
const Kernel& choose_kernel(const plan::Plan& plan, const plan::Instruction& instruction);
// By name, of the device or the reference; throws unsupported.
const Kernel& get_kernel(const Device& device, std::string_view name);

// A plan read from a file, held against the kernels it names: kernels believe what stands here and check nothing
// when they run. Throws unsupported for a device or a kernel that this program does not have or that refuses its
// instruction, invalid_input for a kernel of another operator, packed constants that are not exactly what their
// layout takes, and a plan without logits. `plan` has passed plan::check and plan::check_types.
void check_plan(const plan::Plan& plan);
// The packed constant alone; plain ones and unknown layouts pass.
void check_packed(const plan::Constant& constant);

}  // namespace lathe::backend
