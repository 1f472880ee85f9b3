#include "pipeline/generate/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "pipeline/generate/vocabulary_scan.h"

namespace lathe::pipeline {
namespace {

// 1 / temperature; finite, so that the largest logit keeps weight 1 however low the temperature.
float scale_of(double temperature) {
  return float(std::min(1 / temperature, double(std::numeric_limits<float>::max())));
}

// Every weight is relative to the largest logit: it must be a number.
void require_finite(float largest) {
  if (!std::isfinite(largest))
    fail(ErrorCode::verification, "no token can follow: the largest logit is {}", largest);
}

// Fills the generator's state from one number (splitmix64, as xoshiro's authors advise).
void seed_state(uint64_t seed, uint64_t (&state)[4]) {
  for (uint64_t& word : state) {
    seed += 0x9E3779B97F4A7C15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    word = z ^ (z >> 31);
  }
}

}  // namespace

SamplingOptions sampling_defaults(const contract::Contract& contract) {
  const contract::Generation& generation = contract.generation;
  SamplingOptions options;
  options.do_sample = generation.do_sample;
  options.temperature = generation.temperature;
  options.top_k = generation.top_k;
  options.top_p = generation.top_p;
  options.min_p = generation.min_p;
  options.repetition_penalty = generation.repetition_penalty;
  return options;
}

void check(const SamplingOptions& options, int64_t vocab_size) {
  const auto require = [](bool good, std::string_view name, double value, std::string_view expected) {
    if (!good) fail(ErrorCode::usage, "{} is {}, expected {}", name, value, expected);
  };
  if (options.do_sample) {
    require(std::isfinite(options.temperature) && options.temperature > 0, "temperature", options.temperature,
            "above 0");
  }
  require(options.top_k >= 0, "top_k", double(options.top_k), "0 or more");
  require(options.top_p > 0 && options.top_p <= 1, "top_p", options.top_p, "above 0, at most 1");
  require(options.min_p >= 0 && options.min_p <= 1, "min_p", options.min_p, "0 to 1");
  // Far wider than what is of use, and narrow enough that no finite logit becomes NaN.
  require(options.repetition_penalty >= 1e-3 && options.repetition_penalty <= 1e3, "repetition_penalty",
          options.repetition_penalty, "0.001 to 1000");
  require(std::abs(options.presence_penalty) <= 1e4, "presence_penalty", options.presence_penalty,
          "-10000 to 10000");
  require(std::abs(options.frequency_penalty) <= 1e4, "frequency_penalty", options.frequency_penalty,
          "-10000 to 10000");
  for (const auto& [token, bias] : options.logit_bias) {
    if (token < 0 || token >= vocab_size) {
      fail(ErrorCode::usage, "logit_bias: token {} is outside the vocabulary of {}", token, vocab_size);
    }
    require(bias <= 1e6f, "logit_bias", double(bias), "at most 1000000");
  }
}

float penalised(float logit, int64_t count, const SamplingOptions& options) {
  const float penalty = float(options.repetition_penalty);
  const float repeated = logit < 0 ? logit * penalty : logit / penalty;
  if (count == 0) return repeated;
  return repeated - float(options.presence_penalty + options.frequency_penalty * double(count));
}

Sampler::Sampler(SamplingOptions options, int64_t vocab_size)
    : options_(std::move(options)),
      vocab_size_(vocab_size),
      has_penalties_(options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
                     options_.frequency_penalty != 0) {
  LATHE_CHECK(vocab_size > 0, "vocabulary of {}", vocab_size);
  check(options_, vocab_size);
  if (has_penalties_) {
    counts_.resize(size_t(vocab_size));
    seen_.resize(size_t(vocab_size));
  }
  seed_state(options_.seed, state_);
}

void Sampler::accept_prompt(std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocab_size_) {
      fail(ErrorCode::usage, "token {} is outside the vocabulary of {}", token, vocab_size_);
    }
    if (!has_penalties_ || seen_[size_t(token)]) continue;
    seen_[size_t(token)] = true;
    seen_list_.push_back(token);
  }
}

int32_t Sampler::sample(std::span<const float> logits) {
  const std::span<const float> adjusted = adjust(logits);
  const int32_t token = options_.do_sample ? draw(adjusted) : int32_t(argmax(adjusted, maxima_));
  if (!options_.do_sample) require_finite(adjusted[size_t(token)]);
  if (options_.logprobs)
    last_logprob_ = double(logits[size_t(token)]) - log_sum_exp(logits, maxima_, weights_);
  if (has_penalties_) {
    accept_prompt({&token, 1});
    ++counts_[size_t(token)];
  }
  return token;
}

std::vector<TokenProbability> Sampler::distribution(std::span<const float> logits) {
  const std::span<const float> adjusted = adjust(logits);
  if (!options_.do_sample) return {{int32_t(argmax(adjusted, maxima_)), 1.0}};
  filter(adjusted);
  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += double(candidate.weight);
  std::vector<TokenProbability> result;
  for (const Candidate& candidate : candidates_) {
    result.push_back({candidate.token, double(candidate.weight) / sum});
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const auto& a, const auto& b) { return a.probability > b.probability; });
  return result;
}

