// From logits to the next token: penalties, filters, and a draw.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "contract/contract.h"

namespace lathe::pipeline {

// Names and meanings as in transformers' GenerationConfig and OpenAI's API. Applied in this order: logit
// bias, repetition penalty, presence and frequency penalty, then (when sampling) temperature, top-k, top-p,
// min-p.
struct SamplingOptions {
  bool do_sample = false;  // greedy otherwise: the largest logit, the lowest id among equals
  double temperature = 1;
  int64_t top_k = 0;  // 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;  // divides positive and multiplies negative logits of tokens seen (CTRL)
  double presence_penalty = 0;    // subtracted once from tokens generated
  double frequency_penalty = 0;   // subtracted for each time generated
  std::map<int32_t, float> logit_bias;  // added; -infinity forbids the token
  uint64_t seed = 0;
  bool logprobs = false;  // keep what last_logprob() gives; one more pass over the vocabulary
};

// Defaults of a model.
SamplingOptions sampling_defaults(const contract::Contract& contract);
// Throws usage naming the option and its value: temperature not above 0 when sampling, top_p outside (0, 1]
// ...
void check(const SamplingOptions& options, int64_t vocab_size);

// The logit (or log-probability) of a token seen before, which was generated `count` times.
float penalised(float logit, int64_t count, const SamplingOptions& options);

// A token that may come next, and how likely it is after all filters.
struct TokenProbability {
  int32_t token;
  double probability;
};

// One per sequence. The same seed, options and logits give the same tokens on every machine. For one thread.
class Sampler {
 public:
  // Throws usage as check() does.
  explicit Sampler(SamplingOptions options, int64_t vocab_size);
  // Tokens of the prompt count for the repetition penalty. Throws usage for ids outside the vocabulary.
  void accept_prompt(std::span<const int32_t> tokens);
  // Chooses the next token and remembers it. `logits` [vocabulary], finite as Session gives them, are not
  // changed; scratch is reused, so that no call but the first allocates much. Throws verification when no
  // token is left to choose.
  int32_t sample(std::span<const float> logits);
  // Log-probability of the token last sampled under the model's own distribution, without any of the options;
  // 0 unless options.logprobs.
  double last_logprob() const { return last_logprob_; }
  // What sample() would draw from, the likeliest first; nothing is drawn or remembered.
  std::vector<TokenProbability> distribution(std::span<const float> logits);

 private:
  struct Candidate {
    float weight;  // exp((logit - largest) / temperature)
    int32_t token;
  };
  // Logits after bias and penalties: the given ones where nothing changes them.
  std::span<const float> adjust(std::span<const float> logits);
  // Fills candidates_ with what the filters leave, by ascending token or descending weight.
  void filter(std::span<const float> logits);
  void gather_top_k(std::span<const float> logits, float largest);
  void keep_nucleus(double mass);
  int32_t draw(std::span<const float> logits);
  int32_t draw_unfiltered(std::span<const float> logits);
  double uniform();  // [0, 1)

  SamplingOptions options_;
  int64_t vocab_size_;
  bool has_penalties_;
  std::vector<int32_t> counts_;     // generated, by token
  std::vector<bool> seen_;          // in prompt or generated
  std::vector<int32_t> seen_list_;  // each once
  uint64_t state_[4] = {};          // xoshiro256**
  double last_logprob_ = 0;
  // Scratch of a call.
  std::vector<float> adjusted_, maxima_, weights_, ranked_;
  std::vector<Candidate> candidates_;
};

}  // namespace lathe::pipeline
