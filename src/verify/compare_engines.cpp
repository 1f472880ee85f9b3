#include <algorithm>
#include <map>

#include "base/error.h"
#include "verify/bands.h"
#include "verify/compare.h"
#include "verify/compare_contracts.h"
#include "verify/gates.h"
#include "verify/runs.h"
#include "verify/subject.h"
#include "verify/test_tokens.h"
#include "verify/verify.h"

namespace lathe::verify {
namespace {

using plan::Receipt;

constexpr int64_t kSteps = 8;  // gates, for progress

class Comparison {
 public:
  Comparison(const std::filesystem::path& a, const std::filesystem::path& b, const VerifyOptions& options)
      : a_(a, options), b_(b, options), options_(options), gates_(receipt_, options.progress, kSteps) {}

  Receipt run() {
    receipt_.engine_hash = a_.engine().hash();
    receipt_.device = a_.engine().manifest().plan.device;
    receipt_.precision = a_.compute() == b_.compute() ? a_.compute() : a_.compute() + " against " + b_.compute();
    receipt_.flags = flags_of(options_, {});  // until the text is known
    const bool sound =
        check_structure("0 structure and checksums of A", a_) & check_structure("0 structure and checksums of B", b_);
    const std::string contract = "contract and tokenizer";
    gates_.guarded(contract, [&] { compare_contracts(contract); });
    if (sound && vocabulary(a_) == vocabulary(b_)) compare_numbers();
    gates_.finish();
    return std::move(receipt_);
  }

 private:
  static int64_t vocabulary(const Subject& subject) { return subject.engine().manifest().contract.vocab_size; }

  bool check_structure(const std::string& name, const Subject& subject) {
    return gates_.guarded(name, [&] {
      subject.engine().check_weights();
      gates_.add(name, 0, 0, true, "", fmt::format("{} bytes of weights", subject.engine().manifest().weight_bytes));
    });
  }

  void compare_contracts(const std::string& name) {
    const auto differences = contract_differences(a_.engine(), b_.engine());
    gates_.add_at_most(name, double(differences.size()), 0, "differences",
                       fmt::format("{}", fmt::join(differences, "; ")));
  }

  void compare_numbers() {
    receipt_.isa = a_.own().isa();
    for (Subject* subject : {&a_, &b_}) {
      const Band own = band_of(subject->compute());
      if (own.mean_kl > band_.mean_kl) band_ = own;
    }
    const int64_t limit = std::min(a_.comparable_length(), b_.comparable_length());
    text_ = test_text(a_.engine(), options_, std::min(options_.full ? kFullTokens : kReducedTokens, limit));
    receipt_.flags = flags_of(options_, text_);
    bool same = true;
    if (!run_both("text", text_.tokens)) return;
    std::string note = perplexity_note(rows_a_, text_);
    if (!note.empty()) note = fmt::format("A {}, B {}", note, perplexity_note(rows_b_, text_));
    same &= compare_rows("A against B", note);
    const auto conversation = test_conversation(a_.engine());
    if (!conversation.empty() && int64_t(conversation.size()) <= limit && run_both("conversation", conversation)) {
      same &= compare_rows("A against B in a conversation", "");
    }
    if (options_.max_kl) return;  // every tensor differs
    // Roundings may differ in any tensor; only where there are none is each tensor held to the bound.
    const std::string tensors = "A against B: tensors";
    const bool exact = a_.exact() && b_.exact();
    if (exact || !same) gates_.guarded(tensors, [&] { compare_tensors(tensors, exact); });
  }

  // False: an engine gives a NaN or an infinity.
  bool run_both(const std::string& what, const std::vector<int32_t>& tokens) {
    const std::string name = "1 no NaN or infinity: " + what;
    return gates_.guarded(name, [&] {
      const std::vector<int64_t> whole = {int64_t(tokens.size())};
      rows_a_ = with_context("A", [&] { return run_chunks(a_.own(), tokens, whole); });
      rows_b_ = with_context("B", [&] { return run_chunks(b_.own(), tokens, whole); });
      gates_.add(name, 0, 0, true, "", fmt::format("{} positions", tokens.size()));
    });
  }

  bool compare_rows(const std::string& name, const std::string& note) {
    return gates_.guarded(name, [&] {
      if (options_.max_kl) {
        gates_.add_quantised("3b " + name, *options_.max_kl, rows_b_, rows_a_, note);
      } else {
        gates_.add_rounding(name, band_, rows_a_, rows_b_, note);
      }
    });
  }

  void compare_tensors(const std::string& name, bool exact) {
    const double bound = tensor_bound(band_);
    const auto count = std::min(text_.tokens.size(), size_t(kReducedTokens));
    const std::span<const int32_t> tokens(text_.tokens.data(), count);
    std::map<std::string, TracedTensor> by_name;
    for (auto& [tensor, traced] : trace(b_.own(), tokens)) by_name.emplace(tensor, std::move(traced));
    double worst = 0;
    int64_t compared = 0;
    for (const auto& [tensor, traced] : trace(a_.own(), tokens)) {
      const auto it = by_name.find(tensor);
      if (it == by_name.end() || it->second.values.size() != traced.values.size()) continue;
      const Deviation deviation = compare(traced.values, it->second.values);
      ++compared;
      worst = std::max(worst, deviation.relative(kFloor));
      if (deviation.relative(kFloor) <= bound) continue;
      gates_.differs(traced.node, tensor, int64_t(traced.values.size()) / std::max<int64_t>(traced.rows, 1), deviation);
      break;
    }
    if (exact) {
      gates_.add_at_most(name, worst, bound, "of the tensor's largest",
                         fmt::format("{} tensors of the same name, {} tokens", compared, count));
    }
  }

  Subject a_;
  Subject b_;
  const VerifyOptions& options_;
  Receipt receipt_;
  Gates gates_;
  Band band_ = kFp32Band;
  TestText text_;
  LogitRows rows_a_;
  LogitRows rows_b_;
};

}  // namespace

Receipt compare_engines(const std::filesystem::path& a, const std::filesystem::path& b, const VerifyOptions& options) {
  return Comparison(a, b, options).run();
}

}  // namespace lathe::verify
