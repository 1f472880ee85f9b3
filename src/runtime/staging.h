// What passes between the host and a device with memory of its own: the inputs of a step in one copy, its logits in
// another, and single tensors for those who look at them.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "backend/accelerator.h"
#include "backend/kernel.h"
#include "runtime/step_inputs.h"

namespace lathe::runtime {

class Staging {
 public:
  // `accelerator` must outlive it. Throws resource.
  Staging(backend::Accelerator& accelerator, const backend::Capacity& capacity, int64_t vocab_size);

  struct Bytes {
    size_t device = 0;
    size_t host = 0;
  };
  static Bytes bytes_needed(const backend::Capacity& capacity, int64_t vocab_size);

  backend::Stream& stream() { return *stream_; }
  backend::OnStream on_stream() const;
  // Where a step input of this name lies on the device; null for other names.
  std::byte* address(std::string_view input) const;

  // Begins to copy them; the step's kernels go to the same stream.
  void copy_in(const StepInputs& inputs, const backend::Step& step);
  // Copies [rows, vocabulary] out, and waits for all of the step.
  void finish(const std::byte* logits, int64_t rows);
  const float* logits() const { return reinterpret_cast<const float*>(host_logits_.get()); }
  // So many floats, now.
  const float* look(const std::byte* from, size_t count);

 private:
  // In the order of the names below; offsets of both sides.
  static constexpr size_t kArrays = 8;
  struct Places {
    std::array<size_t, kArrays> offsets;
    size_t bytes;
    explicit Places(const backend::Capacity& capacity);
  };

  Places places_;
  int64_t vocab_size_;
  std::unique_ptr<backend::Stream> stream_;
  std::shared_ptr<std::byte> inputs_;
  std::shared_ptr<std::byte> host_inputs_;
  std::shared_ptr<std::byte> host_logits_;  // [outputs, vocabulary]
  std::vector<float> looked_at_;
};

}  // namespace lathe::runtime
