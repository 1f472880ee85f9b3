// Attributes, tensors and types.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "io/onnx_reader.h"

namespace lathe::io {

namespace {

// The field of AttributeProto that holds the value, by OnnxAttributeType.
constexpr std::array<uint32_t, 15> kValueFields = {0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 22, 23, 14, 15};

}  // namespace

// The type stands behind the value on the wire, hence two passes: what it is, then the value.
void OnnxReader::read_attribute(Bytes message, OnnxAttribute& out) {
  int32_t type = 0;
  int32_t implied = 0;  // files of IR version 1 do not say the type: by the value that is there
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        out.name = text(in);
        break;
      case 13:
        out.doc_string = text(in);
        break;
      case 20:
        type = in.as_int32();
        break;
      case 21:
        out.ref_attr_name = text(in);
        break;
      default: {
        const auto it = std::find(kValueFields.begin() + 1, kValueFields.end(), in.field());
        if (it != kValueFields.end()) implied = int32_t(it - kValueFields.begin());
      }
    }
  }
  if (type == 0) type = implied;
  if (type < 0 || type >= int32_t(kValueFields.size())) {
    fail(ErrorCode::invalid_input, "attribute \"{}\" has the unknown type {}", out.name, type);
  }
  out.type = OnnxAttributeType(type);
  if (out.ref_attr_name.empty()) read_attribute_value(message, out);
}

void OnnxReader::read_attribute_value(Bytes message, OnnxAttribute& out) {
  using Type = OnnxAttributeType;
  const auto each = [&](auto&& body) {
    for (WireReader in(message); in.next();) {
      if (in.field() == kValueFields[size_t(out.type)]) body(in);
    }
  };
  // Fills a vector in the attribute; `read` appends one occurrence of the field.
  const auto list = [&]<class T>(std::vector<T> values, auto&& read) {
    each([&](const WireReader& in) { read(in, values); });
    out.value = std::move(values);
  };
  // Messages; the singular types must have exactly one, because views of the file cannot be merged.
  const auto messages = [&]<class T>(bool single, void (OnnxReader::*read)(Bytes, T&)) {
    list(std::vector<T>(),
         [&](const WireReader& in, std::vector<T>& values) { push(in, values, read, "value"); });
    const size_t count = std::get<std::vector<T>>(out.value).size();
    if (single && count != 1) {
      fail(ErrorCode::invalid_input, "attribute \"{}\" of type {} has {} values", out.name,
           to_string(out.type), count);
    }
  };
  const auto push_floats = [&](const WireReader& in, std::vector<float>& values) {
    const Bytes run = in.fixed32_run();
    spend(run.size());
    const size_t before = values.size();
    values.resize(before + run.size() / sizeof(float));
    if (!run.empty()) std::memcpy(values.data() + before, run.data(), run.size());
  };
  // Absent scalars are 0: writers that follow the proto3 schema leave them out.
  switch (out.type) {
    case Type::undefined:
      return;
    case Type::f32:
      out.value = 0.0f;
      return each([&](const WireReader& in) { out.value = in.as_float(); });
    case Type::i64:
      out.value = int64_t{0};
      return each([&](const WireReader& in) { out.value = in.as_int64(); });
    case Type::string:
      out.value = std::string();
      return each([&](const WireReader& in) { out.value = text(in); });
    case Type::floats:
      return list(std::vector<float>(), push_floats);
    case Type::ints:
      return list(std::vector<int64_t>(), [&](auto& in, auto& values) { push_ints(in, values); });
    case Type::strings:
      return list(std::vector<std::string>(), [&](auto& in, auto& values) { push_text(in, values); });
    case Type::tensor:
      return messages(true, &OnnxReader::read_tensor);
    case Type::tensors:
      return messages(false, &OnnxReader::read_tensor);
    case Type::graph:
      return messages(true, &OnnxReader::read_graph);
    case Type::graphs:
      return messages(false, &OnnxReader::read_graph);
    case Type::sparse_tensor:
      return messages(true, &OnnxReader::read_sparse_tensor);
    case Type::sparse_tensors:
      return messages(false, &OnnxReader::read_sparse_tensor);
    case Type::type:
      return messages(true, &OnnxReader::read_type);
    case Type::types:
      return messages(false, &OnnxReader::read_type);
  }
}

void OnnxReader::read_tensor(Bytes message, OnnxTensor& out) {
  OnnxProperties external;
  bool is_external = false;
  bool is_typed = false;
  std::optional<OnnxRaw> raw;
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        push_ints(in, out.dims);
        break;
      case 2:
        out.data_type = in.as_int32();
        break;
      case 3:
        out.segmented = true;
        break;
      case 4:
      case 5:
      case 6:
      case 7:
      case 10:
      case 11:
        is_typed = true;
        break;
      case 8:
        out.name = text(in);
        break;
      case 9:
        raw = OnnxRaw{in.as_bytes()};
        break;
      case 12:
        out.doc_string = text(in);
        break;
      case 13:
        nest(in, external, &OnnxReader::read_property);
        break;
      case 14:
        is_external = in.as_int32() == 1;
        break;
      case 16:
        nest(in, out.metadata, &OnnxReader::read_property);
        break;
      default:
        break;
    }
  }
  if (is_external) {
    with_context(out.name, [&] { read_external(external, out); });
  } else if (raw && is_typed && !raw->bytes.empty()) {
    fail(ErrorCode::invalid_input, "tensor \"{}\" has both raw_data and a typed array", out.name);
  } else if (is_typed) {
    out.values = OnnxTyped{message};
  } else if (raw) {
    out.values = *raw;
  }
}

