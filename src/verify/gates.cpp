#include "verify/gates.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lathe::verify {

using plan::Gate;

namespace {

double storable(double value) {
  return std::isfinite(value) ? value : std::numeric_limits<double>::max();
}

LogitStats stats_of(const LogitRows& expected, const LogitRows& found) {
  LATHE_CHECK(expected.size() == found.size(), "{} rows against {}", expected.size(), found.size());
  LogitComparison comparison;
  for (size_t i = 0; i < expected.size(); ++i) comparison.add(expected[i], found[i]);
  return comparison.stats();
}

}  // namespace

Gates::Gates(plan::Receipt& receipt, const ProgressSink& progress, int64_t steps)
    : receipt_(receipt), progress_(progress), steps_(uint64_t(steps)) {}

bool Gates::guarded(const std::string& name, const std::function<void()>& body) {
  progress_({"verify: " + name, done_, steps_});
  const size_t first = receipt_.gates.size();
  try {
    body();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::verification && error.code() != ErrorCode::invalid_input) throw;
    add(name, 1, 0, false, "", error.what());
  }
  ++done_;
  return std::all_of(receipt_.gates.begin() + int64_t(first), receipt_.gates.end(),
                     [](const Gate& gate) { return gate.pass; });
}

void Gates::add(std::string name, double value, double bound, bool pass, std::string unit, std::string note) {
  receipt_.gates.push_back(
      {std::move(name), storable(value), bound, pass && std::isfinite(value), std::move(unit), std::move(note)});
}

void Gates::add_at_most(std::string name, double value, double bound, std::string unit, std::string note) {
  add(std::move(name), value, bound, value <= bound, std::move(unit), std::move(note));
}

void Gates::differs(const std::string& node, const std::string& tensor, int64_t columns, const Deviation& deviation) {
  if (receipt_.first_difference) return;
  receipt_.first_difference = {node,
                               tensor,
                               {deviation.index / columns, deviation.index % columns},
                               storable(deviation.max_abs),
                               storable(deviation.expected),
                               storable(deviation.found)};
}

bool Gates::pass() const {
  return std::all_of(receipt_.gates.begin(), receipt_.gates.end(), [](const Gate& gate) { return gate.pass; });
}

void Gates::finish() {
  receipt_.pass = pass();
  progress_({"verify", steps_, steps_});
}

void Gates::add_rounding(const std::string& name, const Band& band, const LogitRows& expected, const LogitRows& found,
                         const std::string& note) {
  const LogitStats stats = stats_of(expected, found);
  add_at_most(name + ": mean KL", stats.mean_kl, band.mean_kl, "nats",
              fmt::format("{} positions, 99th percentile {:.2e}{}{}", stats.positions, stats.p99_kl,
                          note.empty() ? "" : ", ", note));
  const double bound = share_bound(band.top1, stats.positions);
  add(name + ": top-1", stats.top1, bound, stats.top1 >= bound, "share", fmt::format("{} positions", stats.positions));
}

void Gates::add_quantised(const std::string& name, double max_kl, const LogitRows& expected, const LogitRows& found,
                          const std::string& note) {
  const LogitStats stats = stats_of(expected, found);
  add_at_most(name + ": mean KL", stats.mean_kl, max_kl, "nats",
              fmt::format("{} positions, 99th percentile {:.2e}, same most likely token in {:.1f} %{}{}",
                          stats.positions, stats.p99_kl, 100 * stats.top1, note.empty() ? "" : ", ", note));
}

void Gates::add_same(const std::string& name, bool exact, const Band& band, const LogitRows& expected,
                     const LogitRows& found, std::string note) {
  if (!exact) {
    add_at_most(name, stats_of(expected, found).mean_kl, band.mean_kl, "mean KL, nats", std::move(note));
    return;
  }
  LATHE_CHECK(expected.size() == found.size(), "{} rows against {}", expected.size(), found.size());
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, compare(expected[i], found[i]).relative(kFloor));
  }
  add_at_most(name, worst, kTensorBound, "of the largest logit", std::move(note));
}

double largest_shift(const LogitRows& expected, const LogitRows& found) {
  LATHE_CHECK(expected.size() == found.size(), "{} rows against {}", expected.size(), found.size());
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) largest = std::max(largest, compare(expected[i], found[i]).max_abs);
  return largest;
}

}  // namespace lathe::verify
