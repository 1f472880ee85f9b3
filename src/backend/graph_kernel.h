// Kernels for graphs of any kind: what a kernel is told of one instruction whose lengths are known, and what it tells.
//
// One file of backend/cpu/graph: `const GraphKernel& <file>_graph_kernel()`; the file's name is the registration.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/team.h"
#include "plan/graph_plan.h"

namespace lathe::backend {

struct Device;

// In which order the elements of a bound value lie.
enum class Order : uint8_t {
  plain,          // row-major
  channels_last,  // as if axis 1 were the last: [N, C, H, W] lies as [N, H, W, C]; rank 3 or more
};
std::string_view to_string(Order order);
// Whether both orders are the same bytes: one channel, or one position.
bool same_bytes(const tensor::Dims& dims);

struct ProblemValue {
  tensor::DType dtype = tensor::DType::undefined;  // undefined: absent
  tensor::Dims dims;
  Order order = Order::plain;
  // Of a constant: the layout its bytes are packed in, else "plain".
  std::string_view layout = "plain";
  // Its elements where they are known before the run: plain constants and shape arithmetic. Else nullptr.
  const tensor::Tensor* known = nullptr;

  bool present() const { return dtype != tensor::DType::undefined; }
  int64_t size() const { return tensor::element_count(std::span<const int64_t>(dims)); }
  size_t bytes() const { return tensor::byte_size(dtype, size()); }
};

// An instruction with its lengths. A kernel's `fit` may change the orders of inputs and outputs to those that it wants;
// the binder then moves elements of inputs that lie otherwise.
struct Problem {
  const plan::Instruction* instruction = nullptr;
  std::vector<ProblemValue> inputs;
  std::vector<ProblemValue> outputs;
  int isa = 0;  // of the device's instruction sets
  int threads = 1;

  const op::Attributes& attributes() const { return instruction->attributes; }
  bool has_input(size_t i) const { return i < inputs.size() && inputs[i].present(); }
};

// A problem at its addresses. Those of inputs that are not there are null.
struct GraphCall {
  const Problem* problem = nullptr;
  std::vector<const std::byte*> inputs;
  std::vector<std::byte*> outputs;
  std::byte* scratch = nullptr;    // scratch_size() bytes, 64-byte aligned, shared by the team
  const void* prepared = nullptr;  // what prepare() made
  std::atomic<bool>* refused = nullptr;

  // For data that the kernel cannot compute with (an index out of range): the reference is asked instead, which says
  // what is wrong. Inputs of such kernels are row-major.
  void refuse() const noexcept { refused->store(true, std::memory_order_relaxed); }

  template <class T = float>
  const T* input(size_t i) const {
    return i < inputs.size() ? reinterpret_cast<const T*>(inputs[i]) : nullptr;
  }
  template <class T = float>
  T* output(size_t i = 0) const {
    return reinterpret_cast<T*>(outputs[i]);
  }
};

struct GraphKernel {
  std::string_view name;              // "cpu.conv"
  std::vector<std::string_view> ops;  // that it computes
  // Why it does not take the problem; nullopt if it does, with the orders that it wants set in it.
  std::optional<std::string> (*fit)(Problem& problem);
  // May be null. The problem is as fit left it.
  size_t (*scratch_size)(const Problem& problem) = nullptr;
  std::shared_ptr<const void> (*prepare)(const Problem& problem) = nullptr;
  // Every member of the team runs it; a barrier follows. No allocation, no lock, no log. Null: the output is input 0 as
  // it lies (a view).
  void (*run)(const GraphCall& call, TeamMember& member) noexcept;
  // Output 0 may lie where an input of its size and type lies that nobody reads afterwards.
  bool in_place = false;
};

// The first of the device's kernels that takes the problem, with its orders set, or nullptr; `refusals`, if given, gets
// "kernel: reason" of those before it.
const GraphKernel* find_graph_kernel(const Device& device, Problem& problem, std::vector<std::string>* refusals);

// How a device wants the constant that is input `input` of an instruction: the name of a layout, or "plain".
// Packed bytes are a u8 tensor.
struct GraphLayout {
  std::string_view name;
  // Whether it is for this constant.
  bool (*wanted)(const plan::Instruction& instruction, size_t input, tensor::DType dtype, const tensor::Dims& dims);
  tensor::Tensor (*pack)(const plan::Instruction& instruction, const tensor::Tensor& plain);
  // What of the instruction, beside the layout, decides how its constant is packed: instructions that share a constant
  // share its packed bytes only where this is equal. Null: nothing.
  int64_t (*variant)(const plan::Instruction& instruction) = nullptr;
  // Bytes of a constant in this layout, and the inverse of pack: elements [first, first + count) of the constant as it
  // was, row-major. Where one of them is null, engines store the constant as it was and pack it when they are opened;
  // so for packed bytes that say more than the constant does, or not all of it. Throw invalid_input for dims and
  // variants that cannot be.
  size_t (*size)(const tensor::Dims& dims, int64_t variant) = nullptr;
  void (*unpack)(const tensor::Dims& dims, int64_t variant, std::span<const std::byte> packed, int64_t first,
                 int64_t count, std::span<std::byte> out) = nullptr;
  tensor::DType plain = tensor::DType::f32;  // of the elements that unpack gives
  int isa = 0;  // the least of the device's instruction sets whose kernels read it

  bool stored() const { return size != nullptr && unpack != nullptr; }
};

// By name, of the device; nullptr where there is none.
const GraphLayout* find_graph_layout(const Device& device, std::string_view name);

}  // namespace lathe::backend
