#include "op/bindings.h"

#include <algorithm>
#include <vector>

#include "base/error.h"

namespace lathe::op {
namespace {

// Solves `dim == actual` for the one symbol that is not bound yet. False if there are several: their other
// uses will tell. Throws when no whole number fits.
bool bind_dim(const tensor::Dim& declared, int64_t actual, Bindings& bindings, std::string_view input) {
  const tensor::Dim dim = declared.bind(bindings);
  const auto mismatch = [&] {
    fail(ErrorCode::invalid_input, "input \"{}\": dimension {} is {}, found {}", input, declared.to_string(),
         dim.is_constant() ? dim.to_string() : "not solvable", actual);
  };
  if (dim.is_constant()) {
    if (dim.value() != actual) mismatch();
    return true;
  }
  const auto symbols = dim.symbols();
  if (symbols.size() != 1) return false;
  const auto at = [&](int64_t value) { return dim.bind(Bindings{{symbols[0], value}}).value(); };
  const int64_t slope = at(1) - at(0);
  if (at(2) - at(1) != slope) return false;  // a square: not linear
  const int64_t rest = actual - at(0);
  if (slope == 0 || rest % slope != 0 || rest / slope < 0) mismatch();
  bindings.emplace(symbols[0], rest / slope);
  return true;
}

}  // namespace

std::string describe(const Datum& datum) {
  if (datum.is_sequence()) return fmt::format("a sequence of {}", datum.items().size());
  if (!datum.is_tensor()) return "nothing";
  return fmt::format("{}{}", to_string(datum.tensor().dtype()), tensor::to_string(std::span(datum.tensor().dims())));
}

// Whether a value of this type can be that datum, as far as dtypes, forms and ranks tell.
bool fits(const TypeInfo& type, const Datum& datum) {
  const bool known = type.dtype != tensor::DType::undefined;
  if (!known && type.form == Form::tensor) return true;
  if (!datum.defined()) return type.form == Form::optional_tensor || type.form == Form::optional_sequence;
  if (datum.is_sequence()) {
    if (type.form != Form::sequence && type.form != Form::optional_sequence) return false;
    return !known || std::all_of(datum.items().begin(), datum.items().end(),
                                 [&](const tensor::Tensor& item) { return item.dtype() == type.dtype; });
  }
  if (type.form != Form::tensor && type.form != Form::optional_tensor) return false;
  if (known && datum.tensor().dtype() != type.dtype) return false;
  return !type.ranked || type.form != Form::tensor || size_t(datum.tensor().rank()) == type.shape.size();
}

bool is_optional(const TypeInfo& type) {
  return type.form == Form::optional_tensor || type.form == Form::optional_sequence;
}

Bindings bind_inputs(std::string_view owner, const std::map<std::string, const TypeInfo*, std::less<>>& declared,
                     const std::map<std::string, Datum>& data) {
  struct Equation {
    std::string_view input;
    const tensor::Dim* dim;
    int64_t actual;
  };
  std::vector<Equation> open;
  for (const auto& [name, datum] : data) {
    const auto it = declared.find(name);
    if (it == declared.end()) fail(ErrorCode::invalid_input, "{} has no input \"{}\"", owner, name);
    const TypeInfo& type = *it->second;
    if (!fits(type, datum)) {
      fail(ErrorCode::invalid_input, "input \"{}\": expected {}, found {}", name, to_string(type), describe(datum));
    }
    for (size_t i = 0; i < type.shape.size(); ++i) open.push_back({name, &type.shape[i], datum.tensor().dims()[i]});
  }
  // Each round binds what the rounds before made solvable: "past + sequence" waits for one of the two.
  Bindings bindings;
  for (size_t before = open.size() + 1; open.size() < before;) {
    before = open.size();
    std::erase_if(open, [&](const Equation& e) { return bind_dim(*e.dim, e.actual, bindings, e.input); });
  }
  return bindings;
}

}  // namespace lathe::op
