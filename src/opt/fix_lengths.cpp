#include "opt/fix_lengths.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/near_names.h"
#include "op/bindings.h"

namespace lathe::opt {
namespace {

using op::TypeInfo;

std::set<std::string> symbols_of(const ir::Graph& graph) {
  std::set<std::string> symbols;
  for (const ir::Value input : graph.inputs()) {
    for (const tensor::Dim& dim : graph.type(input).shape) {
      for (std::string& symbol : dim.symbols()) symbols.insert(std::move(symbol));
    }
  }
  return symbols;
}

[[noreturn]] void fail_unknown(const std::string& name, const std::set<std::string>& symbols,
                               const std::map<std::string, TypeInfo>& types) {
  std::vector<std::string> names(symbols.begin(), symbols.end());
  for (const auto& [input, type] : types) names.push_back(input);
  fail(ErrorCode::usage, "\"{}\" is neither an input of the graph nor a symbol of its inputs{}", name,
       near_text(name, names));
}

void bind_symbol(op::Bindings& bindings, const std::string& symbol, int64_t length) {
  const auto [it, fresh] = bindings.emplace(symbol, length);
  if (!fresh && it->second != length) {
    fail(ErrorCode::usage, "symbol \"{}\" cannot be {} and {}", symbol, it->second, length);
  }
}

// What the symbols alone in a dimension of this input become.
void bind_input(op::Bindings& bindings, const std::string& name, const TypeInfo& type, const tensor::Dims& dims) {
  if (type.form != op::Form::tensor) {
    fail(ErrorCode::usage, "input \"{}\" {} has no lengths", name, op::to_string(type));
  }
  if (!type.ranked) return;
  if (type.shape.size() != dims.size()) {
    fail(ErrorCode::usage, "input \"{}\": expected {}, found {}", name, op::to_string(type),
         tensor::to_string(std::span(dims)));
  }
  for (size_t i = 0; i < dims.size(); ++i) {
    const auto symbols = type.shape[i].symbols();
    if (symbols.size() == 1 && type.shape[i] == tensor::Dim::symbol(symbols[0])) {
      bind_symbol(bindings, symbols[0], dims[i]);
    }
  }
}

}  // namespace

std::map<std::string, TypeInfo> fixed_input_types(const ir::Graph& graph, const Lengths& lengths) {
  std::map<std::string, TypeInfo> types;
  for (const ir::Value input : graph.inputs()) types.emplace(graph.name(input), graph.type(input));
  const std::set<std::string> symbols = symbols_of(graph);
  op::Bindings bindings;
  for (const auto& [name, dims] : lengths) {
    if (std::any_of(dims.begin(), dims.end(), [](int64_t length) { return length < 0; })) {
      fail(ErrorCode::usage, "\"{}\": a length cannot be negative", name);
    }
    if (const auto it = types.find(name); it != types.end()) {
      bind_input(bindings, name, it->second, dims);
    } else if (!symbols.contains(name)) {
      fail_unknown(name, symbols, types);
    } else if (dims.size() != 1) {
      fail(ErrorCode::usage, "symbol \"{}\": expected one length, found {}", name, tensor::to_string(std::span(dims)));
    } else {
      bind_symbol(bindings, name, dims[0]);
    }
  }
  for (auto& [name, type] : types) {
    for (tensor::Dim& dim : type.shape) dim = dim.bind(bindings);
    const auto wish = lengths.find(name);
    if (wish == lengths.end()) continue;
    for (size_t i = 0; i < type.shape.size(); ++i) {  // numbers, and sums that have become numbers
      if (type.shape[i].constant().value_or(wish->second[i]) == wish->second[i]) continue;
      fail(ErrorCode::usage, "input \"{}\": expected {}, found {}", name, op::to_string(type),
           tensor::to_string(std::span(wish->second)));
    }
    type.shape = tensor::to_shape(wish->second);
    type.ranked = true;
  }
  return types;
}

void fix_lengths(ir::Graph& graph, const Lengths& lengths) {
  if (lengths.empty()) return;
  const auto types = fixed_input_types(graph, lengths);
  for (const ir::Value input : graph.inputs()) graph.set_type(input, types.at(graph.name(input)));
  graph.infer_types();
}

}  // namespace lathe::opt
