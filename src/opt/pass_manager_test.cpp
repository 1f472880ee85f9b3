#include "opt/pass_manager.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "opt/match.h"
#include "opt/numeric_check.h"
#include "opt/pipeline.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

ir::Graph graph_of(std::string_view text) {
  return ir::parse(text, {});
}

ir::Graph sample() {
  return graph_of(R"(graph sample {
    input %x: f32[n, 4]
    const %zero: f32[] = {0.0}
    %a = Add(%x, %zero)
    %b = Relu(%a)
    %c = Relu(%a)
    %y = Mul(%b, %c)
    output %y })");
}

// x + 0 = 0: wrong, and planted for the checks to find.
bool apply_wrong(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  if (!all_equal(graph, node.inputs[1], 0)) return false;
  const ir::Value negated = graph.node(graph.add_node("Neg", {node.inputs[0]}, {}, "", 1, id)).outputs[0];
  return replace(graph, id, negated);
}

// Relu(x) = Relu(x): never progress.
bool apply_forever(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::NodeId twin = graph.add_node("Relu", graph.node(id).inputs, {}, "", 1, id);
  return replace(graph, id, graph.node(twin).outputs[0]);
}

template <class Body>
void expect_error(ErrorCode code, std::initializer_list<std::string_view> parts, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string_view part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << part << ": " << error.what();
    }
  }
}

TEST(PassManager, ReportsWhatHappened) {
  ir::Graph graph = sample();
  std::vector<std::string> dumps;
  PassOptions options;
  options.dump = [&](std::string_view name, const std::string& text) {
    dumps.emplace_back(name);
    EXPECT_EQ(text.substr(0, 5), "graph");
  };
  const auto reports = optimise(graph, options);
  EXPECT_EQ(graph.nodes().size(), 2u);
  std::map<std::string, int64_t> rewrites;
  bool merged = false;
  for (const PassReport& report : reports) {
    for (const auto& [rule, count] : report.rewrites) {
      rewrites[rule] += count;
      ASSERT_TRUE(report.places.contains(rule));
      EXPECT_EQ(int64_t(report.places.at(rule).size()), count);
      for (const std::string& place : report.places.at(rule)) EXPECT_FALSE(place.empty());
    }
    merged |= report.name == "common_subexpression" && report.changed && report.nodes_before == 4 &&
              report.nodes_after == 3;
    EXPECT_GE(report.ms, 0);
  }
  EXPECT_TRUE(merged);
  EXPECT_EQ(rewrites, (std::map<std::string, int64_t>{{"add_zero", 1}}));
  EXPECT_EQ(dumps.front(), "00_start");
  EXPECT_EQ(dumps.size(), 3u) << "the start, and one for each pass that changed the graph";
}

TEST(PassManager, LevelZeroDoesNothing) {
  ir::Graph graph = sample();
  const std::string before = ir::print(graph);
  EXPECT_TRUE(optimise(graph, {.level = Level::o0}).empty());
  EXPECT_EQ(ir::print(graph), before);
}

TEST(PassManager, DisablesPassesAndRulesByName) {
  ir::Graph graph = sample();
  optimise(graph, {.disabled = {"common_subexpression", "add_zero"}});
  EXPECT_EQ(graph.nodes().size(), 4u);
  optimise(graph, {.disabled = {"common_subexpression"}});
  EXPECT_EQ(graph.nodes().size(), 3u);
  expect_error(ErrorCode::usage, {"no_such_pass"}, [&] { optimise(graph, {.disabled = {"no_such_pass"}}); });
}

TEST(PassManager, RulesOfHigherLevelsWait) {
  static const Rule rule{.name = "late", .roots = {"Add"}, .apply = apply_wrong, .level = Level::o2};
  ir::Graph graph = sample();
  const std::vector<Pass> passes = {rewrite_pass("rewrite", {&rule})};
  EXPECT_FALSE(run_passes(graph, passes, {.level = Level::o1})[0].changed);
  EXPECT_TRUE(run_passes(graph, passes, {.level = Level::o2})[0].changed);
}

