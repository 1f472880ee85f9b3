#include "plan/manifest.h"

#include <algorithm>
#include <set>

#include "base/checked.h"
#include "base/fields.h"
#include "plan/attribute_json.h"
#include "plan/flex.h"
#include "plan/graph_body.h"

namespace lathe::plan {
namespace {

constexpr size_t kHashDigits = 32;

// The structs without fields of their own list; append-only, as all of them.
template <class V>
void visit_instruction(V& v, Instruction& instruction) {
  v("op", instruction.op);
  v("kernel", instruction.kernel);
  v("name", instruction.name);
  v("inputs", instruction.inputs);
  v("outputs", instruction.outputs);
}

template <class V>
void visit_plan(V& v, Plan& plan) {
  v("device", plan.device);
  v("compute", plan.compute);
  v("kv", plan.kv);
  v("kv_block", plan.kv_block);
  v("buffers", plan.buffers);
  v("constants", plan.constants);
  v("states", plan.states);
  v("logits", plan.logits);
  v("arena_tokens", plan.arena_tokens);
  v("arena_outputs", plan.arena_outputs);
  v("arena_sequences", plan.arena_sequences);
}

template <class V>
void visit_manifest(V& v, Manifest& manifest) {
  v("producer", manifest.producer);
  v("opset", manifest.opset);
  if (manifest.graphs.empty()) {
    v("graph", manifest.graph);
    v("contract", manifest.contract);
  } else {
    v("pipeline", manifest.pipeline);
  }
  v("assets", manifest.assets);
  v("weight_bytes", manifest.weight_bytes);
}

Json instructions_json(const std::vector<Instruction>& instructions) {
  Json result = Json::array();
  for (const Instruction& instruction : instructions) {
    fields::Writer writer;
    visit_instruction(writer, const_cast<Instruction&>(instruction));  // Writer only reads
    if (!instruction.attributes.empty()) writer.object["attributes"] = attributes_json(instruction.attributes, {});
    result.push_back(std::move(writer.object));
  }
  return result;
}

std::vector<Instruction> read_instructions(const Json& json) {
  if (!json.is_array()) fields::fail_type("array", json);
  std::vector<Instruction> instructions(json.size());
  for (size_t i = 0; i < json.size(); ++i) {
    with_context(fmt::format("instruction {}", i), [&] {
      if (!json[i].is_object()) fields::fail_type("object", json[i]);
      fields::Reader reader{json[i]};
      visit_instruction(reader, instructions[i]);
      if (const Json* attributes = find_member(json[i], "attributes")) {
        instructions[i].attributes = read_attributes(*attributes, {});
      }
    });
  }
  return instructions;
}

std::vector<std::string> split_hashes(std::string_view digits) {
  if (digits.size() % kHashDigits != 0) {
    fail(ErrorCode::invalid_input, "weight_hashes: {} digits are not whole hashes", digits.size());
  }
  std::vector<std::string> hashes;
  hashes.reserve(digits.size() / kHashDigits);
  for (size_t at = 0; at < digits.size(); at += kHashDigits) hashes.emplace_back(digits.substr(at, kHashDigits));
  return hashes;
}

// `offset`, `bytes` lie in the weight section.
void check_range(std::string_view what, std::string_view name, int64_t offset, int64_t bytes, int64_t weight_bytes) {
  const bool inside = offset >= 0 && bytes >= 0 && bytes <= weight_bytes && offset <= weight_bytes - bytes;
  if (inside) return;
  fail(ErrorCode::invalid_input, "{} \"{}\": {} bytes at {} are outside the {} bytes of weights", what, name, bytes,
       offset, weight_bytes);
}

// A session holds token ids and positions to the contract, kernels look them up unasked: the tables must be as
// long as the contract says.
void check_lookups(const Plan& plan, const contract::Contract& contract) {
  for (const Instruction& instruction : plan.instructions) {
    if (instruction.op != "lathe.Embed" || instruction.inputs[0].kind != OperandKind::constant) continue;
    if (instruction.inputs[1].kind != OperandKind::buffer) continue;
    const Constant& table = plan.constants[size_t(instruction.inputs[0].index)];
    const std::string& ids = plan.buffers[size_t(instruction.inputs[1].index)].name;
    const int64_t needed = ids == kTokenIds ? contract.vocab_size : ids == kPositions ? contract.context_length : 0;
    if (table.dims[0] >= needed) continue;
    fail(ErrorCode::invalid_input, "instruction \"{}\": a table of {} rows for {} values of \"{}\"", instruction.name,
         table.dims[0], needed, ids);
  }
}

}  // namespace

namespace {

Json language_plan_json(const Manifest& manifest) {
  fields::Writer plan;
  visit_plan(plan, const_cast<Plan&>(manifest.plan));
  plan.object["instructions"] = instructions_json(manifest.plan.instructions);
  return std::move(plan.object);
}

void read_language_plan(const Json& json, Manifest& manifest) {
  with_context("plan", [&] {
    const Json& plan = get_member(json, "plan");
    if (!plan.is_object()) fields::fail_type("object", plan);
    fields::Reader plan_reader{plan};
    visit_plan(plan_reader, manifest.plan);
    manifest.plan.instructions = read_instructions(get_member(plan, "instructions"));
  });
}

void read_graphs(const Json& graphs, const WeightSection& weights, Manifest& manifest) {
  if (!graphs.is_array() || graphs.empty()) fail(ErrorCode::invalid_input, "graphs: expected some, found none");
  for (const Json& graph : graphs) manifest.graphs.push_back(read_graph(graph, weights));
}

void check_profile_of(const EngineGraph& graph) {
  const GraphPlan& plan = graph.model->plan;
  std::set<std::string_view> names;
  for (const InputProfile& input : graph.profile) {
    const bool known = std::any_of(plan.inputs.begin(), plan.inputs.end(),
                                   [&](int64_t index) { return plan.values[size_t(index)].name == input.name; });
    bool good = known && names.insert(input.name).second && input.min.size() == input.max.size() &&
                input.opt.size() == input.max.size();
    for (size_t i = 0; good && i < input.max.size(); ++i) {
      good = input.min[i] >= 0 && input.min[i] <= input.opt[i] && input.opt[i] <= input.max[i];
    }
    if (!good) fail(ErrorCode::invalid_input, "the profile of input \"{}\" cannot be", input.name);
  }
}

void check_graphs(const Manifest& manifest) {
  std::set<std::string_view> names;
  for (const EngineGraph& graph : manifest.graphs) {
    with_context(fmt::format("graph \"{}\"", graph.name), [&] {
      if (!names.insert(graph.name).second) fail(ErrorCode::invalid_input, "two have this name");
      check(*graph.model);
      check_profile_of(graph);
      each_constant(*graph.model, [&](const Constant& constant) {
        check_range("constant", constant.name, constant.offset, constant.bytes, manifest.weight_bytes);
      });
    });
  }
  if (!manifest.pipeline.empty()) parse_json(manifest.pipeline, "pipeline");
}

}  // namespace

std::string write_manifest(const Manifest& manifest) {
  fields::Writer writer;
  visit_manifest(writer, const_cast<Manifest&>(manifest));
  if (manifest.graphs.empty()) {
    writer.object["plan"] = language_plan_json(manifest);
    if (!manifest.arch.empty()) writer.object["arch"] = manifest.arch;
  } else {
    writer.object["graphs"] = Json::array();
    for (const EngineGraph& graph : manifest.graphs) writer.object["graphs"].push_back(graph_json(graph));
  }
  // One string: thousands of small ones would be half of the time of opening.
  writer.object["weight_hashes"] = fmt::format("{}", fmt::join(manifest.weight_hashes, ""));
  return encode_flex(writer.object);
}

Manifest read_manifest(std::span<const std::byte> bytes, const WeightSection& weights) {
  const Json json = decode_flex(bytes);
  if (!json.is_object()) fields::fail_type("object", json);
  Manifest manifest;
  if (const Json* graphs = find_member(json, "graphs")) {
    read_graphs(*graphs, weights, manifest);
  } else {
    read_language_plan(json, manifest);
  }
  fields::Reader reader{json};
  visit_manifest(reader, manifest);
  reader("arch", manifest.arch);
  const Json& hashes = get_member(json, "weight_hashes");
  if (!hashes.is_string()) fields::fail_type("string", hashes);
  manifest.weight_hashes = split_hashes(hashes.get_ref<const std::string&>());
  return manifest;
}

void check(const Manifest& manifest) {
  if (manifest.weight_bytes < 0) {
    fail(ErrorCode::invalid_input, "weight_bytes {} is negative", manifest.weight_bytes);
  }
  const uint64_t chunks =
      uint64_t(manifest.weight_bytes) / kHashChunk + (uint64_t(manifest.weight_bytes) % kHashChunk != 0);
  if (manifest.weight_hashes.size() != chunks) {
    fail(ErrorCode::invalid_input, "expected {} weight hashes, found {}", chunks, manifest.weight_hashes.size());
  }
  for (const AssetEntry& asset : manifest.assets) {
    check_range("asset", asset.name, asset.offset, asset.bytes, manifest.weight_bytes);
  }
  if (!manifest.graphs.empty()) return check_graphs(manifest);
  with_context("contract", [&] { contract::check(manifest.contract); });
  with_context("plan", [&] {
    check(manifest.plan);
    check_types(manifest.plan);
    check_lookups(manifest.plan, manifest.contract);
  });
  for (const Constant& constant : manifest.plan.constants) {
    check_range("constant", constant.name, constant.offset, constant.bytes, manifest.weight_bytes);
  }
  if (manifest.plan.logits < 0) return;
  const int64_t columns = manifest.plan.buffers[size_t(manifest.plan.logits)].columns;
  if (columns != manifest.contract.vocab_size) {
    fail(ErrorCode::invalid_input, "{} logits for a vocabulary of {}", columns, manifest.contract.vocab_size);
  }
}

std::string write_receipt_bytes(const Receipt& receipt) {
  return encode_flex(to_json(receipt));
}

Receipt read_receipt_bytes(std::span<const std::byte> bytes) {
  Receipt receipt;
  from_json(decode_flex(bytes), receipt);
  return receipt;
}

}  // namespace lathe::plan
