// The tensors of a checkpoint under the roles an architecture gives them, as constants of a graph.
#pragma once

#include <set>
#include <string>

#include "frontend/decoder.h"

namespace lathe::frontend {

// What a GGUF or a Hugging Face folder of this architecture calls the tensor; empty if it has none there.
std::string tensor_name(const Architecture& architecture, bool gguf, Slot slot, int64_t layer);
// What this checkpoint calls it, or would if it had it: without the architecture's optional prefix where only such a
// tensor is there.
std::string stored_name(const Checkpoint& checkpoint, Slot slot, int64_t layer);

// Looks weights up by slot and layer, checks dtype and dims, puts them into the form the builder wants (split
// query-key-value, Hugging Face rotary order, the graph's dtype) without reading them, and remembers which
// tensors were used. Builder-time helper; one per build.
class Weights {
 public:
  Weights(const Checkpoint& checkpoint, const DecoderConfig& config, tensor::DType dtype);

  // The constant for a slot. Must exist with exactly these dims, else invalid_input with name, expected and
  // found.
  ir::Value get(ir::Graph& graph, Slot slot, int64_t layer, const tensor::Dims& dims);
  // The bias in a slot, absent if the model has none: it must be there or not as `expected` says, or as in
  // the first layer. Else invalid_input naming it.
  ir::Value bias(ir::Graph& graph, Slot slot, int64_t layer, const tensor::Dims& dims, std::optional<bool> expected,
                 std::string_view field);
  // The values of a small vector without a layer; nullopt when the checkpoint does not have it.
  std::optional<std::vector<float>> find_floats(Slot slot, int64_t count);

  // Query, key or value projection (index 0, 1, 2) whatever form the checkpoint keeps them in; bias absent if
  // there is none.
  struct Projection {
    ir::Value weight;
    ir::Value bias;
  };
  Projection projection(ir::Graph& graph, int index, int64_t layer);

  // Throws invalid_input naming the first tensor that no slot asked for, but for those the architecture
  // ignores and a stored copy of tied embeddings.
  void check_all_used() const;

 private:
  std::string name_of(Slot slot, int64_t layer) const { return stored_name(checkpoint_, slot, layer); }
  // `first` is the slot whose presence in the first layer decides where nothing is expected.
  tensor::SourcePtr bias_source(Slot slot, Slot first, int64_t layer, const tensor::Dims& dims,
                                std::optional<bool> expected, std::string_view field);
  // Matrices as [outputs, inputs], whichever way they are stored.
  tensor::SourcePtr find_source(Slot slot, int64_t layer, const tensor::Dims& dims);
  tensor::SourcePtr get_source(Slot slot, int64_t layer, const tensor::Dims& dims);
  // Query, key or value rows out of `stored`, in Hugging Face order; dims are those of the result.
  tensor::SourcePtr projection_rows(tensor::SourcePtr stored, int index, const tensor::Dims& dims) const;
  ir::Value constant(ir::Graph& graph, const std::string& name, tensor::SourcePtr source);

  const Checkpoint& checkpoint_;
  const DecoderConfig& config_;
  tensor::DType dtype_;
  QkvForm qkv_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace lathe::frontend
