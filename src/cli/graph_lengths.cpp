#include "cli/graph_lengths.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.h"

namespace lathe::cli {
namespace {

// nullopt: something else than a number without a sign.
std::optional<int64_t> read_length(std::string_view text) {
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value < 0 || text.starts_with('-'))
    return std::nullopt;
  return value;
}

}  // namespace

opt::Lengths read_lengths(std::string_view flag, const std::vector<std::string>& texts) {
  opt::Lengths lengths;
  for (const std::string& text : texts) {
    for (const std::string& pair : CLI::detail::split(text, ',')) {
      if (pair.empty()) continue;
      const auto malformed = [&] {
        fail(ErrorCode::usage, "{} {}: expected NAME=1x3x224x224 or SYMBOL=8", flag, pair);
      };
      const size_t equals = pair.rfind('=');
      if (equals == std::string::npos || equals == 0) malformed();
      tensor::Dims dims;
      const std::string numbers = pair.substr(equals + 1);
      for (size_t at = 0; !numbers.empty() && at <= numbers.size();) {
        const size_t end = std::min(numbers.find('x', at), numbers.size());
        const auto length = read_length(std::string_view(numbers).substr(at, end - at));
        if (!length) malformed();
        dims.push_back(*length);
        at = end + 1;
      }
      if (!lengths.emplace(pair.substr(0, equals), std::move(dims)).second) {
        fail(ErrorCode::usage, "{} {}: given twice", flag, pair);
      }
    }
  }
  return lengths;
}

}  // namespace lathe::cli
