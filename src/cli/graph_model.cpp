#include "cli/graph_model.h"

#include <algorithm>

#include "base/error.h"
#include "compiler/graph_build.h"
#include "frontend/contract_from.h"
#include "frontend/decoder.h"
#include "frontend/onnx_import.h"

namespace lathe::cli {
namespace {

using ir::Value;
using tensor::DType;
using tensor::Tensor;

constexpr std::string_view kPast = "past_key_values.";
constexpr int64_t kAnyContext = int64_t{1} << 30;  // where config.json names none (ALiBi)

// `count` numbers from value(0) on as [1, count], in the type the input wants.
template <class F>
Tensor row_of(DType dtype, int64_t count, F&& value) {
  Tensor row(DType::i64, {1, count});
  for (int64_t i = 0; i < count; ++i) row.data<int64_t>()[size_t(i)] = value(i);
  return dtype == DType::i64 ? row : tensor::cast(row, dtype);
}

// A past of nothing: one sequence, and what else is not known is the length.
Tensor empty_past(const std::string& name, const op::TypeInfo& type) {
  tensor::Dims dims;
  int unknown = 0;
  for (size_t i = 0; i < type.shape.size(); ++i) {
    const auto size = type.shape[i].constant();
    dims.push_back(size ? *size : i == 0 ? 1 : 0);
    unknown += i > 0 && !size;
  }
  if (unknown != 1 || dims.at(0) != 1) {
    fail(ErrorCode::unsupported, "input \"{}\" {} is not the past of one sequence", name, op::to_string(type));
  }
  return Tensor(type.dtype, dims);
}

// Results are views that the next call overwrites.
Tensor copy_of(const Tensor& tensor) {
  Tensor copy(tensor.dtype(), tensor.dims());
  std::copy(tensor.bytes().begin(), tensor.bytes().end(), copy.mutable_bytes().begin());
  return copy;
}

}  // namespace

GraphModel::GraphModel(const frontend::Checkpoint& folder, const runtime::GraphOptions& options) {
  ir::Graph graph = frontend::import_onnx(io::OnnxFile::open(folder.files().at(0)));
  declare_inputs(graph);
  contract_ = read_contract(graph, folder);
  session_ = std::make_unique<runtime::GraphSession>(compiler::build_graph(std::move(graph)), options);
}

void GraphModel::declare_inputs(const ir::Graph& graph) {
  for (const Value input : graph.inputs()) {
    const std::string& name = graph.name(input);
    if (name == "input_ids" || name == "attention_mask" || name == "position_ids") {
      step_[name] = graph.type(input).dtype;
      continue;
    }
    const std::string present = name.starts_with(kPast) ? "present." + name.substr(kPast.size()) : "";
    const auto output = graph.find(present);
    if (present.empty() || !output || !graph.is_output(*output)) {
      fail(ErrorCode::unsupported, "input \"{}\": nothing says what it is", name);
    }
    presents_[name] = present;
    past_.emplace(name, empty_past(name, graph.type(input)));
  }
  const auto logits = graph.find("logits");
  if (!step_.contains("input_ids") || !logits || !graph.is_output(*logits)) {
    fail(ErrorCode::unsupported, "not the graph of a language model: expected input_ids and logits");
  }
}

contract::Contract GraphModel::read_contract(const ir::Graph& graph, const frontend::Checkpoint& folder) const {
  const Json& config = folder.config();
  frontend::DecoderConfig sizes;
  const tensor::Shape& logits = graph.type(*graph.find("logits")).shape;
  const auto columns = logits.size() == 3 ? logits[2].constant() : std::nullopt;
  sizes.vocab_size = columns ? *columns : get_int(config, "vocab_size");
  for (const char* key : {"max_position_embeddings", "n_positions", "n_ctx", "seq_length"}) {
    if (sizes.context_length == 0) sizes.context_length = find_int(config, key).value_or(0);
  }
  if (sizes.context_length == 0) sizes.context_length = kAnyContext;
  // Nothing here looks at layers and heads; a graph without a past does not tell them.
  sizes.num_layers = std::max<int64_t>(1, int64_t(past_.size()) / 2);
  sizes.num_kv_heads = sizes.head_dim = 1;
  return frontend::make_contract(folder, sizes, contract::Precision::fp32);
}

runtime::GraphSession::Data GraphModel::step_inputs(int64_t first) const {
  runtime::GraphSession::Data inputs(past_.begin(), past_.end());
  const int64_t length = int64_t(tokens_.size());
  for (const auto& [name, dtype] : step_) {
    if (name == "input_ids") {
      inputs[name] = row_of(dtype, length - first, [&](int64_t i) { return tokens_[size_t(first + i)]; });
    } else if (name == "attention_mask") {
      inputs[name] = row_of(dtype, length, [](int64_t) { return 1; });
    } else {
      inputs[name] = row_of(dtype, length - first, [&](int64_t i) { return first + i; });
    }
  }
  return inputs;
}

std::span<const float> GraphModel::append(std::span<const int32_t> tokens, const pipeline::OnPromptLogits& on_logits) {
  const int64_t held = length();
  const int64_t first = past_.empty() ? 0 : held;
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  const auto results = session_->run(step_inputs(first));
  for (auto& [input, past] : past_) past = copy_of(results.at(presents_.at(input)).tensor());
  const Tensor& logits = results.at("logits").tensor();
  const tensor::Dims expected{1, length() - first, contract_.vocab_size};
  if (logits.dims() != expected || !tensor::is_float(logits.dtype())) {
    fail(ErrorCode::unsupported, "output \"logits\": expected floats {}, found {}{}",
         tensor::to_string(std::span<const int64_t>(expected)), tensor::to_string(logits.dtype()),
         tensor::to_string(std::span<const int64_t>(logits.dims())));
  }
  const std::vector<float> rows = tensor::to_floats(logits);
  const auto row = [&](int64_t position) {
    return std::span(rows).subspan(size_t((position - first) * expected[2]), size_t(expected[2]));
  };
  for (int64_t position = held; on_logits && position < length(); ++position) on_logits(position, row(position));
  const auto last = row(length() - 1);
  last_.assign(last.begin(), last.end());
  return last_;
}

}  // namespace lathe::cli
