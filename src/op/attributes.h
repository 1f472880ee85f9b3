// Attributes of a node: names to typed values, in a fixed order so that printing is deterministic.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

namespace lathe::op {

class Subgraph;
using SubgraphPtr = std::shared_ptr<const Subgraph>;  // shared by copies of the graph; immutable

using AttributeValue = std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>,
                                    std::vector<std::string>, tensor::Tensor, SubgraphPtr>;

// Sorted by name. find_x: nullopt when absent; get_x: `otherwise` when absent. A value of another kind throws
// invalid_input naming the attribute (an int is accepted where a double is asked for).
class Attributes {
 public:
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<const std::string, AttributeValue>> values) : values_(values) {}

  void set(std::string name, AttributeValue value) {
    values_.insert_or_assign(std::move(name), std::move(value));
  }
  void erase(std::string_view name);
  bool has(std::string_view name) const { return values_.find(name) != values_.end(); }

  std::optional<int64_t> find_int(std::string_view name) const;
  std::optional<double> find_float(std::string_view name) const;
  std::optional<std::string> find_string(std::string_view name) const;
  std::optional<std::vector<int64_t>> find_ints(std::string_view name) const;
  std::optional<std::vector<double>> find_floats(std::string_view name) const;
  std::optional<std::vector<std::string>> find_strings(std::string_view name) const;
  const tensor::Tensor* find_tensor(std::string_view name) const;
  const Subgraph* find_graph(std::string_view name) const;
  const Subgraph& get_graph(std::string_view name) const;  // throws invalid_input when absent
  int64_t get_int(std::string_view name, int64_t otherwise) const {
    return find_int(name).value_or(otherwise);
  }
  double get_float(std::string_view name, double otherwise) const {
    return find_float(name).value_or(otherwise);
  }
  std::string get_string(std::string_view name, std::string_view otherwise) const {
    return find_string(name).value_or(std::string(otherwise));
  }

  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }
  bool empty() const { return values_.empty(); }
  size_t size() const { return values_.size(); }
  // Same names, same kinds, same values (tensors by content, floats by bits).
  friend bool operator==(const Attributes& a, const Attributes& b);

 private:
  std::map<std::string, AttributeValue, std::less<>> values_;
};

}  // namespace lathe::op
