#include "verify/verify.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "backend/cpu/attention.h"
#include "base/error.h"
#include "compiler/engine_graph.h"
#include "verify/bands.h"
#include "verify/compare.h"
#include "verify/default_text.h"
#include "verify/reference.h"
#include "verify/runs.h"

namespace lathe::verify {
namespace {

using plan::EngineFile;
using plan::Gate;
using plan::Receipt;
using runtime::Session;
using runtime::SessionOptions;

constexpr int64_t kReducedTokens = 64;
constexpr int64_t kFullTokens = 512;
// Engines larger than this are verified without keeping their pages resident.
constexpr int64_t kResidentWeights = int64_t{256} << 20;

// The reference executor is slow: its share of tokens by model size, in weight bytes.
int64_t reference_tokens(const EngineFile& engine, bool full) {
  const int64_t bytes = engine.manifest().weight_bytes;
  if (bytes < (int64_t{64} << 20)) return full ? 64 : 16;
  if (bytes < (int64_t{1} << 30)) return full ? 32 : 8;
  return full ? 8 : 2;
}

std::string first_of_context(const std::exception& error) { return error.what(); }

// A share measured on few positions scatters: the bound is what the contract asks, less two standard errors of
// a share of that size.
double share_bound(double share, int64_t positions) {
  return share - 2 * std::sqrt(share * (1 - share) / double(std::max<int64_t>(positions, 1)));
}

class Verifier {
 public:
  Verifier(std::shared_ptr<const EngineFile> engine, const VerifyOptions& options)
      : engine_(std::move(engine)), options_(options) {
    const int64_t count = std::min<int64_t>(options.full ? kFullTokens : kReducedTokens, comparable_length() - 1);
    tokens_ = test_tokens(*engine_, options.text.empty() ? std::string(kDefaultText) : options.text,
                          std::max<int64_t>(count, 1));
    conversation_ = test_conversation(*engine_);
    if (int64_t(conversation_.size()) >= comparable_length()) conversation_.clear();
  }

  Receipt run() {
    const plan::Plan& plan = engine_->manifest().plan;
    receipt_.engine_hash = engine_->hash();
    receipt_.device = plan.device;
    compute_ = options_.precision == "fp32" ? "f32" : plan.compute;
    receipt_.precision = compute_;
    exact_ = compute_ == "f32" && (plan.kv == "f32" || options_.precision == "fp32");
    const bool sound = guarded("0 structure and checksums", [&] { gate_structure(); });
    if (sound) {
      fp32_ = make_session("f32", "f32");
      own_ = exact_ ? nullptr : make_session(compute_, plan.kv);
      receipt_.isa = fp32_->isa();
      const bool finite = guarded("1 no NaN or infinity", [&] { gate_finite(); });
      guarded("2 fp32 against the reference executor", [&] { gate_reference(); });
      if (finite) run_logit_gates();
    }
    receipt_.pass = std::all_of(receipt_.gates.begin(), receipt_.gates.end(), [](const Gate& g) { return g.pass; });
    return std::move(receipt_);
  }

 private:
  int64_t context() const { return engine_->manifest().contract.context_length; }
  Session& own() { return own_ ? *own_ : *fp32_; }

  // Lengths at which cached and uncached runs mean the same: with dynamic rotary scaling keys keep the angles of
  // the step they came in, so beyond the trained length the two differ by design.
  int64_t comparable_length() const {
    int64_t length = context();
    for (const plan::Instruction& instruction : engine_->manifest().plan.instructions) {
      if (instruction.op != "lathe.RotaryTable" || !instruction.attributes.has("dynamic_factor")) continue;
      length = std::min(length, int64_t(instruction.attributes.get_float("trained_length", 1)));
    }
    return length;
  }

  std::unique_ptr<Session> make_session(const std::string& compute, const std::string& kv) const {
    SessionOptions options;
    options.threads = options_.threads;
    options.compute = compute;
    options.kv = kv;
    // Room for the longest test and for the other sequences of gate 5.
    options.cache_tokens = std::min<int64_t>(context(), 4 * kFullTokens) + 4 * backend::cpu::kKvBlock;
    options.drop_weights = engine_->manifest().weight_bytes > kResidentWeights;
    if (!options_.isa.empty()) {
      options.isa = backend::cpu::find_isa(options_.isa);
      if (!options.isa) fail(ErrorCode::usage, "isa \"{}\" is not known", options_.isa);
    }
    return std::make_unique<Session>(engine_, options);
  }

  // Runs a gate; what it throws becomes a failed gate with the reason. True if the gate passed.
  template <class Body>
  bool guarded(std::string_view name, Body&& body) {
    options_.progress({std::string("verify ") + std::string(name), 0, 0});
    try {
      body();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::verification && error.code() != ErrorCode::invalid_input) throw;
      add(std::string(name), 1, 0, false, "", first_of_context(error));
    }
    return receipt_.gates.back().pass;
  }