TEST(PassManager, VerifiesAfterEachChange) {
  const std::vector<Pass> passes = {{.name = "breaks",
                                     .run =
                                         [](ir::Graph& graph, PassContext&) {
                                           graph.replace_outputs({graph.outputs()[0], graph.outputs()[0]});
                                           return true;
                                         },
                                     .tolerance = kTolerance}};
  ir::Graph graph = sample();
  expect_error(ErrorCode::internal, {"pass breaks", "twice"}, [&] { run_passes(graph, passes); });
}

TEST(CheckedMode, RejectsAWrongRuleByName) {
  static const Rule rule{.name = "planted", .roots = {"Add"}, .apply = apply_wrong};
  const std::vector<Pass> passes = {rewrite_pass("rewrite", {&rule})};
  ir::Graph unchecked = sample();
  EXPECT_NO_THROW(run_passes(unchecked, passes)) << "the graph is well formed, only its numbers are wrong";
  ir::Graph graph = sample();
  expect_error(ErrorCode::verification, {"pass rewrite", "rule planted", "output \"y\"", "index", "expected"},
               [&] { run_passes(graph, passes, {.checked = true}); });
}

TEST(CheckedMode, RejectsAWrongPassByName) {
  const std::vector<Pass> passes = {{.name = "negates",
                                     .run =
                                         [](ir::Graph& graph, PassContext&) {
                                           const ir::Value y = graph.outputs()[0];
                                           const ir::NodeId neg = graph.add_node("Neg", {y});
                                           graph.replace_uses(y, graph.node(neg).outputs[0]);
                                           return true;
                                         },
                                     .tolerance = kTolerance}};
  ir::Graph graph = sample();
  expect_error(ErrorCode::verification, {"pass negates", "\"y\""},
               [&] { run_passes(graph, passes, {.checked = true}); });
}

TEST(CheckedMode, AcceptsTheWholePipeline) {
  ir::Graph graph = sample();
  optimise(graph, {.checked = true});
  EXPECT_EQ(graph.nodes().size(), 2u);
}

TEST(CheckedMode, UsesTheInputsItIsGiven) {
  // At x = 0 the planted rule does no harm, so these inputs cannot see it.
  static const Rule rule{.name = "planted", .roots = {"Add"}, .apply = apply_wrong};
  const std::vector<Pass> passes = {rewrite_pass("rewrite", {&rule})};
  ir::Graph graph = sample();
  PassOptions options;
  options.checked = true;
  options.check_inputs = {{"x", tensor::Tensor(tensor::DType::f32, {1, 4})}};
  EXPECT_NO_THROW(run_passes(graph, passes, options));
}

// Moves the output by `distance` relative to its largest magnitude, 4.
std::string scaled(double distance) {
  return fmt::format("graph g {{ const %c: f32[3] = {{{}, 4.0, nan}} output %c }}", 1.0 + 4.0 * distance);
}

