#include "compiler/decoder_probes.h"

#include <algorithm>
#include <random>

#include "base/error.h"

namespace lathe::compiler {
namespace {

using ir::Graph;
using ir::Value;
using tensor::DType;
using tensor::Tensor;

// One shape of a step, and which positions are padding.
struct Probe {
  int64_t batch, sequence, past;
  unsigned padding_seed;  // 0: none

  std::string to_string() const {
    return fmt::format("batch {}, sequence {}, past {}{}", batch, sequence, past, padding_seed ? ", with padding" : "");
  }
};
constexpr Probe kProbes[] = {{1, 1, 0, 0}, {1, 4, 0, 0}, {1, 1, 5, 0}, {2, 3, 2, 0},
                             {2, 4, 0, 1}, {3, 2, 4, 2}, {2, 5, 1, 3}, {3, 6, 0, 4}};

bool has_past(const Graph& graph) {
  return graph.find("past_key_values.0.key").has_value();
}

// What the step's inputs are for a probe: what is asked about may look at any of them.
std::map<std::string, Tensor> probe_inputs(const Graph& graph, const Probe& probe) {
  const int64_t total = probe.past + probe.sequence;
  Tensor mask(DType::i64, {probe.batch, total});
  std::mt19937 random(probe.padding_seed);
  for (int64_t& seen : mask.data<int64_t>()) seen = probe.padding_seed == 0 || random() % 3 != 0;
  Tensor positions(DType::i64, {probe.batch, probe.sequence});
  const auto numbers = positions.data<int64_t>();
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = probe.past + int64_t(i) % probe.sequence;
  std::map<std::string, Tensor> inputs;
  for (const Value input : graph.inputs()) {
    const std::string& name = graph.name(input);
    if (name == "input_ids") inputs.emplace(name, Tensor(DType::i64, {probe.batch, probe.sequence}));
    if (name == "attention_mask") inputs.emplace(name, mask);
    if (name == "position_ids") inputs.emplace(name, positions);
    if (!name.starts_with("past_key_values.")) continue;
    const op::TypeInfo& type = graph.type(input);
    inputs.emplace(name, Tensor(type.dtype, {probe.batch, type.shape[1].value(), probe.past, type.shape[3].value()}));
  }
  return inputs;
}

Tensor evaluate_for(const Graph& graph, Value value, const std::map<std::string, Tensor>& inputs) {
  ir::EvaluateOptions options;
  options.results = {value};
  return ir::evaluate(graph, inputs, options).at(graph.name(value));
}

// Whether this element lets a query see a key: true, or added to the score as 0. nullopt: neither seen nor hidden.
std::optional<bool> sees(const Tensor& mask, int64_t index) {
  constexpr double kHidden = -1e4;
  const double value = tensor::element_as_double(mask, index);
  if (mask.dtype() == DType::boolean) return value != 0;
  if (value == 0) return true;
  return value <= kHidden ? std::optional(false) : std::nullopt;
}

bool is_causal(const Graph& graph, Value mask, const Probe& probe) {
  const auto inputs = probe_inputs(graph, probe);
  const Tensor found = evaluate_for(graph, mask, inputs);
  const Tensor& given = inputs.at("attention_mask");
  const int64_t total = probe.past + probe.sequence;
  if (found.dims() != tensor::Dims{probe.batch, 1, probe.sequence, total}) return false;
  for (int64_t b = 0; b < probe.batch; ++b) {
    for (int64_t i = 0; i < probe.sequence; ++i) {
      for (int64_t j = 0; j < total; ++j) {
        const bool expected = given.data<int64_t>()[size_t(b * total + j)] != 0 && j <= probe.past + i;
        if (sees(found, (b * probe.sequence + i) * total + j) != expected) return false;
      }
    }
  }
  return true;
}

bool are_positions(const Graph& graph, Value value, const Probe& probe) {
  const auto inputs = probe_inputs(graph, probe);
  const Tensor found = evaluate_for(graph, value, inputs);
  const bool shared = found.dims() == tensor::Dims{1, probe.sequence};
  if (!shared && found.dims() != tensor::Dims{probe.batch, probe.sequence}) return false;
  const auto seen = inputs.at("attention_mask").data<int64_t>();
  const int64_t total = probe.past + probe.sequence;
  bool from_first = true, from_first_seen = true;
  for (int64_t b = 0; b < probe.batch; ++b) {
    int64_t count = 0;
    for (int64_t j = 0; j < total; ++j) {
      const bool here = seen[size_t(b * total + j)] != 0;
      count += here;
      if (j < probe.past) continue;
      const int64_t position = found.data<int64_t>()[size_t((shared ? 0 : b * probe.sequence) + j - probe.past)];
      from_first &= position == j;
      from_first_seen &= !here || position == count - 1;  // where nothing is seen, any will do
    }
  }
  return from_first || from_first_seen;
}

}  // namespace

void require_causal(const Graph& graph, Value mask) {
  for (const Probe& probe : kProbes) {
    if ((probe.past > 0 && !has_past(graph)) || is_causal(graph, mask, probe)) continue;
    fail(ErrorCode::unsupported, "\"{}\" is no causal mask over attention_mask: it differs for {}", graph.name(mask),
         probe.to_string());
  }
}

bool is_positions(const Graph& graph, Value value) {
  return std::all_of(std::begin(kProbes), std::end(kProbes), [&](const Probe& probe) {
    return (probe.past > 0 && !has_past(graph)) || are_positions(graph, value, probe);
  });
}

}  // namespace lathe::compiler