  void add(std::string name, double value, double bound, bool pass, std::string unit, std::string note) {
    receipt_.gates.push_back({std::move(name), value, bound, pass, std::move(unit), std::move(note)});
  }

  void gate_structure() {
    engine_->check_weights();
    add("0 structure and checksums", 0, 0, true, "", fmt::format("{} bytes of weights", engine_->manifest().weight_bytes));
  }

  void gate_finite() {
    own_rows_ = run_chunks(own(), tokens_, whole());
    fp32_rows_ = own_ ? run_chunks(*fp32_, tokens_, whole()) : own_rows_;
    add("1 no NaN or infinity", 0, 0, true, "", fmt::format("{} positions", own_rows_.size()));
  }

  std::vector<int64_t> whole() const { return {int64_t(tokens_.size())}; }

  // Every tensor that plan and graph both have, in the order of the graph: the first beyond the bound is named.
  void gate_reference() {
    const auto count = std::min<size_t>(tokens_.size(), size_t(reference_tokens(*engine_, options_.full)));
    const std::span<const int32_t> tokens(tokens_.data(), count);
    Trace traced = trace(*fp32_, tokens);
    std::map<std::string, const TracedTensor*> by_name;
    for (const auto& [name, tensor] : traced) by_name[name] = &tensor;
    double worst = 0;
    std::string worst_name;
    int64_t compared = 0;
    run_reference(in_fp32(compiler::engine_graph(engine_)), tokens,
                  [&](const std::string& name, const ir::Node& node, std::span<const float> expected) {
                    engine_->file()->drop(engine_->weights());  // what the reference has read
                    const auto it = by_name.find(name);
                    if (it == by_name.end() || it->second->values.size() != expected.size()) return true;
                    const Deviation deviation = compare(expected, it->second->values);
                    const double relative = deviation.relative(kFloor);
                    ++compared;
                    if (relative > worst || worst_name.empty()) {
                      worst = relative;
                      worst_name = name;
                    }
                    if (relative <= kTensorBound) return true;
                    const int64_t columns = int64_t(expected.size()) / std::max<int64_t>(it->second->rows, 1);
                    receipt_.first_difference = {node.name.empty() ? it->second->node : node.name, name,
                                                 {deviation.index / columns, deviation.index % columns},
                                                 deviation.max_abs, deviation.expected, deviation.found};
                    return false;
                  });
    if (compared == 0) fail(ErrorCode::verification, "plan and graph share no tensor by name");
    add("2 fp32 against the reference executor", worst, kTensorBound, !receipt_.first_difference,
        "of the tensor's largest", fmt::format("{} tensors, {} tokens, worst \"{}\"", compared, count, worst_name));
  }

  void run_logit_gates() {
    if (own_) guarded("3 rounding against fp32", [&] { gate_rounding(); });
    guarded("4 prefill equals prefill and decode", [&] { gate_prefill_decode(); });
    guarded("5 batch", [&] { gate_batch(); });
    guarded("6 corners of the profile", [&] { gate_corners(); });
    if (own_) guarded("8 greedy tokens", [&] { gate_greedy(); });
  }

  LogitStats stats_of(const LogitRows& expected, const LogitRows& found) const {
    LATHE_CHECK(expected.size() == found.size());
    LogitComparison comparison;
    for (size_t i = 0; i < expected.size(); ++i) comparison.add(expected[i], found[i]);
    return comparison.stats();
  }

  void gate_rounding() {
    add_rounding("3 rounding against fp32", fp32_rows_, own_rows_);
    if (conversation_.empty()) return;
    const std::vector<int64_t> all = {int64_t(conversation_.size())};
    add_rounding("3 the same in a conversation", run_chunks(*fp32_, conversation_, all),
                 run_chunks(own(), conversation_, all));
  }

  void add_rounding(const std::string& name, const LogitRows& expected, const LogitRows& found) {
    const LogitStats stats = stats_of(expected, found);
    const Band band = band_of(compute_);
    for (size_t i = 0; i < expected.size(); ++i) {
      largest_shift_ = std::max(largest_shift_, compare(expected[i], found[i]).max_abs);
    }
    add(name + ": mean KL", stats.mean_kl, band.mean_kl, stats.mean_kl <= band.mean_kl, "nats",
        fmt::format("{} positions, 99th percentile {:.2e}", stats.positions, stats.p99_kl));
    const double bound = share_bound(band.top1, stats.positions);
    add(name + ": top-1", stats.top1, bound, stats.top1 >= bound, "share", fmt::format("{} positions", stats.positions));
  }

