#include <algorithm>
#include <map>

#include "base/error.h"
#include "compiler/engine_graph.h"
#include "compiler/fp32_graph.h"
#include "verify/bands.h"
#include "verify/compare.h"
#include "verify/gates.h"
#include "verify/on_cpu.h"
#include "verify/reference.h"
#include "verify/runs.h"
#include "verify/subject.h"
#include "verify/test_tokens.h"
#include "verify/verify.h"

namespace lathe::verify {
namespace {

using plan::Receipt;
using runtime::Session;

constexpr int64_t kSteps = 10;  // gates, for progress

// The reference executor is slow: its share of tokens by model size, in weight bytes.
int64_t reference_tokens(int64_t weight_bytes, bool full) {
  if (weight_bytes < (int64_t{64} << 20)) return full ? kReducedTokens : 16;
  if (weight_bytes < (int64_t{1} << 30)) return full ? 32 : 8;
  return full ? 8 : 2;
}

class Verifier {
 public:
  Verifier(const std::filesystem::path& path, const VerifyOptions& options)
      : subject_(path, options),
        options_(options),
        gates_(receipt_, options.progress, kSteps),
        band_(band_of(subject_.compute())) {
    text_ = measured_text(engine(), options);
    conversation_ = test_conversation(engine());
    if (int64_t(conversation_.size()) >= subject_.comparable_length()) conversation_.clear();
  }

  Receipt run() {
    receipt_.engine_hash = engine().hash();
    receipt_.device = engine().manifest().plan.device;
    receipt_.precision = subject_.compute();
    receipt_.flags = flags_of(options_, text_);
    const std::string structure = "0 structure and checksums";
    if (gates_.guarded(structure, [&] { gate_structure(structure); })) {
      receipt_.isa = subject_.own().isa();
      const bool finite = guarded("1 no NaN or infinity", &Verifier::gate_finite);
      guarded("2 fp32 against the reference executor", &Verifier::gate_reference);
      if (finite) run_logit_gates();
    }
    gates_.finish();
    return std::move(receipt_);
  }

 private:
  const plan::EngineFile& engine() const { return subject_.engine(); }
  Session& own() { return subject_.own(); }

  bool guarded(const std::string& name, void (Verifier::*gate)(const std::string&)) {
    return gates_.guarded(name, [&] { (this->*gate)(name); });
  }

  void run_logit_gates() {
    if (!subject_.exact()) guarded("3 rounding against fp32", &Verifier::gate_rounding);
    guarded("4 prefill equals prefill and decode", &Verifier::gate_prefill_decode);
    guarded("5 batch", &Verifier::gate_batch);
    guarded("5 equal bits with --deterministic", &Verifier::gate_deterministic);
    guarded("6 corners of the profile", &Verifier::gate_corners);
    if (options_.accelerator) guarded("7 the same plan on the CPU", &Verifier::gate_cpu);
    if (!subject_.exact()) guarded("8 greedy tokens", &Verifier::gate_greedy);
  }

  void add_same(const std::string& name, const LogitRows& expected, const LogitRows& found, std::string note) {
    gates_.add_same(name, subject_.exact(), band_, expected, found, std::move(note));
  }

  void gate_structure(const std::string& name) {
    engine().check_weights();
    gates_.add(name, 0, 0, true, "", fmt::format("{} bytes of weights", engine().manifest().weight_bytes));
  }

  void gate_finite(const std::string& name) {
    const std::vector<int64_t> whole = {int64_t(text_.tokens.size())};
    own_rows_ = run_chunks(own(), text_.tokens, whole);
    fp32_rows_ = subject_.exact() ? own_rows_ : run_chunks(subject_.fp32(), text_.tokens, whole);
    std::string note = fmt::format("{} positions", own_rows_.size());
    if (const std::string measured = perplexity_note(own_rows_, text_); !measured.empty()) note += ", " + measured;
    gates_.add(name, 0, 0, true, "", note);
  }

  // Every tensor that plan and graph both have, in the order of the graph: the first beyond the bound is named.
  void gate_reference(const std::string& name) {
    const auto count =
        std::min(text_.tokens.size(), size_t(reference_tokens(engine().manifest().weight_bytes, options_.full)));
    const std::span<const int32_t> tokens(text_.tokens.data(), count);
    const Trace traced = trace(subject_.fp32(), tokens);
    std::map<std::string, const TracedTensor*> by_name;
    for (const auto& [tensor, values] : traced) by_name[tensor] = &values;
    double worst = 0;
    std::string worst_name;
    int64_t compared = 0;
    run_reference(compiler::in_fp32(compiler::engine_graph(subject_.shared_engine())), tokens,
                  [&](const std::string& tensor, const ir::Node& node, std::span<const float> expected) {
                    engine().file()->drop(engine().weights());  // what the reference has read
                    const auto it = by_name.find(tensor);
                    if (it == by_name.end() || it->second->values.size() != expected.size()) return true;
                    const Deviation deviation = compare(expected, it->second->values);
                    const double relative = deviation.relative(kFloor);
                    ++compared;
                    if (relative > worst || worst_name.empty()) {
                      worst = relative;
                      worst_name = tensor;
                    }
                    if (relative <= kTensorBound) return true;
                    gates_.differs(node.name.empty() ? it->second->node : node.name, tensor,
                                   int64_t(expected.size()) / std::max<int64_t>(it->second->rows, 1), deviation);
                    return false;
                  });
    if (compared == 0) fail(ErrorCode::verification, "plan and graph share no tensor by name");
    gates_.add_at_most(name, worst, kTensorBound, "of the tensor's largest",
                       fmt::format("{} tensors, {} tokens, worst \"{}\"", compared, count, worst_name));
  }

