// A small decoder layer as an engine, for tests and the fuzzer of this folder: every CPU kernel once, and the
// reference.
#pragma once

#include <algorithm>
#include <string>

#include "backend/kernel.h"
#include "base/checked.h"
#include "base/hash.h"
#include "plan/engine_header.h"
#include "plan/manifest.h"

namespace lathe::runtime {

inline constexpr int64_t kSampleVocabulary = 12;
inline constexpr int64_t kSampleWidth = 32;
inline constexpr int64_t kSampleContext = 128;

// Indices of what tests change.
enum SampleBuffer : int64_t {
  kBufferTokenIds,
  kBufferPositions,
  kBufferFirstToken,
  kBufferFirstPosition,
  kBufferBlockTable,
  kBufferOutputRows,
  kEmbedded,
  kCos,
  kSin,
  kQkv,
  kAttended,
  kInner,
  kNormed,
  kGated,
  kSum,
  kSquare,
  kPositive,
  kWanted,
  kLogits
};
enum SampleConstant : int64_t {
  kTable,
  kFrequencies,
  kQkvWeight,
  kOutWeight,
  kScale,
  kGateWeight,
  kUpWeight,
  kBias,
  kHead
};
enum SampleInstruction : size_t {
  kEmbed,
  kRotaryTable,
  kProject,
  kAttend,
  kOut,
  kNorm,
  kGate,
  kAdd,
  kMultiply,
  kRelu,
  kGather,
  kLogitsProduct
};

inline plan::Plan sample_plan() {
  using plan::Rows;
  using tensor::DType;
  using tensor::Encoding;
  constexpr int64_t kWidth = kSampleWidth;
  constexpr int64_t kHeadDim = 16;
  const auto buffer = [](int64_t index) { return plan::Operand{plan::OperandKind::buffer, index}; };
  const auto constant = [](int64_t index) { return plan::Operand{plan::OperandKind::constant, index}; };
  const plan::Operand none;
  const plan::Operand state{plan::OperandKind::state, 0};
  plan::Plan plan;
  plan.compute = "f32";
  plan.kv = "f32";
  plan.kv_block = backend::get_device("cpu").kv_block;
  plan.buffers = {{std::string(plan::kTokenIds), DType::i64, Rows::tokens, 0, 0},
                  {std::string(plan::kPositions), DType::i64, Rows::tokens, 0, 0},
                  {std::string(plan::kFirstToken), DType::i32, Rows::sequences_one, 0, 0},
                  {std::string(plan::kFirstPosition), DType::i32, Rows::sequences, 0, 0},
                  {std::string(plan::kBlockTable), DType::i32, Rows::sequences, 0, 0},
                  {std::string(plan::kOutputRows), DType::i64, Rows::outputs, 0, 0}};
  const auto add_buffer = [&](std::string name, int64_t columns, Rows rows = Rows::tokens) {
    plan.buffers.push_back({std::move(name), DType::f32, rows, columns, 0});
  };
  add_buffer("embedded", kWidth);
  add_buffer("cos", kHeadDim / 2);
  add_buffer("sin", kHeadDim / 2);
  add_buffer("qkv", 4 * kHeadDim);  // two heads and one key-value head
  for (const char* name : {"attended", "inner", "normed", "gated", "sum", "square", "positive"}) {
    add_buffer(name, kWidth);
  }
  add_buffer("wanted", kWidth, Rows::outputs);
  add_buffer("logits", kSampleVocabulary, Rows::outputs);

  const auto add_constant = [&](std::string name, std::vector<int64_t> dims, Encoding encoding, std::string layout) {
    plan::Constant entry{std::move(name), DType::f32, encoding, std::move(dims), std::move(layout), 0, 0};
    const backend::PackedLayout* packed = backend::find_layout(entry.layout);
    entry.bytes = packed ? int64_t(packed->size(entry.dims[0], entry.dims[1]))
                         : tensor::element_count(std::span<const int64_t>(entry.dims)) * 4;
    if (!plan.constants.empty()) {
      const plan::Constant& last = plan.constants.back();
      entry.offset = align_up<int64_t>(last.offset + last.bytes, 64);
    }
    plan.constants.push_back(std::move(entry));
  };
  add_constant("table", {kSampleVocabulary, kWidth}, Encoding::plain, "plain");
  add_constant("inv_freq", {kHeadDim / 2}, Encoding::plain, "plain");
  add_constant("qkv", {4 * kHeadDim, kWidth}, Encoding::plain, "f32_panel");
  add_constant("out", {kWidth, kWidth}, Encoding::q8_0, "q8_0_panel");
  add_constant("scale", {kWidth}, Encoding::plain, "plain");
  add_constant("gate", {kWidth, kWidth}, Encoding::plain, "f32_panel");
  add_constant("up", {kWidth, kWidth}, Encoding::plain, "f32_panel");
  add_constant("bias", {kWidth}, Encoding::plain, "plain");
  add_constant("head", {kSampleVocabulary, kWidth}, Encoding::plain, "f32_panel");
  plan.states = {{"cache.0", "append", 1, kHeadDim}};

  plan.instructions = {
      {"lathe.Embed", "cpu.embed", "embed", {}, {constant(kTable), buffer(kBufferTokenIds)}, {buffer(kEmbedded)}},
      {"lathe.RotaryTable",
       "cpu.rotary_table",
       "rope",
       {},
       {buffer(kBufferPositions), constant(kFrequencies)},
       {buffer(kCos), buffer(kSin)}},
      {"lathe.Linear",
       "cpu.linear",
       "project",
       {{"norm", std::string("rms")}, {"epsilon", 1e-5}},
       {buffer(kEmbedded), none, constant(kScale), none, constant(kQkvWeight)},
       {buffer(kQkv)}},
      {"lathe.PagedAttention",
       "cpu.paged_attention",
       "attend",
       {{"num_heads", int64_t{2}},
        {"kv_heads", int64_t{1}},
        {"head_dim", kHeadDim},
        {"rotary_dim", kHeadDim},
        {"scale", 0.25}},
       {buffer(kQkv), buffer(kCos), buffer(kSin), buffer(kBufferFirstToken), buffer(kBufferFirstPosition),
        buffer(kBufferBlockTable), state, state},
       {buffer(kAttended), state, state}},
      {"lathe.Linear",
       "cpu.linear",
       "out",
       {{"compute", std::string("i8")}},
       {buffer(kAttended), buffer(kEmbedded), none, none, constant(kOutWeight)},
       {buffer(kInner)}},
      {"RMSNormalization", "cpu.rms_norm", "norm", {}, {buffer(kInner), constant(kScale)}, {buffer(kNormed)}},
      {"lathe.Linear",
       "cpu.linear",
       "gate",
       {{"parts", int64_t{2}}, {"activation", std::string("silu_gate")}},
       {buffer(kNormed), none, none, none, constant(kGateWeight), constant(kUpWeight), constant(kBias), none},
       {buffer(kGated)}},
      {"Add", "cpu.add", "add", {}, {buffer(kGated), buffer(kInner)}, {buffer(kSum)}},
      {"Mul", "cpu.mul", "multiply", {}, {buffer(kSum), buffer(kNormed)}, {buffer(kSquare)}},
      {"Relu", "reference", "relu", {}, {buffer(kSquare)}, {buffer(kPositive)}},
      {"Gather", "cpu.gather_rows", "wanted", {}, {buffer(kPositive), buffer(kBufferOutputRows)}, {buffer(kWanted)}},
      {"lathe.Linear",
       "cpu.linear",
       "head",
       {},
       {buffer(kWanted), none, none, none, constant(kHead)},
       {buffer(kLogits)}}};
  plan.logits = kLogits;
  plan::plan_memory(plan);
  return plan;
}

inline plan::Manifest sample_manifest() {
  plan::Manifest manifest;
  manifest.producer = "lathe test";
  manifest.opset = 27;
  manifest.graph = "graph sample {\n}\n";
  manifest.contract.architecture = "llama";
  manifest.contract.vocab_size = kSampleVocabulary;
  manifest.contract.context_length = kSampleContext;
  manifest.contract.num_layers = 1;
  manifest.contract.kv_heads = 1;
  manifest.contract.head_dim = 16;
  manifest.contract.eos_ids = {1};
  manifest.plan = sample_plan();
  const plan::Constant& last = manifest.plan.constants.back();
  manifest.weight_bytes = last.offset + last.bytes;
  return manifest;
}

// Weights of the sample: f32 ones are 0.125, those in blocks 0.
inline std::string sample_weights(const plan::Manifest& manifest) {
  std::string weights(size_t(manifest.weight_bytes), '\0');
  for (const plan::Constant& constant : manifest.plan.constants) {
    if (constant.encoding != tensor::Encoding::plain) continue;
    auto* values = reinterpret_cast<float*>(weights.data() + constant.offset);
    std::fill(values, values + constant.bytes / 4, 0.125f);
  }
  return weights;
}

inline std::string hash_of(std::string_view bytes) {
  return xxh3_128_hex(std::as_bytes(std::span(bytes)));
}

// An engine file with all its hashes right, whatever the manifest says: what a writer with bad intent makes, and
// what EngineWriter would refuse to.
inline std::string engine_of(const std::string& manifest, const std::string& weights) {
  plan::Header header;
  header.weight_bytes = weights.size();
  header.manifest = {align_up(plan::kHeaderBytes + weights.size(), plan::kSectionAlignment), manifest.size(),
                     hash_of(manifest)};
  std::string bytes = plan::write_header(header);
  bytes.resize(plan::kHeaderBytes);
  bytes += weights;
  bytes.resize(header.manifest.offset);
  return bytes + manifest;
}

// The same from a manifest, whose weight_hashes are set.
inline std::string engine_bytes(plan::Manifest manifest, const std::string& weights) {
  manifest.weight_hashes.clear();
  for (size_t at = 0; at < weights.size(); at += plan::kHashChunk) {
    manifest.weight_hashes.push_back(hash_of(std::string_view(weights).substr(at, plan::kHashChunk)));
  }
  return engine_of(plan::write_manifest(manifest), weights);
}

}  // namespace lathe::runtime
