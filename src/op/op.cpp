#include "op/op.h"

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>

#include "base/error.h"

namespace lathe::op {

#include "op_declarations.inc"

namespace {

using OpFunction = const OpDef& (*)();

constexpr OpFunction kFunctions[] = {
#include "op_entries.inc"
};
constexpr size_t kCount = std::size(kFunctions);

std::array<const OpDef*, kCount> sorted_ops() {
  std::array<const OpDef*, kCount> ops;
  for (size_t i = 0; i < kCount; ++i) ops[i] = &kFunctions[i]();
  std::sort(ops.begin(), ops.end(), [](const OpDef* a, const OpDef* b) { return a->name < b->name; });
  return ops;
}

// Whether `value` may stand for an attribute of this kind; an int is a real too.
bool accepts(AttributeKind kind, const AttributeValue& value) {
  if (kind == AttributeKind::real && std::holds_alternative<int64_t>(value)) return true;
  return size_t(kind) == value.index();  // AttributeKind lists the alternatives of AttributeValue in order
}

std::string arity_text(int min, int max) {
  if (max == kVariadic) return fmt::format("at least {}", min);
  return min == max ? fmt::format("{}", min) : fmt::format("{} to {}", min, max);
}

void check_count(const OpDef& def, std::string_view what, size_t found, int min, int max) {
  if (found >= size_t(min) && (max == kVariadic || found <= size_t(max))) return;
  fail(ErrorCode::invalid_input, "{}: expected {} {}, found {}", def.name, arity_text(min, max), what, found);
}

void check_result(const OpDef& def, size_t index, const TypeInfo& expected, const tensor::Tensor& found) {
  LATHE_CHECK(found.defined(), "{} did not compute output {}", def.name, index);
  if (!expected.is_plain()) return;
  bool fits = found.dtype() == expected.dtype && size_t(found.rank()) == expected.shape.size();
  for (size_t i = 0; fits && i < expected.shape.size(); ++i) {
    const auto dim = expected.shape[i].constant();  // a symbol is a length that only the values decide
    fits = !dim || *dim == found.dims()[i];
  }
  LATHE_CHECK(fits, "{} output {}: inferred {}, computed {}{}", def.name, index, to_string(expected),
              tensor::to_string(found.dtype()), tensor::to_string(std::span(found.dims())));
}

}  // namespace

std::string to_string(const TypeInfo& type) {
  const bool known = type.dtype != tensor::DType::undefined;
  const std::string element(known ? tensor::to_string(type.dtype) : "?");
  switch (type.form) {
    case Form::sequence: return fmt::format("sequence({})", element);
    case Form::optional_tensor: return fmt::format("optional({})", element);
    case Form::optional_sequence: return fmt::format("optional(sequence({}))", element);
    case Form::tensor: break;
  }
  if (!known) return element;
  return type.ranked ? element + tensor::to_string(type.shape) : element + "[...]";
}

const TypeInfo& InferContext::input(size_t i) const {
  if (!has_input(i)) fail(ErrorCode::invalid_input, "{}: input {} is missing", op, i);
  return *inputs[i];
}

std::span<const OpDef* const> all_ops() {
  static const std::array<const OpDef*, kCount> ops = sorted_ops();
  return ops;
}

const OpDef* find_op(std::string_view name) {
  const auto ops = all_ops();
  const auto it = std::lower_bound(ops.begin(), ops.end(), name,
                                   [](const OpDef* def, std::string_view n) { return def->name < n; });
  return it != ops.end() && (*it)->name == name ? *it : nullptr;
}

const OpDef& get_op(std::string_view name) {
  const OpDef* def = find_op(name);
  if (!def) fail(ErrorCode::unsupported, "no operator named \"{}\"", name);
  return *def;
}

void check_signature(const OpDef& def, size_t inputs, size_t outputs, const Attributes& attributes) {
  check_count(def, "inputs", inputs, def.min_inputs, def.max_inputs);
  check_count(def, "outputs", outputs, def.min_outputs, def.max_outputs);
  for (const auto& [name, value] : attributes) {
    const auto it = std::find_if(def.attributes.begin(), def.attributes.end(),
                                 [&name = name](const AttributeSpec& spec) { return spec.name == name; });
    if (it == def.attributes.end()) {
      fail(ErrorCode::invalid_input, "{}: no attribute named \"{}\"", def.name, name);
    }
    if (!accepts(it->kind, value)) {
      fail(ErrorCode::invalid_input, "{}: attribute \"{}\" has the wrong kind", def.name, name);
    }
  }
  for (const AttributeSpec& spec : def.attributes) {
    if (spec.required && !attributes.has(spec.name)) {
      fail(ErrorCode::invalid_input, "{}: attribute \"{}\" is missing", def.name, spec.name);
    }
  }
}

void check_opset(const OpDef& def, size_t inputs, const Attributes& attributes, int opset) {
  if (def.name.starts_with("lathe.")) fail(ErrorCode::unsupported, "{} has no standard form", def.name);
  if (def.name.find('.') != std::string_view::npos) return;  // another domain, which counts for itself
  if (opset < def.since) {
    fail(ErrorCode::unsupported, "{} is there since opset {}, not in {}", def.name, def.since, opset);
  }
  for (const auto& [input, since] : def.inputs_since) {
    if (opset < since && inputs > input) {
      fail(ErrorCode::unsupported, "{}: input {} is there since opset {}, not in {}", def.name, input, since, opset);
    }
  }
  for (const AttributeSpec& spec : def.attributes) {
    if (opset < spec.since && attributes.has(spec.name)) {
      fail(ErrorCode::unsupported, "{}: attribute \"{}\" is there since opset {}, not in {}", def.name, spec.name,
           spec.since, opset);
    }
  }
}

std::vector<Datum> evaluate_data(const OpDef& def, std::vector<Datum> inputs, const Attributes& attributes,
                                 size_t outputs, const RunLimits& limits) {
  const bool only_tensors =
      std::none_of(inputs.begin(), inputs.end(), [](const Datum& input) { return input.is_sequence(); });
  if (def.evaluate && (only_tensors || !def.evaluate_data)) {
    std::vector<tensor::Tensor> tensors;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].is_sequence()) fail(ErrorCode::invalid_input, "{}: input {} is a sequence", def.name, i);
      tensors.push_back(inputs[i].defined() ? inputs[i].tensor() : tensor::Tensor());
    }
    inputs.clear();  // the tensors may be the last to hold their memory
    std::vector<tensor::Tensor> results = evaluate(def, std::move(tensors), attributes, outputs);
    return {std::make_move_iterator(results.begin()), std::make_move_iterator(results.end())};
  }
  check_signature(def, inputs.size(), outputs, attributes);
  DataContext context{attributes, limits, std::move(inputs), std::vector<Datum>(outputs)};
  try {
    with_context(def.name, [&] { def.evaluate_data(context); });
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::resource, "no memory to evaluate {}", def.name);
  } catch (const std::length_error&) {
    fail(ErrorCode::resource, "no memory to evaluate {}", def.name);
  }
  return std::move(context.outputs);
}

