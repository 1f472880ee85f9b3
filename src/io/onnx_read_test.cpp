#include "io/onnx_testing.h"
#include "io/onnx_write.h"

namespace lathe::io {
namespace {

using tensor::DType;
using tensor::Tensor;

TEST(OnnxTensorTest, TypedArraysMayComeInPieces) {
  const auto bytes = onnx_message([](WireWriter& out) {
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
  const auto bytes = onnx_message([](WireWriter& out) {
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
    const auto bytes = onnx_message([&](WireWriter& out) {
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

// Found by the fuzzer: 11 GB were reserved for values that are not there.
TEST(OnnxTensorTest, TensorsWithoutValuesAreNotSerialized) {
  OnnxTensor tensor;
  tensor.data_type = int32_t(DType::f32);
  tensor.dims = {int64_t{1} << 30, int64_t{1} << 20};
  EXPECT_EQ(code_of([&] { serialize_onnx_tensor(tensor); }), ErrorCode::invalid_input);
  tensor.segmented = true;
  EXPECT_EQ(code_of([&] { serialize_onnx_tensor(tensor); }), ErrorCode::unsupported);
}

// Files named ok_* are models, files named bad_* are refused at the latest when their tensors are asked for.
TEST(OnnxHostileTest, CorpusIsReadOrRefused) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(LATHE_TESTS_DIR) / "io/corpus/onnx")) {
    const std::string name = entry.path().filename().string();
    ++files;
    bool good = true;
    try {
      const auto file = OnnxFile::open(entry.path());
      OnnxModel model = file->model();
      each_tensor(model, [&](OnnxTensor& tensor) {
        const auto* external = std::get_if<OnnxExternal>(&tensor.values);
        if (external && external->location == "external.data") return;  // lies elsewhere
        tensor.values = file->load(tensor);
      });
    } catch (const Error& error) {
      good = false;
      EXPECT_TRUE(error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::unsupported)
          << name << ": " << error.what();
    }
    EXPECT_EQ(good, name.starts_with("ok_")) << name;
  }
  EXPECT_GE(files, 25);
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
  return onnx_message([&](WireWriter& out) {
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
  const auto bytes = onnx_message([](WireWriter& out) {
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

}  // namespace
}  // namespace lathe::io
