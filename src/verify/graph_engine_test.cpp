// Graphs to engine files and back: tests/graph/*.ir, several graphs in one file, profiles.
#include <gmock/gmock.h>

#include <limits>

#include "base/error.h"
#include "plan/engine_header.h"
#include "runtime/finite_outputs.h"
#include "verify/graph_engine_testing.h"
#include "verify/verify_graph_engine.h"

namespace lathe::verify {
namespace {

using namespace graph_engines;
using testing::HasSubstr;

class EngineOfCase : public testing::TestWithParam<Case> {};

// The file says what was compiled, gives the same bits, and can be made again from itself, byte for byte.
TEST_P(EngineOfCase, IsTheCompiledGraph) {
  const Case& c = GetParam();
  SCOPED_TRACE(fmt::format("{}.ir:{}: {}", c.file, c.line, c.name));
  const ir::Graph graph = parse(c.graph);
  const fs::path path = scratch(fmt::format("{}_{}.lathe", c.file, c.line));
  const auto engine = build(request_of(graph), path);
  engine->check_weights();
  const auto model = load(*engine);
  const auto direct = compiler::build_graph(graph);
  EXPECT_EQ(plan::print(*model), plan::print(*direct));
  for (const Bindings& bindings : c.calls.empty() ? std::vector<Bindings>{{}} : c.calls) {
    const auto inputs = make_inputs(graph, bindings);
    expect_equal(run_once(direct, {inputs.begin(), inputs.end()}), run_once(model, {inputs.begin(), inputs.end()}));
  }
  const fs::path again = scratch("again.lathe");
  build(compiler::engine_request(engine), again);
  EXPECT_EQ(read_text_file(path), read_text_file(again)) << "rebuilt from itself it is another file";
  fs::remove(path);
}

INSTANTIATE_TEST_SUITE_P(Files, EngineOfCase, testing::ValuesIn(all_cases()),
                         [](const auto& test) { return fmt::format("{}_{}", test.param.file, test.param.line); });

const std::string kEncoder =
    "graph encoder {\n  input %x: f32[n, 40]\n  const %w: f32[40, 24] = \"shared.weight\" plain\n"
    "  const %b: f32[24] = \"encoder.bias\" plain\n  %h = MatMul(%x, %w)\n  %a = Add(%h, %b)\n  %y = Relu(%a)\n  "
    "output %y\n}\n";
const std::string kDecoder =
    "graph decoder {\n  input %z: f32[n, 40]\n  const %w: f32[40, 24] = \"shared.weight\" plain\n"
    "  %y = MatMul(%z, %w)\n  output %y\n}\n";

TEST(GraphEngine, HoldsSeveralGraphsAndStoresEachContentOnce) {
  GraphEngineRequest request;
  request.graphs.push_back({.name = "encoder", .graph = parse(kEncoder)});
  const auto one = build(request, scratch("one.lathe"));
  request.graphs.push_back({.name = "decoder", .graph = parse(kDecoder)});
  request.assets["words.txt"] = {std::string("a\0b", 3)};
  request.pipeline = R"({"scheduler": {"steps": 20}})";
  const auto both = build(request, scratch("both.lathe"));
  // The matrix of both is there once, and only once: its text, transposed, means the same bytes.
  EXPECT_LT(both->manifest().weight_bytes, one->manifest().weight_bytes + 256);
  EXPECT_LT(one->manifest().weight_bytes, 2 * 40 * 24 * 4);
  EXPECT_EQ(both->find_asset("words.txt").size(), 3u);
  EXPECT_EQ(both->manifest().pipeline, request.pipeline);
  const auto x = make_inputs(parse(kDecoder), {{"n", 5}});
  expect_equal(run_once(compiler::build_graph(parse(kDecoder)), {x.begin(), x.end()}),
               run_once(load(*both, "decoder"), {x.begin(), x.end()}));
  EXPECT_THROW(plan::get_graph(both->manifest().graphs, ""), Error);  // none is "main"
  EXPECT_THROW(plan::get_graph(both->manifest().graphs, "unet"), Error);
  const plan::Receipt receipt = verify_graph_engine(both->path(), {});
  EXPECT_TRUE(receipt.pass) << describe(verify_graph(parse(kEncoder), GraphVerifyOptions{}));
  EXPECT_EQ(receipt.gates.front().name, "0 structure and checksums");
}

TEST(GraphEngine, SameInputSameBytes) {
  build(request_of(parse(kEncoder)), scratch("same_1.lathe"));
  compiler::GraphEngineOptions options;
  options.threads = 3;
  PreparedGraphEngine(request_of(parse(kEncoder)), options).write(scratch("same_2.lathe"));
  EXPECT_EQ(read_text_file(scratch("same_1.lathe")), read_text_file(scratch("same_2.lathe")));
}

TEST(GraphEngine, LengthsOutsideTheProfileAreRefusedWithTheNumbers) {
  GraphEngineRequest request = request_of(parse(kEncoder));
  request.graphs[0].profile = {{"x", {1, 40}, {4, 40}, {8, 40}}};
  const auto engine = build(request, scratch("profile.lathe"));
  const plan::EngineGraph& graph = plan::get_graph(engine->manifest().graphs, "");
  runtime::GraphSession session(load(*engine), {.threads = 1, .isa = {}, .limits = {}, .profile = graph.profile});
  const auto inputs = [&](int64_t n) {
    const auto made = make_inputs(parse(kEncoder), {{"n", n}});
    return Data(made.begin(), made.end());
  };
  EXPECT_NO_THROW(session.run(inputs(8)));
  try {
    session.run(inputs(9));
    ADD_FAILURE() << "it ran";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("[1, 40] to [8, 40]"), HasSubstr("found [9, 40]")));
  }
  const plan::Receipt receipt = verify_graph_engine(engine->path(), {});
  EXPECT_TRUE(receipt.pass);
  EXPECT_THAT(receipt.gates.back().name, HasSubstr("6 corners"));
  EXPECT_THAT(receipt.gates.back().note, HasSubstr("places"));
}

