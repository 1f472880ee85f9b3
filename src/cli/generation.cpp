#include "cli/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

namespace lathe::cli {
namespace {

uint64_t random_seed() {
  std::random_device device;
  return uint64_t(device()) << 32 | device();
}

// "15043=-2.5", "2=-inf".
std::optional<std::pair<int32_t, float>> find_bias(const std::string& pair) {
  const size_t equals = pair.find('=');
  int32_t token = 0;
  float value = 0;
  if (equals == std::string::npos || !CLI::detail::lexical_cast(pair.substr(0, equals), token) ||
      !CLI::detail::lexical_cast(pair.substr(equals + 1), value)) {
    return std::nullopt;
  }
  return std::pair(token, value);
}

std::string check_bias(const std::string& pair) {
  return find_bias(pair) ? "" : fmt::format("expected ID=VALUE, found \"{}\"", pair);
}

int64_t default_max_tokens(const contract::Generation& generation, int64_t prompt_tokens, int64_t otherwise) {
  if (generation.max_new_tokens) return *generation.max_new_tokens;
  if (generation.max_length) return std::max<int64_t>(0, *generation.max_length - prompt_tokens);
  return otherwise;
}

}  // namespace

void add_sampling_flags(CLI::App& command, SamplingFlags& flags) {
  command.add_option("-n,--max-tokens", flags.max_tokens, "tokens to generate at most; 0 only evaluates the prompt");
  command.add_option("--temperature,--temp", flags.temperature, "of the softmax; 0 is greedy");
  command.add_option("--top-k", flags.top_k, "sample from the k likeliest tokens; 0: all");
  command.add_option("--top-p", flags.top_p, "sample from the likeliest tokens that reach this probability");
  command.add_option("--min-p", flags.min_p, "smallest probability, as a share of the largest");
  command.add_option("--repeat-penalty", flags.repeat_penalty, "divides the logits of tokens seen");
  command.add_option("--presence-penalty", flags.presence_penalty, "subtracted from logits of tokens generated");
  command.add_option("--frequency-penalty", flags.frequency_penalty, "the same for each time they were generated");
  command
      .add_option("--logit-bias", flags.logit_bias,
                  "ID=VALUE, added to a token's logit; -inf forbids it; may be given more than once")
      ->allow_extra_args(false)
      ->check(check_bias);
  command.add_option("-s,--seed", flags.seed, "the same seed gives the same text (default: random)");
  command.add_option("--stop", flags.stop, "text that ends the generation; may be given more than once")
      ->allow_extra_args(false);
  command.add_flag("--ignore-eos", flags.ignore_eos, "go on after the end token");
}

pipeline::GenerateOptions generate_options(const SamplingFlags& flags, const contract::Contract& contract,
                                           int64_t prompt_tokens, int64_t default_tokens) {
  pipeline::GenerateOptions options;
  options.sampling = pipeline::sampling_defaults(contract);
  pipeline::SamplingOptions& sampling = options.sampling;
  if (flags.temperature || flags.top_k || flags.top_p || flags.min_p) {
    sampling.do_sample = flags.samples();
  }
  if (flags.temperature && *flags.temperature != 0) sampling.temperature = *flags.temperature;
  if (flags.top_k) sampling.top_k = *flags.top_k;
  if (flags.top_p) sampling.top_p = *flags.top_p;
  if (flags.min_p) sampling.min_p = *flags.min_p;
  if (flags.repeat_penalty) sampling.repetition_penalty = *flags.repeat_penalty;
  sampling.presence_penalty = flags.presence_penalty;
  sampling.frequency_penalty = flags.frequency_penalty;
  for (const std::string& pair : flags.logit_bias) {
    if (const auto bias = find_bias(pair)) sampling.logit_bias[bias->first] = bias->second;
  }
  sampling.seed = flags.seed ? *flags.seed : random_seed();
  options.stop = flags.stop;
  options.ignore_eos = flags.ignore_eos;
  options.max_tokens =
      flags.max_tokens.value_or(default_max_tokens(contract.generation, prompt_tokens, default_tokens));
  return options;
}

double tokens_per_second(int64_t tokens, double ms) {
  return ms > 0 ? double(tokens) * 1000 / ms : 0;
}

std::string describe_speed(const pipeline::GenerateResult& result) {
  return fmt::format("{} tokens of prompt in {:.0f} ms ({:.0f}/s), {} tokens generated ({:.1f}/s)",
                     result.prompt_tokens, result.prefill_ms,
                     tokens_per_second(result.prompt_tokens, result.prefill_ms), result.tokens.size(),
                     tokens_per_second(result.decode_steps, result.decode_ms));
}

}  // namespace lathe::cli
