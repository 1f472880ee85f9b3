// Masks and positions as exporters write them, and others that are almost right.
#include "compiler/decoder_probes.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::compiler {
namespace {

// A step's inputs, its numbers of tokens, and `body`, which makes %found of them.
ir::Graph graph_of(const std::string& body) {
  return ir::parse(R"(graph main {
  input %input_ids: i64[b, s]
  input %attention_mask: i64[b, past + s]
  input %past_key_values.0.key: f32[b, 1, past, 2]
  const %none: i64[] = {0}
  const %one: i64[] = {1}
  const %two: i64[] = {2}
  const %ones: i64[1] = {1}
  const %zeros: i64[1] = {0}
  const %far: i64[1] = {9223372036854775807}
  %ids_shape = Shape(%input_ids)
  %mask_shape = Shape(%attention_mask)
  %s = Gather(%ids_shape, %one)
  %total = Gather(%mask_shape, %one)
  %first = Sub(%total, %s)
)" + body + "  output %found\n}\n",
                   {});
}

ir::Value found(const ir::Graph& graph) {
  return *graph.find("found");
}

// cumsum(mask) + offset of the step's tokens.
std::string counted(const std::string& offset) {
  return "  %count = CumSum(%attention_mask, %one)\n  %begin = Unsqueeze(%first, %zeros)\n"
         "  %step = Slice(%count, %begin, %far, %ones)\n  %found = " +
         offset + "\n";
}

TEST(DecoderProbes, PositionsMayBeCountedInTwoWays) {
  const ir::Graph plain = graph_of("  %row = Range(%first, %total, %one)\n  %found = Unsqueeze(%row, %zeros)\n");
  EXPECT_TRUE(is_positions(plain, found(plain)));
  const ir::Graph seen = graph_of(counted("Sub(%step, %one)"));
  EXPECT_TRUE(is_positions(seen, found(seen)));
}

TEST(DecoderProbes, OtherNumbersAreNoPositions) {
  for (const std::string& body : {
           counted("Add(%step, %one)"),                                                           // OPT's offset
           std::string("  %row = Range(%none, %s, %one)\n  %found = Unsqueeze(%row, %zeros)\n"),  // not after the past
           std::string("  %found = Identity(%input_ids)\n"),                                      //
           std::string("  %row = Range(%first, %total, %one)\n  %twice = Mul(%row, %two)\n"
                       "  %half = Add(%row, %twice)\n  %found = Unsqueeze(%half, %zeros)\n"),  // three times
       }) {
    const ir::Graph graph = graph_of(body);
    EXPECT_FALSE(is_positions(graph, found(graph))) << body;
  }
}

// [b, 1, s, past + s] of booleans: a key is seen by the query if `sees` holds for %k [1, total] and %q [s, 1].
std::string mask(const std::string& sees) {
  return "  %keys = Range(%none, %total, %one)\n  %queries = Range(%first, %total, %one)\n"
         "  %k = Unsqueeze(%keys, %zeros)\n  %q = Unsqueeze(%queries, %ones)\n" +
         sees +
         "  %real = Cast(%attention_mask) {to = 9}\n  const %axes: i64[2] = {1, 2}\n"
         "  %wide = Unsqueeze(%real, %axes)\n  %found = And(%wide, %sees)\n";
}

std::string refusal(const std::string& body) {
  const ir::Graph graph = graph_of(body);
  try {
    require_causal(graph, found(graph));
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    return error.what();
  }
}

TEST(DecoderProbes, MasksHideTheFutureAndPaddingOnly) {
  EXPECT_EQ(refusal(mask("  %sees = LessOrEqual(%k, %q)\n")), "");
  // A window of four, which hides nothing until the past is that long.
  EXPECT_NE(refusal(mask("  %causal = LessOrEqual(%k, %q)\n  const %four: i64[] = {4}\n  %until = Add(%k, %four)\n"
                         "  %near = Greater(%until, %q)\n  %sees = And(%causal, %near)\n"))
                .find("past 5"),
            std::string::npos);
  EXPECT_NE(refusal(mask("  %sees = Less(%k, %q)\n")), "");               // not itself
  EXPECT_NE(refusal(mask("  %sees = GreaterOrEqual(%k, %none)\n")), "");  // the future
}

}  // namespace
}  // namespace lathe::compiler
