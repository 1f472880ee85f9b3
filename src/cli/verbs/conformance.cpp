// lathe conformance: the ONNX backend tests, with a table by operator.
#include "verify/conformance.h"
#include "base/file.h"
#include "cli/verb.h"
#include "text/regex.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string folder;
  std::string filter;
  bool table = false;
  bool compiled = false;
  std::string engines;
};

struct Count {
  int passed = 0;
  int total = 0;
};

void print_tables(const std::vector<verify::ConformanceResult>& results, const Output& output) {
  std::map<std::string, Count> by_operator;
  std::map<int64_t, Count> by_opset;
  for (const auto& result : results) {
    Count& opset = by_opset[result.opset];
    ++opset.total;
    opset.passed += result.passed;
    for (const std::string& name : result.operators) {
      Count& count = by_operator[name];
      ++count.total;
      count.passed += result.passed;
    }
  }
  output.print(fmt::format("{:<44} {:>7} {:>7}", "tests that contain the operator", "passed", "all"));
  for (const auto& [name, count] : by_operator) {
    output.print(fmt::format("{:<44} {:>7} {:>7}", name, count.passed, count.total));
  }
  output.print(fmt::format("\n{:<44} {:>7} {:>7}", "opset", "passed", "all"));
  for (const auto& [opset, count] : by_opset) {
    output.print(
        fmt::format("{:<44} {:>7} {:>7}", opset == 0 ? "none" : std::to_string(opset), count.passed, count.total));
  }
}

bool matches(const text::Regex& pattern, const std::string& name) {
  text::RegexMatcher matcher(pattern);
  text::RegexMatch match;
  matcher.start(name);
  return matcher.next(match);
}

Exit run(const Options& options, Output& output) {
  const text::Regex filter(options.filter);
  std::vector<verify::ConformanceResult> results;
  int passed = 0;
  if (!options.engines.empty()) make_folder(options.engines);
  const ProgressSink progress = output.progress(ProgressUnit::steps);
  const auto tests = verify::find_conformance_tests(options.folder);
  Json json = {{"total", 0}, {"passed", 0}, {"tests", Json::array()}};
  for (size_t i = 0; i < tests.size(); ++i) {
    if (!matches(filter, tests[i].filename().string())) continue;
    results.push_back(
        verify::run_conformance_test(tests[i], {.compiled = options.compiled, .engines = options.engines}));
    const auto& result = results.back();
    passed += result.passed;
    json["tests"].push_back({{"name", result.name}, {"pass", result.passed}, {"reason", result.reason}});
    progress({"tests", i + 1, tests.size()});
    if (!result.passed) output.print(fmt::format("FAIL {}: {}", result.name, result.reason));
  }
  output.end_progress();
  if (results.empty()) fail(ErrorCode::not_found, "no test below {} fits --filter {}", options.folder, options.filter);
  if (options.table) print_tables(results, output);
  output.print(fmt::format("{} of {} tests passed", passed, results.size()));
  json["total"] = results.size();
  json["passed"] = passed;
  output.result(json);
  return size_t(passed) == results.size() ? Exit::good : Exit::failed;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_flag("--compiled", options->compiled,
                   "run each model as a compiled graph (as run and bench do), not on the reference executor");
  command.add_option(
      "--engines", options->engines,
      "the same out of engine files that are written into this folder, each built again from itself first");
  command.add_option("folder", options->folder, "ONNX test folders: model.onnx with test_data_set_*/*.pb beside it")
      ->required();
  command.add_option("--filter", options->filter, "only folders whose name has a match of this regular expression");
  command.add_flag("--table", options->table, "what passed by operator and by opset");
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& conformance_verb() {
  static const Verb verb{.name = "conformance",
                         .description = "run ONNX backend tests: exact types and shapes, the suite's tolerances",
                         .example = "lathe conformance onnx/backend/test/data/node --filter '^test_gru' --table",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
