#include "verify/forced_values.h"

#include <map>
#include <set>

#include "base/error.h"
#include "op/values.h"

namespace lathe::verify {
namespace {

using tensor::DType;
using tensor::Tensor;
using Values = std::map<std::string, Tensor, std::less<>>;

bool is_byte(DType dtype) {
  return dtype == DType::u8 || dtype == DType::i8;
}

// A session that is tapped and fed for as long as this lives.
class Feeding {
 public:
  Feeding(runtime::GraphSession& session, runtime::GraphSession::Tap tap, runtime::GraphSession::Replace replace)
      : session_(session) {
    session_.set_tap(std::move(tap));
    session_.set_replacement(std::move(replace));
  }
  ~Feeding() {
    session_.set_tap(nullptr);
    session_.set_replacement(nullptr);
  }
  Feeding(const Feeding&) = delete;
  Feeding& operator=(const Feeding&) = delete;

 private:
  runtime::GraphSession& session_;
};

std::set<std::string, std::less<>> shown_by(std::span<const std::shared_ptr<runtime::GraphSession>> sessions,
                                            const GraphData& inputs) {
  std::set<std::string, std::less<>> names;
  for (const auto& session : sessions) {
    const Feeding feeding(*session, [&](const std::string& name, const Tensor&) { names.insert(name); }, nullptr);
    session->run(inputs);
  }
  return names;
}

Values keep(const GraphRun& run, const GraphData& inputs, const std::set<std::string, std::less<>>& names,
            size_t memory_bytes) {
  Values kept;
  size_t bytes = 0;
  run.call(inputs, [&](const std::string& name, const Tensor& value) {
    if (!names.contains(name)) return true;
    if (value.dtype() != DType::string) bytes += value.bytes().size();
    if (bytes > memory_bytes) {
      fail(
          ErrorCode::resource,
          "a graph that quantises is verified with all its values in memory: {} bytes of them by \"{}\", {} are there; "
          "smaller lengths take less (--shape)",
          bytes, name, memory_bytes);
    }
    kept.insert_or_assign(name, op::clone(value));
    return true;
  });
  return kept;
}

ValueComparison compare_one(runtime::GraphSession& session, const Values& kept, const GraphData& inputs,
                            std::span<const std::string> order, const ForcedOptions& options) {
  std::map<std::string, TensorError, std::less<>> errors;
  {
    const Feeding feeding(
        session,
        [&](const std::string& name, const Tensor& value) {
          if (const auto it = kept.find(name); it != kept.end())
            errors.insert_or_assign(name, error_of(it->second, value));
        },
        [&](const std::string& name) {
          const auto it = kept.find(name);
          return it == kept.end() ? nullptr : &it->second;
        });
    session.run(inputs);
  }
  ValueComparison result;
  for (const std::string& name : order) {
    const auto it = errors.find(name);
    if (it == errors.end()) continue;
    ++result.compared;
    const TensorError& error = it->second;
    if (!error.exact && error.relative() > result.worst) {
      result.worst = error.relative();
      result.worst_name = name;
    }
    if (result.first || forced_within(error, kept.find(name)->second.dtype(), options)) continue;
    result.first = ValueDifference{name, error};
  }
  return result;
}

}  // namespace

bool forced_within(const TensorError& error, DType dtype, const ForcedOptions& options) {
  if (error.within(options.bound)) return true;
  if (!error.form.empty() || !is_byte(dtype) || error.max_abs > 1) return false;
  return double(error.differing) <= options.step_share * double(error.size);
}

std::vector<ValueComparison> compare_forced(const GraphRun& expected,
                                            std::span<const std::shared_ptr<runtime::GraphSession>> found,
                                            const GraphData& inputs, std::span<const std::string> order,
                                            const ForcedOptions& options) {
  const Values kept = keep(expected, inputs, shown_by(found, inputs), options.memory_bytes);
  std::vector<ValueComparison> results;
  for (const auto& session : found) results.push_back(compare_one(*session, kept, inputs, order, options));
  return results;
}

}  // namespace lathe::verify
