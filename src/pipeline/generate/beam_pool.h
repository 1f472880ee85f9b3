// The bookkeeping of beam search: which sequences go on, which are finished, and when it is over.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lathe::pipeline {

struct Beam {
  std::vector<int32_t> tokens;  // generated
  double score = 0;             // sum of log-probabilities; of finished beams divided by the number of tokens
  size_t parent = 0;            // the running beam before the last advance() that it continues
  bool ended = false;           // its last token is an end token
};

// As transformers' beam search with length_penalty 1 and early_stopping off: of the best (1 + end tokens) x
// beams continuations, those that end and are among the best `beams` are finished, the best others go on, and
// it is over when the best running beam would not replace the worst finished one if it ended now.
class BeamPool {
 public:
  // `end_tokens` may be empty; beams of `max_tokens` (above 0) are finished.
  BeamPool(int64_t beams, std::vector<int64_t> end_tokens, int64_t max_tokens);

  // At first one, without tokens; best first.
  const std::vector<Beam>& running() const { return running_; }
  // At least one when done(); best first.
  const std::vector<Beam>& finished() const { return finished_; }
  bool done() const { return done_; }

  // log_probs[i] is [vocabulary], of the token after running()[i].
  void advance(std::span<const std::vector<float>> log_probs);

 private:
  struct Continuation {
    double score;
    size_t parent;
    int32_t token;
  };
  void best_of(size_t parent, std::span<const float> log_probs, std::vector<Continuation>& out);
  void add_finished(Beam beam);

  size_t beams_, kept_;
  std::vector<int64_t> end_tokens_;
  int64_t max_tokens_;
  std::vector<Beam> running_, finished_;
  bool done_ = false;
  std::vector<float> maxima_, ranked_;  // scratch
};

}  // namespace lathe::pipeline
