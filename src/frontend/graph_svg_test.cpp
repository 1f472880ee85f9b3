#include "frontend/graph_svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "base/error.h"

namespace lathe::frontend {
namespace {

using testing::HasSubstr;
using testing::Not;

ir::Graph graph() {
  return ir::parse(
      "graph g {\n  input %x: f32[n, 4]\n  const %w: f32[4] = {1, 2, 3, 4}\n  %a = Relu(%x) \"first\"\n"
      "  %b = Mul(%a, %w)\n  %y = Add(%a, %b)\n  output %y\n}\n",
      {});
}

// The y of the box whose tooltip begins so.
double top_of(const std::string& svg, const std::string& tooltip) {
  const std::regex box("<title>" + tooltip + "[^<]*</title><rect x=\"[-0-9.]+\" y=\"([-0-9.]+)\"");
  std::smatch found;
  EXPECT_TRUE(std::regex_search(svg, found, box)) << tooltip;
  return found.empty() ? -1 : std::stod(found[1]);
}

TEST(GraphSvg, LayersFollowWhatTheyRead) {
  const std::string svg = to_svg(graph());
  EXPECT_THAT(svg, HasSubstr(">Relu</text>"));
  EXPECT_THAT(svg, HasSubstr(">f32[n, 4]</text>"));
  EXPECT_THAT(svg, HasSubstr(">f32[4]</text>"));  // the weight
  const double x = top_of(svg, "x"), a = top_of(svg, "first"), b = top_of(svg, "b;"), y = top_of(svg, "y; gives");
  EXPECT_LT(x, a);
  EXPECT_LT(a, b);
  EXPECT_LT(b, y);  // though it reads a, too
  EXPECT_EQ(svg, to_svg(graph()));
  const auto edges = std::regex("<path ");
  EXPECT_EQ(std::distance(std::sregex_iterator(svg.begin(), svg.end(), edges), {}), 5);
}

TEST(GraphSvg, NamesAreEscaped) {
  ir::Graph hostile;
  const auto x = hostile.add_input("<script>alert(1)</script>&\"\x01\xff", {tensor::DType::f32, {2}});
  hostile.add_output(hostile.node(hostile.add_node("Relu", {x}, {}, "a<b>&'c'")).outputs[0], "y\"onload=\"z");
  const std::string page = to_html(hostile, "<b>title</b>");
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("a<b>")));
  EXPECT_THAT(page, Not(HasSubstr("<b>title")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(page, Not(HasSubstr("\x01")));
  EXPECT_THAT(page, Not(HasSubstr("y\"onload")));
}

TEST(GraphSvg, LargeGraphsAreRefusedWithTheNumbers) {
  ir::Graph large;
  ir::Value value = large.add_input("x", {tensor::DType::f32, {2}});
  for (size_t i = 0; i <= kMaxDrawnNodes; ++i) value = large.node(large.add_node("Neg", {value})).outputs[0];
  large.add_output(value, "y");
  try {
    to_svg(large);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_THAT(error.what(), HasSubstr("4001"));
    EXPECT_THAT(error.what(), HasSubstr("4000"));
  }
}

}  // namespace
}  // namespace lathe::frontend
