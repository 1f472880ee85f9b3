// Which kernel runs each kind of instruction of a plan, and why faster ones do not: for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.h"

namespace lathe::backend {

// A way of computing that was not taken.
struct NotTaken {
  std::string kernel;  // "cpu.linear", or "cpu.linear in i16" where only the rounding was refused
  std::string reason;

  template <class V>
  void visit_fields(V& v) {
    v("kernel", kernel);
    v("reason", reason);
  }
  friend auto operator<=>(const NotTaken&, const NotTaken&) = default;
};

// Instructions that differ in none of these.
struct KernelUse {
  std::string op;
  std::vector<std::string> weights;  // matrices among the constants, each kind once: "q4_1 in q4_1_panel"
  std::string kernel;
  std::string compute;  // what activations are rounded to; empty where the operator leaves it open
  std::vector<NotTaken> refusals;
  int64_t instructions = 0;
  int64_t weight_bytes = 0;
  std::string example;  // name of the first

  template <class V>
  void visit_fields(V& v) {
    v("op", op);
    v("weights", weights);
    v("kernel", kernel);
    v("compute", compute);
    v("refusals", refusals);
    v("instructions", instructions);
    v("weight_bytes", weight_bytes);
    v("example", example);
  }
};

// In the order of the plan. There are no refusals where this program does not know the plan's device. Throws
// invalid_input for packed constants that are not what their layout takes; `plan` has passed plan::check and
// plan::check_types.
std::vector<KernelUse> kernel_uses(const plan::Plan& plan);

}  // namespace lathe::backend
