// The graphs of tests/graph/*.ir with their calls, for tests that run them.
//
//   // case: name
//   // with: n = 2, h = 7        lengths for the symbols of the inputs; a line for each call, made one after another
//   // kernels: cpu.conv         kernels that must take part when fused: a test of a kernel must not pass without it
//   graph g { ... }              constants by name are noise; integer inputs are 0 and 1
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <ostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "ir/graph.h"
#include "opt/case_files.h"
#include "opt/numeric_check.h"

namespace lathe::verify::graph_cases {

using Bindings = std::map<std::string, int64_t, std::less<>>;

struct Case {
  std::string file;
  int line = 0;
  std::string name;
  std::vector<Bindings> calls;
  std::set<std::string> kernels;
  std::string graph;
};

inline void PrintTo(const Case& c, std::ostream* out) {
  *out << c.file << ".ir: " << c.name;
}

inline Bindings read_bindings(std::string text) {
  Bindings bindings;
  std::replace(text.begin(), text.end(), ',', ' ');
  std::istringstream stream(text);
  std::string name, equals;
  for (int64_t value = 0; stream >> name >> equals >> value;) bindings.emplace(name, value);
  return bindings;
}

inline std::vector<Case> read_cases(const std::filesystem::path& path) {
  std::vector<Case> cases;
  std::istringstream stream(read_text_file(path));
  int number = 0;
  const auto rest = [](const std::string& line, std::string_view key) -> std::optional<std::string> {
    return line.starts_with(key) ? std::optional(line.substr(key.size())) : std::nullopt;
  };
  bool inside = false;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (const auto name = rest(line, "// case: ")) {
      cases.push_back({path.stem().string(), number, *name, {}, {}, ""});
    } else if (const auto with = rest(line, "// with: ")) {
      cases.back().calls.push_back(read_bindings(*with));
    } else if (const auto kernels = rest(line, "// kernels: ")) {
      std::istringstream words(*kernels);
      for (std::string word; words >> word;) cases.back().kernels.insert(word);
    } else if (line.starts_with("graph ") || inside) {
      cases.back().graph += line + "\n";
      inside = line != "}";
    }
  }
  return cases;
}

inline std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto& file : opt::case_files("graph")) {
    for (Case& c : read_cases(file)) cases.push_back(std::move(c));
  }
  return cases;
}

inline ir::Graph parse(const std::string& text) {
  return ir::parse(text, [](const std::string& name, tensor::DType dtype, tensor::Encoding, const tensor::Dims& dims) {
    tensor::Tensor tensor(dtype, dims);
    opt::fill_with_noise(tensor, name);
    return tensor::memory_source(tensor, name);
  });
}

inline std::map<std::string, tensor::Tensor> make_inputs(const ir::Graph& graph, const Bindings& bindings) {
  std::map<std::string, tensor::Tensor> inputs;
  for (const ir::Value input : graph.inputs()) {
    tensor::Dims dims;
    for (const tensor::Dim& dim : graph.type(input).shape) dims.push_back(dim.bind(bindings).value());
    tensor::Tensor tensor(graph.type(input).dtype, dims);
    opt::fill_with_noise(tensor, graph.name(input));
    inputs.emplace(graph.name(input), std::move(tensor));
  }
  return inputs;
}

}  // namespace lathe::verify::graph_cases