  void gate_rounding(const std::string& name) {
    add_rounding(name, fp32_rows_, own_rows_, perplexity_note(fp32_rows_, text_));
    if (conversation_.empty()) return;
    const std::vector<int64_t> whole = {int64_t(conversation_.size())};
    add_rounding("3 the same in a conversation", run_chunks(subject_.fp32(), conversation_, whole),
                 run_chunks(own(), conversation_, whole), "");
  }

  void add_rounding(const std::string& name, const LogitRows& expected, const LogitRows& found,
                    const std::string& fp32_perplexity) {
    gates_.add_rounding(name, band_, expected, found, fp32_perplexity.empty() ? "" : fp32_perplexity + " in fp32");
    largest_shift_ = std::max(largest_shift_, largest_shift(expected, found));
  }

  // Tokens of the longest prefill: a whole step of `lathe run`, unless the model is large and the test reduced.
  int64_t long_prefill() const {
    const int64_t wanted = options_.full || subject_.small() ? kFullTokens : kReducedTokens;
    return std::min(wanted, subject_.comparable_length());
  }

  // Only positions that were decoded are compared: the others come from prefill on both sides.
  void gate_prefill_decode(const std::string& name) {
    const auto count = int64_t(text_.tokens.size());
    const int64_t decoded = std::min<int64_t>(count - 1, 8);
    if (decoded <= 0) {
      gates_.add(name, 0, 0, true, "", "context of one position");
      return;
    }
    LogitRows found = run_chunks(own(), text_.tokens, std::vector<int64_t>{count - decoded, 1});
    found.erase(found.begin(), found.end() - decoded);
    add_same(name, LogitRows(own_rows_.end() - decoded, own_rows_.end()), found,
             fmt::format("{} = {} + {} x 1 tokens", count, count - decoded, decoded));

    const int64_t length = long_prefill();
    const auto tokens = test_text(engine(), options_, length).tokens;
    LogitRows whole(2, run_last(own(), tokens, std::vector<int64_t>{length}));
    LogitRows parts;
    for (const int64_t steps : {int64_t{1}, decoded}) {
      parts.push_back(run_last(own(), tokens, std::vector<int64_t>{length - steps, 1}));
    }
    add_same("4 the same after one long step", whole, parts,
             fmt::format("{} tokens, the last 1 and the last {} of them decoded", length, decoded));
  }

  std::vector<std::vector<int32_t>> other_sequences() const {
    std::vector<std::vector<int32_t>> others;
    for (const int64_t length : {1, 5, 17}) {
      if (length < subject_.comparable_length())
        others.push_back(random_tokens(engine(), length, uint64_t(100 + length)));
    }
    return others;
  }

  static std::string lengths_of(const std::vector<std::vector<int32_t>>& others) {
    std::vector<size_t> lengths;
    for (const auto& other : others) lengths.push_back(other.size());
    return lengths.empty() ? "nothing" : fmt::format("sequences of {} tokens", fmt::join(lengths, ", "));
  }

  void gate_batch(const std::string& name) {
    const auto others = other_sequences();
    add_same(name, own_rows_, run_in_batch(own(), text_.tokens, others),
             fmt::format("{} tokens with {} in the same steps", text_.tokens.size(), lengths_of(others)));
  }

  void gate_deterministic(const std::string& name) {
    const auto session = subject_.make_deterministic();
    // More than one block of the cache, which is where deterministic sessions cut their steps.
    const int64_t length = std::min<int64_t>(100, subject_.comparable_length());
    const auto tokens = random_tokens(engine(), length, 5);
    auto others = other_sequences();
    others.push_back(random_tokens(engine(), length, 6));
    const LogitRows alone = run_chunks(*session, tokens, std::vector<int64_t>{length});
    const LogitRows together = run_in_batch(*session, tokens, others);
    LATHE_CHECK(alone.size() == together.size());
    double different = 0;
    for (size_t i = 0; i < alone.size(); ++i) different += alone[i] == together[i] ? 0 : 1;
    gates_.add_at_most(name, different, 0, "rows of logits that differ",
                       fmt::format("{} tokens with {} in the same steps", length, lengths_of(others)));
  }