TEST(GraphEngine, AWrongWeightFailsItsGates) {
  const fs::path path = scratch("damaged.lathe");
  build(request_of(parse(kEncoder)), path);
  std::string bytes = read_text_file(path);
  bytes[plan::kHeaderBytes + 5] = char(bytes[plan::kHeaderBytes + 5] ^ 8);
  write_text_file(path, bytes);
  const plan::Receipt receipt = verify_graph_engine(path, {});
  EXPECT_FALSE(receipt.pass);
  EXPECT_THAT(receipt.gates.front().note, HasSubstr("shared.weight"));
}

TEST(GraphEngine, InfinityInAnOutputIsAnErrorUnlessItIsMeant) {
  const std::string text =
      "graph g {\n  input %x: f32[n]\n  const %zero: f32[1] = {0.0}\n  %y = Div(%x, %zero)\n  output %y\n}\n";
  GraphEngineRequest request = request_of(parse(text));
  build(request, scratch("infinite.lathe"));
  const plan::Receipt receipt = verify_graph_engine(scratch("infinite.lathe"), {});
  EXPECT_FALSE(receipt.pass);
  EXPECT_THAT(receipt.gates[1].name, HasSubstr("1 no NaN"));
  request.graphs[0].allow_nonfinite = true;
  build(request, scratch("meant.lathe"));
  EXPECT_TRUE(verify_graph_engine(scratch("meant.lathe"), {}).pass);

  using tensor::Tensor;
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_NO_THROW(runtime::require_finite({{"y", Tensor::of<float>({2}, {1, std::numeric_limits<float>::max()})}}));
  EXPECT_NO_THROW(runtime::require_finite({{"y", Tensor::of<int64_t>({1}, {-1})}, {"z", op::Datum()}}));
  std::vector<Tensor> tensors;
  for (const auto dtype : {tensor::DType::f32, tensor::DType::f16, tensor::DType::bf16, tensor::DType::f64}) {
    tensors.push_back(tensor::cast(Tensor::of<float>({3}, {1, -infinity, 2}), dtype));
  }
  for (const auto& [dtype, bits] : std::map<tensor::DType, int>{{tensor::DType::f8e5m2, 0xfc},
                                                                {tensor::DType::f8e4m3fn, 0xff},
                                                                {tensor::DType::f8e4m3fnuz, 0x80},
                                                                {tensor::DType::f8e8m0, 0xff}}) {
    tensors.emplace_back(dtype, tensor::Dims{3});
    tensors.back().mutable_bytes()[1] = std::byte(bits);
  }
  for (const Tensor& tensor : tensors) {
    try {
      runtime::require_finite({{"y", op::Datum::sequence({tensor})}});
      ADD_FAILURE() << to_string(tensor.dtype());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::verification);
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("1 of 3"), HasSubstr("number 1;")));
    }
  }
}

// A file of the first version that had graphs, kept as it was written then.
TEST(GraphEngine, VersionTwoOpens) {
  const fs::path path = LATHE_TESTS_DIR "/plan/engine_v2.lathe";
  const auto engine = EngineFile::open(path);
  EXPECT_NO_THROW(engine->check_weights());
  const auto x = make_inputs(parse(rich_text()), {{"n", 2}});
  expect_equal(run_once(compiler::build_graph(parse(rich_text())), {x.begin(), x.end()}),
               run_once(load(*engine), {x.begin(), x.end()}));
  EXPECT_TRUE(verify_graph_engine(path, {}).pass);
}

}  // namespace
}  // namespace lathe::verify
