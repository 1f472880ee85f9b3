// A language model's ONNX graph that has no engine, compiled as any graph is: lengths are bound anew at each step, and
// the cache is copied.
#pragma once

#include "frontend/checkpoint.h"
#include "ir/graph.h"
#include "pipeline/generate/generate.h"
#include "runtime/graph_session.h"

namespace lathe::cli {

// One sequence. Inputs are told apart by Optimum's names: input_ids, attention_mask, position_ids, and
// past_key_values.* that present.* feed; a graph without a past is given all tokens at each step.
class GraphModel final : public pipeline::TokenModel {
 public:
  // `folder`: config.json and model.onnx. Throws unsupported naming an input of another name, or what is missing.
  explicit GraphModel(const frontend::Checkpoint& folder, const runtime::GraphOptions& options = {});

  const contract::Contract& contract() const override { return contract_; }
  int64_t context_length() const override { return contract_.context_length; }
  int64_t length() const override { return int64_t(tokens_.size()); }
  std::span<const float> append(std::span<const int32_t> tokens, const pipeline::OnPromptLogits& on_logits) override;

 private:
  void declare_inputs(const ir::Graph& graph);
  contract::Contract read_contract(const ir::Graph& graph, const frontend::Checkpoint& folder) const;
  runtime::GraphSession::Data step_inputs(int64_t first) const;

  std::unique_ptr<runtime::GraphSession> session_;
  std::map<std::string, tensor::DType> step_;    // inputs that are made at each step
  std::map<std::string, std::string> presents_;  // outputs by the input each becomes
  std::map<std::string, tensor::Tensor> past_;   // by input
  contract::Contract contract_;
  std::vector<int32_t> tokens_;
  std::vector<float> last_;
};

}  // namespace lathe::cli
