#include "backend/kernel_uses.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/kernel.h"
#include "base/error.h"
#include "plan/sample_plan.h"

namespace lathe::backend {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The sample's head reads a plain table, which the product kernel does not take.
plan::Plan packed_plan() {
  plan::Plan plan = plan::sample_plan();
  plan.constants[0].layout = "f32_panel";
  plan.constants[0].bytes = int64_t(find_layout("f32_panel")->size(plan::kSampleVocabulary, plan::kSampleWidth));
  return plan;
}

TEST(KernelUses, AlikeInstructionsAreOneKind) {
  const auto uses = kernel_uses(packed_plan());
  ASSERT_EQ(uses.size(), 3u);
  EXPECT_EQ(uses[0].op, "lathe.Embed");
  EXPECT_THAT(uses[0].weights, ElementsAre("f32 in f32_panel"));
  EXPECT_EQ(uses[1].op, "lathe.Linear");
  EXPECT_EQ(uses[1].kernel, "cpu.linear");
  EXPECT_EQ(uses[1].compute, "f32");
  EXPECT_EQ(uses[1].example, "first");
  EXPECT_EQ(uses[1].instructions, 3);
  EXPECT_EQ(uses[1].weight_bytes, 3 * 16 * 16 * 4);  // ten rows of the head fill a panel
  EXPECT_THAT(uses[1].refusals, IsEmpty());
  EXPECT_EQ(uses[2].example, "pick");  // embeds rows of a buffer
  EXPECT_THAT(uses[2].weights, IsEmpty());
  EXPECT_THAT(uses[2].refusals, IsEmpty());  // a kernel that refuses what the engine says is no faster one
}

TEST(KernelUses, FasterKernelsSayWhyNot) {
  plan::Plan plan = packed_plan();
  plan.instructions.push_back(
      {"Add", "reference", "sum", {}, {plan::buffer_operand(2), plan::constant_operand(0)}, {plan::buffer_operand(3)}});
  plan.constants[0].layout = "plain";
  const KernelUse use = kernel_uses(plan).back();
  EXPECT_EQ(use.kernel, "reference");
  ASSERT_EQ(use.refusals.size(), 1u);
  EXPECT_EQ(use.refusals[0].kernel, "cpu.add");
  EXPECT_FALSE(use.refusals[0].reason.empty());
}

TEST(KernelUses, RoundingThatWasRefused) {
  plan::Plan plan = packed_plan();
  plan.compute = "i16";
  const KernelUse use = kernel_uses(plan)[1];
  ASSERT_EQ(use.refusals.size(), 1u);
  EXPECT_EQ(use.refusals[0].kernel, "cpu.linear in i16");
  EXPECT_THAT(use.refusals[0].reason, HasSubstr("blocks"));
}

TEST(KernelUses, EnginesOfBeforeAKernel) {
  plan::Plan plan = packed_plan();
  plan.instructions[1].kernel = "cpu.slow_linear";
  const KernelUse use = kernel_uses(plan)[1];
  EXPECT_EQ(use.kernel, "cpu.slow_linear");
  ASSERT_EQ(use.refusals.size(), 1u);
  EXPECT_EQ(use.refusals[0].kernel, "cpu.linear");
  EXPECT_THAT(use.refusals[0].reason, HasSubstr("built without it"));
}

TEST(KernelUses, OtherDevicesAndDamagedConstants) {
  plan::Plan plan = packed_plan();
  plan.device = "abacus";
  EXPECT_THAT(kernel_uses(plan)[1].refusals, IsEmpty());
  plan = packed_plan();
  plan.constants[1].dims = {256};  // kernels would read a second dimension
  EXPECT_THROW(kernel_uses(plan), Error);
}

}  // namespace
}  // namespace lathe::backend
