#include "frontend/onnx_types.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "op/values.h"

namespace lathe::frontend {
namespace {

using io::OnnxAttributeType;
using io::OnnxType;
using tensor::DType;

DType element_type(int32_t data_type) {
  if (data_type <= 0 || data_type > int32_t(DType::i2)) {
    fail(ErrorCode::unsupported, "element type {} is not known", data_type);
  }
  return DType(data_type);
}

// Exporters have texts for lengths that they do not know: "?" of Paddle, "None", "-1". Two of them are not one length.
bool names_a_length(std::string_view text) {
  if (text == "None" || text == "-1") return false;
  return std::ranges::any_of(text, [](unsigned char c) { return std::isalnum(c) || c == '_' || c >= 0x80; });
}

op::TypeInfo tensor_type(const OnnxType& type, UnknownDims& unknown) {
  op::TypeInfo result{element_type(type.elem_type), {}};
  result.ranked = type.shape.has_value();
  if (!type.shape) return result;
  for (const io::OnnxDim& dim : *type.shape) {
    const auto* number = std::get_if<int64_t>(&dim.value);
    const auto* text = std::get_if<std::string>(&dim.value);
    if (number && *number >= 0) {
      result.shape.emplace_back(*number);
    } else if (text && names_a_length(*text)) {
      result.shape.push_back(tensor::Dim::from_text(*text));
    } else {  // nothing, or -1, as old exporters wrote it
      result.shape.push_back(unknown.next());
    }
  }
  return result;
}

const OnnxType& element_of(const OnnxType& type) {
  if (type.element.empty()) fail(ErrorCode::invalid_input, "a sequence or optional of nothing");
  return type.element[0];
}

OnnxType wrapped(OnnxType::Kind kind, OnnxType element) {
  OnnxType result;
  result.kind = kind;
  result.element.push_back(std::move(element));
  return result;
}

// The text between `open` and the end of `text`, less the bracket that closes it; `text` itself without `open`.
bool strip(std::string_view& text, std::string_view open) {
  if (!text.starts_with(open)) return false;
  text.remove_prefix(open.size());
  text.remove_suffix(1);
  return true;
}

// The inverse of op::to_string(TypeInfo), for what an Optional may hold.
op::TypeInfo read_type(std::string_view text) {
  const std::string_view whole = text;
  const bool sequence = strip(text, "sequence(");
  const std::string_view element = text.substr(0, text.find('['));
  const auto dtype = tensor::find_dtype(element);
  if (!dtype) fail(ErrorCode::unsupported, "type \"{}\" cannot be written", whole);
  if (sequence) return op::TypeInfo::sequence(*dtype);
  text.remove_prefix(element.size());
  if (!strip(text, "[") || text == "...") return op::TypeInfo::unranked(*dtype);
  op::TypeInfo type{*dtype, {}};
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view dim = text.substr(text.starts_with(' ') ? 1 : 0, comma - (text.starts_with(' ') ? 1 : 0));
    type.shape.push_back(tensor::Dim::from_text(dim));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return type;
}

}  // namespace

op::TypeInfo type_of(const OnnxType& type, UnknownDims& unknown) {
  switch (type.kind) {
    case OnnxType::Kind::tensor:
      return tensor_type(type, unknown);
    case OnnxType::Kind::sequence: {
      const OnnxType& element = element_of(type);
      if (element.kind != OnnxType::Kind::tensor) {
        fail(ErrorCode::unsupported, "a sequence of something that is no tensor");
      }
      return op::TypeInfo::sequence(element_type(element.elem_type));
    }
    case OnnxType::Kind::optional: {
      op::TypeInfo inner = type_of(element_of(type), unknown);
      if (inner.form != op::Form::tensor && inner.form != op::Form::sequence) {
        fail(ErrorCode::unsupported, "an optional of an optional");
      }
      op::TypeInfo result = op::TypeInfo::sequence(inner.dtype);
      result.form = inner.form == op::Form::tensor ? op::Form::optional_tensor : op::Form::optional_sequence;
      return result;
    }
    default:
      fail(ErrorCode::unsupported, "a value that is neither tensor, sequence nor optional");
  }
}

tensor::Tensor dense(const io::OnnxSparseTensor& sparse, const io::OnnxFile& file) {
  const tensor::Tensor values = file.load(sparse.values);
  const tensor::Tensor indices = file.load(sparse.indices);
  const tensor::Dims& dims = sparse.dims;
  const int64_t count = values.size();
  const bool linear = indices.rank() == 1;
  if (indices.dtype() != DType::i64 || indices.size() != (linear ? count : count * int64_t(dims.size()))) {
    fail(ErrorCode::invalid_input, "sparse tensor \"{}\": {} values, indices {}{}", sparse.values.name, count,
         to_string(indices.dtype()), tensor::to_string(std::span(indices.dims())));
  }
  tensor::Tensor result(values.dtype(), dims);  // zeros
  op::ElementCopier copier(values, result);
  const auto index = indices.data<int64_t>();
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = linear ? index[size_t(i)] : 0;
    for (size_t axis = 0; !linear && axis < dims.size(); ++axis) {
      const int64_t coordinate = index[size_t(i) * dims.size() + axis];
      if (coordinate < 0 || coordinate >= dims[axis]) at = -1;
      if (at >= 0) at = at * dims[axis] + coordinate;
    }
    if (at < 0 || at >= result.size()) {
      fail(ErrorCode::invalid_input, "sparse tensor \"{}\": index {} is outside of {}", sparse.values.name, i,
           tensor::to_string(std::span(dims)));
    }
    copier.copy(i, at);
  }
  return result;
}

