#include "compiler/build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"
#include "compiler/engine_graph.h"
#include "frontend/checkpoint.h"
#include "frontend/decoder.h"

namespace lathe::compiler {
namespace {

class BuildTest : public testing::Test {
 protected:
  BuildTest() : folder_(std::filesystem::path(testing::TempDir()) / fmt::format("lathe_build_{}", ::getpid())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~BuildTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

ir::Model model_of(std::string_view name) {
  const auto checkpoint = frontend::Checkpoint::open(std::filesystem::path(LATHE_TESTS_DIR) / "arch" / name);
  return frontend::build_decoder(checkpoint, frontend::natural_dtype(checkpoint));
}

std::string bytes_of(const tensor::Source& source) {
  std::string bytes(source.byte_size(), '\0');
  source.read_rows(0, source.rows(), std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

// Every constant of `before` is in `after`, as the checkpoint stored it.
void expect_same_constants(const std::shared_ptr<const plan::EngineFile>& before,
                           const std::shared_ptr<const plan::EngineFile>& after) {
  const auto& others = after->manifest().plan.constants;
  ASSERT_FALSE(others.empty());
  for (const plan::Constant& constant : before->manifest().plan.constants) {
    const auto same = [&](const plan::Constant& other) { return other.name == constant.name; };
    const auto it = std::find_if(others.begin(), others.end(), same);
    ASSERT_NE(it, others.end()) << constant.name;
    EXPECT_EQ(bytes_of(*constant_source(before, constant)), bytes_of(*constant_source(after, *it))) << constant.name;
  }
}

// What the messages about versions promise: an engine of any version up to this program's can be built anew.
// engine_v1_decoder.lathe is gguf_llama_q4_0 of tests/arch as commit db861e4 built it.
TEST_F(BuildTest, AnEngineOfVersionOneIsBuiltAnew) {
  const auto old = plan::EngineFile::open(LATHE_TESTS_DIR "/plan/engine_v1_decoder.lathe");
  ir::Model model = engine_model(old);
  model.assets.erase("tokenizer.compiled");
  PreparedBuild build(model, {});
  build.write(folder_ / "new.lathe");
  const auto engine = plan::EngineFile::open(folder_ / "new.lathe");
  EXPECT_EQ(engine->manifest().producer, "lathe " LATHE_VERSION);
  EXPECT_EQ(engine->manifest().contract.vocab_size, old->manifest().contract.vocab_size);
  expect_same_constants(old, engine);
}

// Whatever else is in the file, a packed constant that is not as long as its layout says is never read.
TEST_F(BuildTest, APackedConstantOfAnotherSizeIsRefused) {
  const auto engine = plan::EngineFile::open(LATHE_TESTS_DIR "/plan/engine_v1_decoder.lathe");
  for (plan::Constant constant : engine->manifest().plan.constants) {
    if (constant.layout == "plain") continue;
    constant.bytes -= 64;
    try {
      constant_source(engine, constant);
      ADD_FAILURE() << constant.name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
    }
  }
}

// The prediction is what refuses a build, so it must hold, and not by far: a machine that could is not refused.
TEST_F(BuildTest, DiskIsPredicted) {
  for (const char* name : {"llama_gqa", "gguf_llama_q4_k_m/model.gguf", "neox_tied_bf16"}) {
    const ir::Model model = model_of(name);
    PreparedBuild build(model, {});
    const uint64_t predicted = build.predict().disk_bytes;
    build.write(folder_ / "m.lathe");
    const uint64_t found = std::filesystem::file_size(folder_ / "m.lathe");
    EXPECT_LE(found, predicted) << name;
    EXPECT_LE(predicted, found + (96 << 10)) << name;  // room for a receipt and the alignment of assets
  }
}

TEST_F(BuildTest, MemoryOfVerificationGrowsWithTheModelAndTheThreads) {
  const ir::Model model = model_of("llama_gqa");
  BuildOptions one;
  one.threads = 1;
  BuildOptions many;
  many.threads = 64;
  const BuildPrediction small = PreparedBuild(model, one).predict();
  const BuildPrediction large = PreparedBuild(model, many).predict();
  EXPECT_GT(large.pack_memory_bytes, small.pack_memory_bytes);
  EXPECT_GT(large.verify_memory_bytes, small.verify_memory_bytes);
  EXPECT_EQ(small.memory_bytes, std::max(small.pack_memory_bytes, small.verify_memory_bytes));
  EXPECT_LT(small.memory_bytes, uint64_t{256} << 20);  // a model of 100 KB
}

// More threads than memory: refused before the file is begun, with both numbers.
TEST_F(BuildTest, RefusesWhatMemoryCannotHold) {
  const ir::Model model = model_of("llama_gqa");
  BuildOptions options;
  options.threads = int(available_memory_bytes() / (uint64_t{16} << 20)) + 1;
  try {
    PreparedBuild(model, options).write(folder_ / "m.lathe");
    ADD_FAILURE() << "was not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::resource);
    EXPECT_THAT(error.what(), testing::HasSubstr("bytes of memory, there are"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

}  // namespace
}  // namespace lathe::compiler
