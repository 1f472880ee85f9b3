// What operators on sequences, optionals and loops share.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "op/inference.h"
#include "op/op.h"

namespace lathe::op {

// Input i, which must be a sequence (or not known to be anything else). Throws invalid_input.
const TypeInfo& require_sequence(const InferContext& context, size_t i);
// Whether the type may turn out to be a sequence.
bool may_be_sequence(const TypeInfo& type);
// The only element of a tensor that says where or whether: any integer type or boolean.
int64_t index_of(const Datum& datum);
// A position in [-count, count) counted from the front; throws invalid_input. With `end`, count itself is one, too.
size_t position_of(const Datum& datum, size_t count, bool end = false);

// The part of `tensor` at `index` of `axis`, without that axis.
tensor::Tensor part_at(const tensor::Tensor& tensor, int64_t axis, int64_t index);
// One tensor with a new axis (in [-rank - 1, rank]) along which the parts lie; parts must have one dtype and dims.
tensor::Tensor stacked(std::vector<tensor::Tensor> parts, int64_t axis);
// No parts of this type: a tensor with 0 along a new first axis; lengths that are not known are 0.
tensor::Tensor stacked_nothing(const TypeInfo& part, int64_t axis = 0);

}  // namespace lathe::op