  // Two runs of the same computation in another order: fp32 by the largest logit, others by their band.
  void add_same(const std::string& name, const LogitRows& expected, const LogitRows& found, std::string note) {
    if (exact_) {
      double worst = 0;
      for (size_t i = 0; i < expected.size(); ++i) {
        worst = std::max(worst, compare(expected[i], found[i]).relative(kFloor));
      }
      add(name, worst, kTensorBound, worst <= kTensorBound, "of the largest logit", std::move(note));
    } else {
      const double kl = stats_of(expected, found).mean_kl;
      const double bound = band_of(compute_).mean_kl;
      add(name, kl, bound, kl <= bound, "mean KL, nats", std::move(note));
    }
  }

  void gate_prefill_decode() {
    const auto count = int64_t(tokens_.size());
    const int64_t decoded = std::min<int64_t>(count - 1, 8);
    if (decoded <= 0) {
      add("4 prefill equals prefill and decode", 0, 0, true, "", "context of one position");
      return;
    }
    const std::vector<int64_t> chunks = {count - decoded, 1};
    add_same("4 prefill equals prefill and decode", own_rows_, run_chunks(own(), tokens_, chunks),
             fmt::format("{} = {} + {} x 1 tokens", count, count - decoded, decoded));
  }

  void gate_batch() {
    std::vector<std::vector<int32_t>> others;
    for (const int64_t length : {1, 5, 17}) {
      if (length < comparable_length()) others.push_back(test_tokens(*engine_, "", length, uint64_t(100 + length)));
    }
    add_same("5 batch", own_rows_, run_in_batch(own(), tokens_, others),
             fmt::format("with sequences of 1, 5 and 17 tokens in the same steps"));
  }

  // Lengths at the edges of cache blocks and steps, whole against cut in uneven pieces.
  void gate_corners() {
    std::vector<int64_t> lengths = {1, 2, 63, 64, 65, 127, 128, 129, 201};
    if (options_.full) lengths.insert(lengths.end(), {511, 512, 513, 1000});
    LogitRows expected;
    LogitRows found;
    std::vector<int64_t> used;
    for (const int64_t length : lengths) {
      if (length > comparable_length() || length > 4 * kFullTokens) continue;
      const auto tokens = test_tokens(*engine_, "", length, uint64_t(length));
      const std::vector<int64_t> uneven = {std::max<int64_t>(1, length / 3), 7, 1, 31};
      expected.push_back(run_chunks(own(), tokens, std::vector<int64_t>{length}).back());
      found.push_back(run_chunks(own(), tokens, uneven).back());
      used.push_back(length);
    }
    add_same("6 corners of the profile", expected, found, fmt::format("lengths {}", fmt::join(used, ", ")));
  }

  void gate_greedy() {
    add_greedy("8 greedy tokens", tokens_);
    if (!conversation_.empty()) add_greedy("8 greedy answer in a conversation", conversation_);
  }

  // Equal up to the first place where fp32 itself is undecided: there a shift as large as gate 3 saw could turn
  // the order of the two best.
  void add_greedy(const std::string& name, const std::vector<int32_t>& prompt) {
    const int64_t count = std::min<int64_t>(options_.full ? 64 : 16, comparable_length() - int64_t(prompt.size()));
    const auto expected = greedy(*fp32_, prompt, count);
    const auto found = greedy(own(), prompt, count);
    int64_t equal = 0;
    while (equal < count && expected[size_t(equal)].token == found[size_t(equal)].token) ++equal;
    const double undecided = 2 * largest_shift_;
    const bool pass = equal == count || expected[size_t(equal)].margin <= undecided;
    std::string note = fmt::format("of {} tokens", count);
    if (equal < count) {
      note += fmt::format("; there fp32's two best are {:.3g} apart, rounding moves logits by up to {:.3g}",
                          expected[size_t(equal)].margin, largest_shift_);
    }
    add(name, double(equal), double(count), pass, "equal tokens", note);
  }

  std::shared_ptr<const EngineFile> engine_;
  const VerifyOptions& options_;
  Receipt receipt_;
  std::string compute_;
  bool exact_ = false;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> conversation_;  // empty: the model has no template
  std::unique_ptr<Session> fp32_;
  std::unique_ptr<Session> own_;  // null where the engine itself runs in fp32
  LogitRows own_rows_;
  LogitRows fp32_rows_;
  double largest_shift_ = 0;
};

}  // namespace

Receipt verify_engine(const std::filesystem::path& engine, const VerifyOptions& options) {
  return Verifier(EngineFile::open(engine), options).run();
}

