#include <algorithm>
#include <map>

#include "base/error.h"
#include "pipeline/generate/beam_pool.h"
#include "pipeline/generate/generate.h"
#include "pipeline/generate/timing.h"
#include "pipeline/generate/vocabulary_scan.h"

namespace lathe::pipeline {
namespace {

void check_options(const GenerateOptions& options, int64_t beams, int64_t vocab_size) {
  check(options.sampling, vocab_size);
  if (beams < 1) fail(ErrorCode::usage, "{} beams, expected 1 or more", beams);
  if (options.max_tokens < 0)
    fail(ErrorCode::usage, "max_tokens is {}, expected 0 or more", options.max_tokens);
  if (options.sampling.do_sample) fail(ErrorCode::usage, "beam search does not sample");
  if (!options.stop.empty()) fail(ErrorCode::usage, "beam search knows no stop texts");
}

// The sequences of a session that hold the beams, each with the tokens that are in its cache. A beam that
// continues another one's tokens runs again what its sequence does not share with them.
class BeamSequences {
 public:
  BeamSequences(runtime::Session& session, int64_t beams) : session_(session) {
    for (int64_t i = 0; i < beams; ++i) held_.push_back({session.create(), {}});
  }
  ~BeamSequences() {
    for (const Held& held : held_) session_.release(held.sequence);
  }
  BeamSequences(const BeamSequences&) = delete;
  BeamSequences& operator=(const BeamSequences&) = delete;

  // Brings the sequences to the running beams of `pool`, in one step; log_probs[i] becomes that of beam i.
  void step(std::span<const int32_t> prompt, const BeamPool& pool,
            std::vector<std::vector<float>>& log_probs);

 private:
  struct Held {
    runtime::SequenceId sequence;
    std::vector<int32_t> tokens;
  };
  void assign(const std::vector<Beam>& beams);

  runtime::Session& session_;
  std::vector<Held> held_;     // the i-th is of beam i
  std::vector<float> maxima_;  // scratch
};

// Orders held_ so that the first child of each beam gets its parent's sequence, others what is left over.
void BeamSequences::assign(const std::vector<Beam>& beams) {
  std::vector<Held> before = std::move(held_);
  held_.assign(before.size(), Held{-1, {}});
  std::vector<bool> taken(before.size());
  std::vector<bool> filled(before.size());
  for (size_t i = 0; i < beams.size(); ++i) {
    if (taken[beams[i].parent]) continue;
    taken[beams[i].parent] = filled[i] = true;
    held_[i] = std::move(before[beams[i].parent]);
  }
  size_t free = 0;
  for (size_t i = 0; i < held_.size(); ++i) {
    if (filled[i]) continue;
    while (taken[free]) ++free;
    taken[free] = true;
    held_[i] = std::move(before[free]);
  }
}

void BeamSequences::step(std::span<const int32_t> prompt, const BeamPool& pool,
                         std::vector<std::vector<float>>& log_probs) {
  const std::vector<Beam>& beams = pool.running();
  assign(beams);
  std::vector<runtime::StepItem> items;
  for (size_t i = 0; i < beams.size(); ++i) {
    std::vector<int32_t> wanted(prompt.begin(), prompt.end());
    wanted.insert(wanted.end(), beams[i].tokens.begin(), beams[i].tokens.end());
    std::vector<int32_t>& tokens = held_[i].tokens;
    const auto differ = std::mismatch(tokens.begin(), tokens.end(), wanted.begin(), wanted.end()).second;
    const int64_t common = std::min<int64_t>(differ - wanted.begin(), int64_t(wanted.size()) - 1);
    session_.truncate(held_[i].sequence, common);
    tokens = std::move(wanted);
    items.push_back({held_[i].sequence, std::span<const int32_t>(tokens).subspan(size_t(common))});
  }
  log_probs.resize(beams.size());
  session_.step(items, [&](size_t item, int64_t, std::span<const float> logits) {
    std::vector<float>& row = log_probs[item];
    const double norm = log_sum_exp(logits, maxima_, row);
    for (size_t i = 0; i < logits.size(); ++i) row[i] = float(double(logits[i]) - norm);
  });
}

// Bias and penalties on the log-probabilities, which are never positive.
void adjust(std::vector<float>& log_probs, std::span<const int32_t> prompt, const Beam& beam,
            const SamplingOptions& options) {
  for (const auto& [token, bias] : options.logit_bias) log_probs[size_t(token)] += bias;
  std::map<int32_t, int64_t> counts;  // generated
  for (const int32_t token : prompt) counts.emplace(token, 0);
  for (const int32_t token : beam.tokens) ++counts[token];
  for (const auto& [token, count] : counts) {
    float& value = log_probs[size_t(token)];
    value = penalised(value, count, options);
  }
}

}  // namespace

GenerateResult beam_search(runtime::Session& session, const text::Tokenizer* tokenizer,
                           std::span<const int32_t> prompt, int64_t beams, const GenerateOptions& options) {
  check_options(options, beams, session.vocab_size());
  check_prompt(0, int64_t(prompt.size()), session.context_length());
  const int64_t room = session.context_length() - int64_t(prompt.size());
  const int64_t limit = std::min(options.max_tokens, room);
  BeamPool pool(beams, options.ignore_eos ? std::vector<int64_t>{} : session.contract().eos_ids,
                std::max<int64_t>(1, limit));
  BeamSequences sequences(session, beams);
  std::vector<std::vector<float>> log_probs;

  GenerateResult result;
  result.prompt_tokens = int64_t(prompt.size());
  const auto start = Clock::now();
  sequences.step(prompt, pool, log_probs);
  result.prefill_ms = ms_since(start);
  if (limit == 0) return result;

  const auto decode_start = Clock::now();
  while (true) {
    for (size_t i = 0; i < log_probs.size(); ++i)
      adjust(log_probs[i], prompt, pool.running()[i], options.sampling);
    pool.advance(log_probs);
    if (pool.done()) break;
    sequences.step(prompt, pool, log_probs);
    ++result.decode_steps;
  }
  const Beam& best = pool.finished().front();
  result.tokens = best.tokens;
  if (best.ended) {
    result.tokens.pop_back();
    result.finish_reason = FinishReason::stop;
  }
  if (tokenizer) result.text = tokenizer->decode(result.tokens, true);
  result.decode_ms = ms_since(decode_start);
  return result;
}

}  // namespace lathe::pipeline
