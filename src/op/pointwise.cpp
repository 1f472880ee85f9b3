#include "op/pointwise.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "op/op.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

const std::vector<PointwiseOp>& table() {
  static const std::vector<PointwiseOp> ops = [] {
    std::vector<PointwiseOp> list;
    for (const std::string_view name : {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu"}) {
      list.push_back({name, name, 2});
    }
    for (const std::string_view name :
         {"Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round",
          "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh"}) {
      list.push_back({name, name, 1});
    }
    list.push_back({"Clip", "Clip", 3});
    list.push_back({"Elu", "Elu", 1, {{"alpha", 1}}});
    list.push_back({"Gelu", "Gelu", 1});
    list.push_back({"GeluTanh", "Gelu", 1});
    list.push_back({"HardSigmoid", "HardSigmoid", 1, {{"alpha", 0.2}, {"beta", 0.5}}});
    list.push_back({"LeakyRelu", "LeakyRelu", 1, {{"alpha", 0.01}}});
    list.push_back({"Swish", "Swish", 1, {{"alpha", 1}}});
    return list;
  }();
  return ops;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t blank = std::min(text.find(' '), text.size());
    if (blank > 0) words.push_back(text.substr(0, blank));
    text.remove_prefix(std::min(blank + 1, text.size()));
  }
  return words;
}

template <class T>
T parse_number(std::string_view word, std::string_view step) {
  T value{};
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) {
    fail(ErrorCode::invalid_input, "step \"{}\": \"{}\" is no number", step, word);
  }
  return value;
}

}  // namespace

const PointwiseOp* find_pointwise(std::string_view name) {
  const auto& ops = table();
  const auto it = std::find_if(ops.begin(), ops.end(), [&](const PointwiseOp& op) { return op.name == name; });
  return it == ops.end() ? nullptr : &*it;
}

std::optional<PointwiseStep> pointwise_of(std::string_view op, const Attributes& attributes, size_t inputs) {
  const bool tanh_gelu = op == "Gelu" && attributes.get_string("approximate", "none") == "tanh";
  const PointwiseOp* found = find_pointwise(tanh_gelu ? "GeluTanh" : op);
  if (!found || inputs > size_t(found->operands) || (op != "Clip" && inputs != size_t(found->operands))) {
    return std::nullopt;
  }
  PointwiseStep step{std::string(found->name), {}};
  for (size_t i = 0; i < inputs; ++i) step.arguments.push_back({int64_t(i), 0});
  if (op == "Clip") step.arguments.resize(3);
  for (const auto& [name, otherwise] : found->parameters) {
    step.arguments.push_back({-1, attributes.get_float(name, otherwise)});
  }
  return step;
}

std::string to_string(const PointwiseStep& step) {
  std::string text = step.op;
  for (const PointwiseArgument& argument : step.arguments) {
    text += argument.value >= 0 ? fmt::format(" {}", argument.value) : fmt::format(" #{}", argument.number);
  }
  return text;
}

PointwiseStep parse_step(std::string_view text, int64_t values) {
  const auto words = words_of(text);
  const PointwiseOp* op = words.empty() ? nullptr : find_pointwise(words[0]);
  if (!op) fail(ErrorCode::invalid_input, "step \"{}\": no operator for steps", text);
  const size_t wanted = size_t(op->operands) + op->parameters.size();
  if (words.size() != 1 + wanted) fail(ErrorCode::invalid_input, "step \"{}\": expected {} arguments", text, wanted);
  PointwiseStep step{std::string(words[0]), {}};
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i][0] == '#') {
      step.arguments.push_back({-1, parse_number<double>(words[i].substr(1), text)});
      continue;
    }
    const int64_t value = parse_number<int64_t>(words[i], text);
    const bool may_be_value = i == 1 || (i == 2 && op->operands == 2);
    if (!may_be_value || value < 0 || value >= values) {
      fail(ErrorCode::invalid_input, "step \"{}\": argument {} of {} values", text, words[i], values);
    }
    step.arguments.push_back({value, 0});
  }
  return step;
}

std::vector<PointwiseStep> parse_steps(const std::vector<std::string>& texts, int64_t inputs) {
  if (texts.empty()) fail(ErrorCode::invalid_input, "a program without steps");
  std::vector<PointwiseStep> steps;
  for (const std::string& text : texts) steps.push_back(parse_step(text, inputs + int64_t(steps.size())));
  return steps;
}

Tensor evaluate_step(const PointwiseStep& step, const std::vector<Tensor>& values) {
  const PointwiseOp& op = *find_pointwise(step.op);
  std::vector<Tensor> inputs;
  for (int i = 0; i < op.operands; ++i) {
    const PointwiseArgument& argument = step.arguments[size_t(i)];
    inputs.push_back(argument.value >= 0 ? values[size_t(argument.value)] : Tensor::scalar(float(argument.number)));
  }
  Attributes attributes;
  for (size_t i = 0; i < op.parameters.size(); ++i) {
    attributes.set(std::string(op.parameters[i].first), step.arguments[size_t(op.operands) + i].number);
  }
  if (step.op == "GeluTanh") attributes.set("approximate", "tanh");
  return evaluate(get_op(op.op), std::move(inputs), attributes)[0];
}

}  // namespace lathe::op