std::span<const float> Sampler::adjust(std::span<const float> logits) {
  LATHE_CHECK(int64_t(logits.size()) == vocab_size_, "{} logits for a vocabulary of {}", logits.size(),
              vocab_size_);
  if (options_.logit_bias.empty() && seen_list_.empty()) return logits;
  adjusted_.assign(logits.begin(), logits.end());
  for (const auto& [token, bias] : options_.logit_bias) adjusted_[size_t(token)] += bias;
  for (const int32_t token : seen_list_) {
    float& logit = adjusted_[size_t(token)];
    logit = penalised(logit, counts_[size_t(token)], options_);
  }
  return adjusted_;
}

// Those not below the k-th largest: equals of the last one stay, so that the set does not depend on an order.
void Sampler::gather_top_k(std::span<const float> logits, float largest) {
  const float scale = scale_of(options_.temperature);
  const float threshold = kth_largest(logits, maxima_, size_t(options_.top_k), ranked_);
  for (size_t b = 0; b < maxima_.size(); ++b) {
    if (maxima_[b] < threshold) continue;
    const size_t end = std::min(logits.size(), (b + 1) * kScanBlock);
    for (size_t i = b * kScanBlock; i < end; ++i) {
      if (logits[i] >= threshold)
        candidates_.push_back({softmax_weight(logits[i], largest, scale), int32_t(i)});
    }
  }
}

void Sampler::filter(std::span<const float> logits) {
  candidates_.clear();
  block_maxima(logits, maxima_);
  const float largest = *std::max_element(maxima_.begin(), maxima_.end());
  require_finite(largest);
  const float min_p = float(options_.min_p);
  double sum = 0;  // of the weights from which top-p counts its share
  if (options_.top_k > 0 && options_.top_k < vocab_size_) {
    gather_top_k(logits, largest);
    for (const Candidate& candidate : candidates_) sum += double(candidate.weight);
  } else {
    sum = softmax_weights(logits, largest, scale_of(options_.temperature), weights_);
    // All tokens lighter than (1 - top_p) sum / vocabulary together weigh less than (1 - top_p) sum: none of
    // them is needed to reach top_p. The factor leaves room for rounding.
    const float tail = float(0.999 * (1 - options_.top_p) * sum / double(vocab_size_));
    const float bound = std::max(tail, min_p);
    for (size_t i = 0; i < weights_.size(); ++i) {
      if (weights_[i] >= bound) candidates_.push_back({weights_[i], int32_t(i)});
    }
  }
  if (options_.top_p < 1) keep_nucleus(options_.top_p * sum);
  std::erase_if(candidates_, [min_p](const Candidate& candidate) { return candidate.weight < min_p; });
}

// The fewest, heaviest candidates that reach `mass`. Usually few: sorts heads of growing size only.
void Sampler::keep_nucleus(double mass) {
  const auto heavier = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  double reached = 0;
  size_t sorted = 0;
  for (size_t chunk = 64; sorted < candidates_.size(); chunk *= 4) {
    const size_t end = std::min(candidates_.size(), sorted + chunk);
    const auto begin = candidates_.begin() + std::ptrdiff_t(sorted);
    const auto middle = candidates_.begin() + std::ptrdiff_t(end);
    if (middle != candidates_.end()) std::nth_element(begin, middle, candidates_.end(), heavier);
    std::sort(begin, middle, heavier);
    for (; sorted < end; ++sorted) {
      reached += double(candidates_[sorted].weight);
      if (reached >= mass) {
        candidates_.resize(sorted + 1);
        return;
      }
    }
  }
}

int32_t Sampler::draw(std::span<const float> logits) {
  const bool has_top_k = options_.top_k > 0 && options_.top_k < vocab_size_;
  if (!has_top_k && options_.top_p == 1 && options_.min_p == 0) return draw_unfiltered(logits);
  filter(logits);
  double sum = 0;
  for (const Candidate& candidate : candidates_) sum += double(candidate.weight);
  double left = uniform() * sum;
  int32_t last = int32_t(argmax(logits, maxima_));  // what rounding at the end of the sum may leave over
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0) continue;
    left -= double(candidate.weight);
    last = candidate.token;
    if (left < 0) break;
  }
  return last;
}

// Without filters: the sums of blocks say in which block the draw falls, without a list of candidates.
int32_t Sampler::draw_unfiltered(std::span<const float> logits) {
  const int64_t best = argmax(logits, maxima_);
  require_finite(logits[size_t(best)]);
  const double sum = softmax_weights(logits, logits[size_t(best)], scale_of(options_.temperature), weights_);
  double left = uniform() * sum;
  int32_t last = int32_t(best);
  for (size_t begin = 0; begin < weights_.size(); begin += kScanBlock) {
    const size_t end = std::min(weights_.size(), begin + kScanBlock);
    double block = 0;
    for (size_t i = begin; i < end; ++i) block += double(weights_[i]);
    if (block <= left) {
      left -= block;
      continue;
    }
    for (size_t i = begin; i < end; ++i) {
      if (weights_[i] == 0) continue;
      last = int32_t(i);
      left -= double(weights_[i]);
      if (left < 0) return last;
    }
  }
  return last;
}

// xoshiro256** by Blackman and Vigna; its upper 53 bits.
double Sampler::uniform() {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return double(result >> 11) * 0x1p-53;
}

}  // namespace lathe::pipeline