std::vector<tensor::Tensor> evaluate(const OpDef& def, std::vector<tensor::Tensor> inputs,
                                     const Attributes& attributes, size_t outputs) {
  LATHE_CHECK(def.evaluate, "{} is not evaluated on tensors alone", def.name);
  check_signature(def, inputs.size(), outputs, attributes);
  std::vector<TypeInfo> types(inputs.size());
  InferContext infer{.op = def.name, .attributes = attributes, .inputs = {}, .constants = {}, .outputs = {}};
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) types[i] = {inputs[i].dtype(), tensor::to_shape(inputs[i].dims()), std::nullopt};
    infer.inputs.push_back(inputs[i].defined() ? &types[i] : nullptr);
    infer.constants.push_back(inputs[i].defined() ? &inputs[i] : nullptr);
  }
  infer.outputs.resize(outputs);
  def.infer(infer);
  EvaluateContext context{attributes, std::move(inputs), std::vector<tensor::Tensor>(outputs)};
  try {
    def.evaluate(context);
  } catch (const std::bad_alloc&) {
    fail(ErrorCode::resource, "no memory to evaluate {}", def.name);
  } catch (const std::length_error&) {
    fail(ErrorCode::resource, "no memory to evaluate {}", def.name);
  }
  for (size_t i = 0; i < outputs; ++i) check_result(def, i, infer.outputs[i], context.outputs[i]);
  return std::move(context.outputs);
}

}  // namespace lathe::op
