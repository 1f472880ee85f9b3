// Diffusers' spelling of the enumerations of scheduler configurations.
#include <array>
#include <utility>

#include "base/error.h"
#include "contract/scheduler.h"

namespace lathe::contract {
namespace {

template <class E>
struct Names;

template <>
struct Names<PredictionType> {
  using E = PredictionType;
  static constexpr std::array<std::pair<E, std::string_view>, 4> kList = {{{E::epsilon, "epsilon"},
                                                                           {E::v_prediction, "v_prediction"},
                                                                           {E::sample, "sample"},
                                                                           {E::sample, "original_sample"}}};
};

template <>
struct Names<BetaSchedule> {
  using E = BetaSchedule;
  static constexpr std::array<std::pair<E, std::string_view>, 6> kList = {{{E::linear, "linear"},
                                                                           {E::scaled_linear, "scaled_linear"},
                                                                           {E::squaredcos_cap_v2, "squaredcos_cap_v2"},
                                                                           {E::sigmoid, "sigmoid"},
                                                                           {E::laplace, "laplace"},
                                                                           {E::exp, "exp"}}};
};

template <>
struct Names<TimestepSpacing> {
  using E = TimestepSpacing;
  static constexpr std::array<std::pair<E, std::string_view>, 3> kList = {
      {{E::leading, "leading"}, {E::trailing, "trailing"}, {E::linspace, "linspace"}}};
};

template <>
struct Names<FinalSigma> {
  using E = FinalSigma;
  static constexpr std::array<std::pair<E, std::string_view>, 2> kList = {
      {{E::zero, "zero"}, {E::sigma_min, "sigma_min"}}};
};

template <>
struct Names<AlgorithmType> {
  using E = AlgorithmType;
  static constexpr std::array<std::pair<E, std::string_view>, 5> kList = {{{E::dpmsolver, "dpmsolver"},
                                                                           {E::dpmsolver_pp, "dpmsolver++"},
                                                                           {E::sde_dpmsolver, "sde-dpmsolver"},
                                                                           {E::sde_dpmsolver_pp, "sde-dpmsolver++"},
                                                                           {E::deis, "deis"}}};
};

template <>
struct Names<SolverType> {
  using E = SolverType;
  static constexpr std::array<std::pair<E, std::string_view>, 5> kList = {
      {{E::midpoint, "midpoint"}, {E::heun, "heun"}, {E::bh1, "bh1"}, {E::bh2, "bh2"}, {E::logrho, "logrho"}}};
};

template <>
struct Names<VarianceType> {
  using E = VarianceType;
  static constexpr std::array<std::pair<E, std::string_view>, 6> kList = {{{E::fixed_small, "fixed_small"},
                                                                           {E::fixed_small_log, "fixed_small_log"},
                                                                           {E::fixed_large, "fixed_large"},
                                                                           {E::fixed_large_log, "fixed_large_log"},
                                                                           {E::learned, "learned"},
                                                                           {E::learned_range, "learned_range"}}};
};

template <>
struct Names<SigmaInterpolation> {
  using E = SigmaInterpolation;
  static constexpr std::array<std::pair<E, std::string_view>, 2> kList = {
      {{E::linear, "linear"}, {E::log_linear, "log_linear"}}};
};

template <>
struct Names<TimestepType> {
  using E = TimestepType;
  static constexpr std::array<std::pair<E, std::string_view>, 2> kList = {
      {{E::discrete, "discrete"}, {E::continuous, "continuous"}}};
};

template <class E>
std::string_view name_of(E wanted) {
  for (const auto& [value, name] : Names<E>::kList) {
    if (value == wanted) return name;
  }
  LATHE_CHECK(false, "value {} of an enumeration without a name", int(wanted));
  return {};
}

template <class E>
bool value_of(std::string_view text, E& result) {
  for (const auto& [value, name] : Names<E>::kList) {
    if (name != text) continue;
    result = value;
    return true;
  }
  return false;
}

}  // namespace

std::string_view to_string(PredictionType value) {
  return name_of(value);
}
std::string_view to_string(BetaSchedule value) {
  return name_of(value);
}
std::string_view to_string(TimestepSpacing value) {
  return name_of(value);
}
std::string_view to_string(FinalSigma value) {
  return name_of(value);
}
std::string_view to_string(AlgorithmType value) {
  return name_of(value);
}
std::string_view to_string(SolverType value) {
  return name_of(value);
}
std::string_view to_string(VarianceType value) {
  return name_of(value);
}
std::string_view to_string(SigmaInterpolation value) {
  return name_of(value);
}
std::string_view to_string(TimestepType value) {
  return name_of(value);
}
bool from_string(std::string_view text, PredictionType& value) {
  return value_of(text, value);
}
bool from_string(std::string_view text, BetaSchedule& value) {
  return value_of(text, value);
}
bool from_string(std::string_view text, TimestepSpacing& value) {
  return value_of(text, value);
}
bool from_string(std::string_view text, FinalSigma& value) {
  return value_of(text, value);
}
bool from_string(std::string_view text, AlgorithmType& value) {
  return value_of(text, value);
}
bool from_string(std::string_view text, SolverType& value) {
  return value_of(text, value);
}
bool from_string(std::string_view text, VarianceType& value) {
  return value_of(text, value);
}
bool from_string(std::string_view text, SigmaInterpolation& value) {
  return value_of(text, value);
}
bool from_string(std::string_view text, TimestepType& value) {
  return value_of(text, value);
}

}  // namespace lathe::contract
