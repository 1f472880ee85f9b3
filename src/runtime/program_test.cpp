#include "runtime/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "runtime/bindings_testing.h"

namespace lathe::runtime {
namespace {

using plan::Manifest;
using plan::OperandKind;
using testing::HasSubstr;

TEST(Program, RunsTheSample) {
  const EngineOnDisk file(good_bytes());
  for (const float logit : Bindings(file.open()).step()) EXPECT_TRUE(std::isfinite(logit) && logit > 0) << logit;
}

// What only the values decide is the reference kernel's own check: the step throws what the operator threw.
TEST(Program, StepThrowsWhatTheReferenceThrew) {
  Manifest manifest = sample_manifest();
  manifest.plan.instructions[kRelu] = {"Gather",
                                       "reference",
                                       "outside",
                                       {},
                                       {{OperandKind::constant, kTable}, {OperandKind::buffer, kBufferPositions}},
                                       {{OperandKind::buffer, kPositive}}};
  const EngineOnDisk file(engine_bytes(manifest, sample_weights(manifest)));
  Bindings bindings(file.open());
  EXPECT_NO_THROW(bindings.step());
  const AfterInstruction nothing = [](size_t) {};
  for (const AfterInstruction& after : {AfterInstruction{}, nothing}) {
    try {
      bindings.step(kSampleVocabulary, after);
      ADD_FAILURE() << "did not throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      EXPECT_THAT(error.what(), HasSubstr("Gather \"outside\": "));
    }
    EXPECT_NO_THROW(bindings.step(0, after));  // the failure is gone with its step
  }
}

// A NaN in a weight is named where it lies: plain, in a packed panel, as the scale of a block.
TEST(Program, NamesTheWeightThatIsNotFinite) {
  const Manifest manifest = sample_manifest();
  const auto said = [&](SampleConstant index, int64_t at, std::string_view bytes, size_t by) {
    std::string weights = sample_weights(manifest);
    weights.replace(size_t(manifest.plan.constants[size_t(index)].offset + at), bytes.size(), bytes);
    const EngineOnDisk file(engine_bytes(manifest, weights));
    return Bindings(file.open()).program->bad_weight(by);
  };
  const std::string_view nan("\x00\x00\xc0\x7f", 4), infinity("\x00\x00\x80\xff", 4), half_infinity("\x00\x7c", 2);
  EXPECT_EQ(said(kTable, 4 * (5 * kSampleWidth + 7), nan, kEmbed), "; its weight \"table\" holds nan at [5, 7]");
  EXPECT_EQ(said(kScale, 4 * 31, infinity, kProject), "; its weight \"scale\" holds -inf at [0, 31]");
  // [panel][column][16]: row 18 is row 2 of panel 1.
  EXPECT_EQ(said(kUpWeight, 4 * (16 * kSampleWidth + 16 * 3 + 2), nan, kGate),
            "; its weight \"up\" holds nan at [18, 3]");
  // A chunk of one block of q8_0: 8 words of 16 rows, then 16 scales; infinity times 0 is NaN.
  EXPECT_EQ(said(kOutWeight, 8 * 64 + 2 * 5, half_infinity, kOut), "; its weight \"out\" holds nan at [5, 0]");
  EXPECT_EQ(said(kTable, 0, nan, kOut), "");
}

}  // namespace
}  // namespace lathe::runtime
