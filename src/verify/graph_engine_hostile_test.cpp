// Engines of graphs that somebody changed: an Error that blames the file, or a run, never anything else.
#include <fstream>
#include <random>

#include "base/error.h"
#include "base/hash.h"
#include "plan/engine_header.h"
#include "plan/flex.h"
#include "plan/manifest.h"
#include "verify/graph_engine_testing.h"
#include "verify/verify_graph_engine.h"

namespace lathe::verify {
namespace {

using namespace graph_engines;

// A file with this manifest in place of its own, and hashes that fit.
void write_engine(const fs::path& path, const std::string& original, const std::string& manifest) {
  const auto view = std::as_bytes(std::span(original));
  plan::Header header = plan::read_header(view, view.size());
  const std::string weights = original.substr(plan::kHeaderBytes, header.weight_bytes);
  header.manifest.bytes = manifest.size();
  header.manifest.hash = xxh3_128_hex(std::as_bytes(std::span(manifest)));
  header.receipt = {};
  std::string bytes = plan::write_header(header);
  bytes.resize(plan::kHeaderBytes);
  bytes += weights;
  bytes.resize(header.manifest.offset);
  bytes += manifest;
  std::ofstream(path, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
}

// One change somewhere in the value: another number, a text of another place, an item gone or there twice.
class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  void change(Json& root) {
    texts_.clear();
    places_.clear();
    collect(root);
    Json& place = *places_[pick(places_.size())];
    if (place.is_number()) return number(place);
    if (place.is_string()) return text(place);
    if (place.is_boolean()) {
      place = !place.get<bool>();
    } else if ((place.is_array() || place.is_object()) && !place.empty()) {
      items(place);
    } else {
      place = Json::array({1, "x"});
    }
  }

 private:
  size_t pick(size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random_); }

  void collect(Json& json) {
    places_.push_back(&json);
    if (json.is_string()) texts_.push_back(json.get<std::string>());
    if (json.is_array() || json.is_object()) {
      for (Json& item : json) collect(item);
    }
  }

  void number(Json& place) {
    const int64_t now = place.is_number_float() ? 0 : place.get<int64_t>();
    const std::vector<Json> others = {now + 1,          now - 1,   0,         -1,  now * 2, now + 64,
                                      int64_t{1} << 40, INT64_MAX, INT64_MIN, 0.5, "x"};
    place = others[pick(others.size())];
  }

  void text(Json& place) {
    std::string now = place.get<std::string>();
    if (now.empty() || pick(2) == 0) {
      place = texts_[pick(texts_.size())];
      return;
    }
    now[pick(now.size())] = char(pick(256));
    place = now;
  }

  void items(Json& place) {
    const size_t at = pick(place.size());
    if (place.is_object()) {
      auto it = place.begin();
      std::advance(it, std::ptrdiff_t(at));
      place.erase(it);
    } else if (pick(2) == 0) {
      place.erase(at);
    } else {
      place.push_back(place[at]);
    }
  }

