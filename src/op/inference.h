// What the operators' infer functions share: dtype sets, axes, values known before the run.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "op/op.h"

namespace lathe::op {

// Sets of dtypes, joined with |.
using DTypeSet = uint32_t;
constexpr DTypeSet kF16 = 1, kBf16 = 2, kF32 = 4, kF64 = 8;
constexpr DTypeSet kFloat = kF16 | kBf16 | kF32 | kF64;
constexpr DTypeSet kSigned = 16;    // i8 to i64
constexpr DTypeSet kUnsigned = 32;  // u8 to u64
constexpr DTypeSet kInteger = kSigned | kUnsigned;
constexpr DTypeSet kNumeric = kFloat | kInteger;
constexpr DTypeSet kBool = 64;
constexpr DTypeSet kString = 128;
constexpr DTypeSet kComplex = 256;
constexpr DTypeSet kSmallInt = 512;     // 4 and 2 bits
constexpr DTypeSet kSmallFloat = 1024;  // 8 and 4 bits
constexpr DTypeSet kAny = ~DTypeSet{0};
DTypeSet set_of(tensor::DType dtype);

// Throws invalid_input, the operator's name first.
template <class... Args>
[[noreturn]] void bad(const InferContext& context, fmt::format_string<Args...> format, Args&&... args) {
  fail(ErrorCode::invalid_input, "{}: {}", context.op, fmt::format(format, std::forward<Args>(args)...));
}

// Input i, whose dtype must be in the set.
const TypeInfo& require(const InferContext& context, size_t i, DTypeSet allowed);
// Throws unless inputs i and j (if both are there) have the same dtype.
void require_same_dtype(const InferContext& context, size_t i, size_t j);
// Throws unless input i has this dtype.
const TypeInfo& require_dtype(const InferContext& context, size_t i, tensor::DType dtype);
void require_rank(const InferContext& context, size_t i, size_t rank);
// Throws if the two can never be equal (two different numbers).
void require_dims_agree(const InferContext& context, std::string_view what, const tensor::Dim& a,
                        const tensor::Dim& b);

// An axis in [-rank, rank) as an index. Throws otherwise.
size_t axis_index(const InferContext& context, int64_t axis, size_t rank);
// The same for a rank that infer has checked.
inline size_t axis_index(int64_t axis, int rank) {
  return size_t(axis < 0 ? axis + rank : axis);
}

// The elements of integer input i (any rank, row-major) where they are known; at most kMaxElements.
constexpr int64_t kMaxElements = 1024;
std::optional<std::vector<tensor::Dim>> known_dims(const InferContext& context, size_t i);
// The same, if all of them are numbers.
std::optional<std::vector<int64_t>> known_ints(const InferContext& context, size_t i);

// A symbol of this node's own for a dimension that only the run knows.
tensor::Dim unknown_dim(const InferContext& context, size_t index);

// How many elements the list (or scalar) input i has, where that is known.
std::optional<int64_t> list_length(const InferContext& context, size_t i);
// A tensor of `rank` whose lengths only the run knows; unranked where the rank is not known either.
TypeInfo unknown_lengths(const InferContext& context, tensor::DType dtype, std::optional<int64_t> rank);

// True if `a` is at least `b` whatever non-negative values the symbols take. False may mean "not known".
bool provably_at_least(const tensor::Dim& a, const tensor::Dim& b);

// Output 0's elements from those of inputs 0 and 1 (broadcast, rank at most 1), where `combine` knows them.
// Call after the output's type is set.
void combine_elements(
    InferContext& context,
    const std::function<std::optional<tensor::Dim>(const tensor::Dim&, const tensor::Dim&)>& combine);
// Sets elements of `output` when its rank is 0 or 1 and its dtype i64, i32 or boolean.
void set_elements(TypeInfo& output, std::optional<std::vector<tensor::Dim>> elements);

}  // namespace lathe::op
