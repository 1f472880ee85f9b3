// What run and chat share: options of sampling, and text to the terminal.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "contract/contract.h"
#include "pipeline/generate/generate.h"

namespace lathe::cli {

// What was said on the command line; the rest comes from the model's generation_config.
struct SamplingFlags {
  std::optional<double> temperature;  // 0: greedy
  std::optional<int64_t> top_k;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<double> repeat_penalty;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::vector<std::string> logit_bias;  // "ID=VALUE"
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  std::optional<int64_t> max_tokens;

  // Whether the command line asks for sampling.
  bool samples() const { return (temperature || top_k || top_p || min_p) && temperature != 0.0; }
};
void add_sampling_flags(CLI::App& command, SamplingFlags& flags);

// Options of a generation whose prompt has `prompt_tokens`. A temperature above 0, top-k, top-p or min-p on
// the command line turn sampling on. Without a seed each run draws its own; without --max-tokens the model's own
// wish holds (max_new_tokens, else max_length), else `default_tokens`.
pipeline::GenerateOptions generate_options(const SamplingFlags& flags, const contract::Contract& contract,
                                           int64_t prompt_tokens, int64_t default_tokens = 128);

// "24 tokens of prompt in 88 ms (273/s), 128 tokens generated (45.1/s)".
std::string describe_speed(const pipeline::GenerateResult& result);
double tokens_per_second(int64_t tokens, double ms);  // 0 where nothing ran

}  // namespace lathe::cli
