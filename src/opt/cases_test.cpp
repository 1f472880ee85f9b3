// Runs tests/opt/*.ir: passes and rules on graphs written as text, before and after.
//
// A file is a list of cases. Lines that matter besides the graphs:
//   // RUN: rule_a, pass_b     what the cases below run, in order; rules that stand together run in one
//   rewrite
//   // case: name              the next one or two graphs belong to this case
//   graph before { ... }       what goes in
//   graph after { ... }        what must come out, but for names of results and constants (print_canonical)
//   graph unchanged { ... }    instead of both: must not change
//   // near: rule: text        what the report must say of a node at which the rule nearly fired
// Each case also runs in checked mode, so a wrong `after` would be found by its numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "opt/case_files.h"
#include "opt/contrib.h"
#include "opt/pass_manager.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

struct Case {
  std::string file;
  int line = 0;
  std::string name;
  std::vector<std::string> run;
  std::string before;
  std::string after;  // equal to before: must not change
  std::vector<std::pair<std::string, std::string>> near;  // rule, text of the reason
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.file << ".ir: " << c.name; }

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  std::istringstream stream(text);
  for (std::string name; std::getline(stream, name, ',');) {
    const size_t first = name.find_first_not_of(' ');
    const size_t last = name.find_last_not_of(' ');
    if (first != std::string::npos) names.push_back(name.substr(first, last - first + 1));
  }
  return names;
}

// The lines of a graph, up to the one that is "}".
std::string read_graph(std::istream& stream, std::string line, int& number) {
  std::string text;
  do {
    text += line + "\n";
    if (line == "}") return text;
    ++number;
  } while (std::getline(stream, line));
  fail(ErrorCode::invalid_input, "line {}: a graph without its end", number);
}

std::vector<Case> read_cases(const std::filesystem::path& path) {
  constexpr std::string_view kRun = "// RUN: ", kCase = "// case: ", kNear = "// near: ";
  std::vector<Case> cases;
  std::vector<std::string> run;
  std::istringstream stream(read_text_file(path));
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (line.starts_with(kRun)) {
      run = split_names(line.substr(kRun.size()));
    } else if (line.starts_with(kCase)) {
      cases.push_back({path.stem().string(), number, line.substr(kCase.size()), run, "", "", {}});
    } else if (line.starts_with(kNear)) {
      const size_t colon = line.find(": ", kNear.size());
      LATHE_CHECK(!cases.empty() && colon != std::string::npos, "{}:{}: {}", path.string(), number, line);
      cases.back().near.emplace_back(line.substr(kNear.size(), colon - kNear.size()), line.substr(colon + 2));
    } else if (line.starts_with("graph ")) {
      LATHE_CHECK(!cases.empty(), "{}: a graph before the first case", path.string());
      Case& last = cases.back();
      const std::string kind = line.substr(6, line.find(' ', 6) - 6);
      LATHE_CHECK(kind == "before" || kind == "after" || kind == "unchanged", "{}:{}: graph {}",
                  path.string(), number, kind);
      const std::string text = read_graph(stream, line, number);
      if (kind != "after") last.before = text;
      if (kind != "before") last.after = text;
    }
  }
  return cases;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto& file : case_files("opt")) {
    for (Case& c : read_cases(file)) cases.push_back(std::move(c));
  }
  return cases;
}

std::vector<Pass> passes_of(const Case& c) {
  std::vector<Pass> passes;
  std::vector<const Rule*> rules;
  const auto flush = [&] {
    if (!rules.empty()) passes.push_back(rewrite_pass("rewrite", rules));
    rules.clear();
  };
  for (const std::string& name : c.run) {
    if (const Rule* rule = find_rule(name)) {
      rules.push_back(rule);
    } else {
      flush();
      passes.push_back(get_pass(name));
    }
  }
  flush();
  return passes;
}

// What the reports say, one line for each.
std::string near_misses(const std::vector<PassReport>& reports) {
  std::string text;
  for (const PassReport& report : reports) {
    for (const auto& [rule, misses] : report.near_misses) {
      for (const NearMiss& miss : misses) text += fmt::format("{}: {}: {}\n", rule, miss.place, miss.reason);
    }
  }
  return text;
}

// Graph names differ by design ("before", "after").
std::string canonical(const ir::Graph& graph) {
  const std::string text = ir::print_canonical(graph);
  return text.substr(text.find('\n') + 1);
}

class OptCase : public testing::TestWithParam<Case> {};

TEST_P(OptCase, Runs) {
  const Case& c = GetParam();
  SCOPED_TRACE(fmt::format("{}.ir:{}: {}", c.file, c.line, c.name));
  ASSERT_FALSE(c.run.empty());
  ASSERT_FALSE(c.before.empty());
  ASSERT_FALSE(c.after.empty());
  for (const bool checked : {false, true}) {
    ir::Graph graph = ir::parse(c.before, {});
    const ir::Graph expected = ir::parse(c.after, {});
    const auto reports = run_passes(graph, passes_of(c), {.level = Level::o4, .checked = checked});
    EXPECT_EQ(canonical(graph), canonical(expected));
    const bool changed =
        std::any_of(reports.begin(), reports.end(), [](const PassReport& r) { return r.changed; });
    const std::string misses = near_misses(reports);
    for (const auto& [rule, reason] : c.near) {
      const size_t line = misses.find(rule + ": ");
      EXPECT_TRUE(line != std::string::npos && misses.find(reason, line) != std::string::npos)
          << "expected " << rule << ": " << reason << ", found " << misses;
    }
    EXPECT_EQ(changed, c.before != c.after) << "a pass must say whether it changed anything";
    const auto again = run_passes(graph, passes_of(c), {.level = Level::o4});
    EXPECT_EQ(canonical(graph), canonical(expected)) << "a second run changed it again";
  }
}

std::string test_name(const testing::TestParamInfo<Case>& info) {
  std::string name = fmt::format("{}_{}", info.param.file, info.param.line);
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Files, OptCase, testing::ValuesIn(all_cases()), test_name);

// A rule or pass without a case would be untested; about half of the cases say what must not change.
TEST(OptCases, CoverEveryRuleAndPass) {
  std::map<std::string, int> must, must_not;
  for (const Case& c : all_cases()) {
    for (const std::string& name : c.run) ++(c.before == c.after ? must_not : must)[name];
  }
  for (const Rule* rule : all_rules()) {
    EXPECT_GT(must[rule->name], 0) << rule->name;
    EXPECT_GT(must_not[rule->name], 0) << rule->name;
  }
  for (const ContribRule* rule : contrib_rules()) {
    EXPECT_GT(must[rule->rule.name], 0) << rule->rule.name;
    EXPECT_GT(must_not[rule->rule.name], 0) << rule->rule.name;
  }
  for (const Pass* pass : all_passes()) {
    EXPECT_GT(must[pass->name], 0) << pass->name;
    EXPECT_GT(must_not[pass->name], 0) << pass->name;
  }
}

}  // namespace
}  // namespace lathe::opt
