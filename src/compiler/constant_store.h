// The weight section of an engine of graphs while it is written: each content once.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/team.h"
#include "compiler/graph_build.h"
#include "plan/engine_file.h"
#include "tensor/load_in_place.h"

namespace lathe::compiler {

class ConstantStore {
 public:
  ConstantStore(plan::EngineWriter& writer, Team& team) : writer_(writer), team_(team) {}

  // Stores the constants of these jobs, packed by the team a few at a time, and tells their plans where they are. Small
  // plain ones stay in the model, for inference.
  void store(std::span<const ConstantJob> jobs, const std::function<void(uint64_t)>& done);

  // Where the bytes of a constant that a graph's text names are: those of a plan where they hold it, else they are
  // stored now.
  plan::StoredSource source(const std::string& name, const tensor::SourcePtr& source);

 private:
  // How bytes that are there lie.
  struct Stored {
    int64_t offset = 0, bytes = 0;
    std::string layout;
    int64_t variant = 0;
    tensor::SourcePtr source;  // keeps the key of the map alone
  };

  int64_t place(std::span<const std::byte> bytes);
  void place(const ConstantJob& job, const tensor::Tensor& tensor, bool packed);
  const Stored* find_transposed(const std::string& name, const tensor::Source& source) const;

  plan::EngineWriter& writer_;
  Team& team_;
  std::map<std::pair<std::string, size_t>, int64_t> contents_;         // by hash and size: the offset
  // What the values are read from, and as which type.
  using Key = std::pair<const tensor::Source*, tensor::DType>;
  static Key key_of(const tensor::SourcePtr& source) { return {tensor::unconverted(source), source->dtype()}; }
  std::map<Key, Stored> by_source_;                  // the plain one where there are several
  std::map<std::string, std::vector<Key>> by_name_;  // of matrices in plans
};

}  // namespace lathe::compiler
