// The reader and the writer against what the onnx package says about the models of tests/io/onnx
// (tools/make_onnx_fixtures.py writes both).
#include "io/onnx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/json.h"
#include "io/onnx_write.h"
#include "io/protobuf_wire.h"

namespace lathe::io {
namespace {

namespace fs = std::filesystem;
using tensor::DType;
using tensor::Tensor;

const fs::path kFixtures = fs::path(LATHE_TESTS_DIR) / "io/onnx";

// A folder of its own for each test, removed afterwards.
class OnnxTest : public ::testing::Test {
 protected:
  OnnxTest() : folder_(fs::temp_directory_path() / fmt::format("lathe_onnx_{}", ::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~OnnxTest() override { fs::remove_all(folder_); }

  fs::path folder_;
};

ErrorCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::internal;
}

std::vector<std::byte> read_bytes(const fs::path& path) {
  const auto file = MappedFile::open(path);
  return {file->bytes().begin(), file->bytes().end()};
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", int(byte));
  return text;
}
std::string hex(const std::string& text) {
  return hex(std::as_bytes(std::span(text)));
}

// ---- A model as the JSON that the script writes
// ---------------------------------------------------------------

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

// ---- Tensors
// --------------------------------------------------------------------------------------------------

// Builds a TensorProto by hand.
std::vector<std::byte> tensor_message(const std::function<void(WireWriter&)>& describe) {
  WireWriter writer;
  describe(writer);
  std::vector<std::byte> bytes;
  writer.start([&](std::span<const std::byte> part) { bytes.insert(bytes.end(), part.begin(), part.end()); });
  describe(writer);
  writer.finish();
  return bytes;
}

std::string packed_floats(std::initializer_list<float> values) {
  std::string bytes;
  for (const float value : values) bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  return bytes;
}

TEST(OnnxTensorTest, TypedArraysMayComeInPieces) {
  const auto bytes = tensor_message([](WireWriter& out) {
    out.text(4, packed_floats({1, 2}));
    out.integer(2, 1);                        // the type after the first values
    out.text(1, std::string("\x02\x02", 2));  // packed dims
    out.fixed32(4, 3);
    out.text(4, packed_floats({4}));
  });
  const Tensor values = load_onnx_tensor(parse_onnx_tensor(bytes));
  EXPECT_THAT(values.dims(), ::testing::ElementsAre(2, 2));
  EXPECT_THAT(values.data<float>(), ::testing::ElementsAre(1, 2, 3, 4));
}

TEST(OnnxTensorTest, BitPatternsMayBeSignExtended) {
  const auto bytes = tensor_message([](WireWriter& out) {
    out.integer(1, 3);
    out.integer(2, 10);      // f16
    out.integer(5, -32768);  // 0x8000
    out.integer(5, 0x8000);
    out.integer(5, 0xffff);
  });
  EXPECT_THAT(load_onnx_tensor(parse_onnx_tensor(bytes)).data<uint16_t>(),
              ::testing::ElementsAre(0x8000, 0x8000, 0xffff));
}

TEST(OnnxTensorTest, RefusesValuesThatDoNotFit) {
  const auto load = [](int64_t dim, int type, uint32_t field, int64_t value) {
    const auto bytes = tensor_message([&](WireWriter& out) {
      out.integer(1, dim);
      out.integer(2, type);
      out.integer(field, value);
    });
    return code_of([&] { load_onnx_tensor(parse_onnx_tensor(bytes)); });
  };
  EXPECT_EQ(load(1, 3, 5, 256), ErrorCode::invalid_input);                 // i8
  EXPECT_EQ(load(1, 3, 5, -129), ErrorCode::invalid_input);                // i8
  EXPECT_EQ(load(1, 12, 11, int64_t{1} << 32), ErrorCode::invalid_input);  // u32
  EXPECT_EQ(load(1, 12, 5, 1), ErrorCode::invalid_input);                  // u32 in int32_data
  EXPECT_EQ(load(2, 6, 5, 1), ErrorCode::invalid_input);                   // one of two
  EXPECT_EQ(load(int64_t{1} << 62, 6, 5, 1), ErrorCode::invalid_input);
  EXPECT_EQ(load(-1, 6, 5, 1), ErrorCode::invalid_input);
  EXPECT_EQ(load(1, 27, 5, 1), ErrorCode::unsupported);  // FLOAT6E2M3
  EXPECT_EQ(load(1, 0, 5, 1), ErrorCode::unsupported);
}

TEST(OnnxTensorTest, RefusesOtherBytesThanTheDimsSay) {
  for (const size_t size : {0, 7, 9}) {
    OnnxTensor tensor;
    tensor.data_type = int32_t(DType::f32);
    tensor.dims = {2};
    const std::vector<std::byte> bytes(size);
    tensor.values = OnnxRaw{bytes};
    EXPECT_EQ(code_of([&] { load_onnx_tensor(tensor); }), ErrorCode::invalid_input) << size;
  }
  OnnxTensor flags;
  flags.data_type = int32_t(DType::boolean);
  flags.dims = {2};
  const std::vector<std::byte> bytes = {std::byte{1}, std::byte{2}};
  flags.values = OnnxRaw{bytes};
  EXPECT_EQ(code_of([&] { load_onnx_tensor(flags); }), ErrorCode::invalid_input);
}

TEST(OnnxTensorTest, SerializedTensorsReadBack) {
  const Tensor strings = Tensor::of_strings({2}, {"a", std::string("\0b", 2)});
  const auto bytes = serialize_onnx_tensor(OnnxTensor::of("s", strings));
  const OnnxTensor read = parse_onnx_tensor(bytes);
  EXPECT_EQ(read.name, "s");
  EXPECT_EQ(load_onnx_tensor(read).strings(), strings.strings());
  const auto numbers =
      serialize_onnx_tensor(OnnxTensor::of("n", Tensor::of<int64_t>({3}, {1, -2, INT64_MIN})));
  EXPECT_THAT(load_onnx_tensor(parse_onnx_tensor(numbers)).data<int64_t>(),
              ::testing::ElementsAre(1, -2, INT64_MIN));
}

// ---- Hostile input
// --------------------------------------------------------------------------------------------

TEST(OnnxHostileTest, EveryTruncationIsAnErrorOrAModel) {
  for (const char* name : {"attributes.onnx", "typed.onnx"}) {
    const auto bytes = read_bytes(kFixtures / name);
    int models = 0;
    for (size_t size = 0; size < bytes.size(); ++size) {
      try {
        // A heap copy, so that a read beyond the end is seen by the sanitizer.
        const std::vector<std::byte> part(bytes.begin(), bytes.begin() + ptrdiff_t(size));
        OnnxModel model = parse_onnx(part);
        each_tensor(model, [](OnnxTensor& tensor) { load_onnx_tensor(tensor); });
        ++models;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
      }
    }
    // Cuts between fields behind the graph: opset imports and what follows.
    EXPECT_LT(models, 30) << name;
  }
}

TEST(OnnxHostileTest, CorpusThrowsErrorOrReads) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(LATHE_TESTS_DIR) / "io/corpus/onnx")) {
    ++files;
    try {
      const auto file = OnnxFile::open(entry.path());
      const OnnxModel model = file->model_with_sources();
      predict_onnx_size("x.onnx", model);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::internal) << entry.path() << ": " << error.what();
    }
  }
  EXPECT_GE(files, 5);
}

