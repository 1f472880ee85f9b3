#include "ir/multiplications.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace lathe::ir {
namespace {

int64_t count(const std::string& op, const std::string& body) {
  const Graph graph = parse("graph g {\n" + body + "}\n", {});
  const Multiplications found = count_multiplications(graph);
  EXPECT_EQ(found.unknown, 0);
  return found.by_op.contains(op) ? found.by_op.at(op) : 0;
}

TEST(Multiplications, OfConvolutions) {
  // 2 pictures, 8 features of 6 x 6, windows of 3 x 3 over 4 channels.
  EXPECT_EQ(
      count("Conv", "  input %x: f32[2, 4, 8, 8]\n  input %w: f32[8, 4, 3, 3]\n  %y = Conv(%x, %w)\n  output %y\n"),
      2 * 8 * 6 * 6 * 4 * 9);
  EXPECT_EQ(count("Conv", "  input %x: f32[1, 4, 8, 8]\n  input %w: f32[4, 1, 3, 3]\n"
                          "  %y = Conv(%x, %w) {group = 4}\n  output %y\n"),
            4 * 6 * 6 * 9);
  EXPECT_EQ(count("ConvTranspose", "  input %x: f32[1, 4, 5]\n  input %w: f32[4, 3, 2]\n"
                                   "  %y = ConvTranspose(%x, %w) {strides = [2]}\n  output %y\n"),
            4 * 5 * 3 * 2);
}

TEST(Multiplications, OfProducts) {
  EXPECT_EQ(count("MatMul", "  input %a: f32[5, 2, 3]\n  input %b: f32[3, 7]\n  %y = MatMul(%a, %b)\n  output %y\n"),
            5 * 2 * 7 * 3);
  EXPECT_EQ(count("Gemm", "  input %a: f32[3, 2]\n  input %b: f32[7, 3]\n"
                          "  %y = Gemm(%a, %b) {transA = 1, transB = 1}\n  output %y\n"),
            2 * 7 * 3);
}

TEST(Multiplications, OfAttention) {
  EXPECT_EQ(count("Attention",
                  "  input %q: f32[2, 8, 5, 16]\n  input %k: f32[2, 4, 9, 16]\n  input %v: f32[2, 4, 9, 12]\n"
                  "  %y = Attention(%q, %k, %v)\n  output %y\n"),
            2 * 8 * 5 * 9 * (16 + 12));
  EXPECT_EQ(count("Attention", "  input %q: f32[2, 5, 128]\n  input %k: f32[2, 9, 64]\n  input %v: f32[2, 9, 64]\n"
                               "  %y = Attention(%q, %k, %v) {q_num_heads = 8, kv_num_heads = 4}\n  output %y\n"),
            2 * 8 * 5 * 9 * (16 + 16));
}

// With the lengths of its inputs, whatever the meaning leaves open.
TEST(Multiplications, OfWhatAForeignOperatorMeans) {
  const std::string call = R"(graph g {
    input %a: f32[2, 5, 3]
    input %b: f32[2, 7, 3]
    %y = lathe.Contrib(%a, _, %b) {domain = "com.microsoft", meaning = graph meaning {
      input %x0: f32[b, n, 3]
      input %x2: f32[b, m, 3]
      %t = Transpose(%x2) {perm = [0, 2, 1]}
      %p = MatMul(%x0, %t)
      output %p
    }, operator = "FusedMatMul", transB = 1}
    output %y
  })";
  const Graph graph = parse(call, {});
  EXPECT_EQ(op::to_string(graph.type(graph.outputs()[0])), "f32[2, 5, 7]");
  EXPECT_EQ(count_multiplications(graph).by_op.at("MatMul"), 2 * 5 * 7 * 3);
  std::string wrong = call;
  wrong.replace(wrong.find("%a, _, %b"), 9, "%a, %a, %b");
  EXPECT_THROW(parse(wrong, {}), Error);
}

TEST(Multiplications, OpenLengthsAreCountedAsSuch) {
  const Graph graph = parse(
      "graph g {\n  input %a: f32[n, 3]\n  input %b: f32[3, 7]\n  %y = MatMul(%a, %b)\n  %z = Neg(%y)\n  output "
      "%z\n}\n",
      {});
  const Multiplications found = count_multiplications(graph);
  EXPECT_EQ(found.unknown, 1);
  EXPECT_EQ(found.total, 0);
}

}  // namespace
}  // namespace lathe::ir
