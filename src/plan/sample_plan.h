// A small plan and manifest for the tests of this folder: embedding, two products with a residual, logits.
#pragma once

#include "plan/engine_file.h"

namespace lathe::plan {

inline constexpr int64_t kSampleVocabulary = 10;
inline constexpr int64_t kSampleWidth = 16;

inline Operand buffer_operand(int64_t index) {
  return {OperandKind::buffer, index};
}
inline Operand constant_operand(int64_t index) {
  return {OperandKind::constant, index};
}

// y = x W' + residual
inline Instruction linear(Operand x, Operand residual, Operand weight, Operand y, std::string name) {
  return {"lathe.Linear",
          "cpu.linear",
          std::move(name),
          {{"compute", std::string("f32")}},
          {x, residual, {}, {}, weight},
          {y}};
}

// Offsets of constants are those that a writer gives when it allocates them in order.
inline Plan sample_plan() {
  using tensor::DType;
  Plan plan;
  plan.compute = "f32";
  plan.kv = "f16";
  plan.kv_block = 16;
  plan.buffers = {{std::string(kTokenIds), DType::i64, Rows::tokens, 0, 0},
                  {std::string(kOutputRows), DType::i64, Rows::outputs, 0, 0},
                  {"embedded", DType::f32, Rows::tokens, kSampleWidth, 0},
                  {"inner", DType::f32, Rows::tokens, kSampleWidth, 0},
                  {"sum", DType::f32, Rows::tokens, kSampleWidth, 0},
                  {"wanted", DType::f32, Rows::outputs, kSampleWidth, 0},
                  {"logits", DType::f32, Rows::outputs, kSampleVocabulary, 0}};
  const int64_t table_bytes = kSampleVocabulary * kSampleWidth * 4;
  const int64_t square_bytes = kSampleWidth * kSampleWidth * 4;
  plan.constants = {
      {"table", DType::f32, tensor::Encoding::plain, {kSampleVocabulary, kSampleWidth}, "plain", 0, table_bytes},
      {"up", DType::f32, tensor::Encoding::plain, {kSampleWidth, kSampleWidth}, "f32_panel", 640, square_bytes}};
  plan.states = {{"cache.0", "append", 1, kSampleWidth}};
  plan.instructions = {
      {"lathe.Embed", "cpu.embed", "embed", {}, {constant_operand(0), buffer_operand(0)}, {buffer_operand(2)}},
      linear(buffer_operand(2), {}, constant_operand(1), buffer_operand(3), "first"),
      linear(buffer_operand(3), buffer_operand(2), constant_operand(1), buffer_operand(4), "second"),
      {"lathe.Embed", "cpu.embed", "pick", {}, {buffer_operand(4), buffer_operand(1)}, {buffer_operand(5)}},
      linear(buffer_operand(5), {}, constant_operand(0), buffer_operand(6), "head")};
  plan.logits = 6;
  plan_memory(plan);
  return plan;
}

inline contract::Contract sample_contract() {
  contract::Contract contract;
  contract.architecture = "llama";
  contract.vocab_size = kSampleVocabulary;
  contract.context_length = 64;
  contract.num_layers = 1;
  contract.kv_heads = 1;
  contract.head_dim = kSampleWidth;
  contract.eos_ids = {1};
  return contract;
}

// Without weight_bytes and weight_hashes, which a writer fills.
inline Manifest sample_manifest() {
  Manifest manifest;
  manifest.producer = "lathe test";
  manifest.opset = 27;
  manifest.graph = "graph sample {\n}\n";
  manifest.contract = sample_contract();
  manifest.plan = sample_plan();
  return manifest;
}

}  // namespace lathe::plan
