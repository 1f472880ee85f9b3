#include "cli/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <random>

namespace lathe::cli {
namespace {

// Without a wish of user or model.
constexpr int64_t kDefaultMaxTokens = 128;

uint64_t random_seed() {
  std::random_device device;
  return uint64_t(device()) << 32 | device();
}

}  // namespace

void add_sampling_flags(CLI::App& command, SamplingFlags& flags) {
  command.add_option("-n,--max-tokens", flags.max_tokens,
                     "tokens to generate at most; 0 only evaluates the prompt");
  command.add_option("--temperature,--temp", flags.temperature, "of the softmax; 0 is greedy");
  command.add_option("--top-k", flags.top_k, "sample from the k likeliest tokens; 0: all");
  command.add_option("--top-p", flags.top_p, "sample from the likeliest tokens that reach this probability");
  command.add_option("--min-p", flags.min_p, "smallest probability, as a share of the largest");
  command.add_option("--repeat-penalty", flags.repeat_penalty, "divides the logits of tokens seen");
  command.add_option("-s,--seed", flags.seed, "the same seed gives the same text (default: random)");
  command.add_option("--stop", flags.stop, "text that ends the generation; may be given more than once")
      ->allow_extra_args(false);
  command.add_flag("--ignore-eos", flags.ignore_eos, "go on after the end token");
}

pipeline::GenerateOptions generate_options(const SamplingFlags& flags, const contract::Contract& contract,
                                           int64_t prompt_tokens) {
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
  sampling.seed = flags.seed ? *flags.seed : random_seed();
  options.stop = flags.stop;
  options.ignore_eos = flags.ignore_eos;
  if (flags.max_tokens)
    options.max_tokens = *flags.max_tokens;
  else if (contract.generation.max_length) {
    options.max_tokens = std::max<int64_t>(0, *contract.generation.max_length - prompt_tokens);
  } else
    options.max_tokens = kDefaultMaxTokens;
  return options;
}

void write_text(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
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
