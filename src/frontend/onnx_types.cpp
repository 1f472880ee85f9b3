#include "frontend/onnx_types.h"

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

op::TypeInfo tensor_type(const OnnxType& type, UnknownDims& unknown) {
  op::TypeInfo result{element_type(type.elem_type), {}};
  result.ranked = type.shape.has_value();
  if (!type.shape) return result;
  for (const io::OnnxDim& dim : *type.shape) {
    const auto* number = std::get_if<int64_t>(&dim.value);
    const auto* text = std::get_if<std::string>(&dim.value);
    if (number && *number >= 0) {
      result.shape.emplace_back(*number);
    } else if (text && !text->empty()) {
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

}  // namespace lathe::frontend