// A graph in an attribute of a node of a graph ..., `levels` times.
std::vector<std::byte> nested_graphs(int levels) {
  const std::function<void(WireWriter&, int)> graph = [&](WireWriter& out, int left) {
    if (left == 0) return;
    out.message(1, [&] {
      out.message(5, [&] {
        out.text(1, "body");
        out.message(6, [&] { graph(out, left - 1); });
        out.integer(20, int64_t(OnnxAttributeType::graph));
      });
    });
  };
  return tensor_message([&](WireWriter& out) {
    out.integer(1, 8);
    out.message(7, [&] { graph(out, levels); });
  });
}

TEST(OnnxHostileTest, DepthIsLimited) {
  EXPECT_EQ(parse_onnx(nested_graphs(30)).graph.nodes.size(), 1u);
  EXPECT_EQ(code_of([] { parse_onnx(nested_graphs(40)); }), ErrorCode::invalid_input);
  EXPECT_EQ(code_of([] { parse_onnx(nested_graphs(20000)); }), ErrorCode::invalid_input);
}

TEST(OnnxHostileTest, StructureMemoryIsLimited) {
  // 100,000 empty nodes in 200 kB.
  const auto bytes = tensor_message([](WireWriter& out) {
    out.integer(1, 8);
    out.message(7, [&] {
      for (int i = 0; i < 100000; ++i) out.message(1, [] {});
    });
  });
  EXPECT_EQ(parse_onnx(bytes).graph.nodes.size(), 100000u);
  OnnxLimits limits;
  limits.max_structure_bytes = 1 << 20;
  EXPECT_EQ(code_of([&] { parse_onnx(bytes, limits); }), ErrorCode::resource);
}

