#include "pipeline/generate/beam_pool.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "pipeline/generate/vocabulary_scan.h"

namespace lathe::pipeline {

BeamPool::BeamPool(int64_t beams, std::vector<int64_t> end_tokens, int64_t max_tokens)
    : beams_(size_t(beams)),
      kept_(size_t(beams) * std::max<size_t>(2, 1 + end_tokens.size())),
      end_tokens_(std::move(end_tokens)),
      max_tokens_(max_tokens),
      running_(1) {
  LATHE_CHECK(beams > 0 && max_tokens > 0, "{} beams, {} tokens", beams, max_tokens);
}

void BeamPool::best_of(size_t parent, std::span<const float> log_probs, std::vector<Continuation>& out) {
  block_maxima(log_probs, maxima_);
  const float threshold = kth_largest(log_probs, maxima_, std::min(kept_, log_probs.size()), ranked_);
  for (size_t b = 0; b < maxima_.size(); ++b) {
    if (maxima_[b] < threshold) continue;
    const size_t end = std::min(log_probs.size(), (b + 1) * kScanBlock);
    for (size_t i = b * kScanBlock; i < end; ++i) {
      if (log_probs[i] < threshold || log_probs[i] == -std::numeric_limits<float>::infinity()) continue;
      out.push_back({running_[parent].score + double(log_probs[i]), parent, int32_t(i)});
    }
  }
}

void BeamPool::add_finished(Beam beam) {
  beam.score /= double(beam.tokens.size());
  const auto worse = [](const Beam& a, const Beam& b) { return a.score > b.score; };
  finished_.insert(std::upper_bound(finished_.begin(), finished_.end(), beam, worse), std::move(beam));
  if (finished_.size() > beams_) finished_.pop_back();
}

void BeamPool::advance(std::span<const std::vector<float>> log_probs) {
  LATHE_CHECK(!done_ && log_probs.size() == running_.size(), "{} rows for {} beams", log_probs.size(),
              running_.size());
  std::vector<Continuation> continuations;
  for (size_t i = 0; i < running_.size(); ++i) best_of(i, log_probs[i], continuations);
  if (continuations.empty())
    fail(ErrorCode::verification, "no token can follow any of {} beams", running_.size());
  std::stable_sort(continuations.begin(), continuations.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  if (continuations.size() > kept_) continuations.resize(kept_);

  const std::vector<Beam> before = std::move(running_);
  running_.clear();
  for (size_t rank = 0; rank < continuations.size(); ++rank) {
    const Continuation& next = continuations[rank];
    const bool ended =
        std::find(end_tokens_.begin(), end_tokens_.end(), int64_t(next.token)) != end_tokens_.end();
    const bool last = ended || int64_t(before[next.parent].tokens.size()) + 1 >= max_tokens_;
    if (last ? rank >= beams_ : running_.size() >= beams_) continue;
    Beam beam{before[next.parent].tokens, next.score, next.parent, ended};
    beam.tokens.push_back(next.token);
    if (last)
      add_finished(std::move(beam));
    else
      running_.push_back(std::move(beam));
  }
  if (running_.empty()) {
    done_ = true;
    return;
  }
  const double length = double(running_.front().tokens.size());
  done_ = finished_.size() == beams_ && !(running_.front().score / length > finished_.back().score);
}

}  // namespace lathe::pipeline
