// The tensors of one component of a picture pipeline, by the names diffusers gives them, as constants of graphs.
#pragma once

#include <map>
#include <set>
#include <string>

#include "frontend/builder.h"

namespace lathe::frontend {

using TensorMap = std::map<std::string, tensor::SourcePtr, std::less<>>;

// Looks tensors up by name, checks dims and dtype, converts without reading, and remembers which were used. The scope
// of a copy is where its names begin: weights.scoped("resnets.0").get(graph, "conv1.weight", dims).
class NamedWeights {
 public:
  // `tensors` and what scoped() copies share must outlive this. `dtype`: what the graph computes in.
  NamedWeights(const TensorMap& tensors, tensor::DType dtype)
      : tensors_(&tensors), dtype_(dtype), used_(std::make_shared<std::set<std::string, std::less<>>>()) {}

  NamedWeights scoped(std::string_view name) const;
  tensor::DType dtype() const { return dtype_; }
  bool has(std::string_view name) const { return tensors_->contains(qualified(name)); }
  // The stored dims. Throws invalid_input where there is no such tensor.
  const tensor::Dims& dims(std::string_view name) const;
  // The constant; its dims are `dims`, those stored may have more axes of length 1 at the end (a matrix that is kept as
  // a 1 x 1 convolution) or fewer. Else invalid_input with name, expected and found; unsupported for types that are no
  // floats.
  Value get(const Builder& b, std::string_view name, const tensor::Dims& dims) const;
  Value find(const Builder& b, std::string_view name, const tensor::Dims& dims) const;  // absent where it is not stored

  // Throws invalid_input naming the first tensor below this scope that nobody asked for; `ignored` says which need not
  // be.
  void check_all_used(bool (*ignored)(std::string_view name)) const;

 private:
  std::string qualified(std::string_view name) const;
  tensor::SourcePtr source(std::string_view name, const tensor::Dims& dims) const;

  const TensorMap* tensors_;
  tensor::DType dtype_;
  std::string scope_;
  std::shared_ptr<std::set<std::string, std::less<>>> used_;
};

}  // namespace lathe::frontend
