// The reader and the writer against what the onnx package says about the models of tests/io/onnx
// (tools/make_onnx_fixtures.py writes both).
#include <bit>

#include "base/json.h"
#include "io/onnx_testing.h"
#include "io/onnx_write.h"

namespace lathe::io {
namespace {

using tensor::DType;
using tensor::Tensor;

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", int(byte));
  return text;
}
std::string hex(const std::string& text) {
  return hex(std::as_bytes(std::span(text)));
}

// A model as the JSON that the script writes.
class Dump {
 public:
  explicit Dump(const OnnxFile& file) : file_(file) {}

  Json model(const OnnxModel& m) const {
    return {{"ir_version", m.ir_version},
            {"opsets", opsets(m.opsets)},
            {"producer", m.producer_name},
            {"producer_version", m.producer_version},
            {"domain", m.domain},
            {"model_version", m.model_version},
            {"doc", m.doc_string},
            {"graph", graph(m.graph)},
            {"functions", list(m.functions, &Dump::function)},
            {"metadata", properties(m.metadata)},
            {"trainings", list(m.trainings, &Dump::training)},
            {"configurations", hexes(m.configurations)}};
  }

 private:
  template <class T>
  Json list(const std::vector<T>& values, Json (Dump::*dump)(const T&) const) const {
    Json out = Json::array();
    for (const T& value : values) out.push_back((this->*dump)(value));
    return out;
  }
  static Json hexes(const std::vector<std::string>& values) {
    Json out = Json::array();
    for (const std::string& value : values) out.push_back(hex(value));
    return out;
  }
  static Json properties(const OnnxProperties& values) {
    Json out = Json::array();
    for (const auto& [key, value] : values) out.push_back(Json::array({key, value}));
    return out;
  }
  static Json opsets(const std::vector<OnnxOpset>& values) {
    Json out = Json::array();
    for (const OnnxOpset& value : values) out.push_back(Json::array({value.domain, value.version}));
    return out;
  }

  Json tensor(const OnnxTensor& t) const {
    Json out = {{"name", t.name}, {"data_type", t.data_type}, {"dims", t.dims}, {"doc", t.doc_string}};
    out["metadata"] = properties(t.metadata);
    const Tensor values = file_.load(t);
    if (t.dtype() == DType::string)
      out["strings"] = hexes(values.strings());
    else
      out["bytes"] = hex(values.bytes());
    return out;
  }
  Json sparse(const OnnxSparseTensor& s) const {
    return {{"values", tensor(s.values)}, {"indices", tensor(s.indices)}, {"dims", s.dims}};
  }

  Json type(const OnnxType& t) const {
    static constexpr const char* kKinds[] = {"none",          "tensor_type",   "sparse_tensor_type",
                                             "sequence_type", "optional_type", "map_type",
                                             "opaque_type"};
    Json out = {{"kind", kKinds[size_t(t.kind)]}, {"denotation", t.denotation}};
    switch (t.kind) {
      case OnnxType::Kind::none:
        break;
      case OnnxType::Kind::tensor:
      case OnnxType::Kind::sparse_tensor:
        out["elem_type"] = t.elem_type;
        out["shape"] = nullptr;
        if (t.shape) out["shape"] = list(*t.shape, &Dump::dim);
        break;
      case OnnxType::Kind::map:
        out["key_type"] = t.key_type;
        [[fallthrough]];
      case OnnxType::Kind::sequence:
      case OnnxType::Kind::optional:
        out["element"] = type(t.element.at(0));
        break;
      case OnnxType::Kind::opaque:
        out["opaque"] = {t.domain, t.name};
        break;
    }
    return out;
  }
  Json dim(const OnnxDim& d) const {
    Json value;
    if (const auto* number = std::get_if<int64_t>(&d.value)) value = *number;
    if (const auto* symbol = std::get_if<std::string>(&d.value)) value = *symbol;
    return Json::array({value, d.denotation});
  }
  Json info(const OnnxValueInfo& v) const {
    return {{"name", v.name},
            {"type", v.type ? type(*v.type) : Json()},
            {"doc", v.doc_string},
            {"metadata", properties(v.metadata)}};
  }