TEST(CheckedMode, TheBoundIsAShareOfTheLargestMagnitude) {
  const auto accepts = [](const std::string& before, const std::string& after) {
    NumericCheck check(graph_of(before), {});
    try {
      check.accept(graph_of(after), "test", kTolerance);
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::verification);
      return false;
    }
  };
  EXPECT_TRUE(accepts(scaled(0), scaled(0)));
  EXPECT_TRUE(accepts(scaled(0), scaled(0.9e-4)));
  EXPECT_FALSE(accepts(scaled(0), scaled(1.1e-4)));
  EXPECT_FALSE(accepts(scaled(0), "graph g { const %c: f32[3] = {1.0, 4.0, 0.0} output %c }"))
      << "NaN is gone";
  EXPECT_FALSE(accepts(scaled(0), "graph g { const %c: f32[3] = {nan, 4.0, nan} output %c }"))
      << "NaN is new";
  EXPECT_FALSE(accepts(scaled(0), "graph g { const %c: f32[3] = {inf, 4.0, nan} output %c }"));
  EXPECT_FALSE(accepts(scaled(0), "graph g { const %c: f32[1, 3] = {1.0, 4.0, nan} output %c }"));
  EXPECT_FALSE(accepts(scaled(0), "graph g { const %d: f32[3] = {1.0, 4.0, nan} output %d }"));
  const std::string tiny = "graph g { const %c: f32[1] = {0.0} output %c }";
  EXPECT_TRUE(accepts(tiny, "graph g { const %c: f32[1] = {0.9e-6} output %c }"));
  EXPECT_FALSE(accepts(tiny, "graph g { const %c: f32[1] = {1.1e-6} output %c }"));
  const std::string narrow = "graph g { const %c: f16[2] = {0.5, 1.0} output %c }";
  EXPECT_TRUE(accepts(narrow, "graph g { const %c: f16[2] = {0.5009765625, 1.0} output %c }"));
  EXPECT_FALSE(accepts(narrow, "graph g { const %c: f16[2] = {0.5029296875, 1.0} output %c }"));
  const std::string ints = "graph g { const %c: i64[2] = {9007199254740993, 5} output %c }";
  EXPECT_TRUE(accepts(ints, ints));
  EXPECT_FALSE(accepts(ints, "graph g { const %c: i64[2] = {9007199254740992, 5} output %c }"));
}

TEST(CheckedMode, GeneratedInputsFitTheGraph) {
  const ir::Graph graph = graph_of(R"(graph g {
    input %mask: bool[batch, past + sequence] input %ids: i64[batch, sequence]
    input %past: f16[batch, past, 3 - 2*k + m]
    output %mask output %ids output %past })");
  const auto inputs = generate_inputs(graph);
  EXPECT_NO_THROW(ir::evaluate(graph, inputs));
  EXPECT_NE(inputs.at("ids").dims()[0], inputs.at("ids").dims()[1]) << "different symbols, different sizes";
  for (const int64_t id : inputs.at("ids").data<int64_t>()) EXPECT_TRUE(id == 0 || id == 1);
}

TEST(Rewrite, RulesThatDoNotConvergeAreNamed) {
  static const Rule rule{.name = "forever", .roots = {"Relu"}, .apply = apply_forever};
  ir::Graph graph = sample();
  expect_error(ErrorCode::internal, {"forever", "without end"},
               [&] { run_passes(graph, std::vector<Pass>{rewrite_pass("rewrite", {&rule})}); });
}

TEST(Rewrite, EveryRuleIsFoundByItsName) {
  EXPECT_GE(all_rules().size(), 12u);
  for (const Rule* rule : all_rules()) EXPECT_EQ(find_rule(rule->name), rule);
  EXPECT_EQ(find_rule("nothing"), nullptr);
  EXPECT_EQ(find_pass("nothing"), nullptr);
  EXPECT_EQ(get_pass("dead_code").name, "dead_code");
}

// A long chain of views, and a large number of rewrites: linear work, and the budget is not in the way.
TEST(Rewrite, LongChainsConverge) {
  ir::Graph graph;
  const ir::Value x = graph.add_input("x", {tensor::DType::f32, {tensor::Dim::symbol("n"), 3}, std::nullopt});
  ir::Value last = x;
  for (int i = 0; i < 500; ++i) {
    last = graph.node(graph.add_node("Transpose", {last}, {{"perm", std::vector<int64_t>{1, 0}}})).outputs[0];
  }
  last = graph.node(graph.add_node("Relu", {last})).outputs[0];
  graph.add_output(last, "y");
  optimise(graph, {});
  EXPECT_EQ(graph.nodes().size(), 1u);
}

}  // namespace
}  // namespace lathe::opt