  std::mt19937 random_;
  std::vector<Json*> places_;
  std::vector<std::string> texts_;
};

// Opens, loads, binds and, where the inputs are as large as declared, runs it, and reads its graph. Anything but an
// Error that blames the file is a failure.
void try_engine(const fs::path& path, std::map<ErrorCode, int>& results) {
  try {
    const auto engine = EngineFile::open(path);
    plan::require_kind(*engine, true);
    for (const plan::EngineGraph& graph : engine->manifest().graphs) {
      plan::print(*graph.model);
      const auto model = backend::load_graph(*engine, graph);
      Data inputs;
      for (const int64_t index : model->plan.inputs) {
        const plan::GraphValue& value = model->plan.values[size_t(index)];
        if (!value.type.is_plain() || value.type.dtype == tensor::DType::string) continue;
        tensor::Dims dims;
        int64_t elements = 1;
        for (const tensor::Dim& dim : value.type.shape) {
          dims.push_back(std::min<int64_t>(dim.constant().value_or(2), 64));
          elements *= dims.back();
        }
        if (elements <= 65536) inputs.emplace(value.name, tensor::Tensor(value.type.dtype, dims));
      }
      runtime::GraphSession session(model,
                                    {.threads = 2, .isa = {}, .limits = {.max_iterations = 10}, .alone_below = 0});
      session.run(inputs);
      compiler::stored_graph(engine, graph);
    }
    ++results[ErrorCode::usage];  // nothing was wrong
  } catch (const Error& error) {
    ++results[error.code()];
    EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
  }
}

// Changes the manifest of the engine at `path` in `seeds` ways, one or two places each.
void try_mutants(const fs::path& path, uint32_t seeds, std::map<ErrorCode, int>& results) {
  const std::string original = read_text_file(path);
  const auto view = std::as_bytes(std::span(original));
  const plan::Header header = plan::read_header(view, view.size());
  const Json manifest = plan::decode_flex(view.subspan(header.manifest.offset, header.manifest.bytes));
  const fs::path changed = scratch("changed.lathe");
  for (uint32_t seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Json json = manifest;
    Mutator mutator(seed);
    mutator.change(json["graphs"]);
    if (seed % 3 == 0) mutator.change(json["graphs"]);
    try {
      write_engine(changed, original, plan::encode_flex(json));
    } catch (const Error&) {
      continue;  // a key that no manifest can hold
    }
    try_engine(changed, results);
  }
}

// What somebody would write who knows how types are checked: one instruction reads something else, has another
// attribute, an input or a constant has another shape, and all types are declared as they then are.
class Rewriter {
 public:
  explicit Rewriter(uint32_t seed) : random_(seed) {}

  void change(plan::GraphModel& model) {
    plan::GraphPlan& plan = model.plan;
    const size_t kind = pick(5);
    if (kind == 0 && !plan.inputs.empty()) return input_shape(plan);
    if (kind == 1 && !plan.constants.empty()) return constant_shape(model);
    if (plan.instructions.empty()) return;
    const size_t at = pick(plan.instructions.size());
    if (kind < 4) return operand(plan, at);
    attribute(plan.instructions[at]);
  }

 private:
  size_t pick(size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random_); }
  int64_t length() { return std::vector<int64_t>{0, 1, 2, 3, 7, 16, 17}[pick(7)]; }

  void input_shape(plan::GraphPlan& plan) {
    op::TypeInfo& type = plan.values[size_t(plan.inputs[pick(plan.inputs.size())])].type;
    const size_t kind = pick(4);
    if (kind == 0 || type.shape.empty()) {
      type.shape.push_back(length());
    } else if (kind == 1) {
      type.shape.pop_back();
    } else {
      type.shape[pick(type.shape.size())] = length();
    }
  }

  // Of the same number of elements.
  void constant_shape(plan::GraphModel& model) {
    const size_t at = pick(model.constants.size());
    tensor::Dims& dims = model.plan.constants[at].dims;
    if (dims.size() < 2 || pick(3) == 0) {
      dims.insert(dims.begin() + std::ptrdiff_t(pick(dims.size() + 1)), 1);
    } else if (pick(2) == 0) {
      std::swap(dims[pick(dims.size())], dims[pick(dims.size())]);
    } else {
      dims[dims.size() - 2] *= dims.back();
      dims.pop_back();
    }
    if (model.plan.constants[at].layout == "plain") model.constants[at] = model.constants[at].reshaped(dims);
  }

  void operand(plan::GraphPlan& plan, size_t at) {
    std::vector<plan::Operand> readable = {{}};
    for (const int64_t input : plan.inputs) readable.push_back({plan::OperandKind::buffer, input});
    for (size_t i = 0; i < plan.constants.size(); ++i) readable.push_back({plan::OperandKind::constant, int64_t(i)});
    for (size_t i = 0; i < at; ++i) {
      for (const plan::Operand& output : plan.instructions[i].outputs) readable.push_back(output);
    }
    auto& inputs = plan.instructions[at].inputs;
    const plan::Operand other = readable[pick(readable.size())];
    if (inputs.empty() || pick(6) == 0) {
      inputs.push_back(other);
    } else if (pick(8) == 0) {
      inputs.pop_back();
    } else {
      inputs[pick(inputs.size())] = other;
    }
  }

