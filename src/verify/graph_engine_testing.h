// What tests of engines of graphs share: files that go away, and one engine with a bit of everything.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>

#include "backend/graph_load.h"
#include "compiler/graph_engine.h"
#include "op/values.h"
#include "runtime/graph_session.h"
#include "verify/graph_cases.h"

namespace lathe::verify::graph_engines {

namespace fs = std::filesystem;
using namespace graph_cases;
using compiler::GraphEngineRequest;
using compiler::PreparedGraphEngine;
using plan::EngineFile;
using Data = runtime::GraphSession::Data;

// A folder for the files of this run, removed at its end.
struct ScratchFolder {
  fs::path path = fs::path(testing::TempDir()) / fmt::format("lathe_graph_engine_{}", ::getpid());
  ScratchFolder() { fs::create_directories(path); }
  ~ScratchFolder() {
    std::error_code ignored;  // nobody is left to tell
    fs::remove_all(path, ignored);
  }
};

inline fs::path scratch(std::string_view name) {
  static const ScratchFolder folder;
  return folder.path / name;
}

inline GraphEngineRequest request_of(const ir::Graph& graph) {
  GraphEngineRequest request;
  request.graphs.push_back({.name = "main", .graph = graph});
  return request;
}

inline std::shared_ptr<const EngineFile> build(GraphEngineRequest request, const fs::path& path) {
  PreparedGraphEngine(std::move(request), {}).write(path);
  return EngineFile::open(path);
}

inline std::shared_ptr<const plan::GraphModel> load(const EngineFile& engine, std::string_view name = {}) {
  return backend::load_graph(engine, plan::get_graph(engine.manifest().graphs, name));
}

inline Data run_once(std::shared_ptr<const plan::GraphModel> model, const Data& inputs) {
  runtime::GraphSession session(std::move(model), {.threads = 1, .isa = {}, .limits = {}});
  Data copies;
  for (const auto& [name, datum] : session.run(inputs)) {
    if (datum.is_tensor()) copies.emplace(name, op::clone(datum.tensor()));
  }
  return copies;
}

inline void expect_equal(const Data& expected, const Data& found) {
  ASSERT_EQ(expected.size(), found.size());
  for (const auto& [name, datum] : expected) {
    const tensor::Tensor& a = datum.tensor();
    const tensor::Tensor& b = found.at(name).tensor();
    EXPECT_EQ(a.dims(), b.dims()) << name;
    EXPECT_EQ(a.dtype(), b.dtype()) << name;
    const bool same = a.bytes().size() == b.bytes().size() &&
                      (a.bytes().empty() || std::memcmp(a.bytes().data(), b.bytes().data(), a.bytes().size()) == 0);
    EXPECT_TRUE(same) << name;
  }
}

// An engine with what manifests can hold: bodies, tensors and lists in attributes, texts, small and packed types.
inline std::string rich_text() {
  return "graph g {\n  input %x: f32[n, 3, 8, 8]\n  input %go: bool[]\n"
         "  const %w: f32[20, 3, 3, 3] = \"w\" plain\n  const %u: f32[20, 20, 3, 3] = \"u\" plain\n"
         "  const %m: f32[8, 8] = \"m\" plain\n  %names = Constant() {value_strings = [\"a\", \"b c\"]}\n"
         "  %a = Conv(%x, %w) {pads = [1, 1, 1, 1]}\n  %b = Conv(%a, %u) {pads = [1, 1, 1, 1]}\n  %c = MatMul(%b, %m)\n"
         "  %d = If(%go, %c, %c) {else_branch = graph e {\n    input %p: f32[n, 20, 8, 8]\n    %q = Neg(%p)\n    "
         "output %q\n  }"
         ", then_branch = graph t {\n    input %p: f32[n, 20, 8, 8]\n    %s = Shape(%p)\n"
         "    %f = ConstantOfShape(%s) {value = tensor f32[1] {2.0}}\n    %q = Mul(%p, %f)\n    output %q\n  }}\n"
         "  %e = Identity(%names)\n  output %d\n  output %e\n}\n";
}

}  // namespace lathe::verify::graph_engines