Receipt compare_engines(const std::filesystem::path& a, const std::filesystem::path& b, const VerifyOptions& options) {
  const auto engine_a = EngineFile::open(a);
  const auto engine_b = EngineFile::open(b);
  const auto vocab = [](const EngineFile& engine) { return engine.manifest().contract.vocab_size; };
  if (vocab(*engine_a) != vocab(*engine_b)) {
    fail(ErrorCode::verification, "vocabularies differ: {} has {}, {} has {}", a.string(), vocab(*engine_a), b.string(),
         vocab(*engine_b));
  }
  SessionOptions session_options;
  session_options.threads = options.threads;
  session_options.cache_tokens = kFullTokens;
  if (options.precision == "fp32") session_options.compute = session_options.kv = "f32";
  Session session_a(engine_a, session_options);
  Session session_b(engine_b, session_options);
  const int64_t limit = std::min(session_a.context_length(), session_b.context_length());
  const int64_t count = std::min<int64_t>(limit, options.full ? kFullTokens : kReducedTokens);
  const auto tokens = test_tokens(*engine_a, options.text.empty() ? std::string(kDefaultText) : options.text, count);

  Receipt receipt;
  receipt.engine_hash = engine_a->hash();
  receipt.device = "cpu";
  receipt.isa = session_a.isa();
  const Trace trace_a = trace(session_a, tokens);
  std::map<std::string, TracedTensor> by_name;
  for (auto& [name, tensor] : trace(session_b, tokens)) by_name.emplace(name, std::move(tensor));
  for (const auto& [name, tensor] : trace_a) {
    const auto it = by_name.find(name);
    if (it == by_name.end() || it->second.values.size() != tensor.values.size()) continue;
    const Deviation deviation = compare(tensor.values, it->second.values);
    if (deviation.relative(kFloor) <= kTensorBound) continue;
    const int64_t columns = int64_t(tensor.values.size()) / std::max<int64_t>(tensor.rows, 1);
    receipt.first_difference = {tensor.node, name, {deviation.index / columns, deviation.index % columns},
                                deviation.max_abs, deviation.expected, deviation.found};
    break;
  }
  const std::vector<int64_t> whole = {count};
  const LogitRows rows_a = run_chunks(session_a, tokens, whole);
  const LogitRows rows_b = run_chunks(session_b, tokens, whole);
  LogitComparison comparison;
  for (size_t i = 0; i < rows_a.size(); ++i) comparison.add(rows_a[i], rows_b[i]);
  const LogitStats stats = comparison.stats();
  Band band = kFp32Band;
  if (options.precision != "fp32") {
    for (const auto& engine : {engine_a, engine_b}) {
      const Band own = band_of(engine->manifest().plan.compute);
      if (own.mean_kl > band.mean_kl) band = own;
    }
  }
  const double bound = share_bound(band.top1, stats.positions);
  const std::string note = fmt::format("{} positions, 99th percentile {:.2e}", stats.positions, stats.p99_kl);
  receipt.gates.push_back({"A against B: mean KL", stats.mean_kl, band.mean_kl, stats.mean_kl <= band.mean_kl, "nats", note});
  receipt.gates.push_back({"A against B: top-1", stats.top1, bound, stats.top1 >= bound, "share", note});
  receipt.pass = receipt.gates[0].pass && receipt.gates[1].pass;
  return receipt;
}

void fail_receipt(const Receipt& receipt) {
  for (const Gate& gate : receipt.gates) {
    if (gate.pass) continue;
    std::string where;
    if (receipt.first_difference) {
      const plan::Difference& d = *receipt.first_difference;
      where = fmt::format("; first difference at node \"{}\", tensor \"{}\" [{}]: expected {:.9g}, found {:.9g}", d.node,
                          d.tensor, fmt::join(d.index, ", "), d.expected, d.found);
    }
    fail(ErrorCode::verification, "gate \"{}\": {:.4g} {}, bound {:.4g}; {}{}", gate.name, gate.value, gate.unit,
         gate.bound, gate.note, where);
  }
  fail(ErrorCode::verification, "verification failed");
}

std::string describe(const Receipt& receipt) {
  std::string text = fmt::format("verification: {} ({}, {}, {})\n", receipt.pass ? "PASS" : "FAIL", receipt.device,
                                 receipt.isa, receipt.precision);
  for (const Gate& gate : receipt.gates) {
    text += fmt::format("  {} {:<42} {:>10.3g} (bound {:.3g}) {}{}{}\n", gate.pass ? "ok  " : "FAIL", gate.name,
                        gate.value, gate.bound, gate.unit, gate.note.empty() ? "" : "; ", gate.note);
  }
  if (receipt.first_difference) {
    const plan::Difference& d = *receipt.first_difference;
    text += fmt::format("  first difference: node \"{}\", tensor \"{}\" [{}]: expected {:.9g}, found {:.9g}\n", d.node,
                        d.tensor, fmt::join(d.index, ", "), d.expected, d.found);
  }
  for (const plan::SourceHash& source : receipt.sources) {
    text += fmt::format("  sha256 {}  {} ({} bytes)\n", source.sha256, source.file, source.bytes);
  }
  return text;
}

}  // namespace lathe::verify