  void attribute(plan::Instruction& instruction) {
    if (instruction.attributes.empty()) return;
    auto it = instruction.attributes.begin();
    std::advance(it, std::ptrdiff_t(pick(instruction.attributes.size())));
    const std::string name = it->first;
    op::AttributeValue value = it->second;
    const int64_t number = std::vector<int64_t>{0, 1, -1, 2, 3, 16, INT64_MAX, INT64_MIN, 1 << 20}[pick(9)];
    if (std::holds_alternative<int64_t>(value)) value = number;
    if (auto* list = std::get_if<std::vector<int64_t>>(&value)) {
      if (list->empty() || pick(4) == 0) {
        list->push_back(number);
      } else {
        (*list)[pick(list->size())] = number;
      }
    }
    if (pick(10) == 0) return instruction.attributes.erase(name);
    instruction.attributes.set(name, value);
  }

  std::mt19937 random_;
};

void try_rewritten(const fs::path& path, uint32_t seeds, std::map<ErrorCode, int>& results) {
  const auto engine = EngineFile::open(path);
  const fs::path changed = scratch("rewritten.lathe");
  const std::string original = read_text_file(path);
  for (uint32_t seed = 0; seed < seeds; ++seed) {
    SCOPED_TRACE(fmt::format("rewritten, seed {}", seed));
    plan::Manifest manifest = engine->manifest();
    auto model = std::make_shared<plan::GraphModel>(*manifest.graphs[0].model);
    manifest.graphs[0].model = model;
    try {
      Rewriter rewriter(seed);
      rewriter.change(*model);
      if (seed % 3 == 0) rewriter.change(*model);
      const auto types = plan::infer_types(*model);
      for (size_t i = 0; i < types.size(); ++i) model->plan.values[i].type = types[i];
      write_engine(changed, original, plan::write_manifest(manifest));
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
      continue;
    }
    try_engine(changed, results);
  }
}

uint32_t seeds_or(uint32_t usual) {
  const char* more = std::getenv("LATHE_HOSTILE_SEEDS");  // for a long run by hand
  return more ? uint32_t(std::stoul(more)) : usual;
}

TEST(HostileGraphEngine, HostileManifestsAreRefusedOrRun) {
  GraphEngineRequest request = request_of(parse(rich_text()));
  request.graphs[0].profile = {{"x", {1, 3, 8, 8}, {1, 3, 8, 8}, {4, 3, 8, 8}}};
  const fs::path path = scratch("rich.lathe");
  build(request, path);
  ASSERT_TRUE(verify_graph_engine(path, {}).pass);
  std::map<ErrorCode, int> results;
  try_mutants(path, seeds_or(2000), results);
  EXPECT_GT(results[ErrorCode::invalid_input], 700);
  EXPECT_GT(results[ErrorCode::usage], 100);  // harmless changes reach the kernels
}

TEST(HostileGraphEngine, HostileManifestsOfAnyKernel) {
  const fs::path path = scratch("case.lathe");
  std::map<ErrorCode, int> results;
  for (const Case& c : all_cases()) {
    SCOPED_TRACE(fmt::format("{}.ir:{}", c.file, c.line));
    build(request_of(parse(c.graph)), path);
    try_mutants(path, seeds_or(10), results);
    try_rewritten(path, seeds_or(20), results);
  }
  EXPECT_GT(results[ErrorCode::invalid_input], 500);
  EXPECT_GT(results[ErrorCode::usage], 500);
}

TEST(HostileGraphEngine, HostileBytesAreRefused) {
  const fs::path path = scratch("bytes.lathe");
  build(request_of(parse(rich_text())), path);
  const std::string original = read_text_file(path);
  const auto view = std::as_bytes(std::span(original));
  const plan::Header header = plan::read_header(view, view.size());
  const std::string manifest = original.substr(header.manifest.offset, header.manifest.bytes);
  std::mt19937 random(7);
  std::map<ErrorCode, int> results;
  for (int i = 0; i < 1500; ++i) {
    std::string bytes = manifest;
    bytes[std::uniform_int_distribution<size_t>(0, bytes.size() - 1)(random)] ^= char(1 << i % 8);
    write_engine(path, original, bytes);
    try_engine(path, results);
  }
  EXPECT_GT(results[ErrorCode::invalid_input], 200);
}

}  // namespace
}  // namespace lathe::verify
