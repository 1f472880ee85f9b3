#include "plan/attribute_json.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/fields.h"
#include "op/subgraph.h"

namespace lathe::plan {
namespace {

using tensor::DType;
using tensor::Tensor;

// Alternatives of op::AttributeValue in order.
constexpr std::array<std::string_view, 8> kKinds = {"int",    "float",   "string", "ints",
                                                    "floats", "strings", "tensor", "body"};
constexpr size_t kTensor = 6, kBody = 7;

// Floats may be infinite, which to_json refuses.
Json value_json(const op::AttributeValue& value, const AttributeForms& forms) {
  return std::visit(
      [&](const auto& v) -> Json {
        using V = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<V, Tensor>) {
          return tensor_json(v);
        } else if constexpr (std::is_same_v<V, op::SubgraphPtr>) {
          return forms.number_of_body(v);
        } else {
          return v;
        }
      },
      value);
}

template <size_t kIndex>
op::AttributeValue read_value(const Json& json) {
  std::variant_alternative_t<kIndex, op::AttributeValue> value{};
  from_json(json, value);
  return value;
}

op::AttributeValue read_attribute(const Json& tagged, const AttributeForms& forms) {
  using Read = op::AttributeValue (*)(const Json&);
  static constexpr std::array<Read, kTensor> kReaders = {&read_value<0>, &read_value<1>, &read_value<2>,
                                                         &read_value<3>, &read_value<4>, &read_value<5>};
  if (!tagged.is_object() || tagged.size() != 1) fail(ErrorCode::invalid_input, "expected one tagged value");
  const std::string& kind = tagged.begin().key();
  const Json& value = tagged.begin().value();
  for (size_t i = 0; i < kReaders.size(); ++i) {
    if (kKinds[i] == kind) return kReaders[i](value);
  }
  if (kind == kKinds[kTensor] && forms.tensors) return read_tensor(value);
  if (kind == kKinds[kBody] && forms.body) {
    int64_t number = 0;
    from_json(value, number);
    return forms.body(number);
  }
  fail(ErrorCode::invalid_input, "unknown kind \"{}\" of attribute", kind);
}

}  // namespace

void check_booleans(const Tensor& tensor) {
  if (tensor.dtype() != DType::boolean) return;
  const auto bytes = tensor.bytes();
  const auto bad = std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; });
  if (bad == bytes.end()) return;
  fail(ErrorCode::invalid_input, "a boolean holds {}", int(*bad));
}

Json tensor_json(const Tensor& tensor) {
  Json json = {{"dtype", std::string(to_string(tensor.dtype()))}, {"dims", tensor.dims()}};
  if (tensor.dtype() == DType::string) {
    json["strings"] = tensor.strings();
  } else {
    const auto bytes = tensor.bytes();
    json["data"] = std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return json;
}

Tensor read_tensor(const Json& json) {
  if (!json.is_object()) fields::fail_type("object", json);
  DType dtype = DType::undefined;
  tensor::Dims dims;
  from_json(get_member(json, "dtype"), dtype);
  from_json(get_member(json, "dims"), dims);
  const int64_t count = tensor::element_count(std::span<const int64_t>(dims));
  if (dtype == DType::undefined) fail(ErrorCode::invalid_input, "a tensor of no dtype");
  if (dtype == DType::string) {
    std::vector<std::string> strings;
    from_json(get_member(json, "strings"), strings);
    if (int64_t(strings.size()) != count) {
      fail(ErrorCode::invalid_input, "expected {} texts, found {}", count, strings.size());
    }
    return Tensor::of_strings(std::move(dims), std::move(strings));
  }
  const Json& data = get_member(json, "data");
  if (!data.is_string()) fields::fail_type("string", data);
  const std::string& bytes = data.get_ref<const std::string&>();
  if (bytes.size() != tensor::byte_size(dtype, count)) {
    fail(ErrorCode::invalid_input, "{}{} takes {} bytes, found {}", to_string(dtype),
         tensor::to_string(std::span<const int64_t>(dims)), tensor::byte_size(dtype, count), bytes.size());
  }
  Tensor tensor(dtype, std::move(dims));
  if (!bytes.empty()) std::memcpy(tensor.mutable_bytes().data(), bytes.data(), bytes.size());
  check_booleans(tensor);
  return tensor;
}

Json attributes_json(const op::Attributes& attributes, const AttributeForms& forms) {
  Json result = Json::object();
  for (const auto& [name, value] : attributes) {
    const bool takes = value.index() < kTensor || (value.index() == kTensor && forms.tensors) ||
                       (value.index() == kBody && forms.number_of_body);
    LATHE_CHECK(takes, "attribute \"{}\" is a tensor or a graph", name);
    Json tagged = Json::object();
    tagged.emplace(std::string(kKinds[value.index()]), value_json(value, forms));
    result.emplace(name, std::move(tagged));
  }
  return result;
}

op::Attributes read_attributes(const Json& json, const AttributeForms& forms) {
  if (!json.is_object()) fields::fail_type("object", json);
  op::Attributes attributes;
  for (const auto& [name, tagged] : json.items()) {
    with_context(name, [&, &n = name, &t = tagged] { attributes.set(n, read_attribute(t, forms)); });
  }
  return attributes;
}

}  // namespace lathe::plan