void OnnxReader::read_external(const OnnxProperties& entries, OnnxTensor& out) {
  const auto number = [](std::string_view key, std::string_view value) {
    uint64_t result = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    if (error != std::errc{} || end != value.data() + value.size()) {
      fail(ErrorCode::invalid_input, "external data: {} is \"{}\", not a number", key, value);
    }
    return result;
  };
  OnnxExternal external;
  for (const auto& [key, value] : entries) {
    if (key == "location") external.location = value;
    if (key == "offset") external.offset = number(key, value);
    if (key == "length") external.length = number(key, value);
    if (key == "checksum") external.checksum = value;
  }
  out.values = std::move(external);
}

void OnnxReader::read_sparse_tensor(Bytes message, OnnxSparseTensor& out) {
  bool has_values = false;
  bool has_indices = false;
  // Two parts of one TensorProto would have to be merged, which views of the file cannot be.
  const auto once = [](bool& seen) {
    if (std::exchange(seen, true)) fail(ErrorCode::invalid_input, "sparse tensor in several parts");
  };
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        once(has_values);
        nest(in, out.values, &OnnxReader::read_tensor);
        break;
      case 2:
        once(has_indices);
        nest(in, out.indices, &OnnxReader::read_tensor);
        break;
      case 3:
        push_ints(in, out.dims);
        break;
      default:
        break;
    }
  }
}

void OnnxReader::read_value_info(Bytes message, OnnxValueInfo& out) {
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        out.name = text(in);
        break;
      case 2:
        if (!out.type) out.type.emplace();
        nest(in, *out.type, &OnnxReader::read_type);
        break;
      case 3:
        out.doc_string = text(in);
        break;
      case 4:
        nest(in, out.metadata, &OnnxReader::read_property);
        break;
      default:
        break;
    }
  }
}

void OnnxReader::read_type(Bytes message, OnnxType& out) {
  using Kind = OnnxType::Kind;
  // The kinds are alternatives: a later one replaces what an earlier one said.
  const auto become = [&](Kind kind) {
    if (out.kind == kind) return;
    OnnxType fresh;
    fresh.kind = kind;
    fresh.denotation = std::move(out.denotation);
    out = std::move(fresh);
  };
  // Sequence and Optional have the element type as field 1, Map has it as field 2.
  const auto read_element = [&](Bytes part, uint32_t element_field) {
    for (WireReader in(part); in.next();) {
      if (in.field() == element_field) {
        if (out.element.empty()) {
          spend(sizeof(OnnxType));
          out.element.emplace_back();
        }
        nest(in, out.element.front(), &OnnxReader::read_type);
      } else if (out.kind == Kind::map && in.field() == 1) {
        out.key_type = in.as_int32();
      }
    }
  };
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        become(Kind::tensor);
        nest(in, out, &OnnxReader::read_tensor_type);
        break;
      case 4:
        become(Kind::sequence);
        read_element(in.as_bytes(), 1);
        break;
      case 5:
        become(Kind::map);
        read_element(in.as_bytes(), 2);
        break;
      case 6:
        out.denotation = text(in);
        break;
      case 7:
        become(Kind::opaque);
        for (WireReader part(in.as_bytes()); part.next();) {
          if (part.field() == 1) out.domain = text(part);
          if (part.field() == 2) out.name = text(part);
        }
        break;
      case 8:
        become(Kind::sparse_tensor);
        nest(in, out, &OnnxReader::read_tensor_type);
        break;
      case 9:
        become(Kind::optional);
        read_element(in.as_bytes(), 1);
        break;
      default:
        break;
    }
  }
}

void OnnxReader::read_tensor_type(Bytes message, OnnxType& out) {
  for (WireReader in(message); in.next();) {
    switch (in.field()) {
      case 1:
        out.elem_type = in.as_int32();
        break;
      case 2:
        if (!out.shape) out.shape.emplace();
        nest(in, *out.shape, &OnnxReader::read_shape);
        break;
      default:
        break;
    }
  }
}

void OnnxReader::read_shape(Bytes message, std::vector<OnnxDim>& out) {
  for (WireReader in(message); in.next();) {
    if (in.field() != 1) continue;
    spend(sizeof(OnnxDim));
    OnnxDim& dim = out.emplace_back();
    for (WireReader part(in.as_bytes()); part.next();) {
      switch (part.field()) {
        case 1:
          dim.value = part.as_int64();
          break;
        case 2:
          dim.value = text(part);
          break;
        case 3:
          dim.denotation = text(part);
          break;
        default:
          break;
      }
    }
  }
}

void OnnxReader::read_sequence(Bytes message, OnnxSequence& out) {
  for (WireReader in(message); in.next();) {
    if (in.field() == 1) out.name = text(in);
    if (in.field() == 3) push(in, out.tensors, &OnnxReader::read_tensor, "tensor");
    if (in.field() >= 4 && in.field() <= 7) {
      fail(ErrorCode::unsupported, "a sequence of something that is no tensor (field {})", in.field());
    }
  }
}

void OnnxReader::read_optional(Bytes message, OnnxOptional& out) {
  for (WireReader in(message); in.next();) {
    if (in.field() == 1) out.name = text(in);
    if (in.field() == 3) nest(in, out.tensor.emplace(), &OnnxReader::read_tensor);
    if (in.field() == 5) nest(in, out.sequence.emplace(), &OnnxReader::read_sequence);
    if (in.field() == 4 || in.field() == 6 || in.field() == 7) {
      fail(ErrorCode::unsupported, "an optional that is neither tensor nor sequence (field {})", in.field());
    }
  }
}

}  // namespace lathe::io
