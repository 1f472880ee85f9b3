// From logits to the next token: penalties, filters, and a draw.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "contract/contract.h"

namespace lathe::pipeline {

// Names and meanings as in transformers' GenerationConfig and OpenAI's API. Applied in this order: logit bias,
// repetition penalty, presence and frequency penalty, then (when sampling) temperature, top-k, top-p, min-p.
struct SamplingOptions {
  bool do_sample = false;  // greedy otherwise: the largest logit, the lowest id among equals
  double temperature = 1;
  int64_t top_k = 0;  // 0: all
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;  // divides positive and multiplies negative logits of tokens seen (CTRL)
  double presence_penalty = 0;    // subtracted once from tokens generated
  double frequency_penalty = 0;   // subtracted for each time generated
  std::map<int32_t, float> logit_bias;
  uint64_t seed = 0;
};

// Defaults of a model.
SamplingOptions sampling_defaults(const contract::Contract& contract);
// Throws usage naming the option and its value: temperature not above 0 when sampling, top_p outside (0, 1] ...
void check(const SamplingOptions& options, int64_t vocab_size);

// One per sequence. The same seed, options and logits give the same tokens on every machine.
class Sampler {
 public:
  explicit Sampler(SamplingOptions options, int64_t vocab_size);
  // Tokens of the prompt count for the repetition penalty.
  void accept_prompt(std::span<const int32_t> tokens);
  // Chooses the next token and remembers it. `logits` [vocabulary] are not changed; scratch is reused, so that
  // no call but the first allocates.
  int32_t sample(std::span<const float> logits);
  // Log-probability of the token last sampled under the unfiltered distribution.
  double last_logprob() const;

 private:
  SamplingOptions options_;
  std::vector<int32_t> counts_;     // generated, by token
  std::vector<bool> seen_;          // in prompt or generated
  std::vector<int32_t> seen_list_;
  std::vector<float> adjusted_;
  struct Candidate {
    float logit;
    int32_t token;
  };
  std::vector<Candidate> candidates_;
  uint64_t state_[4] = {};          // xoshiro256**
  double last_logprob_ = 0;
};

}  // namespace lathe::pipeline