  // Lengths at the edges of cache blocks and of steps and between them, whole as `lathe run` takes a prompt, against
  // cut in uneven pieces.
  void gate_corners(const std::string& name) {
    std::vector<int64_t> lengths = {1, 2, 23, 63, 64, 65, 100, 127, 128, 129, 201};
    if (long_prefill() == kFullTokens) lengths.push_back(kFullTokens + 1);
    if (options_.full) lengths.insert(lengths.end(), {300, kFullTokens - 1, kFullTokens, 777, 1000});
    std::sort(lengths.begin(), lengths.end());
    LogitRows expected;
    LogitRows found;
    std::vector<int64_t> used;
    for (const int64_t length : lengths) {
      if (length > subject_.comparable_length()) continue;
      const auto tokens = random_tokens(engine(), length, uint64_t(length));
      const std::vector<int64_t> uneven = {std::max<int64_t>(1, length / 3), 7, 1, 31};
      expected.push_back(run_last(own(), tokens, std::vector<int64_t>{length}));
      found.push_back(run_last(own(), tokens, uneven));
      used.push_back(length);
    }
    add_same(name, expected, found, fmt::format("lengths {}", fmt::join(used, ", ")));
  }

  // The engine's own graph and weights planned for the CPU, in the same precision and on the same text. Where logits
  // are too far apart, the first tensor that is tells where they part.
  void gate_cpu(const std::string& name) {
    const OnCpu other(subject_.shared_engine(), options_);
    Subject cpu(other.path(), other.options());
    const LogitRows rows = run_chunks(cpu.own(), text_.tokens, std::vector<int64_t>{int64_t(text_.tokens.size())});
    gates_.add_rounding(name, band_, rows, own_rows_, "");
    double worst = 0;
    for (size_t i = 0; i < rows.size(); ++i) worst = std::max(worst, compare(rows[i], own_rows_[i]).relative(kFloor));
    if (subject_.exact()) gates_.add_at_most(name + ": logits", worst, kTensorBound, "of the largest logit", "");
    if (!gates_.pass()) first_difference_from(cpu);
  }

  void first_difference_from(Subject& cpu) {
    const double bound = tensor_bound(band_);
    const std::span<const int32_t> tokens(text_.tokens.data(), std::min(text_.tokens.size(), size_t(kReducedTokens)));
    std::map<std::string, TracedTensor> by_name;
    for (auto& [tensor, traced] : trace(own(), tokens)) by_name.emplace(tensor, std::move(traced));
    for (const auto& [tensor, traced] : trace(cpu.own(), tokens)) {
      const auto it = by_name.find(tensor);
      if (it == by_name.end() || it->second.values.size() != traced.values.size()) continue;
      const Deviation deviation = compare(traced.values, it->second.values);
      if (deviation.relative(kFloor) <= bound) continue;
      const int64_t columns = int64_t(traced.values.size()) / std::max<int64_t>(traced.rows, 1);
      return gates_.differs(it->second.node, tensor, columns, deviation);
    }
  }

  void gate_greedy(const std::string& name) {
    add_greedy(name, text_.tokens);
    if (!conversation_.empty()) add_greedy("8 greedy answer in a conversation", conversation_);
  }

  // Equal up to the first place where fp32 itself is undecided: there a shift as large as gate 3 saw could turn
  // the order of the two best.
  void add_greedy(const std::string& name, const std::vector<int32_t>& prompt) {
    const int64_t room = subject_.comparable_length() - int64_t(prompt.size());
    const int64_t count = std::min<int64_t>(options_.full ? 64 : 16, room);
    const auto expected = greedy(subject_.fp32(), prompt, count);
    const auto found = greedy(own(), prompt, count);
    int64_t equal = 0;
    while (equal < count && expected[size_t(equal)].token == found[size_t(equal)].token) ++equal;
    const bool pass = equal == count || expected[size_t(equal)].margin <= 2 * largest_shift_;
    std::string note = fmt::format("of {} tokens", count);
    if (equal < count) {
      note += fmt::format("; there fp32's two best are {:.3g} apart, rounding moves logits by up to {:.3g}",
                          expected[size_t(equal)].margin, largest_shift_);
    }
    gates_.add(name, double(equal), double(count), pass, "equal tokens", note);
  }

  Subject subject_;
  const VerifyOptions& options_;
  Receipt receipt_;
  Gates gates_;
  Band band_;
  TestText text_;
  std::vector<int32_t> conversation_;  // empty: the model has no template
  LogitRows own_rows_;                 // of the text
  LogitRows fp32_rows_;                // the same where the subject is exact
  double largest_shift_ = 0;
};

}  // namespace

Receipt verify_engine(const std::filesystem::path& engine, const VerifyOptions& options) {
  return Verifier(engine, options).run();
}

}  // namespace lathe::verify
