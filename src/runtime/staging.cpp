#include "runtime/staging.h"

#include <cstring>

#include "base/checked.h"
#include "base/error.h"
#include "plan/plan.h"

namespace lathe::runtime {
namespace {

using backend::Capacity;
using backend::Step;

constexpr size_t kAlign = 256;
// Of each token, beside the plan's own inputs: its row of the block table, and its position.
constexpr size_t kSequence = 6, kPosition = 7;
constexpr std::array<std::string_view, 6> kNames = {plan::kTokenIds,      plan::kPositions,  plan::kFirstToken,
                                                    plan::kFirstPosition, plan::kBlockTable, plan::kOutputRows};

size_t logits_bytes(const Capacity& capacity, int64_t vocab_size) {
  const size_t row = checked_mul(size_t(vocab_size), sizeof(float), "logits");
  return checked_mul(row, size_t(capacity.outputs), "logits");
}

template <class T>
void put(std::byte* to, const std::vector<T>& values) {
  std::memcpy(to, values.data(), values.size() * sizeof(T));
}

}  // namespace

Staging::Places::Places(const Capacity& capacity) : offsets(), bytes(0) {
  const size_t tokens = size_t(capacity.tokens), sequences = size_t(capacity.sequences);
  const size_t table = checked_mul(sequences, size_t(capacity.blocks_per_sequence), "block table");
  const std::array<size_t, kArrays> sizes = {checked_mul(tokens, size_t{8}, "tokens"),
                                             tokens * 8,
                                             (sequences + 1) * 4,
                                             sequences * 4,
                                             checked_mul(table, size_t{4}, "block table"),
                                             checked_mul(size_t(capacity.outputs), size_t{8}, "outputs"),
                                             tokens * 4,
                                             tokens * 4};
  for (size_t i = 0; i < kArrays; ++i) {
    offsets[i] = bytes;
    bytes = checked_add(bytes, align_up(sizes[i], kAlign), "step inputs");
  }
}

Staging::Bytes Staging::bytes_needed(const Capacity& capacity, int64_t vocab_size) {
  const size_t inputs = Places(capacity).bytes;
  return {inputs, checked_add(inputs, logits_bytes(capacity, vocab_size), "logits")};
}

Staging::Staging(backend::Accelerator& accelerator, const Capacity& capacity, int64_t vocab_size)
    : places_(capacity), vocab_size_(vocab_size), stream_(accelerator.make_stream()) {
  inputs_ = with_context("step inputs", [&] { return accelerator.allocate(places_.bytes); });
  host_inputs_ = accelerator.allocate_host(places_.bytes);
  host_logits_ = accelerator.allocate_host(logits_bytes(capacity, vocab_size));
}

backend::OnStream Staging::on_stream() const {
  const auto numbers = [&](size_t i) { return reinterpret_cast<const int32_t*>(inputs_.get() + places_.offsets[i]); };
  return {.stream = stream_.get(), .sequence = numbers(kSequence), .position = numbers(kPosition)};
}

std::byte* Staging::address(std::string_view input) const {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == input) return inputs_.get() + places_.offsets[i];
  }
  return nullptr;
}

void Staging::copy_in(const StepInputs& inputs, const Step& step) {
  std::byte* const to = host_inputs_.get();
  put(to + places_.offsets[0], inputs.token_ids);
  put(to + places_.offsets[1], inputs.positions);
  put(to + places_.offsets[2], inputs.first_token);
  put(to + places_.offsets[3], inputs.first_position);
  put(to + places_.offsets[4], inputs.block_table);
  put(to + places_.offsets[5], inputs.output_rows);
  auto* const sequence = reinterpret_cast<int32_t*>(to + places_.offsets[kSequence]);
  auto* const position = reinterpret_cast<int32_t*>(to + places_.offsets[kPosition]);
  for (int64_t s = 0; s < step.sequences; ++s) {
    for (int32_t t = inputs.first_token[size_t(s)]; t < inputs.first_token[size_t(s) + 1]; ++t) {
      sequence[t] = int32_t(s);
      position[t] = int32_t(inputs.positions[size_t(t)]);
    }
  }
  stream_->copy_in(inputs_.get(), to, places_.bytes);
}

void Staging::finish(const std::byte* logits, int64_t rows) {
  if (rows > 0) stream_->copy_out(host_logits_.get(), logits, size_t(rows * vocab_size_) * sizeof(float));
  stream_->wait();
}

const float* Staging::look(const std::byte* from, size_t count) {
  looked_at_.resize(count);
  if (count > 0) stream_->copy_out(reinterpret_cast<std::byte*>(looked_at_.data()), from, count * sizeof(float));
  stream_->wait();
  return looked_at_.data();
}

}  // namespace lathe::runtime
