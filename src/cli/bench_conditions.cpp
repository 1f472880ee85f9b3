#include "cli/bench_conditions.h"

#include <algorithm>
#include <set>

namespace lathe::cli {
namespace {

// What may differ without a word.
const std::set<std::string, std::less<>> kIncidental = {"model", "repeats", "version"};

std::string text_of(const Json& conditions, const std::string& key) {
  const Json* value = find_member(conditions, key);
  return value ? value->dump() : "not said";
}

}  // namespace

EarlierRun::EarlierRun(const std::filesystem::path& file, const Json& conditions,
                       const std::vector<std::string>& vary) {
  const Json earlier = read_json_file(file);
  with_context(file.string(), [&] {
    const Json& before = get_member(earlier, "conditions");
    results_ = get_member(earlier, "results");
    if (!before.is_object() || !results_.is_array())
      fail(ErrorCode::invalid_input, "expected conditions and results, as lathe bench --json prints them");
    std::set<std::string, std::less<>> keys;
    for (const auto& [key, value] : conditions.items()) keys.insert(key);
    for (const auto& [key, value] : before.items()) keys.insert(key);
    for (const std::string& key : vary) {
      if (!keys.contains(key))
        fail(ErrorCode::usage, "--vary {}: no such condition; there are {}", key, fmt::join(keys, ", "));
    }
    std::vector<std::string> differences;
    for (const std::string& key : keys) {
      if (kIncidental.contains(key) || std::find(vary.begin(), vary.end(), key) != vary.end()) continue;
      const std::string then = text_of(before, key), now = text_of(conditions, key);
      if (then != now) differences.push_back(fmt::format("{} was {} and is {}", key, then, now));
    }
    if (!differences.empty()) {
      fail(ErrorCode::usage, "other conditions, no comparison: {}; --vary NAME,.. says what is compared on purpose",
           fmt::join(differences, "; "));
    }
  });
}

Json EarlierRun::compare(const Json& results, const Output& output) const {
  Json compared = Json::array();
  for (const Json& now : results) {
    const std::string test = get_string(now, "test");
    const auto then = std::find_if(results_.begin(), results_.end(), [&](const Json& entry) {
      return entry.is_object() && find_string(entry, "test").value_or("") == test &&
             find_string(entry, "unit") == find_string(now, "unit");
    });
    if (then == results_.end()) continue;
    const double before = get_number(*then, "median"), median = get_number(now, "median");
    if (!(before > 0 && median > 0)) continue;
    output.print(fmt::format("{:<15} {:.1f} {}, {:.1f} before: {:.2f} times as fast", test, median,
                             get_string(now, "unit"), before, before / median));
    compared.push_back({{"test", test}, {"before", before}, {"median", median}, {"times_as_fast", before / median}});
  }
  return compared;
}

}  // namespace lathe::cli