op::AttributeValue attribute_of(const io::OnnxAttribute& attribute, const io::OnnxFile& file) {
  const auto& value = attribute.value;
  switch (attribute.type) {
    case OnnxAttributeType::f32:
      return double(std::get<float>(value));
    case OnnxAttributeType::i64:
      return std::get<int64_t>(value);
    case OnnxAttributeType::string:
      return std::get<std::string>(value);
    case OnnxAttributeType::ints:
      return std::get<std::vector<int64_t>>(value);
    case OnnxAttributeType::strings:
      return std::get<std::vector<std::string>>(value);
    case OnnxAttributeType::tensor:
      return file.load(std::get<std::vector<io::OnnxTensor>>(value).at(0));
    case OnnxAttributeType::sparse_tensor:
      return dense(std::get<std::vector<io::OnnxSparseTensor>>(value).at(0), file);
    case OnnxAttributeType::floats: {
      const auto& floats = std::get<std::vector<float>>(value);
      return std::vector<double>(floats.begin(), floats.end());
    }
    case OnnxAttributeType::type: {
      UnknownDims unknown;
      return op::to_string(type_of(std::get<std::vector<OnnxType>>(value).at(0), unknown));
    }
    default:
      fail(ErrorCode::unsupported, "attribute \"{}\" of kind {}", attribute.name, io::to_string(attribute.type));
  }
}

OnnxType onnx_type(const op::TypeInfo& type) {
  using Kind = OnnxType::Kind;
  if (type.dtype == DType::undefined) fail(ErrorCode::unsupported, "only the run knows its type");
  OnnxType result;
  result.kind = Kind::tensor;
  result.elem_type = int32_t(type.dtype);
  switch (type.form) {
    case op::Form::tensor:
      break;
    case op::Form::sequence:
      return wrapped(Kind::sequence, std::move(result));
    case op::Form::optional_tensor:
      return wrapped(Kind::optional, std::move(result));
    case op::Form::optional_sequence:
      return wrapped(Kind::optional, wrapped(Kind::sequence, std::move(result)));
  }
  if (!type.ranked) return result;
  result.shape.emplace();
  for (const tensor::Dim& dim : type.shape) {
    io::OnnxDim& to = result.shape->emplace_back();
    if (dim.is_constant()) {
      to.value = dim.value();
    } else {
      to.value = dim.to_string();
    }
  }
  return result;
}

io::OnnxAttribute onnx_attribute(const std::string& name, const op::AttributeValue& value) {
  io::OnnxAttribute result;
  result.name = name;
  const auto set = [&](OnnxAttributeType type, auto converted) {
    result.type = type;
    result.value = std::move(converted);
  };
  std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, int64_t>) {
          set(OnnxAttributeType::i64, v);
        } else if constexpr (std::is_same_v<T, double>) {
          set(OnnxAttributeType::f32, float(v));
        } else if constexpr (std::is_same_v<T, std::string>) {
          set(OnnxAttributeType::string, v);
        } else if constexpr (std::is_same_v<T, std::vector<int64_t>>) {
          set(OnnxAttributeType::ints, v);
        } else if constexpr (std::is_same_v<T, std::vector<double>>) {
          set(OnnxAttributeType::floats, std::vector<float>(v.begin(), v.end()));
        } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
          set(OnnxAttributeType::strings, v);
        } else if constexpr (std::is_same_v<T, tensor::Tensor>) {
          set(OnnxAttributeType::tensor, std::vector<io::OnnxTensor>{io::OnnxTensor::of("", v)});
        } else {
          LATHE_CHECK(false, "attribute \"{}\" is a graph", name);
        }
      },
      value);
  return result;
}

io::OnnxAttribute onnx_type_attribute(const std::string& name, std::string_view text) {
  io::OnnxAttribute result;
  result.name = name;
  result.type = OnnxAttributeType::type;
  result.value = std::vector<OnnxType>{onnx_type(read_type(text))};
  return result;
}

}  // namespace lathe::frontend
