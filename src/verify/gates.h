// The gates of a receipt as they are run, one after another.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "plan/receipt.h"
#include "verify/bands.h"
#include "verify/compare.h"
#include "verify/runs.h"

namespace lathe::verify {

class Gates {
 public:
  // `steps`: how many guarded() calls there will be at most, for progress.
  Gates(plan::Receipt& receipt, const ProgressSink& progress, int64_t steps);

  // Runs a gate, which adds its results; what it throws for a model that differs (verification, invalid_input)
  // becomes a failed gate with the reason. True if all it added passed.
  bool guarded(const std::string& name, const std::function<void()>& body);

  // Figures that are not finite fail, and are stored as the largest number there is: JSON has no other.
  void add(std::string name, double value, double bound, bool pass, std::string unit, std::string note);
  void add_at_most(std::string name, double value, double bound, std::string unit, std::string note);
  // Where the first difference is; later ones are ignored.
  void differs(const std::string& node, const std::string& tensor, int64_t columns, const Deviation& deviation);

  // All gates so far have passed.
  bool pass() const;
  // Tells progress that no more gates come, and sets the receipt's verdict.
  void finish();

  // Rows against rows that another precision gave: mean KL and top-1 within the band. `note` goes behind the
  // figures.
  void add_rounding(const std::string& name, const Band& band, const LogitRows& expected, const LogitRows& found,
                    const std::string& note);
  // Rows of quantised weights against the original's: mean KL within the bound; top-1 is reported.
  void add_quantised(const std::string& name, double max_kl, const LogitRows& expected, const LogitRows& found,
                     const std::string& note);
  // Two runs of the same computation in another order: where it is exact by the largest logit, otherwise by the
  // band's KL divergence.
  void add_same(const std::string& name, bool exact, const Band& band, const LogitRows& expected,
                const LogitRows& found, std::string note);

 private:
  plan::Receipt& receipt_;
  const ProgressSink& progress_;
  uint64_t steps_;
  uint64_t done_ = 0;
};

// Largest |found - expected| of any logit.
double largest_shift(const LogitRows& expected, const LogitRows& found);

}  // namespace lathe::verify
