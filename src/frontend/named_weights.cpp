#include "frontend/named_weights.h"

#include "base/error.h"

namespace lathe::frontend {
namespace {

using tensor::Dims;
using tensor::DType;
using tensor::SourcePtr;

// Without axes of length 1 behind the first.
Dims without_ones(const Dims& dims) {
  Dims kept;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i == 0 || dims[i] != 1) kept.push_back(dims[i]);
  }
  return kept;
}

}  // namespace

NamedWeights NamedWeights::scoped(std::string_view name) const {
  NamedWeights inner = *this;
  inner.scope_ = qualified(name);
  return inner;
}

std::string NamedWeights::qualified(std::string_view name) const {
  return scope_.empty() ? std::string(name) : fmt::format("{}.{}", scope_, name);
}

const Dims& NamedWeights::dims(std::string_view name) const {
  const auto found = tensors_->find(qualified(name));
  if (found == tensors_->end()) fail(ErrorCode::invalid_input, "missing tensor \"{}\"", qualified(name));
  return found->second->dims();
}

SourcePtr NamedWeights::source(std::string_view name, const Dims& dims) const {
  const std::string full = qualified(name);
  const auto found = tensors_->find(full);
  if (found == tensors_->end()) {
    fail(ErrorCode::invalid_input, "missing tensor \"{}\" {}", full, tensor::to_string(std::span<const int64_t>(dims)));
  }
  SourcePtr source = found->second;
  used_->insert(full);
  const DType stored = source->dtype();
  if (source->dims() != dims) {
    if (without_ones(source->dims()) != without_ones(dims)) {
      fail(ErrorCode::invalid_input, "tensor \"{}\": expected {}, found {}{}", full,
           tensor::to_string(std::span<const int64_t>(dims)), tensor::to_string(stored),
           tensor::to_string(std::span<const int64_t>(source->dims())));
    }
    source = tensor::reshaped_source(std::move(source), dims);
  }
  if (stored != DType::f32 && stored != DType::f16 && stored != DType::bf16 && stored != DType::f64) {
    fail(ErrorCode::unsupported, "tensor \"{}\": weights of type {} are not supported (f32, f16, bf16, f64)", full,
         tensor::to_string(stored));
  }
  return source;
}

Value NamedWeights::get(const Builder& b, std::string_view name, const Dims& dims) const {
  return b.graph().add_constant(qualified(name), tensor::converted_source(source(name, dims), dtype_));
}

Value NamedWeights::find(const Builder& b, std::string_view name, const Dims& dims) const {
  return has(name) ? get(b, name, dims) : Value();
}

void NamedWeights::check_all_used(bool (*ignored)(std::string_view name)) const {
  for (const auto& [name, source] : *tensors_) {
    if (!name.starts_with(scope_) || used_->contains(name) || (ignored && ignored(name))) continue;
    fail(ErrorCode::invalid_input, "tensor \"{}\" {} is not part of this model", name,
         tensor::to_string(std::span<const int64_t>(source->dims())));
  }
}

}  // namespace lathe::frontend
