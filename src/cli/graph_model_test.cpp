// Graphs that have no engine, run as they are, against the tokens that transformers chose.
#include "cli/graph_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "compiler/build.h"
#include "compiler/onnx_decoder.h"
#include "frontend/decoder.h"
#include "frontend/onnx_export.h"
#include "io/onnx_write.h"

namespace lathe::cli {
namespace {

namespace fs = std::filesystem;

class GraphModelTest : public testing::Test {
 protected:
  GraphModelTest() : folder_(fs::path(testing::TempDir()) / fmt::format("lathe_graph_model_{}", ::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~GraphModelTest() override { fs::remove_all(folder_); }

  // tests/arch/NAME as an ONNX folder, after `change` to its graph.
  void write(const std::string& name, const std::function<void(ir::Graph&)>& change) {
    const fs::path source = fs::path(LATHE_TESTS_DIR) / "arch" / name;
    const auto checkpoint = frontend::Checkpoint::open(source);
    ir::Model model = frontend::build_decoder(checkpoint, tensor::DType::f32);
    change(model.graphs.at("main"));
    io::write_onnx(folder_ / "model.onnx", frontend::export_decoder(model, {.opset = 18}, {}));
    std::ofstream(folder_ / "config.json") << read_text_file(source / "config.json");
    golden_ = read_json_file(source / "golden.json");
  }

  std::vector<int32_t> greedy() {
    GraphModel model(frontend::Checkpoint::open(folder_));
    pipeline::GenerateOptions options;
    options.ignore_eos = true;
    options.max_tokens = int64_t(golden_.at("greedy").size());
    std::vector<std::vector<float>> rows;
    const auto prompt = golden_.at("prompt").get<std::vector<int32_t>>();
    const auto result =
        pipeline::generate(model, nullptr, prompt, options, {}, [&](int64_t position, std::span<const float> logits) {
          EXPECT_EQ(position, int64_t(rows.size()));
          rows.emplace_back(logits.begin(), logits.end());
        });
    EXPECT_EQ(rows.size(), prompt.size());
    return result.tokens;
  }

  std::string refusal() {
    try {
      const ir::Model model = compiler::read_model(frontend::Checkpoint::open(folder_));
      compiler::PreparedBuild build(model, {});
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      return error.what();
    }
  }

  fs::path folder_;
  Json golden_;
};

// Logits that went through a softmax are the same choice, and nothing that an engine computes.
void add_softmax(ir::Graph& graph) {
  const ir::Value logits = *graph.find("logits");
  std::vector<ir::Value> outputs(graph.outputs().begin(), graph.outputs().end());
  const ir::NodeId node = graph.add_node("Softmax", {logits}, {{"axis", int64_t{-1}}}, "last_softmax");
  std::erase(outputs, logits);
  graph.replace_outputs(outputs);
  graph.add_output(graph.node(node).outputs[0], "logits");
}

TEST_F(GraphModelTest, GivesTheTokensOfTransformersWithACache) {
  for (const char* name : {"llama_gqa", "gpt2", "neox_parallel"}) {
    write(name, add_softmax);
    EXPECT_NE(refusal(), "") << name << " has an engine";
    EXPECT_EQ(greedy(), golden_.at("greedy").get<std::vector<int32_t>>()) << name;
  }
}

// Without past and present each step is given all tokens.
TEST_F(GraphModelTest, GivesThemWithoutACache) {
  for (const char* name : {"optimum_gpt2_no_cache", "optimum_neox_no_cache"}) {
    const fs::path source = fs::path(LATHE_TESTS_DIR) / "arch" / name;
    fs::copy(source, folder_, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    golden_ = read_json_file(source / "golden.json");
    EXPECT_EQ(greedy(), golden_.at("greedy").get<std::vector<int32_t>>()) << name;
  }
}

TEST_F(GraphModelTest, RefusesInputsThatNothingExplains) {
  write("gpt2", [](ir::Graph& graph) {
    const ir::Value extra = graph.add_input("token_type_ids", {tensor::DType::i64, {tensor::Dim::symbol("n")}, {}});
    graph.add_output(graph.node(graph.add_node("Neg", {extra})).outputs[0], "negated");
  });
  try {
    GraphModel model(frontend::Checkpoint::open(folder_));
    FAIL() << "was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("token_type_ids"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace lathe::cli
