// One node of a plan broken on purpose: verification must fail, and name that node and no other.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "compiler/build.h"
#include "frontend/decoder.h"
#include "verify/verify.h"

namespace lathe::verify {
namespace {

namespace fs = std::filesystem;

class BrokenNode : public testing::Test {
 protected:
  fs::path sound_ = fs::temp_directory_path() / fmt::format("lathe_sound_{}.lathe", ::getpid());
  fs::path broken_ = fs::temp_directory_path() / fmt::format("lathe_broken_{}.lathe", ::getpid());

  void SetUp() override {
    const auto checkpoint = frontend::Checkpoint::open(fs::path(LATHE_TESTS_DIR) / "arch" / "llama_gqa");
    const ir::Model model = frontend::build_decoder(checkpoint, frontend::natural_dtype(checkpoint));
    compiler::PreparedBuild(model, {}).write(sound_);
  }
  void TearDown() override {
    fs::remove(sound_);
    fs::remove(broken_);
  }

  // The same weights and the same graph text, with one attribute of one instruction changed: sound by every hash.
  void break_instruction(const std::string& op, const std::string& name, const std::string& attribute, double value) {
    const auto engine = plan::EngineFile::open(sound_);
    plan::Manifest manifest = engine->manifest();
    plan::EngineWriter writer(broken_);
    for (plan::Constant& constant : manifest.plan.constants) {
      const auto bytes = engine->constant(constant);
      constant.offset = writer.allocate(constant.bytes);
      writer.write(constant.offset, bytes);
    }
    manifest.assets.clear();
    int changed = 0;
    for (plan::Instruction& instruction : manifest.plan.instructions) {
      if (instruction.op != op || instruction.name != name) continue;
      instruction.attributes.set(attribute, value);
      ++changed;
    }
    ASSERT_EQ(changed, 1);
    writer.finish(manifest);
    writer.commit();
  }
};

TEST_F(BrokenNode, SoundEnginePasses) {
  const plan::Receipt receipt = verify_engine(sound_, {});
  EXPECT_TRUE(receipt.pass) << describe(receipt);
  EXPECT_FALSE(receipt.first_difference);
}

TEST_F(BrokenNode, WrongAttentionScaleIsNamed) {
  break_instruction("lathe.PagedAttention", "layers.1.attention", "scale", 0.3);
  const plan::Receipt receipt = verify_engine(broken_, {});
  EXPECT_FALSE(receipt.pass);
  ASSERT_TRUE(receipt.first_difference);
  EXPECT_EQ(receipt.first_difference->node, "layers.1.attention");
}

TEST_F(BrokenNode, WrongNormEpsilonIsNamed) {
  // The norm is fused into the product that follows it, so the first tensor both sides have is that product's.
  break_instruction("lathe.Linear", "head", "epsilon", 0.5);
  const plan::Receipt receipt = verify_engine(broken_, {});
  EXPECT_FALSE(receipt.pass);
  ASSERT_TRUE(receipt.first_difference);
  EXPECT_EQ(receipt.first_difference->tensor, "logits");
}

TEST_F(BrokenNode, ComparingTwoEnginesNamesTheFirstTensorThatDiffers) {
  break_instruction("lathe.PagedAttention", "layers.0.attention", "scale", 0.3);
  const plan::Receipt receipt = compare_engines(sound_, broken_, {});
  EXPECT_FALSE(receipt.pass);
  ASSERT_TRUE(receipt.first_difference);
  EXPECT_EQ(receipt.first_difference->node, "layers.0.attention");
}

}  // namespace
}  // namespace lathe::verify
