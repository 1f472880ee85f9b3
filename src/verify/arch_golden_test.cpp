// Every architecture against what transformers gives on tiny random checkpoints (tests/arch, made by
// tools/make_arch_goldens.py): the graph by the reference executor, the engine, its greedy tokens, its gates.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "compiler/build.h"
#include "compiler/engine_graph.h"
#include "compiler/fp32_graph.h"
#include "compiler/onnx_decoder.h"
#include "frontend/decoder.h"
#include "io/npy.h"
#include "verify/arch_cases.h"
#include "verify/bands.h"
#include "verify/compare.h"
#include "verify/reference.h"
#include "verify/runs.h"
#include "verify/test_tokens.h"
#include "verify/verify.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;

class ArchGolden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    folder_ = fs::path(LATHE_TESTS_DIR) / "arch" / GetParam();
    const Json golden = read_json_file(folder_ / "golden.json");
    prompt_ = golden.at("prompt").get<std::vector<int32_t>>();
    greedy_ = golden.at("greedy").get<std::vector<int32_t>>();
    logits_ = tensor::to_floats(io::read_npy(folder_ / "logits.npy"));
    engine_ = fs::temp_directory_path() / fmt::format("lathe_arch_{}_{}.lathe", GetParam(), ::getpid());
  }
  void TearDown() override { fs::remove(engine_); }

  void build() {
    const auto checkpoint = open_checkpoint();
    const ir::Model model = compiler::read_model(checkpoint);
    compiler::PreparedBuild(model, {}).write(engine_);
  }

  frontend::Checkpoint open_checkpoint() const {
    const fs::path gguf = folder_ / "model.gguf";
    return frontend::Checkpoint::open(fs::exists(gguf) ? gguf : folder_);
  }

  std::unique_ptr<runtime::Session> exact_session() const {
    runtime::SessionOptions options;
    options.compute = options.kv = "f32";
    options.threads = 2;
    return std::make_unique<runtime::Session>(plan::EngineFile::open(engine_), options);
  }

  fs::path folder_;
  fs::path engine_;
  std::vector<int32_t> prompt_;
  std::vector<int32_t> greedy_;
  std::vector<float> logits_;
};

TEST_P(ArchGolden, ReferenceExecutorGivesTheLogitsOfTransformers) {
  const auto checkpoint = open_checkpoint();
  const ir::Model model = compiler::read_model(checkpoint);
  std::vector<float> found;
  run_reference(compiler::in_fp32(model.graphs.at("main")), prompt_,
                [&](const std::string& name, const ir::Node&, std::span<const float> values) {
                  if (name == "logits") found.assign(values.begin(), values.end());
                  return true;
                });
  ASSERT_EQ(found.size(), logits_.size());
  EXPECT_LE(compare(logits_, found).relative(kFloor), 1e-5);
}

TEST_P(ArchGolden, EngineGivesTheLogitsAndTokensOfTransformers) {
  build();
  const auto session = exact_session();
  const auto rows = run_chunks(*session, prompt_, std::vector<int64_t>{int64_t(prompt_.size())});
  std::vector<float> found;
  for (const auto& row : rows) found.insert(found.end(), row.begin(), row.end());
  ASSERT_EQ(found.size(), logits_.size());
  EXPECT_LE(compare(logits_, found).relative(kFloor), kTensorBound);
  const auto tokens = greedy(*session, prompt_, int64_t(greedy_.size()));
  for (size_t i = 0; i < greedy_.size(); ++i) {
    ASSERT_EQ(tokens[i].token, greedy_[i]) << "token " << i << ", margin " << tokens[i].margin;
  }
}

TEST_P(ArchGolden, GatesPass) {
  build();
  const plan::Receipt receipt = verify_engine(engine_, {});
  EXPECT_TRUE(receipt.pass) << describe(receipt);
}

// Small engines are traced over more tokens in full: gate 2 must still find every tensor.
TEST_P(ArchGolden, GatesPassInFull) {
  build();
  VerifyOptions options;
  options.full = true;
  const plan::Receipt receipt = verify_engine(engine_, options);
  EXPECT_TRUE(receipt.pass) << describe(receipt);
  EXPECT_FALSE(receipt.first_difference) << describe(receipt);
}

TEST_P(ArchGolden, DeterministicSessionsGiveTheSameBitsInAnyCompany) {
  build();
  runtime::SessionOptions options;
  options.deterministic = true;
  options.cache_tokens = 1024;
  runtime::Session session(plan::EngineFile::open(engine_), options);
  const int64_t length = std::min<int64_t>(session.context_length(), 100);
  const auto tokens = random_tokens(session.engine(), length, 5);
  const std::vector<std::vector<int32_t>> others = {random_tokens(session.engine(), length, 6),
                                                    random_tokens(session.engine(), 1, 7)};
  const auto alone = run_chunks(session, tokens, std::vector<int64_t>{length});
  EXPECT_EQ(alone, run_in_batch(session, tokens, others));
}

TEST_P(ArchGolden, SameInputGivesTheSameBytes) {
  build();
  const std::string first = read_text_file(engine_);
  build();
  EXPECT_TRUE(first == read_text_file(engine_));
}

TEST_P(ArchGolden, EngineHoldsTheGraphAndTheWeightsAsTheyWere) {
  build();
  const auto checkpoint = open_checkpoint();
  const ir::Model model = compiler::read_model(checkpoint);
  const ir::Graph& graph = model.graphs.at("main");
  const ir::Graph kept = compiler::engine_graph(plan::EngineFile::open(engine_));
  std::map<std::string, tensor::SourcePtr> sources;
  for (const ir::Value constant : kept.constants()) sources[kept.source_name(constant)] = kept.source(constant);
  size_t matrices = 0;
  for (const ir::Value constant : graph.constants()) {
    const auto same = sources.find(graph.source_name(constant));
    if (same == sources.end()) continue;  // folded away
    matrices += graph.source(constant)->dims().size() == 2 ? 1 : 0;
    const auto expected = tensor::load(*graph.source(constant));
    const auto found = tensor::load(*same->second);
    ASSERT_EQ(expected.dtype(), found.dtype());
    EXPECT_TRUE(
        std::equal(expected.bytes().begin(), expected.bytes().end(), found.bytes().begin(), found.bytes().end()))
        << graph.name(constant);
  }
  EXPECT_GE(matrices, 7u);  // one layer of seven, or two of six
}

INSTANTIATE_TEST_SUITE_P(Transformers, ArchGolden, testing::ValuesIn(arch_cases(true)),
                         [](const auto& golden) { return golden.param; });

}  // namespace
}  // namespace lathe::verify
