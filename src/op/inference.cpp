#include "op/inference.h"

#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;

// Numbers beyond this (INT64_MAX as "to the end") take no part in symbolic arithmetic, which would overflow.
constexpr int64_t kLargest = int64_t{1} << 40;

// Constants are read up to this size; lists that are computed from symbols are kept to kMaxElements.
constexpr int64_t kMaxConstant = int64_t{1} << 20;

bool is_index_type(DType dtype) {
  return dtype == DType::i64 || dtype == DType::i32 || dtype == DType::boolean;
}

std::string set_text(DTypeSet set) {
  std::string text;
  for (int i = 1; i <= int(DType::i2); ++i) {
    if (!(set_of(DType(i)) & set)) continue;
    if (!text.empty()) text += ", ";
    text += tensor::to_string(DType(i));
  }
  return text;
}

}  // namespace

DTypeSet set_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return kF16;
    case DType::bf16:
      return kBf16;
    case DType::f32:
      return kF32;
    case DType::f64:
      return kF64;
    case DType::i8:
    case DType::i16:
    case DType::i32:
    case DType::i64:
      return kSigned;
    case DType::u8:
    case DType::u16:
    case DType::u32:
    case DType::u64:
      return kUnsigned;
    case DType::boolean:
      return kBool;
    case DType::string:
      return kString;
    case DType::c64:
    case DType::c128:
      return kComplex;
    case DType::u4:
    case DType::i4:
    case DType::u2:
    case DType::i2:
      return kSmallInt;
    case DType::undefined:
      return 0;
    default:
      return kSmallFloat;
  }
}

const TypeInfo& require(const InferContext& context, size_t i, DTypeSet allowed) {
  const TypeInfo& type = context.input(i);
  if (!(set_of(type.dtype) & allowed)) {
    bad(context, "input {}: expected one of {}, found {}", i, set_text(allowed), to_string(type));
  }
  return type;
}

void require_same_dtype(const InferContext& context, size_t i, size_t j) {
  if (!context.has_input(i) || !context.has_input(j)) return;
  if (context.input(i).dtype != context.input(j).dtype) {
    bad(context, "inputs {} and {} must have one dtype, found {} and {}", i, j, to_string(context.input(i)),
        to_string(context.input(j)));
  }
}

const TypeInfo& require_dtype(const InferContext& context, size_t i, DType dtype) {
  const TypeInfo& type = context.input(i);
  if (type.dtype != dtype) {
    bad(context, "input {}: expected {}, found {}", i, tensor::to_string(dtype), to_string(type));
  }
  return type;
}

void require_rank(const InferContext& context, size_t i, size_t rank) {
  if (context.input(i).shape.size() != rank) {
    bad(context, "input {}: expected rank {}, found {}", i, rank, to_string(context.input(i)));
  }
}

void require_dims_agree(const InferContext& context, std::string_view what, const Dim& a, const Dim& b) {
  const auto difference = (a - b).constant();
  if (difference && *difference != 0) {
    bad(context, "{}: expected equal lengths, found {} and {}", what, a.to_string(), b.to_string());
  }
}

size_t axis_index(const InferContext& context, int64_t axis, size_t rank) {
  const int64_t signed_rank = int64_t(rank);
  if (axis < -signed_rank || axis >= signed_rank) {
    bad(context, "axis {} is outside of rank {}", axis, rank);
  }
  return size_t(axis < 0 ? axis + signed_rank : axis);
}

std::optional<std::vector<Dim>> known_dims(const InferContext& context, size_t i) {
  if (!context.has_input(i)) return std::nullopt;
  const tensor::Tensor* constant = i < context.constants.size() ? context.constants[i] : nullptr;
  if (constant && constant->size() <= kMaxConstant && is_index_type(constant->dtype())) {
    const std::vector<int64_t> values = load<int64_t>(*constant);
    return std::vector<Dim>(values.begin(), values.end());
  }
  return context.input(i).elements;
}

std::optional<std::vector<int64_t>> known_ints(const InferContext& context, size_t i) {
  const auto dims = known_dims(context, i);
  return dims ? tensor::to_dims(*dims) : std::nullopt;
}

Dim unknown_dim(const InferContext& context, size_t index) {
  return Dim::symbol(fmt::format("{}_{}_{}", context.op, context.unique_name, index));
}

std::optional<int64_t> list_length(const InferContext& context, size_t i) {
  const tensor::Shape& shape = context.input(i).shape;
  return shape.empty() ? std::optional<int64_t>(1) : shape[0].constant();
}

TypeInfo unknown_lengths(const InferContext& context, DType dtype, std::optional<int64_t> rank) {
  constexpr int64_t kMaxRank = 64;  // beyond it a shape is some other list of numbers
  if (!rank || *rank < 0 || *rank > kMaxRank) return TypeInfo::unranked(dtype);
  TypeInfo type{dtype, {}};
  for (int64_t i = 0; i < *rank; ++i) type.shape.push_back(unknown_dim(context, size_t(i)));
  return type;
}

bool provably_at_least(const Dim& a, const Dim& b) {
  const Dim difference = a - b;
  // The text of a sum has a minus exactly where a coefficient or the constant is negative.
  return difference.to_string().find('-') == std::string::npos;
}

void set_elements(TypeInfo& output, std::optional<std::vector<Dim>> elements) {
  output.elements.reset();
  if (!elements || output.shape.size() > 1 || !is_index_type(output.dtype)) return;
  if (int64_t(elements->size()) > kMaxElements) return;
  output.elements = std::move(elements);
}

void combine_elements(InferContext& context,
                      const std::function<std::optional<Dim>(const Dim&, const Dim&)>& combine) {
  const auto a = known_dims(context, 0);
  const auto b = known_dims(context, 1);
  if (!a || !b || a->empty() || b->empty() || context.outputs[0].shape.size() > 1) return;
  if (a->size() != b->size() && a->size() != 1 && b->size() != 1) return;
  std::vector<Dim> elements;
  for (size_t i = 0; i < std::max(a->size(), b->size()); ++i) {
    const Dim& x = (*a)[a->size() == 1 ? 0 : i];
    const Dim& y = (*b)[b->size() == 1 ? 0 : i];
    for (const Dim* dim : {&x, &y}) {
      const auto number = dim->constant();
      if (number && (*number > kLargest || *number < -kLargest)) return;
    }
    const auto result = combine(x, y);
    if (!result) return;
    elements.push_back(*result);
  }
  set_elements(context.outputs[0], std::move(elements));
}

}  // namespace lathe::op
