#include "op/subgraph.h"

#include <algorithm>
#include <set>

#include "op/inference.h"

namespace lathe::op {
namespace {

// Lengths of one output are numbered apart from those of the others.
constexpr size_t kMaxRank = 64;

tensor::Dim fresh_dim(const InferContext& context, size_t output, size_t axis) {
  return unknown_dim(context, output * kMaxRank + axis);
}

std::set<std::string> symbols_of(const InferContext& context) {
  std::set<std::string> symbols;
  for (const TypeInfo* input : context.inputs) {
    if (!input) continue;
    for (const tensor::Dim& dim : input->shape) {
      for (const std::string& symbol : dim.symbols()) symbols.insert(symbol);
    }
  }
  return symbols;
}

// nullopt: there is none.
std::optional<Form> common_form(Form a, Form b) {
  if (a == b) return a;
  const auto are = [&](Form x, Form y) { return (a == x && b == y) || (a == y && b == x); };
  if (are(Form::tensor, Form::optional_tensor)) return Form::optional_tensor;
  if (are(Form::sequence, Form::optional_sequence)) return Form::optional_sequence;
  return std::nullopt;
}

}  // namespace

TypeInfo seen_outside(const InferContext& context, const TypeInfo& type, size_t output) {
  TypeInfo seen = type;
  seen.elements.reset();
  const std::set<std::string> known = symbols_of(context);
  for (size_t axis = 0; axis < seen.shape.size(); ++axis) {
    const auto symbols = seen.shape[axis].symbols();
    const bool all_known =
        std::all_of(symbols.begin(), symbols.end(), [&](const std::string& s) { return known.contains(s); });
    if (!all_known) seen.shape[axis] = fresh_dim(context, output, axis);
  }
  return seen;
}

TypeInfo join(const InferContext& context, const TypeInfo& a, const TypeInfo& b, size_t output) {
  const auto is_unknown = [](const TypeInfo& type) {
    return type.form == Form::tensor && type.dtype == tensor::DType::undefined;
  };
  if (is_unknown(a) || is_unknown(b)) return TypeInfo::unranked(tensor::DType::undefined);
  const auto form = common_form(a.form, b.form);
  const bool known = a.dtype != tensor::DType::undefined && b.dtype != tensor::DType::undefined;
  if (!form || (known && a.dtype != b.dtype)) {
    bad(context, "output {} is {} on one side and {} on the other", output, to_string(a), to_string(b));
  }
  if (*form != Form::tensor) {
    TypeInfo joined = TypeInfo::sequence(known ? a.dtype : tensor::DType::undefined);
    joined.form = *form;
    return joined;
  }
  if (!a.ranked || !b.ranked || a.shape.size() != b.shape.size()) return TypeInfo::unranked(a.dtype);
  TypeInfo joined{a.dtype, a.shape};
  for (size_t axis = 0; axis < joined.shape.size(); ++axis) {
    if (a.shape[axis] != b.shape[axis]) joined.shape[axis] = fresh_dim(context, output, axis);
  }
  return joined;
}

}  // namespace lathe::op
