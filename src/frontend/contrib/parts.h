// What several expansions share: lengths as values, layouts, activations by name.
#pragma once

#include <optional>

#include "frontend/contrib.h"

namespace lathe::frontend {

// The length of an axis as an i64 scalar.
Value length_of(const Builder& b, Value x, int64_t axis);
// 0, 1, .. count - 1 for an i64 scalar.
Value count_up(const Builder& b, Value count);
// x without the places where it could differ from a scalar: [1] or [] to [].
Value as_scalar(const Builder& b, Value x);
// x itself, or x with a type that standard operators want.
inline Value as_i64(const Builder& b, Value x) {
  return b.cast(x, tensor::DType::i64);
}

// [batch, .., channels] to [batch, channels, ..] and back.
Value channels_first(const Builder& b, Value x, size_t rank);
Value channels_last(const Builder& b, Value x, size_t rank);

// The activation that a fused operator names, with its parameters where it has some. Throws unsupported for a name that
// is not known and for parameters that are missing.
struct ActivationParameters {
  std::optional<double> alpha = {};
  std::optional<double> beta = {};
};
Value activate(const Builder& b, Value x, const std::string& name, const ActivationParameters& parameters);

}  // namespace lathe::frontend
