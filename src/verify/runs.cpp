#include "verify/runs.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "verify/compare.h"

namespace lathe::verify {

using runtime::Logits;
using runtime::SequenceId;
using runtime::Session;
using runtime::StepItem;

namespace {

// A sequence that is given back when the scope ends.
class Scoped {
 public:
  explicit Scoped(Session& session) : session_(session), id_(session.create()) {}
  ~Scoped() { session_.release(id_); }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;
  SequenceId id() const { return id_; }

 private:
  Session& session_;
  SequenceId id_;
};

// A tap that is taken off when the scope ends.
class ScopedTap {
 public:
  ScopedTap(Session& session, runtime::Tap tap) : session_(session) { session_.set_tap(std::move(tap)); }
  ~ScopedTap() { session_.set_tap({}); }
  ScopedTap(const ScopedTap&) = delete;
  ScopedTap& operator=(const ScopedTap&) = delete;

 private:
  Session& session_;
};

// Feeds `tokens` in chunks; the session may cut them further.
void feed(Session& session, SequenceId sequence, std::span<const int32_t> tokens, std::span<const int64_t> chunks,
          Logits logits, const std::function<void(std::span<const float>)>& on_row) {
  size_t chunk = 0;
  for (size_t at = 0; at < tokens.size();) {
    const size_t count = std::min(size_t(chunks[std::min(chunk++, chunks.size() - 1)]), tokens.size() - at);
    const StepItem item{sequence, tokens.subspan(at, count), logits};
    session.step(std::span(&item, 1), [&](size_t, int64_t, std::span<const float> row) { on_row(row); });
    at += count;
  }
}

}  // namespace

LogitRows run_chunks(Session& session, std::span<const int32_t> tokens, std::span<const int64_t> chunks) {
  const Scoped sequence(session);
  LogitRows rows;
  feed(session, sequence.id(), tokens, chunks, Logits::all,
       [&](std::span<const float> row) { rows.emplace_back(row.begin(), row.end()); });
  return rows;
}

std::vector<float> run_last(Session& session, std::span<const int32_t> tokens, std::span<const int64_t> chunks) {
  const Scoped sequence(session);
  std::vector<float> last;
  feed(session, sequence.id(), tokens, chunks, Logits::last,
       [&](std::span<const float> row) { last.assign(row.begin(), row.end()); });
  return last;
}

LogitRows run_in_batch(Session& session, std::span<const int32_t> tokens,
                       std::span<const std::vector<int32_t>> others) {
  const Scoped sequence(session);
  std::vector<std::unique_ptr<Scoped>> scoped;
  std::vector<StepItem> items;
  for (const std::vector<int32_t>& other : others) {
    scoped.push_back(std::make_unique<Scoped>(session));
    items.push_back({scoped.back()->id(), other, Logits::last});
  }
  // In the middle, so that others come before and after it.
  items.insert(items.begin() + int64_t(others.size() / 2), {sequence.id(), tokens, Logits::all});
  LogitRows rows;
  session.step(items, [&](size_t item, int64_t, std::span<const float> logits) {
    if (items[item].sequence == sequence.id()) rows.emplace_back(logits.begin(), logits.end());
  });
  return rows;
}

Trace trace(Session& session, std::span<const int32_t> tokens) {
  const Scoped sequence(session);
  Trace result;
  const auto count = int64_t(tokens.size());
  const ScopedTap tap(session, [&](const plan::Instruction& instruction, const plan::Buffer& buffer,
                                   std::span<const float> values, int64_t rows) {
    const bool per_token = buffer.rows == plan::Rows::tokens || buffer.rows == plan::Rows::outputs;
    LATHE_CHECK(!per_token || rows == count, "a trace of {} tokens was cut to {} rows", count, rows);
    result.emplace_back(buffer.name, TracedTensor{instruction.name, rows, {values.begin(), values.end()}});
  });
  const StepItem item{sequence.id(), tokens, Logits::all};
  session.step(std::span(&item, 1), {});
  return result;
}

std::vector<GreedyToken> greedy(Session& session, std::span<const int32_t> prompt, int64_t count) {
  const Scoped sequence(session);
  std::vector<GreedyToken> tokens;
  std::vector<int32_t> next(prompt.begin(), prompt.end());
  for (int64_t i = 0; i < count; ++i) {
    const Top top = top_of(session.step(sequence.id(), next));
    tokens.push_back({int32_t(top.token), top.margin});
    next = {int32_t(top.token)};
  }
  return tokens;
}

}  // namespace lathe::verify