  Json attribute(const OnnxAttribute& a) const {
    Json out = {{"name", a.name}, {"type", int(a.type)}, {"ref", a.ref_attr_name}, {"doc", a.doc_string}};
    struct Value {
      const Dump& dump;
      Json operator()(std::monostate) const { return nullptr; }
      Json operator()(float f) const { return std::bit_cast<uint32_t>(f); }
      Json operator()(int64_t i) const { return i; }
      Json operator()(const std::string& s) const { return hex(s); }
      Json operator()(const std::vector<float>& v) const {
        Json bits = Json::array();
        for (const float f : v) bits.push_back(std::bit_cast<uint32_t>(f));
        return bits;
      }
      Json operator()(const std::vector<int64_t>& v) const { return v; }
      Json operator()(const std::vector<std::string>& v) const { return hexes(v); }
      Json operator()(const std::vector<OnnxTensor>& v) const { return dump.list(v, &Dump::tensor); }
      Json operator()(const std::vector<OnnxGraph>& v) const { return dump.list(v, &Dump::graph); }
      Json operator()(const std::vector<OnnxSparseTensor>& v) const { return dump.list(v, &Dump::sparse); }
      Json operator()(const std::vector<OnnxType>& v) const { return dump.list(v, &Dump::type); }
    };
    if (a.ref_attr_name.empty()) out["value"] = std::visit(Value{*this}, a.value);
    return out;
  }
  Json node(const OnnxNode& n) const {
    return {{"op_type", n.op_type},
            {"domain", n.domain},
            {"overload", n.overload},
            {"name", n.name},
            {"inputs", n.inputs},
            {"outputs", n.outputs},
            {"attributes", list(n.attributes, &Dump::attribute)},
            {"doc", n.doc_string},
            {"metadata", properties(n.metadata)},
            {"devices", hexes(n.device_configurations)}};
  }
  Json graph(const OnnxGraph& g) const {
    Json quantizations = Json::array();
    for (const OnnxQuantization& q : g.quantizations) {
      quantizations.push_back(Json::array({q.tensor_name, properties(q.parameters)}));
    }
    return {{"name", g.name},
            {"nodes", list(g.nodes, &Dump::node)},
            {"initializers", list(g.initializers, &Dump::tensor)},
            {"sparse_initializers", list(g.sparse_initializers, &Dump::sparse)},
            {"inputs", list(g.inputs, &Dump::info)},
            {"outputs", list(g.outputs, &Dump::info)},
            {"value_infos", list(g.value_infos, &Dump::info)},
            {"quantizations", quantizations},
            {"doc", g.doc_string},
            {"metadata", properties(g.metadata)}};
  }
  Json function(const OnnxFunction& f) const {
    return {{"domain", f.domain},
            {"name", f.name},
            {"overload", f.overload},
            {"inputs", f.inputs},
            {"outputs", f.outputs},
            {"attributes", f.attributes},
            {"defaults", list(f.default_attributes, &Dump::attribute)},
            {"nodes", list(f.nodes, &Dump::node)},
            {"opsets", opsets(f.opsets)},
            {"value_infos", list(f.value_infos, &Dump::info)},
            {"doc", f.doc_string},
            {"metadata", properties(f.metadata)}};
  }
  Json training(const OnnxTraining& t) const {
    return {{"initialization", t.initialization ? graph(*t.initialization) : Json()},
            {"algorithm", t.algorithm ? graph(*t.algorithm) : Json()},
            {"initialization_binding", properties(t.initialization_binding)},
            {"update_binding", properties(t.update_binding)}};
  }

  const OnnxFile& file_;
};

// Where two JSON values differ first, for the message.
std::string first_difference(const Json& expected, const Json& found, const std::string& where = "") {
  if (expected.type() == found.type() && expected.size() == found.size()) {
    if (expected.is_object()) {
      for (const auto& [key, value] : expected.items()) {
        if (!found.contains(key)) return where + "/" + key + " is missing";
        const std::string inside = first_difference(value, found[key], where + "/" + key);
        if (!inside.empty()) return inside;
      }
      return "";
    }
    if (expected.is_array()) {
      for (size_t i = 0; i < expected.size(); ++i) {
        const std::string inside = first_difference(expected[i], found[i], fmt::format("{}/{}", where, i));
        if (!inside.empty()) return inside;
      }
      return "";
    }
  }
  if (expected == found) return "";
  return fmt::format("{}: expected {}, found {}", where, expected.dump(), found.dump());
}

class OnnxFixture : public OnnxTest, public ::testing::WithParamInterface<const char*> {
 protected:
  const Json expected_ = read_json_file(kFixtures / "expected.json").at(GetParam());
};

TEST_P(OnnxFixture, ReadsWhatOnnxReads) {
  const auto file = OnnxFile::open(kFixtures / fmt::format("{}.onnx", GetParam()));
  EXPECT_EQ(first_difference(expected_, Dump(*file).model(file->model())), "");
}

TEST_P(OnnxFixture, WritesWhatItRead) {
  for (const uint64_t threshold : {uint64_t{1}, uint64_t{1024}, UINT64_MAX}) {
    const fs::path path = folder_ / "copy.onnx";
    OnnxWriteOptions options;
    options.external_threshold_bytes = threshold;
    options.chunk_bytes = 8;
    options.threads = 3;
    OnnxWriteSize written;
    {
      const OnnxModel model =
          OnnxFile::open(kFixtures / fmt::format("{}.onnx", GetParam()))->model_with_sources();
      written = write_onnx(path, model, options);
      EXPECT_EQ(predict_onnx_size(path, model, options).total_bytes(), written.total_bytes());
    }
    const auto file = OnnxFile::open(path);
    EXPECT_EQ(first_difference(expected_, Dump(*file).model(file->model())), "");
    EXPECT_EQ(fs::file_size(path), written.model_bytes);
    EXPECT_EQ(fs::exists(folder_ / "copy.onnx_data") ? fs::file_size(folder_ / "copy.onnx_data") : 0,
              written.data_bytes);
    fs::remove(folder_ / "copy.onnx_data");
  }
}

INSTANTIATE_TEST_SUITE_P(Models, OnnxFixture,
                         ::testing::Values("attributes", "typed", "raw", "runnable", "external"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace lathe::io
