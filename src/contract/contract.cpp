#include "contract/contract.h"

#include <array>
#include <utility>

#include "base/error.h"

namespace lathe::contract {
namespace {

constexpr std::array<std::pair<Precision, std::string_view>, 5> kPrecisions = {{
    {Precision::fp32, "fp32"},
    {Precision::fp16, "fp16"},
    {Precision::bf16, "bf16"},
    {Precision::q8, "q8"},
    {Precision::int8, "int8"},
}};

void check_positive(std::string_view field, int64_t value) {
  if (value < 1) fail(ErrorCode::invalid_input, "{}: expected at least 1, found {}", field, value);
}

void check_id(std::string_view field, int64_t id, int64_t vocab_size) {
  if (id >= 0 && id < vocab_size) return;
  fail(ErrorCode::invalid_input, "{}: {} is not in a vocabulary of {}", field, id, vocab_size);
}

// Written so that NaN fails.
void check_range(std::string_view field, double value, double low, double high) {
  if (value >= low && value <= high) return;
  fail(ErrorCode::invalid_input, "{}: expected {} to {}, found {}", field, low, high, value);
}

void check_generation(const Generation& generation) {
  constexpr double kLargest = 1e6;
  check_range("temperature", generation.temperature, 0, kLargest);
  if (generation.do_sample && generation.temperature == 0) {
    fail(ErrorCode::invalid_input, "temperature: sampling needs one above 0");
  }
  if (generation.top_k < 0) fail(ErrorCode::invalid_input, "top_k: {} is negative", generation.top_k);
  check_range("top_p", generation.top_p, 0, 1);
  check_range("min_p", generation.min_p, 0, 1);
  check_range("repetition_penalty", generation.repetition_penalty, 1e-6, kLargest);
  if (generation.max_length) check_positive("max_length", *generation.max_length);
  if (generation.max_new_tokens) check_positive("max_new_tokens", *generation.max_new_tokens);
}

}  // namespace

std::string_view to_string(Precision precision) {
  for (const auto& [value, name] : kPrecisions) {
    if (value == precision) return name;
  }
  LATHE_CHECK(false, "precision {}", int(precision));
  return {};
}

bool from_string(std::string_view text, Precision& precision) {
  for (const auto& [value, name] : kPrecisions) {
    if (name != text) continue;
    precision = value;
    return true;
  }
  return false;
}

void check(const Contract& contract) {
  if (contract.architecture.empty()) fail(ErrorCode::invalid_input, "architecture is empty");
  check_positive("vocab_size", contract.vocab_size);
  check_positive("context_length", contract.context_length);
  check_positive("num_layers", contract.num_layers);
  check_positive("kv_heads", contract.kv_heads);
  check_positive("head_dim", contract.head_dim);
  if (contract.bos_id) check_id("bos_id", *contract.bos_id, contract.vocab_size);
  if (contract.pad_id) check_id("pad_id", *contract.pad_id, contract.vocab_size);
  for (size_t i = 0; i < contract.eos_ids.size(); ++i) {
    check_id(fmt::format("eos_ids[{}]", i), contract.eos_ids[i], contract.vocab_size);
  }
  if (!contract.chat_template.empty() && contract.tokenizer_asset.empty()) {
    fail(ErrorCode::invalid_input, "there is a chat_template, but no tokenizer_asset to encode its text");
  }
  with_context("generation", [&] { check_generation(contract.generation); });
}

}  // namespace lathe::contract
