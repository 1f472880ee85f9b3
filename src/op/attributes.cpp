#include "op/attributes.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "op/subgraph.h"

namespace lathe::op {
namespace {

constexpr std::string_view kKindNames[] = {"an int", "a float", "a string", "ints",
                                           "floats", "strings", "a tensor", "a graph"};

[[noreturn]] void wrong_kind(std::string_view name, std::string_view expected, const AttributeValue& found) {
  fail(ErrorCode::invalid_input, "attribute \"{}\": expected {}, found {}", name, expected,
       kKindNames[found.index()]);
}

template <class T>
const T* find_as(const std::map<std::string, AttributeValue, std::less<>>& values, std::string_view name,
                 std::string_view expected) {
  const auto it = values.find(name);
  if (it == values.end()) return nullptr;
  const T* value = std::get_if<T>(&it->second);
  if (!value) wrong_kind(name, expected, it->second);
  return value;
}

template <class T>
std::optional<T> copy(const T* value) {
  if (!value) return std::nullopt;
  return *value;
}

bool same(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

bool same(const tensor::Tensor& a, const tensor::Tensor& b) {
  if (a.dtype() != b.dtype() || a.dims() != b.dims()) return false;
  if (a.dtype() == tensor::DType::string) return a.strings() == b.strings();
  return a.bytes().empty() || std::memcmp(a.bytes().data(), b.bytes().data(), a.bytes().size()) == 0;
}

bool same(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!same(a[i], b[i])) return false;
  }
  return true;
}

bool same(const SubgraphPtr& a, const SubgraphPtr& b) {
  return a == b || (a && b && a->same_as(*b));
}

template <class T>
bool same(const T& a, const T& b) {
  return a == b;
}

}  // namespace

void Attributes::erase(std::string_view name) {
  const auto it = values_.find(name);
  if (it != values_.end()) values_.erase(it);
}

std::optional<int64_t> Attributes::find_int(std::string_view name) const {
  return copy(find_as<int64_t>(values_, name, "an int"));
}

std::optional<double> Attributes::find_float(std::string_view name) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return std::nullopt;
  if (const int64_t* integer = std::get_if<int64_t>(&it->second)) return double(*integer);
  return copy(find_as<double>(values_, name, "a float"));
}

std::optional<std::string> Attributes::find_string(std::string_view name) const {
  return copy(find_as<std::string>(values_, name, "a string"));
}

std::optional<std::vector<int64_t>> Attributes::find_ints(std::string_view name) const {
  return copy(find_as<std::vector<int64_t>>(values_, name, "ints"));
}

std::optional<std::vector<double>> Attributes::find_floats(std::string_view name) const {
  return copy(find_as<std::vector<double>>(values_, name, "floats"));
}

std::optional<std::vector<std::string>> Attributes::find_strings(std::string_view name) const {
  return copy(find_as<std::vector<std::string>>(values_, name, "strings"));
}

const Subgraph* Attributes::find_graph(std::string_view name) const {
  const SubgraphPtr* graph = find_as<SubgraphPtr>(values_, name, "a graph");
  return graph ? graph->get() : nullptr;
}

const Subgraph& Attributes::get_graph(std::string_view name) const {
  const Subgraph* graph = find_graph(name);
  if (!graph) fail(ErrorCode::invalid_input, "attribute \"{}\" is missing", name);
  return *graph;
}

const tensor::Tensor* Attributes::find_tensor(std::string_view name) const {
  return find_as<tensor::Tensor>(values_, name, "a tensor");
}

bool operator==(const Attributes& a, const Attributes& b) {
  if (a.values_.size() != b.values_.size()) return false;
  auto other = b.values_.begin();
  for (const auto& [name, value] : a.values_) {
    if (name != other->first || value.index() != other->second.index()) return false;
    const bool equal = std::visit(
        [&](const auto& v) { return same(v, std::get<std::decay_t<decltype(v)>>(other->second)); }, value);
    if (!equal) return false;
    ++other;
  }
  return true;
}

}  // namespace lathe::op