TEST(OnnxHostileTest, OtherFilesAreNotModels) {
  const auto parse = [](std::string_view text) {
    return code_of([&] { parse_onnx(std::as_bytes(std::span(text))); });
  };
  EXPECT_EQ(parse(""), ErrorCode::invalid_input);
  EXPECT_EQ(parse("{\"model_type\": \"llama\"}"), ErrorCode::invalid_input);
  EXPECT_EQ(parse("GGUF\x03"), ErrorCode::invalid_input);
  EXPECT_EQ(parse(std::string_view("\x3a\x00", 2)), ErrorCode::invalid_input);  // a graph, no version
}

// ---- External data
// --------------------------------------------------------------------------------------------

class OnnxExternalTest : public OnnxTest {
 protected:
  // Writes a model with one f32[2] initializer whose external_data has these entries.
  std::shared_ptr<const OnnxFile> model(const OnnxProperties& entries) {
    const auto bytes = tensor_message([&](WireWriter& out) {
      out.integer(1, 8);
      out.message(7, [&] {
        out.message(5, [&] {
          out.integer(1, 2);
          out.integer(2, 1);
          out.text(8, "w");
          for (const auto& [key, value] : entries) {
            out.message(13, [&] {
              out.text(1, key);
              out.text(2, value);
            });
          }
          out.integer(14, 1);
        });
      });
    });
    write_text_file(folder_ / "m/model.onnx", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return OnnxFile::open(folder_ / "m/model.onnx");
  }
  ErrorCode refusal(const OnnxProperties& entries) {
    return code_of([&] {
      const auto file = model(entries);
      file->tensor_source(file->model().graph.initializers[0]);
    });
  }
  float first_value(const OnnxProperties& entries) {
    const auto file = model(entries);
    return file->load(file->model().graph.initializers[0]).data<float>()[0];
  }
  void SetUp() override {
    fs::create_directories(folder_ / "m/sub");
    for (const char* name : {"m/data", "m/sub/data", "outside", "m2"}) {
      write_text_file(folder_ / name, packed_floats({1, 2}));
    }
  }
};

TEST_F(OnnxExternalTest, ReadsFilesInTheFolder) {
  EXPECT_EQ(first_value({{"location", "data"}}), 1);
  EXPECT_EQ(first_value({{"location", "./sub/data"}}), 1);
  EXPECT_EQ(
      first_value({{"location", "data"}, {"offset", "0"}, {"length", "8"}, {"checksum", "x"}, {"new", "?"}}),
      1);
  fs::create_symlink("sub/data", folder_ / "m/inner");
  EXPECT_EQ(first_value({{"location", "inner"}}), 1);
}

TEST_F(OnnxExternalTest, RefusesPathsThatLeaveTheFolder) {
  fs::create_symlink("../outside", folder_ / "m/link");
  fs::create_directory_symlink("..", folder_ / "m/up");
  for (const std::string& location :
       {std::string("../outside"), std::string("sub/../../outside"), std::string("sub/../data"),
        (folder_ / "m/data").string(), std::string("link"), std::string("up/outside"), std::string("up/m2"),
        std::string(""), std::string("."), std::string("sub"), std::string("data\0", 5),
        std::string("x/_ORT_MEM_ADDR_/x"), std::string("*/_ORT_MEM_ADDR_/*")}) {
    EXPECT_EQ(refusal({{"location", location}}), ErrorCode::invalid_input) << location;
  }
  EXPECT_EQ(refusal({{"location", "nothing"}}), ErrorCode::not_found);
  ASSERT_EQ(::mkfifo((folder_ / "m/pipe").c_str(), 0600), 0);
  EXPECT_EQ(refusal({{"location", "pipe"}}), ErrorCode::invalid_input);
}

TEST_F(OnnxExternalTest, RefusesPartsBeyondTheFile) {
  const auto refuse = [&](const char* key, const char* value) {
    return refusal({{"location", "data"}, {key, value}});
  };
  EXPECT_EQ(refuse("offset", "1"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", "18446744073709551615"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", "18446744073709551616"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", "-1"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", "0x0"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("offset", ""), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("length", "4"), ErrorCode::invalid_input);
  EXPECT_EQ(refuse("length", "9"), ErrorCode::invalid_input);
}

TEST_F(OnnxExternalTest, FollowsTheHuggingFaceCache) {
  const fs::path root = folder_ / "hub/models--org--name";
  fs::create_directories(root / "blobs");
  fs::create_directories(root / "snapshots/abc/onnx");
  model({{"location", "data"}});
  fs::rename(folder_ / "m/model.onnx", root / "blobs/1111");
  fs::rename(folder_ / "m/data", root / "blobs/2222");
  fs::create_symlink("../../../blobs/1111", root / "snapshots/abc/onnx/model.onnx");
  fs::create_symlink("../../../blobs/2222", root / "snapshots/abc/onnx/data");
  const auto file = OnnxFile::open(root / "snapshots/abc/onnx/model.onnx");
  EXPECT_EQ(file->load(file->model().graph.initializers[0]).data<float>()[1], 2);

  fs::remove(root / "snapshots/abc/onnx/data");
  fs::create_symlink("../../../../../outside", root / "snapshots/abc/onnx/data");
  const auto other = OnnxFile::open(root / "snapshots/abc/onnx/model.onnx");
  EXPECT_EQ(code_of([&] { other->load(other->model().graph.initializers[0]); }), ErrorCode::invalid_input);
}

// ---- Writing
// --------------------------------------------------------------------------------------------------

OnnxModel model_of(std::vector<OnnxTensor> initializers) {
  OnnxModel model;
  model.ir_version = 10;
  model.opsets = {{"", 21}};
  model.graph.name = "g";
  model.graph.initializers = std::move(initializers);
  return model;
}

Tensor counting(tensor::Dims dims) {
  Tensor values(DType::f32, std::move(dims));
  for (int64_t i = 0; i < values.size(); ++i) values.data<float>()[size_t(i)] = float(i);
  return values;
}

TEST_F(OnnxTest, WritesSourcesThatComputeTheirRows) {
  const tensor::SourcePtr base = tensor::memory_source(counting({70, 130}), "base");
  OnnxWriteOptions options;
  options.chunk_bytes = 1000;
  options.threads = 4;
  options.data_name = "weights.bin";
  uint64_t last = 0;
  bool monotonic = true;
  options.progress = [&](const Progress& progress) {
    monotonic = monotonic && progress.done_bytes > last && progress.total_bytes == 70 * 130 * (4 + 2 + 4);
    last = progress.done_bytes;
  };
  write_onnx(
      folder_ / "m.onnx",
      model_of({OnnxTensor::of("plain", base),
                OnnxTensor::of("half", tensor::converted_source(base, DType::f16)),
                OnnxTensor::of("turned", tensor::transposed_source(base)), OnnxTensor::of("tied", base)}),
      options);
  EXPECT_TRUE(monotonic);
  EXPECT_EQ(last, 70 * 130 * (4 + 2 + 4));

  const auto file = OnnxFile::open(folder_ / "m.onnx");
  const auto& written = file->model().graph.initializers;
  ASSERT_EQ(written.size(), 4u);
  for (const OnnxTensor& tensor : written) {
    const auto& external = std::get<OnnxExternal>(tensor.values);
    EXPECT_EQ(external.location, "weights.bin");
    EXPECT_EQ(*external.offset % 4096, 0u);
  }
  EXPECT_EQ(std::get<OnnxExternal>(written[0].values).offset,
            std::get<OnnxExternal>(written[3].values).offset);
  const Tensor plain = file->load(written[0]);
  const Tensor half = file->load(written[1]);
  const Tensor turned = file->load(written[2]);
  EXPECT_THAT(turned.dims(), ::testing::ElementsAre(130, 70));
  for (int64_t row = 0; row < 70; ++row) {
    for (int64_t column = 0; column < 130; ++column) {
      const int64_t i = row * 130 + column;
      ASSERT_EQ(plain.data<float>()[size_t(i)], float(i));
      // Above 2048, f16 keeps every second or fourth integer: within half a unit in the last place.
      ASSERT_NEAR(tensor::element_as_double(half, i), double(i),
                  i < 2048   ? 0
                  : i < 4096 ? 1
                  : i < 8192 ? 2
                             : 4);
      ASSERT_EQ(turned.data<float>()[size_t(column * 70 + row)], float(i));
    }
  }
}

// A source that fails half way.
class FailingSource final : public tensor::Source {
 public:
  FailingSource() : Source(DType::f32, tensor::Encoding::plain, {100, 100}, "failing") {}
  void read_rows(int64_t first, int64_t, std::span<std::byte>) const override {
    if (first > 50) fail(ErrorCode::io, "row {} is gone", first);
  }
};

TEST_F(OnnxTest, AFailedWriteLeavesTheOldFiles) {
  write_text_file(folder_ / "m.onnx", "old model");
  write_text_file(folder_ / "m.onnx_data", "old data");
  OnnxWriteOptions options;
  options.chunk_bytes = 800;
  options.threads = 2;
  const OnnxModel model = model_of({OnnxTensor::of("w", std::make_shared<FailingSource>())});
  EXPECT_EQ(code_of([&] { write_onnx(folder_ / "m.onnx", model, options); }), ErrorCode::io);
  EXPECT_EQ(read_text_file(folder_ / "m.onnx"), "old model");
  EXPECT_EQ(read_text_file(folder_ / "m.onnx_data"), "old data");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2);
}

TEST_F(OnnxTest, WritingOverTheFilesThatAreReadWorks) {
  const fs::path path = folder_ / "m.onnx";
  write_onnx(path, model_of({OnnxTensor::of("w", counting({300, 7}))}));
  const auto first = read_bytes(folder_ / "m.onnx_data");
  write_onnx(path, OnnxFile::open(path)->model_with_sources());
  EXPECT_EQ(read_bytes(folder_ / "m.onnx_data"), first);
}

TEST_F(OnnxTest, RefusesWhatCannotBeWritten) {
  const fs::path path = folder_ / "m.onnx";
  for (const char* name : {"../data", "sub/data", "..", ".", "m.onnx", "/data"}) {
    OnnxWriteOptions options;
    options.data_name = name;
    EXPECT_EQ(code_of([&] { predict_onnx_size(path, model_of({}), options); }), ErrorCode::usage) << name;
  }
  // 18 bytes make a block of 32 values.
  const auto blocks = std::vector<std::byte>(18 * 64);
  const auto source =
      tensor::mapped_source(DType::f32, tensor::Encoding::q4_0, {64, 32}, blocks, nullptr, "q");
  EXPECT_EQ(code_of([&] { write_onnx(path, model_of({OnnxTensor::of("q", source)})); }),
            ErrorCode::unsupported);
  EXPECT_FALSE(fs::exists(path));
}

// A source of zeros of any size.
class ZeroSource final : public tensor::Source {
 public:
  explicit ZeroSource(tensor::Dims dims)
      : Source(DType::f32, tensor::Encoding::plain, std::move(dims), "zeros") {}
  void read_rows(int64_t, int64_t, std::span<std::byte> out) const override {
    std::memset(out.data(), 0, out.size());
  }
};

TEST_F(OnnxTest, PredictsBeyondTwoGigabytes) {
  const auto huge = std::make_shared<ZeroSource>(tensor::Dims{int64_t{1} << 20, 1 << 11});  // 8 GiB
  const OnnxModel model = model_of({OnnxTensor::of("a", counting({1024})), OnnxTensor::of("b", huge)});
  EXPECT_EQ(predict_onnx_size("m.onnx", model).data_bytes, 4096 + (uint64_t{8} << 30));
  OnnxWriteOptions all_inline;
  all_inline.external_threshold_bytes = UINT64_MAX;
  EXPECT_EQ(code_of([&] { predict_onnx_size("m.onnx", model, all_inline); }), ErrorCode::unsupported);
}

}  // namespace
}  // namespace lathe::io
